//! Probes: alive for as long as it answers, ready once it was connected, and no words where
//! anybody can ask.

use super::asked::{admin, get};
use crate::support::{LONG, Rig, config};
use std::time::Duration;
use tonic_supervisor::{ConnectivityState, admin::Admin};

/// O8. Other tests' supervisors are in this process as well, so only what asks for one of its own
/// is certain here.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_ends_neither_life_nor_readiness_and_who_needs_the_channel_asks_for_it() {
    let rig = Rig::new(config()).await;
    let name = rig.supervisor.observer().name().to_owned();
    let need = format!("/ready?need={}", name.replace(':', "%3A"));
    let handle = admin(Admin::new()).await;
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
    let ready = get(handle.address(), &need).await;
    assert_eq!(ready.status, 200, "{}", ready.body);
    rig.server.kill().await;
    let lost = rig.supervisor.watch_state();
    let lost = async {
        let mut lost = lost;
        lost.wait_for(|state| *state == ConnectivityState::TransientFailure).await.map(|_| ())
    };
    tokio::time::timeout(Duration::from_secs(20), lost).await.expect("in time").expect("lost");
    let unready = get(handle.address(), &need).await;
    assert_eq!(unready.status, 503);
    assert!(unready.body.starts_with(&format!("{name}: ")), "{}", unready.body);
    assert_eq!(get(handle.address(), "/live").await.status, 200);
    let unknown = get(handle.address(), "/ready?need=nobody").await;
    assert_eq!(
        (unknown.status, unknown.body.as_str()),
        (503, "there is no channel of that name\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_poor_listener_answers_three_paths_and_says_no_word() {
    let _rig = Rig::new(config()).await;
    let handle = Admin::new().probes("127.0.0.1:0").spawn().await.expect("it listens");
    let to = handle.probes().expect("probes");
    for path in ["/live", "/ready", "/ready?need=nobody"] {
        let answer = get(to, path).await;
        assert!([200, 503].contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(answer.body, "", "{path}");
    }
    for path in ["/", "/snapshot", "/calls", "/events", "/config", "/help", "/login", "/live.js"] {
        assert_eq!(get(to, path).await.status, 404, "{path}");
    }
    // Nobody in this process has installed the recorder.
    let metrics = get(to, "/metrics").await;
    assert!(metrics.status == 404 && metrics.body.contains("install_recorder"), "{}", metrics.body);
}

/// What drains is not ready any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_drains_is_not_ready() {
    let rig = Rig::with_script(tonic_supervisor::testing::Script::hang(), config()).await;
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
    let handle = admin(Admin::new()).await;
    let _call = crate::support::start(&rig.channel(), "x", tonic_supervisor::CallOptions::new());
    rig.server.arrived(1).await;
    rig.supervisor.observer().begin_shutdown(Duration::from_secs(60));
    assert_eq!(get(handle.address(), "/ready").await.status, 503);
    rig.supervisor.shutdown(Duration::ZERO).await;
}
