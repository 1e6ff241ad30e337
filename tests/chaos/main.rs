//! Real processes on real networks: `kill -9`, SIGSTOP, and packets that the kernel drops. Run by
//! `.ci/chaos`.
//!
//! The server is this program again, as another process. Where packets are dropped it lives in a
//! network namespace of its own, at the far end of a pair of virtual wires; that needs root, `ip`
//! and `iptables`. Nothing outside the namespaces is touched. Times are the real ones of keepalive
//! (10 s, then 2 s), so that each test takes half a minute; all run side by side.

// The time here is real.
#![allow(clippy::disallowed_methods)]

mod dns;
#[path = "../peers/fleet.rs"]
mod fleet;
#[path = "../peers/foreign.rs"]
mod foreign;
mod inside;
#[path = "../peers/load.rs"]
mod load;
mod names;
mod namespace;
mod network;
mod processes;
mod server;
#[allow(dead_code, reason = "shared with the other suites")]
#[path = "../it/support/tonic_server.rs"]
mod tonic_server;
mod watch;

use load::Load;
use server::Server;
use std::time::{Duration, Instant};
use tonic::{Request, Status};
use tonic_supervisor::{CallOptions, Config, LinkEnd, Supervisor};
use watch::{Stamp, Watch};

const KEEPALIVE_TIME: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between dials while calls wait: a second and the jitter.
const LONGEST_WAIT: Duration = Duration::from_millis(1_200);
/// What a machine that does other work besides may add to each bound.
const BUSY: Duration = Duration::from_millis(400);

/// A supervised channel to `server`, and all that is announced on it.
fn supervise(server: &Server) -> (Supervisor, Watch) {
    let config = Config::builder().target(server.address.to_string());
    let config = config.keepalive_time(KEEPALIVE_TIME).keepalive_timeout(KEEPALIVE_TIMEOUT);
    let config = config
        .timeout(Duration::from_secs(30))
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
        .expect("valid");
    let supervisor = Supervisor::spawn(config);
    let watch = Watch::of(&supervisor);
    (supervisor, watch)
}

async fn say(supervisor: &Supervisor) -> Result<(), Status> {
    let mut request = Request::new("hello".to_owned());
    request.extensions_mut().insert(CallOptions::new());
    supervisor.channel().unary::<String, String>(server::SAY, request).await.map(drop)
}

/// Callers with a little pause after each call.
async fn load(supervisor: &Supervisor) -> Load {
    let caller = supervisor.clone();
    let load = Load::start(32, move || {
        let supervisor = caller.clone();
        async move {
            say(&supervisor).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(())
        }
    });
    load.worked(100).await;
    load
}

/// A link that carried a call and is silent since.
async fn idle(supervisor: &Supervisor) {
    say(supervisor).await.expect("the server serves");
}

/// Between the fault and the loss of the link; it must not have come before its time either.
fn assert_detected(fault: Instant, lost: &Stamp<LinkEnd>, within: Duration) {
    let took = lost.at.saturating_duration_since(fault);
    println!("detected after {took:?}: {}", lost.what);
    assert!(took <= within + BUSY, "{:?} after {took:?}, more than {within:?}", lost.what);
}

/// gRPC's keepalive: a time of silence, the timeout of a PING, and 3 % of both.
fn by_keepalive() -> Duration {
    (KEEPALIVE_TIME + KEEPALIVE_TIMEOUT).mul_f64(1.03)
}

/// The first call that works after the fault is healed, now, must come with the dial that is due,
/// and 100 ms. A dial that is under way may be over after `under_way`.
async fn assert_recovers(
    lost: Instant,
    under_way: Duration,
    supervisor: &Supervisor,
    watch: &Watch,
    load: Option<&Load>,
) {
    let healed = Instant::now();
    match load {
        Some(load) => load.worked(1).await,
        None => say(supervisor).await.expect("the server serves"),
    }
    let took = healed.elapsed();
    let due = watch.dial_due(lost, healed, under_way).saturating_duration_since(healed);
    println!("first call {took:?} after healing, the dial was due after {due:?}");
    assert!(due <= CONNECT_TIMEOUT + LONGEST_WAIT, "the dial was due after {due:?}");
    assert!(
        took <= due + Duration::from_millis(100) + BUSY,
        "{took:?}, and the dial was due after {due:?}"
    );
}

async fn assert_nothing_failed(load: Load) {
    let (ok, failed) = load.stop().await;
    println!("{ok} calls, {} failed", failed.len());
    assert!(failed.is_empty(), "of {ok}: {:?}", failed.first());
}
