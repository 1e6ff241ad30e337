//! The waiting room under load: 100,000 calls parked without a link and then drained, against a
//! bare loop; 100,000 calls made at once on a Ready channel; and 100,000 that all fail once and
//! sleep until their retry.
//!
//! `cargo bench --bench mailbox --features test-util -- [--quick] [--json]`

#[path = "common/mod.rs"]
mod common;

use common::{
    Run, client,
    client::{Echo, Mailboxed},
    row::{Row, cpu_us, resident},
    server,
};
use std::{net::SocketAddr, process::ExitCode, time::Duration};
use tokio::time::{Instant, sleep};
use tonic::Code;
use tonic_supervisor::{
    Config, Supervisor,
    testing::{Script, ScriptedServer},
};

/// How many calls a bare loop keeps going.
const LOOP: usize = 200;

fn main() -> ExitCode {
    common::main(run)
}

async fn run(how: Run) -> Vec<Row> {
    let calls = if how.quick { 2_000 } else { 100_000 };
    let rounds = if how.quick { 1 } else { 5 };
    let mut server = server::Child::start();
    let (mut drained, mut at_once, mut bare) = (vec![], vec![], vec![]);
    let (mut memory, mut asleep) = (vec![], vec![]);
    for _ in 0..rounds {
        let (rate, parked) = park_and_drain(&mut server, calls).await;
        drained.push(rate);
        memory.push(parked);
        let plain = client::plain(server.address).await;
        bare.push(loops(&plain, calls).await);
        let supervisor = client::supervise(server.address).await;
        at_once.push(all_at_once(&Mailboxed(supervisor.mailbox()), calls).await);
        supervisor.shutdown(Duration::ZERO).await;
        asleep.push(back_off(calls).await);
    }
    let row = |measure, values: &[f64]| {
        Row::new("mailbox", measure, "1/s", values).against("tonic", values, &bare)
    };
    vec![
        row("drain_calls_per_s", &drained),
        row("at_once_calls_per_s", &at_once),
        // The first round alone: what it leaves behind is used again by the others.
        Row::new("mailbox", "resident_per_parked_call", "B", &memory[..1]),
        Row::new("mailbox", "cpu_per_backed_off_call", "us", &asleep),
    ]
}

/// Parks calls as messages, each with a task, while nobody listens: their rate once somebody does,
/// and the memory each took. The allocator's count of it is `tests/memory.rs`'s to say.
async fn park_and_drain(server: &mut server::Child, calls: usize) -> (f64, f64) {
    server.kill();
    let supervisor = spawn(server.address);
    let mailbox = Mailboxed(supervisor.mailbox());
    let before = resident();
    let waiting: Vec<_> = (0..calls).map(|_| tokio::spawn(one(mailbox.clone()))).collect();
    while supervisor.snapshot().calls_waiting < calls {
        sleep(Duration::from_millis(5)).await;
    }
    let memory = (resident() - before) / calls as f64;
    server.restart();
    supervisor.wait_ready(Duration::from_secs(5)).await.expect("the server listens");
    let start = Instant::now();
    for call in waiting {
        assert!(call.await.expect("one answer"), "OK");
    }
    let rate = calls as f64 / start.elapsed().as_secs_f64();
    supervisor.shutdown(Duration::ZERO).await;
    (rate, memory)
}

/// Every call fails once and sleeps; the CPU of each, the scripted server's share included, from
/// its submission to its answer.
async fn back_off(calls: usize) -> f64 {
    let script = Script::fail_times(calls, Code::Unavailable);
    let server = ScriptedServer::builder().script(script).record_arrivals(false).on_tcp().await;
    let address: SocketAddr = server.address().parse().expect("an address");
    let config =
        Config::builder().host("127.0.0.1").port(address.port()).retry_throttle_enabled(false);
    // Longer than all of them take to fail: none is retried before the last has failed.
    let backoff = Duration::from_secs(if calls > 10_000 { 6 } else { 1 });
    let config = config.initial_backoff(backoff).timeout(Duration::from_secs(120));
    let supervisor = Supervisor::spawn(config.build().expect("a valid configuration"));
    supervisor.wait_ready(Duration::from_secs(5)).await.expect("the server listens");
    let (mailbox, before) = (Mailboxed(supervisor.mailbox()), cpu_us());
    let asleep: Vec<_> = (0..calls).map(|_| tokio::spawn(one(mailbox.clone()))).collect();
    for call in asleep {
        assert!(call.await.expect("one answer"), "OK");
    }
    let cpu = (cpu_us() - before) / calls as f64;
    assert_eq!(server.handled(), 2 * calls, "each was sent twice");
    supervisor.shutdown(Duration::ZERO).await;
    cpu
}

fn spawn(address: SocketAddr) -> Supervisor {
    let config = Config::builder()
        .host("127.0.0.1")
        .port(address.port())
        .build()
        .expect("a valid configuration");
    Supervisor::spawn(config)
}

async fn one(mut echo: impl Echo) -> bool {
    echo.echo(vec![7; 64]).await.is_ok()
}

async fn all_at_once(echo: &impl Echo, calls: usize) -> f64 {
    let start = Instant::now();
    let running: Vec<_> = (0..calls).map(|_| tokio::spawn(one(echo.clone()))).collect();
    for call in running {
        assert!(call.await.expect("one answer"), "OK");
    }
    calls as f64 / start.elapsed().as_secs_f64()
}

/// What a careful user of bare tonic would do: so many tasks, one call after the other.
async fn loops(echo: &impl Echo, calls: usize) -> f64 {
    let start = Instant::now();
    let workers: Vec<_> = (0..LOOP)
        .map(|_| {
            let echo = echo.clone();
            tokio::spawn(async move {
                for _ in 0..calls / LOOP {
                    assert!(one(echo.clone()).await, "OK");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("every call is answered");
    }
    calls as f64 / start.elapsed().as_secs_f64()
}
