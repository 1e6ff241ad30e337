//! A long-running agent: it works through its queue, says what becomes of the connection, and ends
//! cleanly at Ctrl-C.
//!
//! `cargo run --features agent-queue --example agent [grpc.yaml]`; it does not matter whether a
//! server is up yet.

use std::{env, error::Error, time::Duration};
use tokio::time::sleep;
use tonic_supervisor::{
    EventItem, EventStream, Fact,
    agent_queue::{PrivateAgentTasksQueue, Task},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = match env::args().nth(1) {
        Some(file) => PrivateAgentTasksQueue::from_config(file)?,
        None => PrivateAgentTasksQueue::new(),
    };
    let told = tokio::spawn(tell(client.supervisor().events()));

    let interrupted = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    let done = client.queue("agent_001").process(work, 4).until(interrupted).await?;
    println!("{done}");

    client.close().await;
    told.await?;
    Ok(())
}

/// Does one task; its result is JSON text. It may run again elsewhere, if this agent is cut off for
/// longer than its lease.
async fn work(task: Task) -> Result<String, Box<dyn Error + Send + Sync>> {
    println!("works on {}: {}", task.task_id, task.payload);
    sleep(Duration::from_millis(100)).await;
    Ok(r#"{"ok": true}"#.into())
}

/// Prints what happens to the connection. The stream ends when the client is closed.
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
            _ => {}
        }
    }
}
