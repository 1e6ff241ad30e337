//! Which lines people read of an outage, and of what a peer can cause at will.

use super::*;
use crate::model::{DialFailure, DialStep, Event, GoAway, Incarnation};
use std::time::SystemTime;

const START: Duration = Duration::ZERO;

fn state(to: ConnectivityState) -> Fact {
    Fact::StateChanged {
        from: ConnectivityState::Connecting,
        to,
        cause: "refused".into(),
        incarnation: Incarnation(1),
    }
}

fn dial_failed() -> Fact {
    Fact::DialFailed {
        incarnation: Incarnation(1),
        endpoint: EndpointId(1),
        failure: DialFailure::new(DialStep::Connect, "refused"),
        steps: Box::default(),
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A server that changes its mind all the time writes no line each time.
#[test]
fn a_health_that_flips_ten_times_a_second_is_a_few_lines_a_minute() {
    let mut log = EventLines { connected: true, ..EventLines::default() };
    let mut written = 0;
    for n in 0..600 {
        let bad = n % 2 == 0;
        let health = if bad { Health::NotServing } else { Health::Serving };
        let (incarnation, endpoint) = (Incarnation(1), EndpointId(1));
        let cause = "its health watch says so".into();
        let to = if bad { ConnectivityState::TransientFailure } else { ConnectivityState::Ready };
        let now = Duration::from_millis(100 * n);
        let news = Fact::HealthChanged { incarnation, endpoint, health, cause };
        written += log.choose(&news, now).iter().count();
        written += log.choose(&state(to), now).iter().count();
    }
    assert!((10..=40).contains(&written), "{written}");
}

/// Scenario 29: ten minutes of outage at a dial every ten seconds.
#[test]
fn an_outage_of_ten_minutes_is_at_most_ten_lines_and_one_at_its_end() {
    let mut log = EventLines { connected: true, ..EventLines::default() };
    assert_eq!(
        log.choose(&state(ConnectivityState::TransientFailure), START),
        Some(Line::ConnectionLost)
    );
    let lines = (1..=60).filter_map(|n| {
        assert_eq!(log.choose(&state(ConnectivityState::TransientFailure), secs(10 * n)), None);
        log.choose(&dial_failed(), secs(10 * n))
    });
    assert_eq!(lines.count(), 6);
    let end = log.choose(&state(ConnectivityState::Ready), secs(600));
    assert_eq!(end, Some(Line::ConnectedAgain { failed_dials: 60, outage: secs(600) }));
    assert_eq!(log.choose(&state(ConnectivityState::Ready), secs(600)), None);
}

/// Each wait is up to a fifth shorter or longer than it should be.
#[test]
fn however_long_an_outage_lasts_five_minutes_never_pass_without_a_line() {
    for wait in [1, 10, 60, 100, 120] {
        let mut log = EventLines { connected: true, ..EventLines::default() };
        log.choose(&state(ConnectivityState::TransientFailure), START);
        let (mut now, mut said, mut lines) = (START, START, 0);
        for n in 0..10_000_u64 {
            now += secs(wait) * (8 + u32::try_from(n * 7 % 5).expect("below 5")) / 10;
            if log.choose(&dial_failed(), now).is_some() {
                assert!(now - said <= LONGEST, "{wait} s: none from {said:?} to {now:?}");
                (said, lines) = (now, lines + 1);
            }
        }
        let at_most = 14 + now.as_secs() / 100;
        assert!(lines <= at_most, "{wait} s: {lines} lines in {now:?}");
    }
}

#[test]
fn until_the_first_link_the_first_failure_is_a_line_and_so_is_the_link() {
    let failing = state(ConnectivityState::TransientFailure);
    let ready = state(ConnectivityState::Ready);
    let mut log = EventLines::default();
    let failed = dial_failed();
    let facts = [&failed, &failing, &failed, &failing, &failed, &failing, &ready];
    let lines: Vec<_> = facts.into_iter().filter_map(|fact| log.choose(fact, START)).collect();
    let goes = Line::StillNotConnected { failed_dials: 2, outage: Duration::ZERO };
    assert_eq!(lines, [Line::NotConnectedYet, goes, Line::Connected { failed_dials: 3 }]);
    assert_eq!(
        log.choose(&failing, START),
        Some(Line::ConnectionLost),
        "from then on an outage is one"
    );
    let mut log = EventLines::default();
    assert_eq!(log.choose(&ready, START), Some(Line::Connected { failed_dials: 0 }));
}

/// Counted by kind: a flood of one does not hide the first of another, and a quiet minute ends
/// it.
#[test]
fn what_a_peer_can_cause_at_will_is_said_at_the_first_second_and_fourth_time() {
    let goaway = GoAway { last_stream_id: 0, code: 0, debug: String::new() };
    let goaway =
        Fact::GoAwayReceived { incarnation: Incarnation(1), endpoint: EndpointId(1), goaway };
    let throttled =
        Fact::RetryThrottled { method: "pkg.Svc/Do".into(), code: tonic::Code::Unavailable };
    let mut log = EventLines::default();
    let doubled = |n| Line::Repeated { times: 1_u64 << n };
    let times: Vec<_> = (1..=1_000).filter_map(|n| log.choose(&goaway, secs(n) / 4)).collect();
    assert_eq!(times, (0..10).map(doubled).collect::<Vec<_>>());
    let last = secs(250);
    assert_eq!(log.choose(&throttled, last), Some(doubled(0)));
    assert_eq!(log.choose(&goaway, last + QUIET), Some(doubled(0)), "it had been quiet");
}

/// What it shows changes as well, and is no line of its own.
#[test]
fn an_endpoint_that_is_ejected_and_returns_is_a_line_each() {
    let (endpoint, addresses) = (EndpointId(1), std::sync::Arc::<str>::from("10.0.0.7:50051"));
    let shows = |from, to| {
        let (addresses, cause) = (addresses.clone(), "7 calls in a row failed there".into());
        Fact::SubchannelChanged { endpoint, addresses, from, to, cause }
    };
    let (ready, failing) = (ConnectivityState::Ready, ConnectivityState::TransientFailure);
    let (method, ejected_for) = ("pkg.Svc/Do".into(), secs(1));
    let ejected =
        Fact::EndpointEjected { endpoint, addresses: addresses.clone(), method, ejected_for };
    let returned = Fact::EndpointReturned { endpoint, addresses: addresses.clone() };
    let facts = [ejected, shows(ready, failing), returned, shows(failing, ready)];
    let mut log = EventLines { connected: true, ..EventLines::default() };
    let lines = facts.iter().filter_map(|fact| Some(log.choose(fact, START)?.sentence(fact)));
    let expected = [
        "endpoint 10.0.0.7:50051 is ejected for 1.0 s, its calls keep failing: pkg.Svc/Do",
        "endpoint 10.0.0.7:50051 is in use again (2 times by now)",
    ];
    assert_eq!(lines.collect::<Vec<_>>(), expected);
    assert_eq!(log.choose(&shows(ready, failing), START), Some(Line::EndpointLost));
}

#[test]
fn lines_for_people_are_sentences() {
    let mut lines = EventLines::default();
    let snapshot = Snapshot { target: "queue:50051".into(), ..Snapshot::default() };
    let mut told = vec![lines.line(&EventItem::Snapshot(Box::new(snapshot)))];
    let mut tell = |seconds, fact| {
        let event = Event { seq: 1, at: SystemTime::UNIX_EPOCH, since_spawn: secs(seconds), fact };
        told.push(lines.line(&EventItem::Event(event)));
    };
    for n in 1..=5 {
        tell(n, dial_failed());
        tell(n, state(ConnectivityState::TransientFailure));
    }
    tell(9, state(ConnectivityState::Ready));
    tell(100, state(ConnectivityState::TransientFailure));
    tell(101, dial_failed());
    tell(4_000, state(ConnectivityState::Ready));
    tell(4_001, Fact::DrainStarted { grace: Some(secs(30)) });
    tell(4_002, Fact::Closed { cause: None });
    let told: Vec<_> = told.into_iter().flatten().collect();
    let expected = [
        "queue:50051 is IDLE",
        "not connected yet: refused",
        "still not connected after 1.0 s and 2 failed dials: refused",
        "still not connected after 3.0 s and 4 failed dials: refused",
        "connected, after 5 failed dials",
        "connection lost: refused",
        "still not connected after 1.0 s and 1 failed dial: refused",
        "connected again after 1 h 5 min and 1 failed dial",
        "draining: what runs may take 30.0 s more",
        "closed",
    ];
    assert_eq!(told, expected);
}
