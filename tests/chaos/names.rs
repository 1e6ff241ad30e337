//! A name server that never answers, in a namespace of its own: a resolv.conf leads to a mute
//! socket.

use super::inside;
use std::{
    fs,
    net::UdpSocket,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;
use tonic_supervisor::{Config, DialStep, EventItem, Fact, Supervisor};

/// How long a runtime may take to end that waits for nothing; one lookup takes the system 5 s at
/// least.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Outside of the namespace, for the test inside.
#[test]
fn a_name_server_that_never_answers_holds_up_no_end_and_gets_one_lookup() {
    inside::run("names::inside_where_no_name_is_answered");
}

/// How many lookups are under way in this process.
fn lookups() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("threads are shown");
    let names =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "grpc-lookup").count()
}

#[test]
#[ignore = "runs inside a namespace"]
fn inside_where_no_name_is_answered() {
    let _mute = UdpSocket::bind("127.0.0.1:53").expect("nobody else is in this namespace");
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let config = Config::builder()
            .target("dns:///queue.example:50051")
            .connect_timeout(Duration::from_secs(1));
        let supervisor = Supervisor::spawn(config.build().expect("valid"));
        let mut events = supervisor.events();
        let mut failed = 0;
        while failed < 3 {
            let Some(EventItem::Event(event)) = events.next().await else { continue };
            let Fact::DialFailed { failure, .. } = &event.fact else { continue };
            failed += 1;
            assert_eq!((failure.step, failure.timed_out), (DialStep::Resolve, true), "{failure}");
            let words = "cannot resolve queue.example:50051: the lookup of queue.example has not \
                         answered for ";
            assert!(failure.reason.starts_with(words), "{failure}");
            assert_eq!(lookups(), 1, "the redials wait for the same lookup");
        }
        supervisor.shutdown(Duration::ZERO).await;
    });
    assert_eq!(lookups(), 1, "it still hangs");
    let began = Instant::now();
    drop(runtime);
    assert!(began.elapsed() < AT_ONCE, "the runtime took {:?} to end", began.elapsed());
}
