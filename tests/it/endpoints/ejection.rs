//! E7: a server that fails at once keeps no calls, and the breaker never takes too many servers
//! out.

use super::*;
use tonic::Code;
use tonic_supervisor::{
    Child, ConnectivityState, EndpointId, Fact,
    testing::{Answer, Script},
};

fn least_request() -> ConfigBuilder {
    Config::builder().balancing_policy(Balancing::LeastRequest)
}

pub(super) fn is_ejection(fact: &Fact) -> bool {
    matches!(fact, Fact::EndpointEjected { .. })
}

pub(super) fn is_return(fact: &Fact) -> bool {
    matches!(fact, Fact::EndpointReturned { .. })
}

/// Whether an endpoint is ejected, or on probation.
pub(super) fn is_out(supervisor: &Supervisor, place: usize) -> bool {
    supervisor.snapshot().endpoints[place].ejected_for.is_some()
}

/// One of five answers UNAVAILABLE at once, at 200 calls a second: more of them show nothing
/// more, since each failure takes no time.
#[tokio::test(start_paused = true)]
async fn e07_a_server_that_fails_at_once_gets_one_call_for_each_probation_and_nobody_sees_an_error()
{
    for config in [round_robin(), least_request()] {
        let (_network, fleet, supervisor) = fleet_of(5, config).await;
        fleet.servers().iter().for_each(|server| server.script(Script::delay(ms(5))));
        fleet.server(2).script(Script::always(Code::Unavailable));
        let log = EventLog::of(&supervisor);
        let calls = calls_at(&supervisor.channel(), 200, secs(12)).await;
        assert_eq!(failed(calls).await, 0);
        let ejections = log.count(is_ejection);
        assert!((3..=5).contains(&ejections), "in 12 s, for about 1, 2, 4 and 8 s: {ejections}");
        assert_eq!(log.count(is_return), 0);
        // Seven until the first, and one that ended each probation.
        assert_eq!(fleet.server(2).handled(), 7 + ejections - 1);
        let now = &supervisor.snapshot().endpoints[2];
        assert_eq!(now.state, ConnectivityState::TransientFailure);
        assert!(now.ejected_for.is_some_and(|time| time <= secs(12)), "{now:?}");
        // It is well again: the next probation brings it back.
        fleet.server(2).script(Script::delay(ms(5)));
        let calls = calls_at(&supervisor.channel(), 200, secs(13)).await;
        assert_eq!(failed(calls).await, 0);
        assert_eq!((log.count(is_ejection), log.count(is_return)), (ejections, 1));
        let now = &supervisor.snapshot().endpoints[2];
        assert_eq!((now.state, now.ejected_for), (ConnectivityState::Ready, None));
        links_up(&supervisor, 5).await;
    }
}

/// peak_ewma counts a failure for five seconds: the endpoint is not asked often enough to be
/// ejected.
#[tokio::test(start_paused = true)]
async fn e07_under_peak_ewma_a_server_that_fails_at_once_gets_hardly_a_call() {
    let config = Config::builder().balancing_policy(Balancing::PeakEwma);
    let (_network, fleet, supervisor) = fleet_of(5, config).await;
    fleet.servers().iter().for_each(|server| server.script(Script::delay(ms(5))));
    fleet.server(2).script(Script::always(Code::Unavailable));
    let calls = calls_at(&supervisor.channel(), 200, secs(12)).await;
    assert_eq!(failed(calls).await, 0);
    assert!((1..=7).contains(&fleet.server(2).handled()), "{:?}", fleet.handled());
    let latency = supervisor.snapshot().endpoints[2].latency.expect("known");
    assert!(latency >= SECOND, "{latency:?}");
}

#[tokio::test(start_paused = true)]
async fn e07_of_five_servers_that_all_fail_two_are_ejected_and_calls_go_on_to_the_rest() {
    let config = least_request().max_retry_attempts(0);
    let (_network, fleet, supervisor) = fleet_of(5, config).await;
    fleet.servers().iter().for_each(|server| server.script(Script::always(Code::Unavailable)));
    let log = EventLog::of(&supervisor);
    let channel = supervisor.channel();
    for _ in 0..2_000 {
        echo(&channel, "x").await.expect_err("all fail");
    }
    let out = |supervisor: &Supervisor| {
        let now = supervisor.snapshot();
        now.endpoints.iter().filter(|endpoint| endpoint.ejected_for.is_some()).count()
    };
    assert_eq!((out(&supervisor), supervisor.state()), (2, ConnectivityState::Ready));
    assert!(fleet.handled().iter().filter(|calls| **calls > 100).count() >= 3);
    for _ in 0..20 {
        tokio::time::sleep(SECOND).await;
        for _ in 0..20 {
            echo(&channel, "x").await.expect_err("all fail");
        }
        assert!(out(&supervisor) <= 2);
    }
    assert_eq!(log.count(is_return), 0);
}

#[tokio::test(start_paused = true)]
async fn e07_the_only_server_is_never_ejected_nor_the_only_one_that_is_connected() {
    for servers in [1, 2] {
        let config = round_robin().max_retry_attempts(0).ejection_max_share(1.0);
        let (_network, fleet, supervisor) = fleet_of(servers, config).await;
        fleet.servers().iter().for_each(|server| server.script(Script::always(Code::Unavailable)));
        if servers == 2 {
            fleet.server(1).kill().await;
            links_up(&supervisor, 1).await;
        }
        let channel = supervisor.channel();
        for _ in 0..100 {
            echo(&channel, "x").await.expect_err("it fails");
        }
        let now = supervisor.snapshot();
        assert!(now.endpoints.iter().all(|endpoint| endpoint.ejected_for.is_none()), "{now:?}");
        assert_eq!((now.state, fleet.server(0).handled()), (ConnectivityState::Ready, 100));
    }
}

/// Under pick_first there is one endpoint, with however many links.
#[tokio::test(start_paused = true)]
async fn e07_under_pick_first_nothing_is_ejected() {
    let config = Config::builder().max_retry_attempts(0).connections(2);
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    fleet.servers().iter().for_each(|server| server.script(Script::always(Code::Unavailable)));
    let supervisor = supervise_fleet(&fleet, config);
    links_up(&supervisor, 2).await;
    for _ in 0..50 {
        echo(&supervisor.channel(), "x").await.expect_err("it fails");
    }
    assert_eq!(fleet.handled().iter().sum::<usize>(), 50);
    assert_eq!(supervisor.snapshot().endpoints[0].ejected_for, None);
}

/// An ejected endpoint whose others are gone is better than none.
#[tokio::test(start_paused = true)]
async fn an_ejected_server_is_called_where_it_is_the_only_one_left() {
    let config = round_robin().max_retry_attempts(0).ejection_base(secs(30));
    let (_network, fleet, supervisor) = fleet_of(2, config).await;
    let channel = supervisor.channel();
    eject_the_first(&fleet, &supervisor).await;
    fleet.server(1).kill().await;
    settle().await;
    assert_eq!(supervisor.state(), ConnectivityState::Ready);
    let status = echo(&channel, "x").await.expect_err("it fails still");
    assert_eq!((status.code(), fleet.server(0).handled()), (Code::Unavailable, 8));
}

/// Other codes are an application's answers, and lost links are the network's.
#[tokio::test(start_paused = true)]
async fn what_is_not_listed_ejects_nobody_and_an_answer_ends_the_run() {
    let config = round_robin().max_retry_attempts(0);
    let (_network, fleet, supervisor) = fleet_of(2, config).await;
    let channel = supervisor.channel();
    for code in [Code::Internal, Code::NotFound, Code::ResourceExhausted] {
        fleet.servers().iter().for_each(|server| server.script(Script::always(code)));
        for _ in 0..40 {
            echo(&channel, "x").await.expect_err("it fails");
        }
    }
    // Six of seven.
    for server in fleet.servers() {
        let failing = Answer::status(Code::Unavailable);
        let first: Vec<_> =
            (0..70).map(|n| if n % 7 == 6 { Answer::echo() } else { failing.clone() }).collect();
        server.script(Script::sequence(first, Answer::echo()));
    }
    for _ in 0..140 {
        let _ = echo(&channel, "x").await;
    }
    let now = supervisor.snapshot();
    assert!(now.endpoints.iter().all(|endpoint| endpoint.ejected_for.is_none()), "{now:?}");
}

/// Servers that are gone do not keep others from being ejected.
#[tokio::test(start_paused = true)]
async fn an_ejected_server_that_is_lost_leaves_its_share_to_others() {
    let config = round_robin().max_retry_attempts(0).ejection_base(secs(30));
    let (_network, fleet, supervisor) = fleet_of(4, config).await;
    let (channel, log) = (supervisor.channel(), EventLog::of(&supervisor));
    (0..2).for_each(|place| fleet.server(place).script(Script::always(Code::Unavailable)));
    for _ in 0..40 {
        let _ = echo(&channel, "x").await;
    }
    links_up(&supervisor, 2).await;
    assert!(is_out(&supervisor, 0) && is_out(&supervisor, 1));
    for place in 0..2 {
        fleet.server(place).kill().await;
    }
    log.until("they are ejected no more", 2, is_return).await;
    assert!(!is_out(&supervisor, 0) && !is_out(&supervisor, 1));
    fleet.server(2).script(Script::always(Code::Unavailable));
    for _ in 0..20 {
        let _ = echo(&channel, "x").await;
    }
    links_up(&supervisor, 1).await;
    assert!(is_out(&supervisor, 2));
}

/// Attempts are counted also while only one of several servers is connected.
#[tokio::test(start_paused = true)]
async fn the_only_server_that_is_connected_is_counted() {
    let (_network, fleet, supervisor) = fleet_of(2, round_robin().max_retry_attempts(0)).await;
    let channel = supervisor.channel();
    fleet.server(0).script(Script::always(Code::Unavailable));
    for _ in 0..12 {
        let _ = echo(&channel, "x").await;
    }
    fleet.server(1).kill().await;
    links_up(&supervisor, 1).await;
    // It answers: its run is over.
    fleet.server(0).script(Script::echo());
    echo(&channel, "x").await.expect("answered");
    assert!(supervisor.snapshot().endpoints[0].latency.is_some());
    fleet.server(1).restart().await;
    links_up(&supervisor, 2).await;
    fleet.server(0).script(Script::always(Code::Unavailable));
    for _ in 0..12 {
        let _ = echo(&channel, "x").await;
    }
    settle().await;
    assert!(!is_out(&supervisor, 0), "six failures in a row");
}

/// A panic at what calls say of an endpoint, or at the end of an ejection.
#[tokio::test(start_paused = true)]
async fn a_panic_at_an_ejection_or_at_its_end_loses_no_call() {
    hide_injected_panics();
    for message in ["EndpointJudged", "ProbationDue"] {
        let (_network, fleet, supervisor) = fleet_of(3, round_robin()).await;
        fleet.server(0).script(Script::always(Code::Unavailable));
        let log = EventLog::of(&supervisor);
        supervisor.panics().arm(Child::Supervisor, message, 1);
        let calls = calls_at(&supervisor.channel(), 100, secs(10)).await;
        assert_eq!(failed(calls).await, 0, "{message}");
        let expected = format!("injected by a test into Supervisor at {message}");
        let struck = |fact: &Fact| match fact {
            Fact::ChildFailed { error, .. } => error.contains(&expected),
            _ => false,
        };
        assert_eq!(log.count(struck), 1, "{message}");
        assert!(log.count(is_ejection) >= 1, "{message}: it is ejected all the same");
        fleet.server(0).script(Script::echo());
        assert_eq!(failed(calls_at(&supervisor.channel(), 20, secs(20)).await).await, 0);
        links_up(&supervisor, 3).await;
    }
}

/// A crash of the supervisor actor takes everybody back: it dials anew, and counts anew.
#[tokio::test(start_paused = true)]
async fn a_crash_of_the_supervisor_ends_every_ejection() {
    let config = round_robin().max_retry_attempts(0).ejection_base(secs(50));
    let (_network, fleet, supervisor) = fleet_of(3, config).await;
    let channel = supervisor.channel();
    eject_the_first(&fleet, &supervisor).await;
    let log = EventLog::of(&supervisor);
    hide_injected_panics();
    supervisor.panics().arm(Child::Supervisor, "ResetBackoff", 1);
    supervisor.reconnect_now();
    settle().await;
    links_up(&supervisor, 3).await;
    let back = |fact: &Fact| match fact {
        Fact::EndpointReturned { endpoint, .. } => *endpoint == EndpointId(1),
        _ => false,
    };
    assert_eq!(log.count(back), 1);
    for _ in 0..21 {
        let _ = echo(&channel, "x").await;
    }
    links_up(&supervisor, 2).await;
}
