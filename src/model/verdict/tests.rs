//! Each row by the least snapshot that means it. That the faults make these snapshots is tested
//! where faults are played (`tests/it/observe/verdicts.rs`).

use super::*;
use crate::model::{DialFailure, DialStep, Health, LinkEnd, LinkSnapshot};
use std::sync::Arc;
use tonic::Code;

const SECOND: Duration = Duration::from_secs(1);

fn endpoint(state: ConnectivityState) -> EndpointSnapshot {
    let links = if state == Ready { vec![LinkSnapshot::default()] } else { Vec::new() };
    EndpointSnapshot {
        endpoint: EndpointId(1),
        addresses: "10.0.3.7:443".into(),
        state,
        since: 31 * SECOND,
        links,
        ..EndpointSnapshot::default()
    }
}

fn snapshot(state: ConnectivityState) -> Snapshot {
    Snapshot {
        state,
        since: 31 * SECOND,
        was_connected: true,
        endpoints: vec![endpoint(state)],
        ..Snapshot::default()
    }
}

fn failing(step: DialStep) -> Snapshot {
    let mut snapshot = snapshot(ConnectivityState::TransientFailure);
    snapshot.calls_waiting = 41;
    let one = &mut snapshot.endpoints[0];
    one.failed_dials = 6;
    one.out_for = Some(45 * SECOND);
    one.dial_failure = Some(DialFailure::new(step, "cannot connect to 10.0.3.7:443: refused"));
    one.next_dial = Some(Duration::from_millis(800));
    snapshot
}

fn said(snapshot: &Snapshot) -> (VerdictKind, String) {
    let verdict = verdict(snapshot, &Recent::default());
    (verdict.kind, verdict.to_string())
}

#[test]
fn a_dial_that_fails_is_told_with_its_step_its_reason_and_what_is_next() {
    let steps = [
        (DialStep::Resolve, VerdictKind::Resolve),
        (DialStep::Connect, VerdictKind::Connect),
        (DialStep::Tls, VerdictKind::Tls),
        (DialStep::Handshake, VerdictKind::Handshake),
    ];
    let sentence = "cannot connect to 10.0.3.7:443: refused; out for 45.0 s, 6 dials failed; \
                    next dial in 800 ms; 41 calls wait";
    for (step, kind) in steps {
        assert_eq!(said(&failing(step)), (kind, sentence.to_owned()));
    }
}

#[test]
fn of_several_servers_the_one_that_came_furthest_speaks_for_all() {
    let mut snapshot = failing(DialStep::Connect);
    let mut other = failing(DialStep::Tls).endpoints.remove(0);
    other.endpoint = EndpointId(2);
    snapshot.endpoints.push(other);
    // One that was listed a moment ago, or whose dial has no place yet, says nothing for others.
    let idle = EndpointSnapshot { endpoint: EndpointId(3), ..endpoint(Idle) };
    snapshot.endpoints.push(idle);
    let verdict = verdict(&snapshot, &Recent::default());
    assert_eq!((verdict.kind, verdict.endpoint), (VerdictKind::Tls, EndpointId(2)));
    assert!(verdict.sentence.contains("; none of 3 servers takes calls; 41 calls wait"));
    let each: Vec<_> = endpoint_verdicts(&snapshot).iter().map(|one| one.kind).collect();
    assert_eq!(each, [VerdictKind::Connect, VerdictKind::Tls, VerdictKind::Idle]);
}

#[test]
fn a_server_that_is_out_is_named_while_the_others_serve() {
    let mut now = snapshot(Ready);
    let mut out = failing(DialStep::Connect).endpoints.remove(0);
    (out.endpoint, out.addresses) = (EndpointId(2), "10.0.3.8:443".into());
    now.endpoints.push(out);
    let (kind, sentence) = said(&now);
    assert_eq!(kind, VerdictKind::ServersOut);
    assert!(sentence.starts_with("1 of 2 servers takes no calls; 10.0.3.8:443: cannot connect"));
}

#[test]
fn links_that_end_unused_are_told_also_while_the_next_one_is_up() {
    let mut now = snapshot(Ready);
    (now.endpoints[0].short_links, now.endpoints[0].last_end) = (2, Some(LinkEnd::Closed));
    let (kind, sentence) = said(&now);
    assert_eq!(kind, VerdictKind::HangsUp);
    assert!(sentence.starts_with("2 links in a row ended unused"), "{sentence}");
    now.endpoints[0].last_end = Some(LinkEnd::KeepaliveTimeout);
    assert_eq!(said(&now).0, VerdictKind::KeepaliveLost);
    now.endpoints[0].short_links = 1;
    assert_eq!(said(&now).0, VerdictKind::Healthy, "it is up again");
    let mut lost = snapshot(ConnectivityState::Connecting);
    lost.endpoints[0].last_end = Some(LinkEnd::KeepaliveTimeout);
    assert_eq!(said(&lost).0, VerdictKind::KeepaliveLost);
    lost.endpoints[0].last_end = Some(LinkEnd::Closed);
    assert_eq!(said(&lost).0, VerdictKind::LinkLost);
}

#[test]
fn a_connected_server_that_gets_no_calls_says_why() {
    let mut now = snapshot(ConnectivityState::TransientFailure);
    now.endpoints[0].health = Some(Health::NotServing);
    assert_eq!(said(&now).0, VerdictKind::Unhealthy);
    now.endpoints[0].ejected_for = Some(2 * SECOND);
    let (kind, sentence) = said(&now);
    assert_eq!(kind, VerdictKind::Ejected);
    assert_eq!(sentence, "ejected, its calls kept failing: for 2.0 s more");
}

#[test]
fn calls_that_wait_for_room_are_told_with_the_limit() {
    let mut now = snapshot(Ready);
    (now.calls_waiting, now.max_in_flight) = (1, 1_000);
    let link = &mut now.endpoints[0].links[0];
    (link.streams, link.max_concurrent_streams) = (100, Some(100));
    let peer = "1 call waits for room: 100 of 100 streams are open (the peer's \
                MAX_CONCURRENT_STREAMS)";
    assert_eq!(said(&now), (VerdictKind::NoRoom, peer.to_owned()));
    now.endpoints[0].links[0].max_concurrent_streams = Some(1_000);
    assert_eq!(said(&now).0, VerdictKind::Healthy, "there is room: its turn comes");
    now.max_in_flight = 100;
    assert!(said(&now).1.ends_with("100 of 100 streams are open (max_in_flight)"));
}

#[test]
fn what_happened_lately_is_told_while_it_is_recent() {
    let now = snapshot(Ready);
    let mut recent = Recent { over: 60 * SECOND, ..Recent::default() };
    let kind = |recent: &Recent| verdict(&now, recent).kind;
    assert_eq!(kind(&recent), VerdictKind::Healthy);
    let mut method = MethodCounts { started: 20, attempts_ok: 20, ..MethodCounts::default() };
    (method.ended[0], method.retries) = (20, 20);
    recent.methods.push(method.clone());
    assert_eq!(kind(&recent), VerdictKind::ManyRetries);
    recent.methods[0].ended[Code::NotFound as usize] = 2;
    assert_eq!(kind(&recent), VerdictKind::ManyRetries, "two failures are not many");
    recent.methods[0].ended[Code::Cancelled as usize] = 20;
    assert_eq!(kind(&recent), VerdictKind::ManyRetries, "callers that give up are none");
    recent.methods[0].ended[Code::Cancelled as usize] = 0;
    recent.methods[0].ended[Code::NotFound as usize] = 3;
    assert_eq!(kind(&recent), VerdictKind::CallsFail);
    recent.retries_throttled = 1;
    assert_eq!(kind(&recent), VerdictKind::RetriesThrottled);
    recent.calls_shed = 1;
    assert_eq!(kind(&recent), VerdictKind::CallsRefused);
}

#[test]
fn the_method_that_fails_most_is_named_with_its_code_and_the_servers_words() {
    let now = snapshot(Ready);
    let mut method = MethodCounts { method: "pkg.Orders/Place".into(), ..MethodCounts::default() };
    (method.ended[0], method.ended[Code::Unavailable as usize]) = (60, 40);
    let words: Arc<str> = "busy".into();
    let at = std::time::UNIX_EPOCH;
    method.last_failure = Some(crate::model::LastFailure { code: Code::Unavailable, words, at });
    let recent = Recent { over: 60 * SECOND, methods: vec![method], ..Recent::default() };
    let sentence = "pkg.Orders/Place: 40 of 100 calls failed in the last 1 min 0 s, most with \
                    UNAVAILABLE \"busy\"";
    assert_eq!(verdict(&now, &recent).sentence, sentence);
}

#[test]
fn what_costs_no_call_now_is_told_when_nothing_else_is() {
    let mut now = snapshot(Ready);
    now.pings_reduced = true;
    assert_eq!(said(&now).0, VerdictKind::TooManyPings);
    now.lookup_failure = Some("SERVFAIL".into());
    assert_eq!(said(&now).0, VerdictKind::LookupsFail);
    now.tls_rejected = Some("ca.pem has no certificate".into());
    assert_eq!(said(&now).0, VerdictKind::TlsFilesRejected);
    now.last_child_failure = Some("request: a panic".into());
    now.since_child_failure = Some(59 * SECOND);
    assert_eq!(said(&now).0, VerdictKind::ActorFailed);
    now.since_child_failure = Some(60 * SECOND);
    assert_eq!(said(&now).0, VerdictKind::TlsFilesRejected);
    (now.calls_waiting, now.max_in_flight) = (1, 1);
    now.endpoints[0].links[0].streams = 1;
    assert_eq!(said(&now).0, VerdictKind::NoRoom);
}

#[test]
fn the_ends_of_a_life_are_told() {
    let mut now = snapshot(Shutdown);
    assert!(said(&now).1.contains("it was shut down"), "{now:?}");
    now.closed_by = Some("the actors failed".into());
    assert_eq!(said(&now), (VerdictKind::Closed, "closed since 31.0 s: the actors failed".into()));
    let mut now = snapshot(Ready);
    now.draining = Some(crate::model::Draining { left: Some(12 * SECOND) });
    now.calls_open = 3;
    let draining = "draining: 3 calls run, which may take 12.0 s more".to_owned();
    assert_eq!(said(&now), (VerdictKind::Draining, draining));
    now.intensity_reached = true;
    now.last_child_failure = Some("request: a panic".into());
    now.since_child_failure = Some(SECOND);
    assert_eq!(said(&now).0, VerdictKind::ActorsFailing);
    let idle = snapshot(Idle);
    assert_eq!(said(&idle).0, VerdictKind::Idle);
    let begun = Snapshot { was_connected: false, ..snapshot(Idle) };
    assert_eq!(said(&begun).0, VerdictKind::Connecting);
    let mut none = snapshot(ConnectivityState::TransientFailure);
    none.endpoints.clear();
    assert_eq!(said(&none).0, VerdictKind::NoEndpoints);
    none.lookup_failure = Some("SERVFAIL".into());
    assert_eq!(said(&none).0, VerdictKind::Resolve);
}

#[test]
fn every_kind_has_its_name_and_something_to_do() {
    let mut names: Vec<_> = VerdictKind::ALL.iter().map(|kind| kind.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), VerdictKind::ALL.len());
    for kind in VerdictKind::ALL {
        assert_eq!(kind.action() == "nothing", kind.is_well(), "{kind:?}");
    }
}
