//! What a waiting call costs: live bytes, counted by the allocator. A program of its own, because the allocator is the program's.

use peak_alloc::PeakAlloc;
use std::time::Duration;
use tokio::sync::oneshot;
use tonic::Request;
use tonic_supervisor::{Config, Supervisor, UnaryCall, UnaryResult, testing::MemoryNetwork, testing::ScriptedServer};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const CALLS: usize = 100_000;
const SAY: &str = "/test.Echo/Say";
const ADDRESS: &str = "server:50051";

/// Prost's string of this length is 64 bytes.
fn text() -> String {
    "x".repeat(62)
}

/// A supervisor whose server is not there yet, and all of whose parts have been used.
async fn supervisor(network: &MemoryNetwork) -> Supervisor {
    let config = Config::builder().host("server").port(50_051).build().expect("valid");
    let supervisor = Supervisor::builder(config).connector(network.connector()).seed(1).spawn();
    let server = ScriptedServer::on_memory(network, ADDRESS).await;
    let call = supervisor.channel();
    call.unary::<String, String>(SAY, Request::new(text())).await.expect("answered");
    drop(server);
    while network.connections() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    supervisor
}

async fn all_wait(supervisor: &Supervisor) {
    while supervisor.snapshot().calls_waiting < CALLS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn per_call(before: usize) -> usize {
    (ALLOCATOR.current_usage() - before) / CALLS
}

/// One test, because what another one allocates would count.
#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_waiting_calls_take_two_kibibytes_each_as_messages_and_six_with_a_task() {
    let network = MemoryNetwork::new();
    let supervisor = supervisor(&network).await;
    let idle = ALLOCATOR.current_usage();

    let mut answers: Vec<oneshot::Receiver<UnaryResult>> = Vec::with_capacity(CALLS);
    let before = ALLOCATOR.current_usage();
    let mailbox = supervisor.mailbox();
    for _ in 0..CALLS {
        let (reply, answer) = oneshot::channel();
        mailbox.cast(UnaryCall::new(SAY, &text(), reply.into())).expect("taken");
        answers.push(answer);
    }
    all_wait(&supervisor).await;
    let message = per_call(before);
    println!("{message} bytes for each call that waits as a message");
    drop(answers);
    while supervisor.snapshot().calls_open > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let left = ALLOCATOR.current_usage().saturating_sub(idle);

    println!("{left} bytes more than before, when they have been given up");
    let mut tasks = Vec::with_capacity(CALLS);
    let before = ALLOCATOR.current_usage();
    for _ in 0..CALLS {
        let channel = supervisor.channel();
        tasks.push(tokio::spawn(
            async move { channel.unary::<String, String>(SAY, Request::new(text())).await.map(drop) },
        ));
    }
    all_wait(&supervisor).await;
    let task = per_call(before);
    println!("{task} bytes for each call that waits with a task of its own");
    let server = ScriptedServer::builder().without_arrivals().on_memory(&network, ADDRESS).await;
    for task in tasks {
        task.await.expect("no panic").expect("OK");
    }
    drop(server);

    assert!(message <= 2 * 1_024, "{message} bytes");
    assert!(task <= 6 * 1_024, "{task} bytes");
    assert!(left <= CALLS, "the memory of 100,000 calls is given back, but for {left} bytes");
}
