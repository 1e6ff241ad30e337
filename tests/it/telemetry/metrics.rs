//! What is counted, under gRPC's names (A66 calls and attempts, A94 links, A96 retries) and ours,
//! with which labels.

use crate::support::*;
use metrics_util::debugging::DebuggingRecorder;
use std::sync::Mutex;
use tonic::Code;
use tonic_supervisor::{
    CallOptions, ConnectivityState, Fact, record_levels,
    testing::{Answer, MemoryNetwork, RawPeer, Script, ScriptedServer},
};

const TARGET: &str = "grpc.target=dns:///server:50051";
const METHOD: &str = "grpc.method=test.Echo/Say,";

/// The value of a metric; the labels are those of `extra` and the target's.
#[track_caller]
fn value<'a>(recorded: &'a Recorded, name: &str, extra: &str) -> &'a [f64] {
    let mut labels: Vec<_> =
        extra.split(',').filter(|label| !label.is_empty()).chain([TARGET]).collect();
    labels.sort();
    let key = format!("{name}{{{}}}", labels.join(","));
    recorded.get(&key).unwrap_or_else(|| panic!("no {key} in {:#?}", recorded.keys()))
}

fn seconds_of(values: &[f64], expected: &[f64]) {
    assert_eq!(values.len(), expected.len(), "{values:?}");
    assert!(
        values.iter().zip(expected).all(|(value, expected)| (value - expected).abs() < 0.01),
        "{values:?}"
    );
}

/// A66 and A96: two busy answers, a refusal, an answer; then an error that is not retried.
#[test]
fn calls_and_attempts_are_counted_under_grpcs_names() {
    let recorded = record(|| async {
        let rig = Rig::new(config()).await.ready().await;
        let busy = Answer::status(Code::Unavailable);
        rig.server
            .script(Script::sequence(vec![busy.clone(), Answer::reset(7), busy], Answer::echo()));
        rig.call(CallOptions::new()).await.expect("the fourth attempt is answered");
        rig.server.script(Script::always(Code::NotFound));
        rig.call(CallOptions::new()).await.expect_err("nothing is there");
    });
    let of = |name, status| value(&recorded, name, &format!("{METHOD}{status}"));
    assert_eq!(of("grpc.client.attempt.started", ""), [5.0]);
    assert_eq!(of("grpc.client.attempt.duration", "grpc.status=UNAVAILABLE").len(), 3);
    assert_eq!(of("grpc.client.attempt.duration", "grpc.status=OK").len(), 1);
    assert_eq!(of("grpc.client.attempt.duration", "grpc.status=NOT_FOUND").len(), 1);
    // "hello" as a message is 7 bytes; gRPC's prefix of 5 does not count (A66).
    assert_eq!(
        of("grpc.client.attempt.sent_total_compressed_message_size", "grpc.status=OK"),
        [7.0]
    );
    assert_eq!(
        of("grpc.client.attempt.rcvd_total_compressed_message_size", "grpc.status=OK"),
        [7.0]
    );
    assert_eq!(
        of("grpc.client.attempt.rcvd_total_compressed_message_size", "grpc.status=NOT_FOUND"),
        [0.0]
    );
    seconds_of(of("grpc.client.call.duration", "grpc.status=OK"), &[3.0]);
    seconds_of(of("grpc.client.call.duration", "grpc.status=NOT_FOUND"), &[0.0]);
    assert_eq!(of("grpc.client.call.retries", ""), [2.0], "zeroes are not recorded");
    assert_eq!(of("grpc.client.call.transparent_retries", ""), [1.0]);
    seconds_of(of("grpc.client.call.retry_delay", ""), &[3.0]);
}

/// Whoever draws a rate of failures needs them at 0 before the first.
#[test]
fn what_can_be_counted_is_there_at_0_when_a_supervisor_is_spawned() {
    let recorded = record(|| async {
        Rig::new(config()).await.ready().await;
    });
    for (name, label, values) in [
        ("grpc.subchannel.connection_attempts_failed", "", &[""][..]),
        ("tonic_supervisor.keepalive.lost", "", &[""]),
        ("tonic_supervisor.retries.throttled", "", &[""]),
        ("tonic_supervisor.intensity.reached", "", &[""]),
        ("tonic_supervisor.calls.waiting", "", &[""]),
        ("tonic_supervisor.calls.open", "", &[""]),
        (
            "tonic_supervisor.calls.shed",
            "reason=",
            &["too_many_calls", "too_many_bytes", "would_not_finish"],
        ),
        ("tonic_supervisor.child.failures", "child=", &["supervisor", "connection", "request"]),
        ("tonic_supervisor.handlers.slow", "child=", &["supervisor", "connection", "request"]),
        (
            "tonic_supervisor.messages.stale",
            "message=",
            &["LinkUp", "LinkProven", "GoAwayReceived", "CallsWaiting"],
        ),
        (
            "tonic_supervisor.goaways",
            "code=",
            &["NO_ERROR", "ENHANCE_YOUR_CALM", "UNKNOWN_ERROR_CODE"],
        ),
        (
            "grpc.subchannel.disconnections",
            "grpc.disconnect_error=",
            &["GOAWAY NO_ERROR", "socket error", "unknown"],
        ),
    ] {
        for label_value in values {
            assert_eq!(
                value(&recorded, name, &format!("{label}{label_value}")),
                [0.0],
                "{name} {label_value}"
            );
        }
    }
}

/// They are read when somebody is about to look, and agree with the snapshot.
#[test]
fn open_calls_and_the_retry_allowance_are_gauges_that_agree_with_the_snapshot() {
    let snapshot = Mutex::new(None);
    let recorded = record(|| async {
        // The target is in no other test: theirs would be added.
        let network = MemoryNetwork::new();
        let server = ScriptedServer::builder().script(Script::always(Code::Unavailable));
        let _server = server.on_memory(&network, "levels:50051").await;
        let supervisor = supervise(&network, config().host("levels"));
        let channel = supervisor.channel();
        let call = tokio::spawn(async move { say(&channel, "hello", CallOptions::new()).await });
        eventually("it is retried", || supervisor.snapshot().retries > 0).await;
        record_levels();
        *snapshot.lock().expect("whole") = Some(supervisor.snapshot());
        call.abort();
    });
    let now = snapshot.into_inner().expect("whole").expect("taken");
    let allowance = now.allowance.expect("the throttle is on");
    assert!(now.calls_open == 1 && allowance.left < allowance.of, "{allowance:?}");
    for (name, expected) in [
        ("calls.open", 1.0),
        ("retries.allowance", allowance.left),
        ("retries.allowance_limit", allowance.of),
    ] {
        let key = format!("tonic_supervisor.{name}{{grpc.target=dns:///levels:50051}}");
        assert_eq!(recorded.get(&key).and_then(|values| values.last()), Some(&expected), "{key}");
    }
}

/// The unit and the meaning reach whatever recorder is installed.
#[test]
fn every_metric_that_is_recorded_has_a_unit_and_a_description() {
    let recorder = DebuggingRecorder::new();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let test = async {
        let rig = Rig::new(config()).await.ready().await;
        rig.server.script(Script::sequence(
            vec![Answer::status(Code::Unavailable), Answer::reset(7)],
            Answer::echo(),
        ));
        rig.call(CallOptions::new()).await.expect("an echo");
        record_levels();
    };
    metrics::with_local_recorder(&recorder, || runtime.expect("a runtime").block_on(test));
    let recorded = recorder.snapshotter().snapshot().into_vec();
    assert!(recorded.len() > 50, "{}", recorded.len());
    for (key, unit, description, _) in recorded {
        assert!(unit.is_some() && description.is_some(), "{}", key.key().name());
    }
}

/// A stranger who chooses the names of methods, behind a proxy say, makes nothing grow: not the
/// metrics, not the log.
#[test]
fn past_1000_methods_a_channel_remembers_no_more_of_them() {
    let log = LogLines::listen();
    let recorded = record(|| async {
        let rig = Rig::new(config().retry_undescribed(false)).await.ready().await;
        let mut grpc = tonic::client::Grpc::new(rig.supervisor.channel());
        for n in 0..1_500 {
            let path = format!("/test.Echo/M{n}").parse().expect("a path");
            grpc.ready().await.expect("ready");
            let answer = grpc.unary(
                tonic::Request::new("hello".to_owned()),
                path,
                tonic_prost::ProstCodec::default(),
            );
            let answer: Result<tonic::Response<String>, tonic::Status> = answer.await;
            answer.expect("served like any other");
        }
    });
    let started: Vec<_> = recorded
        .iter()
        .filter(|(key, _)| key.starts_with("grpc.client.attempt.started{"))
        .collect();
    assert_eq!(started.len(), 1_001);
    assert_eq!(value(&recorded, "grpc.client.attempt.started", "grpc.method=other"), [500.0]);
    assert_eq!(
        value(&recorded, "grpc.client.attempt.started", "grpc.method=test.Echo/M999"),
        [1.0]
    );
    assert_eq!(log.saying("nobody said whether this method is unary").len(), 1_000);
    assert_eq!(log.saying("1000 methods were called").len(), 1, "it is said once");
}

/// A94: a link that is lost, dials that fail, a link that goes away, a link whose peer falls
/// silent.
#[test]
fn links_are_counted_under_grpcs_names() {
    let recorded = record(|| async {
        let keepalive = config().keepalive_time(secs(30)).keepalive_timeout(secs(5));
        let rig = Rig::new(keepalive).await.ready().await;
        let mut events = EventReader::of(&rig.supervisor).await;
        rig.call(CallOptions::new()).await.expect("the link is proven");
        rig.server.kill().await;
        events.until(|fact| matches!(fact, Fact::DialFailed { .. })).await;
        rig.server.restart().await;
        events.until_state(ConnectivityState::Ready).await;
        rig.call(CallOptions::new()).await.expect("the link is proven");
        rig.server.goaway().await;
        events.until_state(ConnectivityState::Ready).await;
        rig.network.freeze_all();
        events.until(|fact| matches!(fact, Fact::KeepaliveLost { .. })).await;
        events.until_state(ConnectivityState::Ready).await;
        rig.network.reset_all();
        events.until(|fact| matches!(fact, Fact::LinkLost { .. })).await;
        events.until_state(ConnectivityState::Ready).await;
    });
    let of = |name, extra| value(&recorded, name, extra);
    assert_eq!(of("grpc.subchannel.connection_attempts_succeeded", ""), [5.0]);
    assert_eq!(of("grpc.subchannel.connection_attempts_failed", ""), [1.0]);
    assert_eq!(of("tonic_supervisor.dials", ""), [6.0]);
    assert_eq!(of("grpc.subchannel.open_connections", "grpc.security_level=none"), [1.0]);
    for error in ["socket error", "GOAWAY NO_ERROR", "connection timed out", "connection reset"] {
        let label = format!("grpc.disconnect_error={error}");
        assert_eq!(value(&recorded, "grpc.subchannel.disconnections", &label), [1.0], "{error}");
    }
    assert_eq!(of("tonic_supervisor.goaways", "code=NO_ERROR"), [1.0]);
    assert_eq!(of("tonic_supervisor.keepalive.lost", ""), [1.0]);
    assert_eq!(of("tonic_supervisor.channel.state", ""), [2.0], "READY");
}

/// Ours: what is refused, throttled, and how a shutdown leaves the gauges.
#[test]
fn refusals_and_throttled_retries_are_counted_and_a_shutdown_leaves_no_link_open() {
    let recorded = record(|| async {
        let throttled =
            config().retry_throttle_ratio(0.0).retry_throttle_floor(0.1).queue_max_calls(1);
        let rig = Rig::new(throttled).await.ready().await;
        rig.server.script(Script::always(Code::Unavailable));
        let busy = rig.call(CallOptions::new()).await.expect_err("the server is busy");
        assert_eq!(report(&busy).retries, 1, "the throttle allows one");
        rig.server.script(Script::hang());
        let first = start_many(&rig.supervisor.channel(), CallOptions::new(), 1);
        settle().await;
        let refused = rig.call(CallOptions::new()).await.expect_err("one call is open already");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        rig.supervisor.shutdown(secs(0)).await;
        assert_eq!(join(first).await[0].1.as_ref().expect_err("shut down").code(), Code::Cancelled);
    });
    let of = |name, extra| value(&recorded, name, extra);
    assert_eq!(of("tonic_supervisor.retries.throttled", ""), [1.0]);
    assert_eq!(of("tonic_supervisor.calls.shed", "reason=too_many_calls"), [1.0]);
    assert_eq!(
        of("grpc.subchannel.disconnections", "grpc.disconnect_error=subchannel shutdown"),
        [1.0]
    );
    assert_eq!(of("grpc.subchannel.open_connections", "grpc.security_level=none"), [0.0]);
    assert_eq!(of("tonic_supervisor.channel.state", ""), [4.0], "SHUTDOWN");
}

/// Scenario 16: what a former incarnation still says changes nothing, and is counted. A link that
/// drains proves itself late.
#[test]
fn scenario_16_late_messages_about_a_former_incarnation_are_dropped_and_counted() {
    let recorded = record(|| async {
        let network = MemoryNetwork::new();
        let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
        let supervisor = supervise(&network, config().reconnect_initial_backoff(ms(1)));
        let mut events = EventReader::of(&supervisor).await;
        let call = start_many(&supervisor.channel(), CallOptions::new(), 1);
        let mut first = peer.accept().await;
        first.send_settings(&[]).await;
        let (stream, _) = first.next_whole_request().await.expect("the call");
        first.goaway(stream, 0, "").await;
        let mut second = peer.accept().await;
        second.send_settings(&[]).await;
        let second = |fact: &Fact| match fact {
            Fact::LinkEstablished { incarnation, .. } => incarnation.0 == 2,
            _ => false,
        };
        events.until(second).await;
        first.answer(stream, b"\n\x02hi").await;
        assert!(join(call).await[0].1.is_ok());
        settle().await;
        assert!(!events.facts().await.iter().any(|fact| matches!(fact, Fact::BackoffReset { .. })));
        assert_eq!(supervisor.state(), ConnectivityState::Ready);
    });
    assert_eq!(value(&recorded, "tonic_supervisor.messages.stale", "message=LinkProven"), [1.0]);
}

/// Scenario 29: an outage of ten minutes, at a dial every ten seconds: at most ten lines of
/// warning, one of recovery with its length and its dials.
#[tokio::test(start_paused = true)]
async fn scenario_29_an_outage_of_ten_minutes_is_ten_warnings_at_most_and_one_last_line() {
    let log = LogLines::listen();
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let steady = config().reconnect_initial_backoff(secs(10)).reconnect_jitter(0.0);
    let supervisor = supervise(&network, steady);
    supervisor.wait_ready(LONG).await.expect("Ready");
    server.kill().await;
    tokio::time::sleep(secs(600)).await;
    server.restart().await;
    let mut events = EventReader::of(&supervisor).await;
    events.until_state(ConnectivityState::Ready).await;
    settle().await;
    assert!(network.dials().len() > 60, "{} dials", network.dials().len());
    let warnings =
        log.saying("").into_iter().filter(|line| line.level <= tracing::Level::WARN).count();
    assert!((2..=10).contains(&warnings), "{warnings} warnings");
    let recovered = log.saying("connected again");
    let [line] = &recovered[..] else { panic!("{recovered:?}") };
    let failed = network.dials().len() - 2;
    assert_eq!(line.field("failed_dials"), failed.to_string());
    let outage: u64 = line.field("outage_ms").parse().expect("milliseconds");
    assert!((600_000..610_000).contains(&outage), "{line:?}");
}
