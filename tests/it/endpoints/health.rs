//! E12: a server that is connected and does not serve gets no calls, one that cannot be asked gets
//! them all, and no call is ever lost by the question.

use super::*;
use tonic::Code;
use tonic_supervisor::{
    ConnectivityState, Fact, Health,
    testing::{HealthAnswer, RawPeer, Script, ScriptedServer},
};

/// The defaults of several servers, whose health is watched.
fn watched() -> ConfigBuilder {
    round_robin().health_service("test.Echo")
}

/// Every change of health so far.
pub(super) fn changes(log: &EventLog) -> Vec<Health> {
    let health = |fact: &Fact| match fact {
        Fact::HealthChanged { health, .. } => Some(*health),
        _ => None,
    };
    log.all(health).into_iter().map(|(_, health)| health).collect()
}

#[tokio::test(start_paused = true)]
async fn e12_a_server_that_does_not_serve_is_out_until_it_serves_and_calls_on_it_live_on() {
    let (fleet, supervisor, log) = healthy_fleet(3, watched()).await;
    let channel = supervisor.channel();
    fleet.server(0).script(Script::delay(secs(5)));
    let slow = start_many(&channel, CallOptions::new(), 3);
    fleet.server(0).arrived(1).await;
    fleet.server(0).health(HealthAnswer::NotServing);
    links_up(&supervisor, 2).await;
    let before = fleet.handled();
    let calls = calls_at(&channel, 100, secs(3)).await;
    assert_eq!(failed(calls).await, 0);
    assert_eq!(fleet.handled()[0], before[0], "no new call went there");
    assert!(join(slow).await.iter().all(|(_, end)| end.is_ok()), "those in flight were answered");
    let endpoint = &supervisor.snapshot().endpoints[0];
    assert_eq!(endpoint.state, ConnectivityState::TransientFailure);
    assert_eq!(endpoint.health, Some(Health::NotServing));
    assert_eq!(endpoint.last_error.as_deref(), Some("its health watch says NOT_SERVING"));
    fleet.server(0).script(Script::echo());
    fleet.server(0).health(HealthAnswer::Serving);
    links_up(&supervisor, 3).await;
    for _ in 0..30 {
        echo(&channel, "x").await.expect("answered");
    }
    assert_eq!(fleet.handled()[0] - before[0], 10);
    let serving = Health::Serving;
    assert_eq!(changes(&log), [serving, serving, serving, Health::NotServing, serving]);
    let now = supervisor.snapshot();
    assert_eq!((now.links, now.retries, log.links_lost().len()), (3, 0, 0), "nothing was dialled");
}

#[tokio::test(start_paused = true)]
async fn e12_a_server_that_lacks_health_counts_as_healthy_and_is_asked_once() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    fleet.servers().iter().for_each(|server| server.health(HealthAnswer::Unimplemented));
    let supervisor = supervise_fleet(&fleet, watched());
    let log = EventLog::of(&supervisor);
    links_up(&supervisor, 2).await;
    tokio::time::sleep(secs(600)).await;
    assert_eq!(supervisor.state(), ConnectivityState::Ready);
    assert_eq!(changes(&log), [Health::Unsupported; 2]);
    assert!(fleet.servers().iter().all(|server| server.health_questions().len() == 1));
    echo(&supervisor.channel(), "x").await.expect("answered");
}

#[tokio::test(start_paused = true)]
async fn e12_a_broken_watch_is_opened_again_with_waits_that_start_over_after_a_message() {
    let config = watched().reconnect_jitter(0.0);
    let (fleet, supervisor, log) = healthy_fleet(2, config).await;
    tokio::time::sleep(secs(100)).await;
    let broken = fleet.server(0).health_questions().len();
    fleet.server(0).health(HealthAnswer::Fails(Code::Unavailable));
    links_up(&supervisor, 1).await;
    tokio::time::sleep(secs(12)).await;
    let asked = fleet.server(0).health_questions()[broken..].to_vec();
    let waits: Vec<_> = asked.windows(2).map(|two| millis(two[1] - two[0])).collect();
    assert_eq!(waits, seconds(&[1.6, 2.56, 4.096])[..], "{asked:?}");
    fleet.server(0).health(HealthAnswer::Serving);
    links_up(&supervisor, 2).await;
    assert_eq!(changes(&log)[2..], [Health::WatchBroken, Health::Serving]);
    assert_eq!((supervisor.snapshot().links, log.links_lost().len()), (2, 0));
    // It has said something: the waits begin anew.
    let broken = fleet.server(0).health_questions().len();
    tokio::time::sleep(secs(30)).await;
    fleet.server(0).health(HealthAnswer::Fails(Code::Internal));
    tokio::time::sleep(secs(2)).await;
    let asked = fleet.server(0).health_questions()[broken..].to_vec();
    assert_eq!(asked.len(), 2, "at once, since the watch had lived long, and 1.6 s later");
}

#[tokio::test(start_paused = true)]
async fn e12_goaway_or_close_ends_the_watch_and_it_keeps_no_link_open() {
    let (fleet, supervisor, log) = healthy_fleet(2, watched()).await;
    fleet.server(0).goaway().await;
    let lost = |fact: &Fact| matches!(fact, Fact::LinkLost { .. });
    let began = tokio::time::Instant::now();
    log.until("the link is gone", 1, lost).await;
    assert!(began.elapsed() < ms(100), "{:?}: no call was on it", began.elapsed());
    links_up(&supervisor, 2).await;
    assert_eq!(fleet.server(0).health_questions().len(), 2, "once for each link");
    let began = tokio::time::Instant::now();
    bounded("it is closed", supervisor.shutdown(secs(60))).await;
    assert!(began.elapsed() < ms(100), "{:?}: no call was open", began.elapsed());
}

/// A link is not used before its server has answered, and a server that never does holds up nothing
/// for ever.
#[tokio::test(start_paused = true)]
async fn e12_until_the_first_answer_a_link_gets_no_call_and_silence_counts_as_a_broken_watch() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    fleet.server(0).health(HealthAnswer::Serving);
    fleet.server(1).health(HealthAnswer::Hangs);
    let supervisor = supervise_fleet(&fleet, watched());
    let log = EventLog::of(&supervisor);
    links_up(&supervisor, 1).await;
    tokio::time::sleep(secs(19)).await;
    assert_eq!(supervisor.snapshot().endpoints[1].state, ConnectivityState::Connecting);
    let is_broken = |health: Health| health == Health::WatchBroken;
    let broken =
        |fact: &Fact| matches!(fact, Fact::HealthChanged { health, .. } if is_broken(*health));
    assert_time(log.first(broken).await, secs(20));
    assert_eq!(supervisor.snapshot().endpoints[1].state, ConnectivityState::TransientFailure);
    let calls = calls_at(&supervisor.channel(), 10, secs(5)).await;
    assert_eq!(failed(calls).await, 0);
    assert_eq!(fleet.handled()[1], 0);
    fleet.server(1).health(HealthAnswer::Serving);
    bounded("it is asked again", links_up(&supervisor, 2)).await;
    assert_eq!(log.links_lost().len(), 0);
}

/// Calls that wait for the one server are not failed by its health, and fail-fast ones are told.
#[tokio::test(start_paused = true)]
async fn e12_where_no_server_serves_calls_wait_and_fail_fast_calls_are_told_why() {
    let (fleet, supervisor, _log) = healthy_fleet(2, watched()).await;
    fleet.servers().iter().for_each(|server| server.health(HealthAnswer::NotServing));
    links_up(&supervisor, 0).await;
    assert_eq!(supervisor.state(), ConnectivityState::TransientFailure);
    let channel = supervisor.channel();
    let refused = say(&channel, "x", CallOptions::new().wait_for_ready(false)).await;
    let refused = refused.expect_err("nobody serves");
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("its health watch says NOT_SERVING"), "{refused:?}");
    let waits = start(&channel, "x", CallOptions::new());
    tokio::time::sleep(secs(10)).await;
    fleet.server(1).health(HealthAnswer::Serving);
    let (took, answer) = bounded("answered", waits).await.expect("no panic");
    answer.expect("answered");
    assert_time(took, secs(10));
}

/// The watch is no call: keepalive without calls rests, and the peer's limit holds for calls.
#[tokio::test(start_paused = true)]
async fn e12_a_watch_is_no_call_and_takes_one_stream_of_the_peers_limit() {
    let network = MemoryNetwork::new();
    let options = ScriptedServer::builder().max_concurrent_streams(3);
    let fleet = Fleet::with_options(&network, 2, options).await;
    fleet.servers().iter().for_each(|server| {
        server.health(HealthAnswer::Serving);
        server.script(Script::delay(secs(1)));
    });
    let supervisor = supervise_fleet(&fleet, watched());
    links_up(&supervisor, 2).await;
    assert_eq!(supervisor.snapshot().streams, 0);
    let calls = start_many(&supervisor.channel(), CallOptions::new(), 8);
    settle().await;
    assert_eq!((fleet.handled(), supervisor.snapshot().calls_waiting), (vec![2, 2], 4));
    assert!(join(calls).await.iter().all(|(took, _)| *took <= ms(2_010)));
}

/// A peer that allows one stream would have none left for calls.
#[tokio::test(start_paused = true)]
async fn e12_a_server_that_allows_one_stream_is_not_asked() {
    let network = MemoryNetwork::new();
    let options = ScriptedServer::builder().max_concurrent_streams(1);
    let fleet = Fleet::with_options(&network, 2, options).await;
    fleet.servers().iter().for_each(|server| server.health(HealthAnswer::Serving));
    let supervisor = supervise_fleet(&fleet, watched());
    let log = EventLog::of(&supervisor);
    links_up(&supervisor, 2).await;
    echo(&supervisor.channel(), "x").await.expect("answered");
    assert_eq!(changes(&log), [Health::Unsupported; 2]);
}

/// Where a task that asks panics, its link is lost and replaced: nobody would ever hear of it.
#[tokio::test(start_paused = true)]
async fn questions_that_panic_are_a_link_lost_with_their_words() {
    hide_injected_panics();
    let (fleet, supervisor, log) = healthy_fleet(1, watched()).await;
    supervisor.panics().arm(tonic_supervisor::Child::Task, "Health", 1);
    fleet.server(0).health(HealthAnswer::NotServing);
    log.until("the link is lost", 1, |fact| matches!(fact, Fact::LinkLost { .. })).await;
    let told = log.links_lost()[0].to_string();
    assert!(told.contains("the questions about its health panicked: injected"), "{told}");
    fleet.server(0).health(HealthAnswer::Serving);
    supervisor.wait_ready(secs(5)).await.expect("Ready");
}

/// Pain 26: a proxy that acknowledges PINGs for a server that is gone.
#[tokio::test(start_paused = true)]
async fn pain_26_a_proxy_before_a_dead_server_is_found_out_by_probes_and_dialled_anew() {
    let network = MemoryNetwork::new();
    let proxy = RawPeer::on_memory(&network, ADDRESS).await.never_answer();
    let config = config().health_probe_period(secs(10)).health_probe_timeout(secs(2));
    let supervisor = supervise(&network, config.keepalive_time(secs(10)));
    let log = EventLog::of(&supervisor);
    supervisor.wait_ready(secs(1)).await.expect("it greets");
    let fails = |fact: &Fact| {
        let failing = ConnectivityState::TransientFailure;
        matches!(fact, Fact::StateChanged { to, .. } if *to == failing)
    };
    let found = log.first(fails).await;
    let expected = 3 * secs(12);
    assert!(found.abs_diff(expected) <= expected / 10, "{found:?}");
    let given_up = log.count(|fact| matches!(fact, Fact::KeepaliveLost { .. }));
    assert!(proxy.pings().len() >= 2 && given_up == 0, "keepalive is content");
    // Another link is dialled, which is not used before it has answered.
    settle().await;
    assert_eq!(proxy.accepts().len(), 2);
    assert_eq!(supervisor.state(), ConnectivityState::Connecting);
    let waits = start(&supervisor.channel(), "x", CallOptions::new().timeout(secs(600)));
    // The server is back, and the proxy finds it for new links.
    let port = proxy.address();
    proxy.stop().await;
    let server = ScriptedServer::on_memory(&network, &port).await;
    server.health(HealthAnswer::Unimplemented);
    let (_, answer) = bounded("answered", waits).await.expect("no panic");
    answer.expect("answered");
}

/// The other half: what has no health service, or says that it does not serve, answers.
#[tokio::test(start_paused = true)]
async fn pain_26_a_server_that_answers_a_probe_whatever_it_says_stays_ready() {
    let answers = [
        (HealthAnswer::Unimplemented, 1),
        (HealthAnswer::NotServing, 10),
        (HealthAnswer::Fails(Code::Unavailable), 10),
    ];
    for (answer, probes) in answers {
        let network = MemoryNetwork::new();
        let fleet = Fleet::on_memory(&network, 1).await;
        fleet.server(0).health(answer);
        let supervisor =
            supervise(&network, config_for(&fleet.address(0)).health_probe_period(secs(10)));
        let log = EventLog::of(&supervisor);
        supervisor.wait_ready(secs(1)).await.expect("Ready");
        tokio::time::sleep(secs(101)).await;
        assert_eq!(supervisor.state(), ConnectivityState::Ready, "{answer:?}");
        assert_eq!(fleet.server(0).health_questions().len(), probes, "{answer:?}");
        assert_eq!(changes(&log).len(), 1, "{answer:?}");
        assert_eq!((supervisor.snapshot().links, log.links_lost().len()), (1, 0), "{answer:?}");
    }
}

/// Of several servers, the one that answers no probe is out; nothing is dialled for it, and it is
/// back with its first answer.
#[tokio::test(start_paused = true)]
async fn pain_26_one_of_several_that_answers_no_probe_is_out_until_it_does() {
    let config = round_robin().health_probe_period(secs(10));
    let (fleet, supervisor, log) = healthy_fleet(3, config).await;
    fleet.server(0).health(HealthAnswer::Hangs);
    links_up(&supervisor, 2).await;
    fleet.server(0).health(HealthAnswer::Serving);
    links_up(&supervisor, 3).await;
    assert_eq!((supervisor.snapshot().links, log.links_lost().len()), (3, 0));
}

/// Calls that take all the places that the server gives them are no reason to doubt it.
#[tokio::test(start_paused = true)]
async fn pain_26_a_probe_has_its_place_however_many_calls_there_are() {
    for (limit, run, probes) in [(3, 2, 8), (1, 1, 0)] {
        let network = MemoryNetwork::new();
        let options = ScriptedServer::builder().max_concurrent_streams(limit);
        let fleet = Fleet::with_options(&network, 1, options).await;
        fleet.server(0).health(HealthAnswer::Serving);
        fleet.server(0).script(Script::delay(secs(100)));
        let config = config_for(&fleet.address(0)).health_probe_period(secs(10));
        let supervisor = supervise(&network, config.timeout(secs(600)));
        let log = EventLog::of(&supervisor);
        supervisor.wait_ready(secs(1)).await.expect("Ready");
        settle().await;
        let calls = start_many(&supervisor.channel(), CallOptions::new(), 4);
        tokio::time::sleep(secs(85)).await;
        assert_eq!(
            (fleet.server(0).handled(), supervisor.state()),
            (run, ConnectivityState::Ready)
        );
        assert_eq!(fleet.server(0).health_questions().len(), probes, "of {limit}");
        let failed: Vec<_> =
            join(calls).await.into_iter().filter(|(_, end)| end.is_err()).collect();
        assert!(failed.is_empty(), "of {limit}: {failed:?}");
        assert_eq!((supervisor.snapshot().links, log.links_lost().len()), (1, 0), "of {limit}");
    }
}
