//! E17: without `idle_timeout` links stay for ever; with it they are closed while nobody calls, and
//! no call is lost by it.

use super::*;
use tonic_supervisor::{
    ConnectivityState, Fact,
    testing::{HealthAnswer, Script},
};

fn went_idle(fact: &Fact) -> bool {
    matches!(fact, Fact::StateChanged { to, .. } if *to == ConnectivityState::Idle)
}

#[tokio::test(start_paused = true)]
async fn e17_a_day_without_calls_loses_no_link_by_default() {
    let (_network, _fleet, supervisor) = fleet_of(2, round_robin()).await;
    let log = EventLog::of(&supervisor);
    tokio::time::sleep(secs(24 * 3_600)).await;
    assert_eq!((log.links_lost().len(), supervisor.snapshot().links), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn e17_three_cycles_of_idle_and_call_cost_each_call_one_dial() {
    for config in [round_robin(), round_robin().health_service("")] {
        let network = MemoryNetwork::new();
        let fleet = Fleet::on_memory(&network, 2).await;
        fleet.servers().iter().for_each(|server| server.health(HealthAnswer::Serving));
        let supervisor = supervise_fleet(&fleet, config.idle_timeout(secs(60)));
        links_up(&supervisor, 2).await;
        let log = EventLog::of(&supervisor);
        for cycle in 1..=3 {
            let quiet = tokio::time::Instant::now();
            log.until("it is idle", cycle, went_idle).await;
            let took = quiet.elapsed();
            assert!(took >= secs(59) && took <= secs(76), "{took:?}");
            tokio::time::sleep(secs(1)).await;
            assert_eq!(supervisor.state(), ConnectivityState::Idle);
            let open: usize = fleet.servers().iter().map(|server| server.open_connections()).sum();
            assert_eq!(open, 0, "the links are closed");
            let dials = supervisor.snapshot().dials;
            tokio::time::sleep(secs(3_600)).await;
            assert_eq!(supervisor.snapshot().dials, dials, "nothing is dialled");
            let (took, answer) = timed(echo(&supervisor.channel(), "x")).await;
            answer.expect("answered");
            assert!(took <= ms(100), "{took:?}");
        }
    }
}

/// All of them begin when the state is IDLE: before, while and after the links are closed.
async fn call_at_the_closing(supervisor: &Supervisor, calls: usize) -> usize {
    let calls = (0..calls).map(|_| {
        let (channel, mut state) = (supervisor.channel(), supervisor.watch_state());
        tokio::spawn(async move {
            let idle = state.wait_for(|state| *state == ConnectivityState::Idle).await.map(drop);
            idle.expect("it lives");
            say(&channel, "x", CallOptions::new()).await
        })
    });
    failed(calls.collect()).await
}

#[tokio::test(start_paused = true)]
async fn e17_ten_thousand_calls_at_the_moment_of_closing_are_all_answered() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    let supervisor = supervise_fleet(&fleet, round_robin().idle_timeout(secs(60)));
    links_up(&supervisor, 2).await;
    assert_eq!(call_at_the_closing(&supervisor, 10_000).await, 0);
}

/// The same with four threads, so that calls begin in the midst of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn e17_ten_thousand_calls_of_four_threads_at_the_moment_of_closing_are_all_answered() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    let supervisor = supervise_fleet(&fleet, round_robin().idle_timeout(secs(1)));
    links_up(&supervisor, 2).await;
    for _ in 0..2 {
        assert_eq!(call_at_the_closing(&supervisor, 5_000).await, 0);
    }
    assert_eq!(fleet.handled().iter().sum::<usize>(), 10_000);
}

/// The very moment: one call at a time, a little later in each try.
#[tokio::test(start_paused = true)]
async fn e17_a_call_at_each_moment_around_the_closing_is_answered() {
    let (mut before, mut after) = (0, 0);
    for micros in (0..4_000).step_by(50) {
        let network = MemoryNetwork::new();
        let fleet = Fleet::on_memory(&network, 1).await;
        let config = config_for(&fleet.address(0)).idle_timeout(secs(60));
        let supervisor = supervise(&network, config);
        let log = EventLog::of(&supervisor);
        supervisor.wait_ready(secs(1)).await.expect("Ready");
        tokio::time::sleep(secs(60) - ms(2) + Duration::from_micros(micros)).await;
        echo(&supervisor.channel(), "x").await.expect("answered");
        match log.count(went_idle) {
            0 => before += 1,
            _ => after += 1,
        }
    }
    assert!(before > 0 && after > 0, "{before} before, {after} after");
}

/// A call that runs, sleeps or streams is a call, however long it takes.
#[tokio::test(start_paused = true)]
async fn e17_a_channel_with_an_open_call_or_stream_is_not_idle() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 1).await;
    let config = config_for(&fleet.address(0)).idle_timeout(secs(10));
    let supervisor = supervise(&network, config.timeout(secs(600)));
    let log = EventLog::of(&supervisor);
    fleet.server(0).script(Script::delay(secs(100)));
    echo(&supervisor.channel(), "x").await.expect("answered");
    assert_eq!(log.count(went_idle), 0);
    let answer = tonic_supervisor::testing::Answer::stream(vec![""; 100], tonic::Code::Ok);
    fleet.server(0).script(answer.every(secs(1)));
    let channel = supervisor.channel();
    let mut stream = generated_stream(&channel, CallOptions::new()).await.expect("begins");
    while stream.message().await.expect("not cut").is_some() {}
    assert_eq!(log.count(went_idle), 0);
    drop(stream);
    log.until("it is idle", 1, went_idle).await;
}

/// Whoever waits for a link, or asks for one, ends the rest; so does a call that fails fast.
#[tokio::test(start_paused = true)]
async fn e17_whoever_wants_a_link_ends_the_rest() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 1).await;
    let config = config_for(&fleet.address(0)).idle_timeout(secs(10));
    let supervisor = supervise(&network, config);
    let log = EventLog::of(&supervisor);
    log.until("it is idle", 1, went_idle).await;
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    log.until("it is idle", 2, went_idle).await;
    supervisor.reconnect_now();
    let mut states = supervisor.watch_state();
    let ready = states.wait_for(|state| *state == ConnectivityState::Ready);
    bounded("it connects", ready).await.expect("it lives");
    log.until("it is idle", 3, went_idle).await;
    let options = CallOptions::new().wait_for_ready(false);
    say(&supervisor.channel(), "x", options).await.expect("IDLE is no failure");
}

/// Who waits for a link is not sent back to the beginning while it is dialled.
#[tokio::test(start_paused = true)]
async fn e17_a_wait_for_ready_is_a_use_however_long_the_dial_takes() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 1).await;
    network.dial_takes(secs(15));
    let config = config_for(&fleet.address(0)).idle_timeout(secs(10));
    let supervisor = supervise(&network, config);
    let log = EventLog::of(&supervisor);
    supervisor.wait_ready(secs(60)).await.expect("Ready");
    assert_eq!((log.count(went_idle), supervisor.snapshot().dials), (0, 1));
    // Given up, it is no use any more.
    network.black_hole(true);
    network.cut_all();
    settle().await;
    supervisor.wait_ready(secs(30)).await.expect_err("nobody is there");
    assert_eq!(log.count(went_idle), 0);
    log.until("it is idle", 1, went_idle).await;
}

/// An outage in which nobody calls ends in IDLE: nothing is dialled.
#[tokio::test(start_paused = true)]
async fn e17_an_outage_without_calls_ends_in_idle() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    fleet.server(0).kill().await;
    fleet.server(1).kill().await;
    let supervisor = supervise_fleet(&fleet, round_robin().idle_timeout(secs(60)));
    let log = EventLog::of(&supervisor);
    log.until("it is idle", 1, went_idle).await;
    let dials = supervisor.snapshot().dials;
    tokio::time::sleep(secs(3_600)).await;
    assert_eq!((supervisor.snapshot().dials, supervisor.snapshot().next_dial), (dials, None));
    fleet.server(1).restart().await;
    let (took, answer) = timed(echo(&supervisor.channel(), "x")).await;
    answer.expect("answered");
    assert!(took <= ms(100), "{took:?}");
}
