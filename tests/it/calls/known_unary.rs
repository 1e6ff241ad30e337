//! Calls that are known to be unary, by descriptors, a marker or configuration, and how calls
//! through generated clients fail and end.

use super::generated_clients::{StdError, say, text};
use crate::support::{
    ADDRESS, EventLog, LONG, LogLines, Rig, codec, config, described, descriptors, echo, path,
    report, request, supervise, timed,
};
use bytes::Bytes;
use http_body::Body as HttpBody;
use prost::Message;
use std::time::Duration;
use tonic::{
    Code, Request,
    body::Body,
    client::{Grpc, GrpcService},
    service::interceptor::InterceptedService,
};
use tonic_supervisor::{
    CallKind, CallOptions, Cause, Config, ConfigBuilder, Fact, Phase, SupervisedChannel,
    Supervisor,
    config::MethodOptions,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};

/// How many attempts a call has on a server that is unavailable once, and whether it succeeds then.
async fn attempts<T>(
    config: ConfigBuilder,
    descriptors_say: Option<CallKind>,
    dress: impl FnOnce(SupervisedChannel) -> T,
    request: Request<String>,
) -> (usize, bool)
where
    T: GrpcService<Body>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Script::fail_times(1, Code::Unavailable));
    let set = descriptors_say.map(|kind| descriptors("test", kind == CallKind::Streaming));
    let supervisor = match set {
        Some(set) => described(&network, config, &set),
        None => supervise(&network, config),
    };
    let outcome = say(dress(supervisor.channel()), request).await;
    (server.arrivals().len(), outcome.is_ok())
}

#[tokio::test(start_paused = true)]
async fn descriptors_a_marker_or_configuration_each_make_a_call_retryable() {
    let plain = |channel| channel;
    let (unary, streams) = (Some(CallKind::Unary), Some(CallKind::Streaming));
    let (retried, not_retried) = ((2, true), (1, false));
    // Without the kind for methods that nobody described.
    let config = || config().retry_undescribed(false);
    assert_eq!(attempts(config(), None, plain, text()).await, not_retried, "nobody said");
    assert_eq!(attempts(config(), unary, plain, text()).await, retried);
    let marked_unary = || request("hello", CallOptions::new().unary());
    assert_eq!(attempts(config(), None, plain, marked_unary()).await, retried);
    for pattern in ["test.Echo/Say", "test.Echo/*", "*"] {
        let configured = config().method(pattern, MethodOptions::new().unary());
        assert_eq!(attempts(configured, None, plain, text()).await, retried, "{pattern}");
    }
    let marking = |mut request: Request<()>| {
        request.extensions_mut().insert(CallOptions::new().unary());
        Ok(request)
    };
    let intercepted = |channel| InterceptedService::new(channel, marking);
    let by_interceptor = attempts(config(), None, intercepted, text()).await;
    assert_eq!(by_interceptor, retried, "marked by an interceptor");

    // Who knows better: descriptors, then configuration, then the marker.
    let defaults = crate::support::config;
    assert_eq!(attempts(defaults(), streams, plain, marked_unary()).await, not_retried);
    let streaming =
        || crate::support::config().method("test.Echo/Say", MethodOptions::new().streaming());
    assert_eq!(attempts(streaming(), None, plain, marked_unary()).await, not_retried);
    assert_eq!(attempts(streaming(), unary, plain, text()).await, retried);
    let never = request("hello", CallOptions::new().unary().retry(false));
    assert_eq!(attempts(defaults(), None, plain, never).await, not_retried);
}

#[test]
fn what_is_no_descriptor_set_is_refused_with_what_to_give() {
    let wrong = Supervisor::builder(Config::default()).descriptor_set(b"\xff\xff");
    assert!(wrong.expect_err("no descriptors").to_string().contains("FileDescriptorSet"));
}

/// One attempt by policy; what the server certainly did not process is sent again all the same.
#[tokio::test(start_paused = true)]
async fn with_retry_undescribed_off_a_call_nobody_described_gets_one_attempt_and_a_hint() {
    let log = LogLines::listen();
    let rig = Rig::new(config().retry_undescribed(false)).await;
    for first in [Answer::status(Code::Unavailable), Answer::cut_after_processing()] {
        rig.server.script(Script::sequence(vec![first], Answer::echo()));
        let status = say(rig.supervisor.channel(), text()).await.expect_err("one attempt");
        assert_eq!((status.code(), report(&status).attempts_made), (Code::Unavailable, 1));
    }
    rig.server.script(Script::sequence(vec![Answer::reset(7)], Answer::echo()));
    say(rig.supervisor.channel(), text()).await.expect("sent again");
    let snapshot = rig.supervisor.snapshot();
    assert_eq!((snapshot.retries, snapshot.transparent_retries, rig.server.refused()), (0, 1, 1));
    assert!(rig.previous_attempts().iter().all(Option::is_none));

    let hints = log.saying("descriptor_set(..)");
    assert_eq!(
        hints.iter().map(|hint| hint.field("method")).collect::<Vec<_>>(),
        ["test.Echo/Say"]
    );
    echo(&rig.supervisor.channel(), "unary by construction").await.expect("answered");
    assert_eq!(log.saying("descriptor_set(..)").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_attempts_error_comes_intact_and_the_calls_report_is_its_source() {
    let rig = Rig::new(config().max_retry_attempts(2)).await;
    // Trailers only, and trailers after headers; the details are "one", "two", "three" in base64.
    let first =
        Answer::status(Code::Unavailable).text("first").trailer("grpc-status-details-bin", "b25l");
    let second = Answer::headers_then_error(Code::Aborted)
        .text("second")
        .trailer("grpc-status-details-bin", "dHdv");
    let third = Answer::headers_then_error(Code::Internal)
        .text("the%20third%20%E9%94%99")
        .trailer("grpc-status-details-bin", "dGhyZWU")
        .trailer("x-why", "because");
    rig.server.script(Script::sequence(vec![first, second], third));
    let status = say(rig.supervisor.channel(), request("hello", CallOptions::new().unary()))
        .await
        .expect_err("all fail");
    assert_eq!(
        (status.code(), status.message(), status.details()),
        (Code::Internal, "the third 错", &b"three"[..])
    );
    assert_eq!(status.metadata().get("x-why").expect("kept"), "because");

    let report = report(&status);
    let attempts: Vec<_> = report
        .attempts
        .iter()
        .map(|attempt| {
            (attempt.attempt, attempt.code(), attempt.phase(), attempt.elapsed.as_secs())
        })
        .collect();
    let processed = |n, code, at| (n, code, Phase::Processed, at);
    let expected = [
        processed(0, Code::Unavailable, 0),
        processed(1, Code::Aborted, 1),
        processed(2, Code::Internal, 3),
    ];
    assert_eq!(attempts, expected);
    assert_eq!(
        (report.method.as_str(), report.attempts_made, report.retries),
        ("test.Echo/Say", 3, 2)
    );
    assert_eq!((&report.outcome.cause, report.maybe_processed), (&Cause::Status, true));
}

/// A stream that fails in the middle: its messages, then the peer's status once, as from tonic's
/// own channel.
#[tokio::test(start_paused = true)]
async fn a_streams_error_comes_intact_after_its_messages() {
    let rig = Rig::new(config()).await;
    let messages = ["a", "b"].map(|text| text.to_owned().encode_to_vec());
    rig.server.script(
        Answer::stream(messages, Code::DataLoss).text("page torn").trailer("x-why", "because"),
    );
    let mut grpc = Grpc::new(rig.supervisor.channel());
    let stream = grpc
        .server_streaming::<String, String, _>(text(), path(), codec())
        .await
        .expect("it begins");
    let mut stream = stream.into_inner();
    for text in ["a", "b"] {
        assert_eq!(stream.message().await.expect("a message").as_deref(), Some(text));
    }
    let status = stream.message().await.expect_err("torn");
    assert_eq!((status.code(), status.message()), (Code::DataLoss, "page torn"));
    assert_eq!(status.metadata().get("x-why").expect("kept"), "because");
    assert!(stream.message().await.expect("no second error").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_requests_timeout_bounds_queue_attempts_and_waits() {
    let two = Duration::from_secs(2);
    let rig = Rig::new(config()).await;
    let mut request = request("hello", CallOptions::new().unary());
    request.set_timeout(two);
    rig.server.script(Script::hang());
    let (took, outcome) = timed(say(rig.supervisor.channel(), request)).await;
    let status = outcome.expect_err("no answer");
    assert_eq!(
        (took, status.code(), &report(&status).outcome.cause),
        (two, Code::DeadlineExceeded, &Cause::Deadline(None))
    );
    rig.server.given_up(1).await;

    // While it waits for a link, the message says for which.
    rig.server.kill().await;
    EventLog::of(&rig.supervisor).first(|fact| matches!(fact, Fact::DialFailed { .. })).await;
    let mut request = text();
    request.set_timeout(two);
    let (took, outcome) = timed(say(rig.supervisor.channel(), request)).await;
    let status = outcome.expect_err("no server");
    assert_eq!(
        (took, status.code(), report(&status).maybe_processed),
        (two, Code::DeadlineExceeded, false)
    );
    assert!(status.message().contains("connection refused"), "{}", status.message());
}

/// `timeout` is for unary calls: a stream obeys its own timeout, and without one lives as long as
/// it likes.
#[tokio::test(start_paused = true)]
async fn a_stream_obeys_only_its_own_timeout_also_between_its_messages() {
    let rig = Rig::new(config()).await;
    let texts = vec!["a".to_owned().encode_to_vec(); 100];
    rig.server.script(Answer::stream(texts, Code::Ok).every(Duration::from_secs(3)));
    for (timeout, messages) in [(Some(Duration::from_secs(10)), 3), (None, 100)] {
        let mut request = text();
        timeout.into_iter().for_each(|timeout| request.set_timeout(timeout));
        let mut grpc = Grpc::new(rig.supervisor.channel());
        let (took, (read, end)) = timed(async {
            let stream = grpc.server_streaming::<String, String, _>(request, path(), codec()).await;
            let mut stream = stream.expect("it begins").into_inner();
            let mut read = 0;
            loop {
                match stream.message().await {
                    Ok(Some(_)) => read += 1,
                    Ok(None) => break (read, Code::Ok),
                    Err(status) => break (read, status.code()),
                }
            }
        })
        .await;
        let code = if timeout.is_some() { Code::DeadlineExceeded } else { Code::Ok };
        assert_eq!(
            (read, end, took),
            (messages, code, timeout.unwrap_or(Duration::from_secs(300)))
        );
    }
}

/// Dropping the future, or the stream of answers, ends the call on the wire at once.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_reset_on_the_wire_at_once() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::hang());
    let call =
        tokio::spawn(say(rig.supervisor.channel(), request("hello", CallOptions::new().unary())));
    rig.server.arrived(1).await;
    call.abort();
    assert_eq!(timed(rig.server.given_up(1)).await.0, Duration::ZERO);

    rig.server.script(Answer::message("a".to_owned().encode_to_vec()).then_hang());
    let mut grpc = Grpc::new(rig.supervisor.channel());
    let stream = grpc
        .server_streaming::<String, String, _>(text(), path(), codec())
        .await
        .expect("it begins");
    let mut stream = stream.into_inner();
    assert_eq!(stream.message().await.expect("a message").as_deref(), Some("a"));
    drop(stream);
    assert_eq!(timed(rig.server.given_up(2)).await.0, Duration::ZERO);
    assert_eq!(rig.supervisor.snapshot().calls_open, 0);
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
    assert_eq!(rig.server.connections(), 1, "the link is none the worse");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_that_waits_leaves_the_queue_at_once() {
    let rig = Rig::new(config()).await;
    rig.server.kill().await;
    let call =
        tokio::spawn(say(rig.supervisor.channel(), request("hello", CallOptions::new().unary())));
    EventLog::of(&rig.supervisor).first(|fact| matches!(fact, Fact::DialFailed { .. })).await;
    assert_eq!(
        (rig.supervisor.snapshot().calls_open, rig.supervisor.snapshot().calls_waiting),
        (1, 1)
    );
    call.abort();
    call.await.expect_err("aborted");
    assert_eq!(rig.supervisor.snapshot().calls_open, 0);
}
