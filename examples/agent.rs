//! A long-running agent: it works through its queue, says what becomes of the connection, and ends at Ctrl-C.
//!
//! `cargo run --features agent-queue --example agent [grpc.yaml]`; it does not matter whether a server is up yet.

use std::{env, error::Error, time::Duration};
use tokio::time::sleep;
use tonic::Status;
use tonic_supervisor::{
    CallReport, Config, EventItem, EventStream, Fact, SupervisedChannel, Supervisor,
    agent_queue::{
        CreateQueueRequest, DESCRIPTORS, GetTaskRequest, Task, TaskStatus, UpdateTaskStatusRequest,
        agent_queue_client::AgentQueueClient,
    },
};

const AGENT: &str = "agent_001";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = match env::args().nth(1) {
        Some(file) => Config::load(file)?,
        None => Config::builder().environment().build()?,
    };
    let supervisor = Supervisor::spawn(config);
    let told = tokio::spawn(tell(supervisor.events()));
    let channel = supervisor.channel().with_descriptor_set(DESCRIPTORS)?;
    tokio::select! {
        ended = work(AgentQueueClient::new(channel)) => println!("the work ended: {}", words(&ended)),
        _ = tokio::signal::ctrl_c() => println!("interrupted: what runs may end"),
    }
    supervisor.shutdown(Duration::from_secs(5)).await;
    told.await?;
    Ok(())
}

/// Claims tasks and completes them, until a call fails for a reason that no retry and no waiting helps.
async fn work(mut client: AgentQueueClient<SupervisedChannel>) -> Status {
    if let Err(status) = client.create_queue(CreateQueueRequest { agent_id: AGENT.into() }).await {
        return status;
    }
    for round in 0u64.. {
        // The claim id makes a repeated claim harmless: the same id gets the same task.
        let claim_id = format!("{AGENT}-{}-{round}", std::process::id());
        let claim = GetTaskRequest { agent_id: AGENT.into(), claim_id: claim_id.clone(), timeout: 20.0 };
        let task = match client.get_task(claim).await {
            Ok(answer) => answer.into_inner().task,
            Err(status) => return status,
        };
        let Some(task) = task else { continue };
        if let Err(status) = client.update_task_status(done(&task, claim_id).await).await {
            return status;
        }
    }
    unreachable!("there is always a next round")
}

async fn done(task: &Task, claim_id: String) -> UpdateTaskStatusRequest {
    println!("works on {}: {}", task.task_id, task.payload);
    sleep(Duration::from_millis(100)).await;
    UpdateTaskStatusRequest {
        agent_id: AGENT.into(),
        task_id: task.task_id.clone(),
        claim_id,
        status: TaskStatus::Completed as i32,
        result: r#"{"ok": true}"#.into(),
        error_message: String::new(),
    }
}

/// Prints what happens to the connection. The stream ends when the supervisor is closed.
async fn tell(mut events: EventStream) {
    while let Some(item) = events.next().await {
        match item {
            EventItem::Snapshot(now) => println!("{} is {}", now.target, now.state),
            EventItem::Lagged(missed) => println!("{missed} events were missed"),
            EventItem::Event(event) => match event.fact {
                Fact::StateChanged { from, to, cause, .. } => println!("{from} -> {to}: {cause}"),
                Fact::RetryScheduled { method, code, retry, delay, .. } => {
                    println!("{method}: {code:?}, retry {retry} in {delay:?}");
                }
                _ => {}
            },
        }
    }
}

/// The status, and the story behind it.
fn words(status: &Status) -> String {
    match CallReport::of(status) {
        Some(report) => format!("{:?}: {report}", status.code()),
        None => status.to_string(),
    }
}
