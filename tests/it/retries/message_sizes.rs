//! Messages that are too large are sent once or not at all.

use crate::support::{Rig, SAY, config, echo, report, timed};
use prost::Message;
use std::time::Duration;
use tonic::{Code, Request};
use tonic_supervisor::{Cause, UnaryCall, testing::Answer};

/// Scenario 14: the peer's own words that a message is too large, as servers of four languages say
/// it: one attempt, whatever the list.
#[tokio::test(start_paused = true)]
async fn scenario_14_a_message_that_is_too_large_for_the_peer_is_sent_once() {
    for (code, text, attempts) in [
        (
            Code::ResourceExhausted,
            "grpc: received message larger than max (5242880 vs. 4194304)",
            1,
        ),
        (
            Code::ResourceExhausted,
            "CLIENT: Received message larger than max (5242880 vs. 4194304)",
            1,
        ),
        (Code::ResourceExhausted, "gRPC message exceeds maximum size 4194304: 5242880", 1),
        (
            Code::ResourceExhausted,
            "Received message exceeds the maximum configured message size.",
            1,
        ),
        (Code::ResourceExhausted, "out of memory", 4),
        (Code::Unavailable, "a queue larger than max", 4),
    ] {
        let rig = Rig::new(config()).await;
        rig.server.script(Answer::status(code).text(text));
        let status =
            echo(&rig.supervisor.channel(), "x").await.expect_err("the server fails every call");
        assert_eq!((rig.server.handled(), status.code(), status.message()), (attempts, code, text));
        let report = report(&status);
        assert_eq!(matches!(report.outcome.cause, Cause::TooLarge(_)), attempts == 1, "{report}");
    }
}

/// Scenario 14: `max_request_message_bytes`: no attempt, at once, an error that names the sizes;
/// the mailbox is no way around it.
#[tokio::test(start_paused = true)]
async fn scenario_14_a_message_above_the_configured_limit_never_leaves() {
    let rig = Rig::new(config().max_request_message_bytes(4 << 20)).await;
    let (fits, large) = ("x".repeat((4 << 20) - 5), "x".repeat(5 << 20));
    assert_eq!(
        echo(&rig.supervisor.channel(), &fits).await.expect("a message of exactly the limit"),
        fits
    );
    let (took, typed) = timed(echo(&rig.supervisor.channel(), &large)).await;
    let message = ractor::call!(rig.supervisor.mailbox(), UnaryCall::new, SAY, &large);
    for status in
        [typed.expect_err("too large"), message.expect("an answer").expect_err("too large")]
    {
        let report = report(&status);
        assert_eq!(
            (status.code(), took, report.attempts_made),
            (Code::OutOfRange, Duration::ZERO, 0)
        );
        assert!(
            report.certainly_unprocessed() && matches!(report.outcome.cause, Cause::TooLarge(_)),
            "{report}"
        );
        assert!(
            ["5242885", "4194304", "max_request_message_bytes"]
                .iter()
                .all(|part| status.message().contains(part))
        );
    }
    assert_eq!((rig.server.handled(), rig.supervisor.snapshot().calls_open), (1, 0));
}

/// The other way: `max_response_message_bytes` bounds what is gathered of an answer, and `none`
/// lifts the bound.
#[tokio::test(start_paused = true)]
async fn scenario_14_an_answer_above_the_configured_limit_is_given_up_after_one_attempt() {
    let raise = |limit| config().max_response_message_bytes(limit);
    for (limit, size, fits) in
        [(Some(1_000), 997, true), (Some(1_000), 998, false), (None, 9 << 20, true)]
    {
        let rig = Rig::new(raise(limit)).await;
        // A string of so many bytes is a message of three more.
        rig.server.script(Answer::message("x".repeat(size).encode_to_vec()));
        let mailbox = rig.supervisor.mailbox();
        let typed =
            rig.supervisor.channel().unary::<(), String>(SAY, Request::new(())).await.map(drop);
        let message = ractor::call!(mailbox, UnaryCall::new, SAY, &()).expect("an answer");
        for outcome in [typed, message.map(drop)] {
            assert_eq!(
                outcome.as_ref().err().map(tonic::Status::code),
                (!fits).then_some(Code::OutOfRange)
            );
            if let Err(status) = outcome {
                assert!(
                    status.message().contains("max_response_message_bytes, 1000"),
                    "{}",
                    status.message()
                );
            }
        }
        assert_eq!((rig.server.handled(), rig.supervisor.snapshot().calls_open), (2, 0));
    }
}
