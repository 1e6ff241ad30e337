//! The server's word on retries: pushback, RetryInfo, Retry-After.

use crate::support::{ADDRESS, Rig, SECOND, config, echo, seconds, supervise, timed};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tonic::Code;
use tonic_supervisor::testing::{Answer, Frame, MemoryNetwork, RawPeer, Script};

/// Scenario 14: pushback 700 ms: the second attempt at 700 ms; -1: one attempt. What is not a
/// number forbids retries, too (A6).
#[tokio::test(start_paused = true)]
async fn scenario_14_pushback_is_obeyed_exactly_and_a_negative_one_forbids_retries() {
    let cases: [(&str, &[f64]); 5] = [
        ("700", &[0.0, 0.7, 1.4, 2.1]),
        ("0", &[0.0; 4]),
        ("-1", &[0.0]),
        ("soon", &[0.0]),
        ("99999999999", &[0.0]),
    ];
    for (pushback, arrivals) in cases {
        let rig = Rig::new(config()).await;
        rig.server.script(Script::pushback(Code::ResourceExhausted, pushback));
        let status =
            echo(&rig.supervisor.channel(), "x").await.expect_err("the server fails every call");
        assert_eq!(rig.arrivals_at(), seconds(arrivals), "pushback {pushback}");
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
}

/// After a pushback the waits start over; an answer with headers before its status may push back,
/// too.
#[tokio::test(start_paused = true)]
async fn scenario_14_pushback_starts_the_waits_over() {
    let rig = Rig::new(config().max_retry_attempts(4)).await;
    let busy = Answer::status(Code::Unavailable);
    let push = Answer::headers_then_error(Code::Unavailable).pushback("700");
    rig.server
        .script(Script::sequence(vec![busy.clone(), busy.clone(), push, busy], Answer::echo()));
    echo(&rig.supervisor.channel(), "x").await.expect("the fifth attempt");
    assert_eq!(rig.arrivals_at(), seconds(&[0.0, 1.0, 3.0, 3.7, 4.7]));
}

/// `google.rpc.RetryInfo` among the status's details: the same, where the header does not say
/// otherwise.
#[tokio::test(start_paused = true)]
async fn scenario_14_retry_info_is_obeyed_like_pushback_and_yields_to_it() {
    for (millis, pushback, arrivals) in [
        (700, None, &[0.0, 0.7, 1.4, 2.1][..]),
        (700, Some("200"), &[0.0, 0.2, 0.4, 0.6]),
        (700, Some("-1"), &[0.0]),
    ] {
        let rig = Rig::new(config()).await;
        let busy =
            Answer::status(Code::ResourceExhausted).retry_info(Duration::from_millis(millis));
        rig.server
            .script(pushback.map_or(busy.clone(), |pushback| busy.clone().pushback(pushback)));
        let status =
            echo(&rig.supervisor.channel(), "x").await.expect_err("the server fails every call");
        assert_eq!(rig.arrivals_at(), seconds(arrivals), "{pushback:?}");
        assert!(!status.details().is_empty(), "the details reach the caller");
    }
}

/// A wait that would outlive the deadline, or the clock, ends the call at once.
#[tokio::test(start_paused = true)]
async fn scenario_14_a_retry_info_beyond_the_deadline_ends_the_call_at_once() {
    for (timeout, wait) in
        [(Some(60 * SECOND), 60 * SECOND), (None, Duration::from_secs(i64::MAX as u64))]
    {
        let rig = Rig::new(config().timeout(timeout)).await;
        rig.server.script(Answer::status(Code::Unavailable).retry_info(wait));
        let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
        assert_eq!(
            (outcome.expect_err("it fails").code(), took),
            (Code::Unavailable, Duration::ZERO)
        );
        assert_eq!(rig.server.handled(), 1);
    }
}

/// A proxy that says `retry-after` in seconds is obeyed, too.
#[tokio::test(start_paused = true)]
async fn scenario_14_a_proxys_retry_after_is_obeyed() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await;
    let refused = Arc::new(AtomicBool::new(false));
    let _peer = peer.play(move |mut link| {
        let refused = refused.clone();
        async move {
            link.send_settings(&[]).await;
            while let Some((stream, body)) = link.next_whole_request().await {
                if refused.swap(true, SeqCst) {
                    link.answer(stream, &body[5..]).await;
                } else {
                    let fields =
                        [(":status", "429"), ("content-type", "text/plain"), ("retry-after", "7")];
                    link.send(Frame::headers(stream, &fields, true)).await;
                }
            }
        }
    });
    let supervisor = supervise(&network, config());
    let (took, outcome) = timed(echo(&supervisor.channel(), "x")).await;
    assert_eq!((outcome.expect("the second attempt"), took), ("x".into(), 7 * SECOND));
}
