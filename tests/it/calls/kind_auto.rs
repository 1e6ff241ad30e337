//! Kind `auto`: calls of methods that nobody described. They are retried until their answer begins,
//! which is passed on as it comes; a method that was seen to stream is streaming from then on.

use crate::{
    calls::wrongly_declared_unary::{Act, hello, peer},
    support::{
        LogLines, Rig, assert_time, codec, config, eventually, generated_stream, generated_unary,
        ms, path, report, secs, supervise, timed,
    },
};
use prost::Message as _;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Request, client::Grpc};
use tonic_supervisor::{
    CallKind, CallOptions, Cause, ConfigBuilder, MethodOptions, NotRetried,
    testing::{Answer, MemoryNetwork, Script},
};

/// A server, and a supervisor with a link to it.
async fn ready(config: ConfigBuilder) -> Rig {
    Rig::new(config).await.ready().await
}

/// How many attempts a call has that is answered so at first, and whether it succeeds then.
async fn attempts(rig: &Rig, first: Answer, options: CallOptions) -> (usize, bool) {
    let before = rig.server.arrivals().len();
    rig.server.script(Script::sequence(vec![first], Answer::echo()));
    let outcome = generated_unary(&rig.channel(), options).await;
    (rig.server.arrivals().len() - before, outcome.is_ok())
}

/// A stream's messages, which say something different each.
fn messages(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| n.to_string().encode_to_vec()).collect()
}

fn unavailable() -> Answer {
    Answer::status(Code::Unavailable)
}

const RETRIED: (usize, bool) = (2, true);
const NOT_RETRIED: (usize, bool) = (1, false);
const SEEN: &str = "was seen to stream";

// --- retries ---

/// The README's two lines, and nothing else.
#[tokio::test(start_paused = true)]
async fn forty_calls_over_a_restart_are_all_answered_with_the_two_lines_alone() {
    let rig = ready(config()).await;
    rig.server.script(Answer::echo().after(ms(500)));
    let calls: Vec<_> = (0..40)
        .map(|n| {
            let channel = rig.channel();
            tokio::spawn(async move {
                tokio::time::sleep(ms(75 * n)).await;
                generated_unary(&channel, CallOptions::new()).await
            })
        })
        .collect();
    tokio::time::sleep(ms(1_050)).await;
    let cut = rig.server.arrivals().len();
    rig.server.kill().await;
    tokio::time::sleep(secs(1)).await;
    rig.server.restart().await;
    let mut answered = 0;
    for call in calls {
        answered += usize::from(call.await.expect("no panic").is_ok());
    }
    assert!(cut > 10 && rig.supervisor.snapshot().retries > 3, "some were on the wire");
    assert_eq!(answered, 40);
}

#[tokio::test(start_paused = true)]
async fn a_whole_request_is_retried_until_its_answer_begins() {
    let rig = ready(config()).await;
    // Nothing has begun: a status in the only head, a lost link, a proxy's error.
    for first in [unavailable(), Answer::cut_after_processing(), Answer::reset(2)] {
        assert_eq!(attempts(&rig, first.clone(), CallOptions::new()).await, RETRIED, "{first:?}");
    }
    // The head is there: the caller has it.
    for first in [
        Answer::headers_then_error(Code::Unavailable),
        Answer::stream(messages(1), Code::Unavailable),
    ] {
        assert_eq!(
            attempts(&rig, first.clone(), CallOptions::new()).await,
            NOT_RETRIED,
            "{first:?}"
        );
    }
    // What policy says holds as for unary calls.
    assert_eq!(
        attempts(&rig, Answer::status(Code::NotFound), CallOptions::new()).await,
        NOT_RETRIED
    );
    assert_eq!(attempts(&rig, unavailable(), CallOptions::new().retry(false)).await, NOT_RETRIED);
    assert_eq!(
        attempts(&rig, unavailable(), CallOptions::new().idempotent(false)).await,
        NOT_RETRIED
    );
}

#[tokio::test(start_paused = true)]
async fn retries_follow_the_schedule_and_the_last_status_comes_with_its_report() {
    let rig = ready(config()).await;
    rig.server.script(Script::always(Code::Unavailable));
    let (took, outcome) = timed(generated_unary(&rig.channel(), CallOptions::new())).await;
    let status = outcome.expect_err("unavailable");
    let report = report(&status);
    assert_eq!((status.code(), report.retries, report.attempts_made), (Code::Unavailable, 3, 4));
    assert_eq!(report.not_retried, Some(NotRetried::LimitReached(3)));
    assert_time(took, secs(7));
    let previous: Vec<_> =
        rig.server.arrivals().into_iter().map(|came| came.previous_attempts).collect();
    assert_eq!(previous, [None, Some("1".into()), Some("2".into()), Some("3".into())]);
}

/// A request that goes on, or has more than one message, is a stream's.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_one_whole_message_has_one_attempt() {
    for said in [1, 2] {
        let rig = ready(config()).await;
        rig.server.script(unavailable().early(true));
        let (speak, spoken) = mpsc::unbounded_channel();
        (0..said).for_each(|_| speak.send("hello".to_owned()).expect("open"));
        let open = (said < 2).then_some(speak);
        let request = Request::new(UnboundedReceiverStream::new(spoken));
        let status = Grpc::new(rig.channel()).client_streaming(request, path(), codec()).await;
        assert_eq!(status.expect_err("unavailable").code(), Code::Unavailable);
        assert_eq!(rig.server.arrivals().len(), 1, "{said} messages");
        drop(open);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_above_max_replay_bytes_is_sent_once() {
    let rig = ready(config().max_replay_bytes(8)).await;
    assert_eq!(attempts(&rig, unavailable(), CallOptions::new()).await, NOT_RETRIED);
}

// --- streams ---

#[tokio::test(start_paused = true)]
async fn an_answer_that_has_begun_is_passed_on_at_once() {
    let rig = ready(config()).await;
    rig.server.script(Answer::stream(messages(3), Code::Ok).every(secs(70)));
    for _ in 0..2 {
        // The first message comes with the head, the others 70 s apart.
        let (took, answer) = timed(generated_stream(&rig.channel(), CallOptions::new())).await;
        let mut answer = answer.expect("it begins");
        let begun = took;
        for (n, seconds) in [(0, 70), (1, 70), (2, 70)] {
            let (took, message) = timed(answer.message()).await;
            assert_eq!(message.expect("passed on"), Some(n.to_string()));
            assert_time(took, secs(seconds));
        }
        assert_eq!((begun.as_millis(), answer.message().await.expect("OK")), (0, None));
    }
    rig.server.script(Answer::stream(messages(1), Code::Ok).then_hang());
    let (took, answer) = timed(async {
        generated_stream(&rig.channel(), CallOptions::new()).await?.message().await
    })
    .await;
    assert_eq!((took.as_millis(), answer.expect("passed on").as_deref()), (0, Some("0")));
}

#[tokio::test(start_paused = true)]
async fn a_method_that_was_seen_to_stream_is_not_retried_from_then_on() {
    let two = Answer::stream(messages(2), Code::Ok);
    let open = Answer::stream(messages(1), Code::Ok).then_hang();
    for shown in [two, open] {
        let rig = ready(config()).await;
        let log = LogLines::listen();
        assert_eq!(attempts(&rig, unavailable(), CallOptions::new()).await, RETRIED, "before");
        rig.server.script(shown);
        let mut answer =
            generated_stream(&rig.channel(), CallOptions::new()).await.expect("it begins");
        assert!(answer.message().await.expect("passed on").is_some());
        // Only now is it seen.
        assert_eq!(log.saying(SEEN).len(), 0);
        let second = tokio::time::timeout(ms(1_100), answer.message()).await;
        assert!(
            second.is_err()
                || second.is_ok_and(|message| message.is_ok_and(|message| message.is_some()))
        );
        for _ in 0..2 {
            assert_eq!(
                attempts(&rig, unavailable(), CallOptions::new()).await,
                NOT_RETRIED,
                "after"
            );
        }
        assert_eq!(log.saying(SEEN).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_of_two_messages_shows_that_its_method_streams() {
    let rig = ready(config()).await;
    let request = Request::new(tokio_stream::iter(["a".to_owned(), "b".to_owned()]));
    Grpc::new(rig.channel()).client_streaming(request, path(), codec()).await.expect("answered");
    assert_eq!(attempts(&rig, unavailable(), CallOptions::new()).await, NOT_RETRIED);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_ends_within_a_second_of_its_message_is_no_stream() {
    for (millis, lines) in [(900, 0), (1_100, 1)] {
        let network = MemoryNetwork::new();
        let (_peer, _) = peer(&network, vec![hello(), Act::Wait(ms(millis)), Act::End("0")]).await;
        let supervisor = supervise(&network, config());
        let log = LogLines::listen();
        for _ in 0..2 {
            let (took, answer) =
                timed(generated_unary(&supervisor.channel(), CallOptions::new())).await;
            assert_eq!(answer.as_deref().ok(), Some("hello"));
            assert_time(took, ms(millis));
        }
        assert_eq!(log.saying(SEEN).len(), lines, "{millis} ms");
    }
}

// --- what decides ---

#[tokio::test(start_paused = true)]
async fn one_key_switches_it_off_and_a_log_line_says_how_to_tell() {
    let rig = ready(config().retry_undescribed(false)).await;
    let log = LogLines::listen();
    for _ in 0..2 {
        assert_eq!(attempts(&rig, unavailable(), CallOptions::new()).await, NOT_RETRIED);
    }
    assert_eq!(log.saying("descriptor_set(..)").len(), 1);
    assert_eq!(
        attempts(&rig, unavailable(), CallOptions::new().kind(CallKind::Auto)).await,
        RETRIED
    );
}

#[tokio::test(start_paused = true)]
async fn a_method_or_a_call_may_be_said_to_be_auto_or_streaming() {
    let rule = |kind| {
        config().retry_undescribed(false).method("test.Echo/*", MethodOptions::new().kind(kind))
    };
    let options = CallOptions::new;
    let begun = || Answer::headers_then_error(Code::Unavailable);

    let auto = ready(rule(CallKind::Auto)).await;
    assert_eq!(attempts(&auto, unavailable(), options()).await, RETRIED);
    assert_eq!(attempts(&auto, begun(), options()).await, NOT_RETRIED);
    // `auto` leaves it to the call.
    assert_eq!(attempts(&auto, begun(), options().unary()).await, RETRIED);
    assert_eq!(
        attempts(&auto, unavailable(), options().kind(CallKind::Streaming)).await,
        NOT_RETRIED
    );

    let streaming = ready(rule(CallKind::Streaming)).await;
    assert_eq!(
        attempts(&streaming, unavailable(), options().kind(CallKind::Auto)).await,
        NOT_RETRIED
    );

    let undescribed = ready(config()).await;
    assert_eq!(
        attempts(&undescribed, unavailable(), options().kind(CallKind::Streaming)).await,
        NOT_RETRIED
    );
    assert_eq!(attempts(&undescribed, unavailable(), options()).await, RETRIED);
}

// --- time ---

/// Neither this client nor, told by it, the server ends a call that is on the wire. One line tells
/// of the method.
#[tokio::test(start_paused = true)]
async fn the_timeout_does_not_run_on_the_wire_and_one_line_tells_of_a_long_wait() {
    for timeout in [Some(secs(60)), Some(secs(5)), None] {
        let rig = ready(config().timeout(timeout)).await;
        let log = LogLines::listen();
        let waited =
            |seconds: u64| log.saying(&format!("has waited {seconds} s for its answer")).len();
        rig.server.script(Answer::echo().after(secs(300)));
        let call = tokio::spawn({
            let channel = rig.channel();
            async move { timed(generated_unary(&channel, CallOptions::new())).await }
        });
        tokio::time::sleep(secs(59)).await;
        assert_eq!(waited(60), 0);
        tokio::time::sleep(secs(2)).await;
        assert_eq!(waited(60), 1, "{timeout:?}");
        let (took, answer) = call.await.expect("no panic");
        assert_eq!(answer.as_deref().ok(), Some("hello"));
        assert_time(took, secs(300));
        generated_unary(&rig.channel(), CallOptions::new()).await.expect("answered");
        assert_eq!(waited(60), 1, "once per method");
        let arrivals = rig.server.arrivals();
        assert!(
            arrivals.iter().all(|came| came.grpc_timeout.is_none()),
            "no grpc-timeout is made up"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_timeout_bounds_the_sum_of_all_that_is_not_on_the_wire() {
    let rig = ready(
        config()
            .timeout(secs(20))
            .max_retry_attempts(10)
            .initial_backoff(secs(6))
            .max_backoff(secs(6)),
    )
    .await;
    // 100 s on the wire, 6 s of wait, three times; a fourth wait would come to 24 s.
    rig.server.script(unavailable().after(secs(100)));
    let (took, outcome) = timed(generated_unary(&rig.channel(), CallOptions::new())).await;
    let status = outcome.expect_err("unavailable");
    let story = report(&status);
    assert_eq!((status.code(), story.attempts_made), (Code::Unavailable, 4));
    assert_eq!(story.not_retried, Some(NotRetried::OutlivesDeadline(secs(6))));
    assert_time(took, secs(418));

    // 6 s of wait, then 14 s for a link.
    let call = tokio::spawn({
        let channel = rig.channel();
        async move { timed(generated_unary(&channel, CallOptions::new())).await }
    });
    rig.server.arrived(5).await;
    tokio::time::sleep(secs(30)).await;
    rig.server.kill().await;
    let (took, outcome) = call.await.expect("no panic");
    let status = outcome.expect_err("no server");
    assert_eq!((status.code(), report(&status).attempts_made), (Code::DeadlineExceeded, 1));
    let Cause::Deadline(Some(what)) = &report(&status).outcome.cause else { panic!("{status:?}") };
    assert!(what.contains("for a link"), "{what}");
    assert_time(took, secs(50));
}

/// Nothing hangs in silence where there is no server, whatever is known of the method.
#[tokio::test(start_paused = true)]
async fn without_a_server_a_call_of_any_kind_ends_after_the_timeout() {
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config());
    let channel = supervisor.channel();
    for kind in [CallKind::Auto, CallKind::Streaming, CallKind::Unary] {
        let (took, outcome) = timed(generated_unary(&channel, CallOptions::new().kind(kind))).await;
        let status = outcome.expect_err("no server");
        assert_eq!(
            (status.code(), report(&status).maybe_processed),
            (Code::DeadlineExceeded, false),
            "{kind:?}"
        );
        assert_time(took, secs(60));
    }
    let (_speak, spoken) = mpsc::unbounded_channel::<String>();
    let request = Request::new(UnboundedReceiverStream::new(spoken));
    let (took, outcome) = timed(Grpc::new(channel).streaming(request, path(), codec())).await;
    assert_eq!(outcome.expect_err("no server").code(), Code::DeadlineExceeded);
    assert_time(took, secs(60));
}

#[tokio::test(start_paused = true)]
async fn attempt_timeout_and_the_callers_own_deadline_bind_on_the_wire() {
    let rig = ready(config()).await;
    rig.server.script(Script::sequence(vec![Answer::hang()], Answer::echo()));
    let (took, answer) =
        timed(generated_unary(&rig.channel(), CallOptions::new().attempt_timeout(secs(5)))).await;
    assert_eq!(answer.as_deref().ok(), Some("hello"), "the second attempt");
    assert_time(took, secs(6));

    // Only up to the head.
    rig.server.script(Answer::stream(messages(1), Code::Ok).every(secs(30)));
    let answer = generated_unary(&rig.channel(), CallOptions::new().attempt_timeout(secs(5))).await;
    assert_eq!(answer.as_deref().ok(), Some("0"));

    let log = LogLines::listen();
    rig.server.script(Script::hang());
    let (took, outcome) =
        timed(generated_unary(&rig.channel(), CallOptions::new().timeout(secs(90)))).await;
    assert_eq!(outcome.expect_err("no answer").code(), Code::DeadlineExceeded);
    assert_time(took, secs(90));
    assert_eq!(log.saying("has waited 60 s").len(), 1);
    eventually("the server hears of it", || rig.server.cancelled() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_undescribed_call_ends_everywhere_at_once() {
    let rig = ready(config()).await;
    rig.server.script(Script::hang());
    let call = tokio::time::timeout(
        Duration::from_secs(1),
        generated_unary(&rig.channel(), CallOptions::new()),
    )
    .await;
    call.expect_err("given up");
    eventually("the server hears of it", || rig.server.cancelled() == 1).await;
    assert_eq!(rig.supervisor.snapshot().calls_open, 0);
}
