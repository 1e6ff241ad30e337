//! Every end has its report and its true status: what fails on this side, after the server's OK or
//! before anything was sent, is told and counted as what it is.

use crate::support::{
    ADDRESS, HELLO, LogLines, SAY, config, framed, ms, post, record, report, said, secs, supervise,
    timed,
};
use bytes::Bytes;
use http::uri::PathAndQuery;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, Phase, Supervisor,
    testing::{FrameKind, MemoryNetwork, PlayingPeer, RawPeer},
};

/// A peer's answer: these bytes of a body, then this status or nothing more.
#[derive(Clone, Debug)]
struct Said {
    body: Bytes,
    status: Option<&'static str>,
}

fn said_so(body: impl Into<Bytes>) -> Said {
    Said { body: body.into(), status: Some("0") }
}

/// Answers every call so; how many calls came, and how many were reset by the client.
async fn peer(
    network: &MemoryNetwork,
    answer: Said,
) -> (PlayingPeer, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (calls, resets) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (came, reset) = (calls.clone(), resets.clone());
    let peer = RawPeer::on_memory(network, ADDRESS).await.play(move |mut link| {
        let (answer, came, reset) = (answer.clone(), came.clone(), reset.clone());
        async move {
            link.send_settings(&[]).await;
            while let Ok(Some(frame)) = link.next_frame().await {
                match frame.kind {
                    FrameKind::RstStream => drop(reset.fetch_add(1, Relaxed)),
                    FrameKind::Data if frame.is_end_stream() => {
                        came.fetch_add(1, Relaxed);
                        link.answer_head(frame.stream).await;
                        link.body(frame.stream, answer.body.clone()).await;
                        if let Some(status) = answer.status {
                            link.trailers(frame.stream, &[("grpc-status", status)]).await;
                        }
                    }
                    _ => {}
                }
            }
        }
    });
    (peer, calls, resets)
}

/// The statuses that calls and attempts were counted under.
fn counted(test: impl Future<Output = ()>) -> Vec<String> {
    let mut counted = Vec::new();
    for (key, values) in record(|| test) {
        let (name, labels) = key.trim_end_matches('}').split_once('{').expect("labels");
        let status = labels.split(',').find_map(|label| label.strip_prefix("grpc.status="));
        if let Some(status) = status
            && name.ends_with(".duration")
        {
            counted.extend(values.iter().map(|_| format!("{name} {status}")));
        }
    }
    counted.sort();
    counted
}

async fn typed(supervisor: &Supervisor, options: CallOptions) -> Status {
    let mut request = Request::new("hello".to_owned());
    request.extensions_mut().insert(options);
    supervisor.channel().unary::<String, String>(SAY, request).await.expect_err("it cannot be used")
}

async fn message(supervisor: &Supervisor, options: CallOptions) -> Status {
    let answer =
        post(&supervisor.mailbox(), "hello", options).await.expect("a port gets its answer");
    said(answer).expect_err("it cannot be used")
}

fn unusable() -> Vec<(&'static str, Said, Code)> {
    let two = [framed(0, HELLO.len(), HELLO), framed(0, HELLO.len(), HELLO)].concat();
    let large = vec![0; 3 << 20];
    vec![
        ("compressed", said_so(framed(1, HELLO.len(), HELLO)), Code::Internal),
        ("an unknown flag", said_so(framed(7, HELLO.len(), HELLO)), Code::Internal),
        ("no message", said_so(""), Code::Internal),
        ("two messages", said_so(two), Code::Internal),
        (
            "two large messages",
            said_so([framed(0, 3 << 20, &large), framed(0, 3 << 20, &large)].concat()),
            Code::Internal,
        ),
        ("above the limit", said_so(framed(0, 5 << 20, &vec![0; 5 << 20])), Code::OutOfRange),
    ]
}

#[test]
fn an_answer_that_cannot_be_used_is_told_with_a_report_and_counted_as_what_it_is() {
    for (name, answer, code) in unusable() {
        for by_message in [false, true] {
            let counted = counted(async {
                let network = MemoryNetwork::new();
                let (_peer, calls, _) = peer(&network, answer.clone()).await;
                let supervisor = supervise(&network, config());
                let status = match by_message {
                    false => typed(&supervisor, CallOptions::new()).await,
                    true => message(&supervisor, CallOptions::new()).await,
                };
                let report = report(&status);
                assert_eq!(
                    (status.code(), report.outcome.code),
                    (code, code),
                    "{name}: {status:?}"
                );
                assert_eq!(report.outcome.phase, Phase::Processed, "{name}");
                assert_eq!((report.attempts.len(), report.attempts_made), (1, 1), "{name}");
                assert!(report.maybe_processed, "{name}");
                assert_eq!(
                    calls.load(Relaxed),
                    1,
                    "{name}: the server has acted, so it is not retried"
                );
                assert_eq!(supervisor.snapshot().calls_open, 0, "{name}");
            });
            let status = if code == Code::Internal { "INTERNAL" } else { "OUT_OF_RANGE" };
            let expected = ["grpc.client.attempt.duration ", "grpc.client.call.duration "]
                .map(|name| name.to_owned() + status);
            assert_eq!(counted, expected, "{name}, by message: {by_message}");
        }
    }
}

#[test]
fn an_answer_that_cannot_be_decoded_is_no_ok() {
    let counted = counted(async {
        let network = MemoryNetwork::new();
        let (_peer, _, _) = peer(&network, said_so(framed(0, 2, b"\xff\xff"))).await;
        let supervisor = supervise(&network, config());
        let status = typed(&supervisor, CallOptions::new()).await;
        assert_eq!((status.code(), report(&status).outcome.code), (Code::Internal, Code::Internal));
        assert!(status.message().contains("not the message expected"), "{status:?}");
    });
    assert_eq!(
        counted,
        ["grpc.client.attempt.duration INTERNAL", "grpc.client.call.duration INTERNAL"]
    );
}

/// Nothing of a typed call's answer was shown before its status: so it is retried as any other.
#[tokio::test(start_paused = true)]
async fn the_status_behind_a_large_answer_is_the_calls_status_and_is_retried() {
    for (status, code, attempts) in [("14", Code::Unavailable, 4), ("7", Code::PermissionDenied, 1)]
    {
        let network = MemoryNetwork::new();
        let body = framed(0, 2 << 20, &vec![0; 2 << 20]);
        let (_peer, calls, _) =
            peer(&network, Said { body: body.into(), status: Some(status) }).await;
        let supervisor = supervise(&network, config());
        for status in [
            typed(&supervisor, CallOptions::new()).await,
            message(&supervisor, CallOptions::new()).await,
        ] {
            assert_eq!(
                (status.code(), report(&status).attempts.len()),
                (code, attempts),
                "{status:?}"
            );
        }
        assert_eq!(calls.load(Relaxed), 2 * attempts);
    }
}

/// Five bytes are enough; the stream is reset, and the link lives on.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_announced_above_the_limit_fails_at_once() {
    for begun in [5, 6, 1_000] {
        let network = MemoryNetwork::new();
        let body = framed(0, 5 << 20, &vec![0; begun - 5]);
        let (_peer, _, resets) = peer(&network, Said { body: body.into(), status: None }).await;
        let supervisor = supervise(&network, config());
        supervisor.wait_ready(secs(10)).await.expect("Ready");
        let (took, by_type) = timed(typed(&supervisor, CallOptions::new())).await;
        assert!(took < ms(10), "{took:?}");
        let (took, by_message) = timed(message(&supervisor, CallOptions::new())).await;
        assert!(took < ms(10), "{took:?}");
        for status in [by_type, by_message] {
            assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
            assert!(status.message().contains("max_response_message_bytes"), "{status:?}");
            assert_eq!(report(&status).attempts_made, 1);
        }
        tokio::time::sleep(ms(10)).await;
        assert_eq!((resets.load(Relaxed), supervisor.snapshot().links), (2, 1));
    }
}

/// A second message can become no answer. One alone may: its status is waited for.
#[tokio::test(start_paused = true)]
async fn a_typed_call_waits_for_a_late_status_but_not_behind_a_second_message() {
    let one = framed(0, HELLO.len(), HELLO);
    let network = MemoryNetwork::new();
    let (_peer, ..) = peer(&network, Said { body: one.repeat(2).into(), status: None }).await;
    let supervisor = supervise(&network, config());
    let log = LogLines::listen();
    for by_message in [false, true] {
        let (took, status) = timed(async {
            match by_message {
                false => typed(&supervisor, CallOptions::new()).await,
                true => message(&supervisor, CallOptions::new()).await,
            }
        })
        .await;
        assert_eq!((took.as_secs(), status.code()), (1, Code::Internal), "{status:?}");
        assert!(status.message().contains("goes on after its first message"), "{status:?}");
        assert_eq!(report(&status).attempts_made, 1);
    }
    drop(log);

    let network = MemoryNetwork::new();
    let (_peer, ..) = peer(&network, Said { body: one.into(), status: None }).await;
    let supervisor = supervise(&network, config());
    let log = LogLines::listen();
    for _ in 0..2 {
        let (took, status) = timed(typed(&supervisor, CallOptions::new().timeout(secs(7)))).await;
        assert_eq!((took.as_secs(), status.code()), (7, Code::DeadlineExceeded), "{status:?}");
    }
    assert_eq!(log.saying("is still open 1 s after its message").len(), 1, "it is said once");
}

/// What is refused before it begins.
#[test]
fn a_call_that_never_begins_has_a_report_and_counts_as_what_it_is() {
    let counted = counted(async {
        let network = MemoryNetwork::new();
        let supervisor = supervise(&network, config().max_request_message_bytes(Some(10)));
        let channel = supervisor.channel();
        let status = channel.unary::<String, String>("no path", Request::new(String::new())).await;
        let status = status.expect_err("no path");
        assert_eq!((status.code(), report(&status).method.as_str()), (Code::Internal, "no path"));
        let status =
            channel.unary::<String, String>(SAY, Request::new("far too long".into())).await;
        assert_eq!(report(&status.expect_err("too long")).outcome.code, Code::OutOfRange);
        let codec = ProstCodec::<String, String>::default;
        let path = || PathAndQuery::from_static(SAY);

        // tonic's own encoder refuses it.
        for kind in [CallOptions::new(), CallOptions::new().unary()] {
            let mut grpc = Grpc::new(channel.clone()).max_encoding_message_size(10);
            let mut request = Request::new("far too long".to_owned());
            request.extensions_mut().insert(kind);
            let status = grpc.unary(request, path(), codec()).await.expect_err("too long");
            let outcome = &report(&status).outcome;
            assert_eq!(
                (status.code(), outcome.code, outcome.phase),
                (Code::OutOfRange, Code::OutOfRange, Phase::Unsent)
            );
        }

        // The caller's own message never comes.
        let mut silent = Request::new(futures::stream::pending::<String>());
        silent.extensions_mut().insert(CallOptions::new().unary().timeout(secs(3)));
        let status = Grpc::new(channel)
            .client_streaming(silent, path(), codec())
            .await
            .expect_err("it never came");
        assert_eq!((status.code(), report(&status).elapsed.as_secs()), (Code::DeadlineExceeded, 3));
    });
    let expected = ["DEADLINE_EXCEEDED", "OUT_OF_RANGE", "OUT_OF_RANGE", "OUT_OF_RANGE"];
    assert_eq!(counted, expected.map(|status| format!("grpc.client.call.duration {status}")));
}
