//! `reconnect_now()` while Ready: the successor is up before the old link drains, whatever happens
//! to either meanwhile.

use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::{Request, Status};
use tonic_supervisor::{
    CallOptions, Child, Config,
    ConnectivityState::{Connecting, Ready},
    Supervisor,
    testing::{Answer, MemoryNetwork, ScriptedServer},
};

const SECOND: Duration = Duration::from_secs(1);

struct World {
    network: MemoryNetwork,
    server: ScriptedServer,
    supervisor: Supervisor,
}

impl World {
    /// Ready, and from now on a dial takes a second.
    async fn new() -> Self {
        let network = MemoryNetwork::new();
        let server = ScriptedServer::on_memory(&network, "queue:1").await;
        let config = Config::builder().host("queue").port(1).build().expect("valid");
        let supervisor = Supervisor::builder(config).connector(network.connector()).spawn();
        supervisor.wait_ready(SECOND).await.expect("Ready");
        network.dial_takes(SECOND);
        Self { network, server, supervisor }
    }

    /// A call that must not be sent twice.
    async fn call(&self) -> Result<(), Status> {
        let mut request = Request::new(());
        request.extensions_mut().insert(CallOptions::new().idempotent(false));
        self.supervisor.channel().unary::<(), ()>("/test.Echo/Say", request).await.map(drop)
    }

    /// How many dials and links there were.
    fn counts(&self) -> (u64, u64) {
        let snapshot = self.supervisor.snapshot();
        (snapshot.dials, snapshot.links)
    }
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_finish_on_the_old_link_and_new_ones_never_wait() {
    let world = World::new().await;
    world.server.on("/test.Echo/Say", |_: &_| Answer::echo().after(3 * SECOND));
    let long = world.call();
    let replacing = async {
        sleep(SECOND / 10).await;
        world.supervisor.reconnect_now();
        sleep(2 * SECOND).await;
        assert_eq!((world.supervisor.state(), world.counts()), (Ready, (2, 2)));
        assert_eq!(world.server.open_connections(), 2, "the old link waits for its call");
        let began = Instant::now();
        world.call().await.expect("on the new link");
        assert!(began.elapsed() < 4 * SECOND);
    };
    let (long, ()) = tokio::join!(long, replacing);
    long.expect("on the old link");
    sleep(SECOND).await;
    assert_eq!((world.server.open_connections(), world.server.handled()), (1, 2));
    assert_eq!(world.supervisor.snapshot().transparent_retries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_goes_while_its_successor_is_dialled_is_followed_by_that_dial() {
    for goaway in [true, false] {
        let world = World::new().await;
        world.supervisor.reconnect_now();
        sleep(SECOND / 2).await;
        if goaway {
            world.server.goaway().await;
        } else {
            world.network.cut_all();
        }
        sleep(SECOND / 10).await;
        assert_eq!(world.supervisor.state(), Connecting);
        let began = Instant::now();
        world.call().await.expect("answered");
        assert!(
            began.elapsed() < SECOND / 2,
            "no second dial is waited for: {:?}",
            began.elapsed()
        );
        assert_eq!((world.supervisor.state(), world.counts()), (Ready, (2, 2)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_whose_actor_panics_or_whose_dial_fails_changes_nothing() {
    let world = World::new().await;
    world.supervisor.panics().arm(Child::Connection, "Dialled", 1);
    world.supervisor.reconnect_now();
    sleep(2 * SECOND).await;
    assert_eq!((world.supervisor.state(), world.counts()), (Ready, (2, 1)));
    world.call().await.expect("on the old link");

    world.network.black_hole(true);
    world.supervisor.reconnect_now();
    sleep(30 * SECOND).await;
    assert_eq!((world.supervisor.state(), world.counts()), (Ready, (3, 1)));
    world.call().await.expect("on the old link");

    world.network.black_hole(false);
    world.supervisor.reconnect_now();
    sleep(2 * SECOND).await;
    assert_eq!((world.supervisor.state(), world.counts()), (Ready, (4, 2)));
    world.call().await.expect("on the new link");
    assert_eq!(world.server.handled(), 3);
}

#[tokio::test(start_paused = true)]
async fn asking_again_while_a_successor_is_dialled_gives_one_more_and_not_ten() {
    let world = World::new().await;
    for _ in 0..10 {
        world.supervisor.reconnect_now();
    }
    sleep(5 * SECOND).await;
    assert_eq!(world.counts(), (3, 3));
    world.supervisor.shutdown(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_dial_of_a_successor() {
    let world = World::new().await;
    world.supervisor.reconnect_now();
    sleep(SECOND / 10).await;
    let began = Instant::now();
    world.supervisor.shutdown(SECOND).await;
    assert!(began.elapsed() < SECOND / 2, "{:?}", began.elapsed());
}
