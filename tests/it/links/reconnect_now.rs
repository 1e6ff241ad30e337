//! `reconnect_now()` while Ready: the successor is up before the old link drains, whatever happens
//! to either meanwhile.

use crate::support::{Rig, SAY, SECOND, config};
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic_supervisor::{
    CallOptions, Child,
    ConnectivityState::{Connecting, Ready},
    testing::Answer,
};

/// Ready, and from now on a dial takes a second.
async fn ready() -> Rig {
    let rig = Rig::new(config()).await.ready().await;
    rig.network.dial_takes(SECOND);
    rig
}

/// A call that must not be sent twice.
async fn call(rig: &Rig) -> Result<(), Status> {
    rig.call(CallOptions::new().idempotent(false)).await.map(drop)
}

/// How many dials and links there were.
fn counts(rig: &Rig) -> (u64, u64) {
    let snapshot = rig.supervisor.snapshot();
    (snapshot.dials, snapshot.links)
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_finish_on_the_old_link_and_new_ones_never_wait() {
    let rig = ready().await;
    rig.server.on(SAY, |_: &_| Answer::echo().after(3 * SECOND));
    let long = call(&rig);
    let replacing = async {
        sleep(SECOND / 10).await;
        rig.supervisor.reconnect_now();
        sleep(2 * SECOND).await;
        assert_eq!((rig.supervisor.state(), counts(&rig)), (Ready, (2, 2)));
        assert_eq!(rig.server.open_connections(), 2, "the old link waits for its call");
        let began = Instant::now();
        call(&rig).await.expect("on the new link");
        assert!(began.elapsed() < 4 * SECOND);
    };
    let (long, ()) = tokio::join!(long, replacing);
    long.expect("on the old link");
    sleep(SECOND).await;
    assert_eq!((rig.server.open_connections(), rig.server.handled()), (1, 2));
    assert_eq!(rig.supervisor.snapshot().transparent_retries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_goes_while_its_successor_is_dialled_is_followed_by_that_dial() {
    for goaway in [true, false] {
        let rig = ready().await;
        rig.supervisor.reconnect_now();
        sleep(SECOND / 2).await;
        if goaway {
            rig.server.goaway().await;
        } else {
            rig.network.cut_all();
        }
        sleep(SECOND / 10).await;
        assert_eq!(rig.supervisor.state(), Connecting);
        let began = Instant::now();
        call(&rig).await.expect("answered");
        assert!(
            began.elapsed() < SECOND / 2,
            "no second dial is waited for: {:?}",
            began.elapsed()
        );
        assert_eq!((rig.supervisor.state(), counts(&rig)), (Ready, (2, 2)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_whose_actor_panics_or_whose_dial_fails_changes_nothing() {
    let rig = ready().await;
    rig.supervisor.panics().arm(Child::Connection, "Dialled", 1);
    rig.supervisor.reconnect_now();
    sleep(2 * SECOND).await;
    assert_eq!((rig.supervisor.state(), counts(&rig)), (Ready, (2, 1)));
    call(&rig).await.expect("on the old link");

    rig.network.black_hole(true);
    rig.supervisor.reconnect_now();
    sleep(30 * SECOND).await;
    assert_eq!((rig.supervisor.state(), counts(&rig)), (Ready, (3, 1)));
    call(&rig).await.expect("on the old link");

    rig.network.black_hole(false);
    rig.supervisor.reconnect_now();
    sleep(2 * SECOND).await;
    assert_eq!((rig.supervisor.state(), counts(&rig)), (Ready, (4, 2)));
    call(&rig).await.expect("on the new link");
    assert_eq!(rig.server.handled(), 3);
}

#[tokio::test(start_paused = true)]
async fn asking_again_while_a_successor_is_dialled_gives_one_more_and_not_ten() {
    let rig = ready().await;
    for _ in 0..10 {
        rig.supervisor.reconnect_now();
    }
    sleep(5 * SECOND).await;
    assert_eq!(counts(&rig), (3, 3));
    rig.supervisor.shutdown(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_dial_of_a_successor() {
    let rig = ready().await;
    rig.supervisor.reconnect_now();
    sleep(SECOND / 10).await;
    let began = Instant::now();
    rig.supervisor.shutdown(SECOND).await;
    assert!(began.elapsed() < SECOND / 2, "{:?}", began.elapsed());
}
