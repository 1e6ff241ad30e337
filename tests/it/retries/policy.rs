//! The CHECKs of the pains about retries: their budget, their deadline, the server's word on them,
//! their count.

use crate::support::{
    ADDRESS, EventLog, Rig, SAY, config, echo, report, seconds, supervise, timed,
};
use prost::Message;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};
use tonic::{Code, Request};
use tonic_supervisor::{
    CallOptions, Cause, Fact, MethodOptions, Origin, UnaryCall,
    policy::RetryLimit,
    testing::{Answer, Arrival, Frame, MemoryNetwork, RawPeer, Script},
};

const SECOND: Duration = Duration::from_secs(1);

fn retried(fact: &Fact) -> Option<()> {
    matches!(fact, Fact::RetryScheduled { .. }).then_some(())
}

fn throttled(fact: &Fact) -> Option<()> {
    matches!(fact, Fact::RetryThrottled { .. }).then_some(())
}

// --- 11: retry amplification
// -------------------------------------------------------------------------------

const STORM: Duration = Duration::from_secs(30);
const CALLS: usize = 6_000;

/// Scenario 11: 200 calls a second for 30 s, all answered UNAVAILABLE: wire attempts <= 1.2 x calls +
/// the floor (ten a second, and the fifty saved up); ten seconds later the budget is full again.
#[tokio::test(start_paused = true)]
async fn scenario_11_retries_add_a_fifth_in_a_storm_and_are_all_there_10_s_later() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::always(Code::Unavailable));
    let events = EventLog::of(&rig.supervisor);
    let mut tick = interval(STORM / CALLS as u32);
    for _ in 0..CALLS {
        tick.tick().await;
        spawn_call(&rig);
    }
    let attempts = rig.server.arrivals().len();
    let allowed = CALLS * 12 / 10 + 10 * STORM.as_secs() as usize + 50;
    assert!(attempts <= allowed, "{attempts} attempts");
    assert!(attempts > CALLS + 1_000, "retries go on within their budget: {attempts} attempts");
    let (granted, refused) =
        (events.facts(retried).await.len(), events.facts(throttled).await.len());
    assert!(
        granted >= attempts - CALLS && refused > granted,
        "{granted} granted, {refused} refused"
    );
    let snapshot = rig.supervisor.snapshot();
    assert_eq!((snapshot.retries, snapshot.transparent_retries), (granted as u64, 0));

    rig.server.script(Script::echo());
    sleep(10 * SECOND).await;
    rig.server.script(Script::always(Code::Unavailable));
    let (before, refused) =
        (events.facts(retried).await.len(), events.facts(throttled).await.len());
    let burst = 150;
    (0..burst).for_each(|_| spawn_call(&rig));
    events.nth(refused + 1, |fact| throttled(fact).is_some()).await;
    let granted = events.facts(retried).await.len() - before;
    // Nothing is owed any more: each call of the burst has its first retry, and then they owe more
    // than fifty.
    assert_eq!(granted, burst);
}

fn spawn_call(rig: &Rig) {
    let channel = rig.supervisor.channel();
    tokio::spawn(async move { echo(&channel, "x").await });
}

/// One failure of the server that befalls all open calls costs none of them: each has its first
/// retry. A second one is a storm.
#[tokio::test(start_paused = true)]
async fn scenario_11_a_thousand_calls_at_once_that_each_fail_once_all_succeed() {
    let calls = 1_000;
    for (actors, fails, expected) in [(1, 1, calls), (4, 1, calls), (1, 2, 0)] {
        let rig = Rig::new(config().request_actors(actors)).await;
        rig.server.script(move |arrival: &Arrival| {
            let before = arrival.previous_attempts.as_deref().unwrap_or("0");
            let before: usize = before.parse().expect("a number");
            if before < fails { Answer::status(Code::Unavailable) } else { Answer::echo() }
        });
        let (channel, mailbox) = (rig.supervisor.channel(), rig.supervisor.mailbox());
        let mut running = JoinSet::new();
        for n in 0..calls {
            let (channel, mailbox) = (channel.clone(), mailbox.clone());
            running.spawn(async move {
                if n % 2 == 0 {
                    return echo(&channel, "x").await.is_ok();
                }
                let text = "x".to_string();
                let answer = ractor::call!(mailbox, UnaryCall::new, SAY, &text);
                answer.expect("an answer").is_ok()
            });
        }
        let succeeded = running.join_all().await.into_iter().filter(|succeeded| *succeeded).count();
        let requests = rig.server.handled();
        assert_eq!(
            (succeeded, requests),
            (expected, 2 * calls),
            "{actors} actors, {fails} failures"
        );
    }
}

/// Scenario 11: a client of one call a minute always gets its three retries.
#[tokio::test(start_paused = true)]
async fn scenario_11_a_quiet_client_always_gets_its_three_retries() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::always(Code::Unavailable));
    let mut minute = interval(60 * SECOND);
    for minutes in 1..=10 {
        minute.tick().await;
        let status =
            echo(&rig.supervisor.channel(), "x").await.expect_err("the server fails every call");
        assert_eq!((report(&status).retries, rig.server.handled()), (3, 4 * minutes));
    }
}

/// Scenario 11's "must": the throttle sees statuses only; lost links are paced by dials.
#[tokio::test(start_paused = true)]
async fn scenario_11_lost_links_neither_use_the_throttle_nor_are_stopped_by_it() {
    let one = config().retry_throttle_ratio(0.0).retry_throttle_floor(0.1).max_retry_attempts(6);
    let rig = Rig::new(one).await;
    let channel = rig.supervisor.channel();
    rig.server.script(Script::sequence(vec![Answer::cut_after_processing(); 5], Answer::echo()));
    echo(&channel, "x").await.expect("the sixth attempt");
    rig.server.script(Script::sequence(vec![Answer::status(Code::Unavailable)], Answer::echo()));
    echo(&channel, "x").await.expect("the one retry of the budget is still there");
    let events = EventLog::of(&rig.supervisor);
    rig.server.script(Script::always(Code::Unavailable));
    let (took, outcome) = timed(echo(&channel, "x")).await;
    assert_eq!(
        (took, outcome.expect_err("now it is spent").code()),
        (Duration::ZERO, Code::Unavailable)
    );
    assert_eq!((events.facts(retried).await.len(), events.facts(throttled).await.len()), (0, 1));
}

// --- 12: deadline confusion
// -------------------------------------------------------------------------------

/// A rig with attempts of 1 s and a first backoff of 0.1 s, whose server sleeps 3 s twice and
/// then answers.
async fn sleepy(timeout: Duration) -> Rig {
    let first = Duration::from_millis(100);
    let rig =
        Rig::new(config().timeout(timeout).attempt_timeout(SECOND).initial_backoff(first)).await;
    rig.server.script(Script::sequence(vec![Answer::echo().after(3 * SECOND); 2], Answer::echo()));
    rig
}

/// Scenario 12: overall 5 s, attempt 1 s: OK at 2 s + backoff; grpc-timeout strictly decreasing.
#[tokio::test(start_paused = true)]
async fn scenario_12_a_slow_attempt_is_given_up_and_the_next_gets_what_remains() {
    let rig = sleepy(5 * SECOND).await;
    let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
    assert_eq!(
        (outcome.expect("the third attempt"), took),
        ("x".into(), Duration::from_millis(2_300))
    );
    assert_eq!(rig.arrivals_at(), seconds(&[0.0, 1.1, 2.3]));
    let timeouts: Vec<_> =
        rig.server.arrivals().into_iter().filter_map(|arrival| arrival.grpc_timeout).collect();
    assert_eq!(timeouts, ["5000m", "3900m", "2700m"]);
    rig.server.given_up(2).await;
}

/// Scenario 12: overall 2.5 s: DEADLINE_EXCEEDED at 2.5 s with the attempts listed.
#[tokio::test(start_paused = true)]
async fn scenario_12_the_overall_deadline_ends_the_call_with_every_attempt_listed() {
    let rig = sleepy(Duration::from_millis(2_500)).await;
    rig.server.script(Script::delay(3 * SECOND));
    let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
    let status = outcome.expect_err("no attempt is answered");
    assert_eq!((status.code(), took), (Code::DeadlineExceeded, Duration::from_millis(2_500)));
    let report = report(&status);
    let attempts: Vec<_> = report
        .attempts
        .iter()
        .map(|attempt| {
            (attempt.code(), attempt.failure.cause.clone(), attempt.elapsed.as_millis() as u64)
        })
        .collect();
    let expected = [
        (Cause::AttemptTimeout, 1_000),
        (Cause::AttemptTimeout, 2_100),
        (Cause::Deadline(None), 2_500),
    ]
    .map(|(cause, at)| (Code::DeadlineExceeded, cause, at));
    assert_eq!(attempts, expected);
    assert_eq!((report.attempts_made, report.retries, report.maybe_processed), (3, 2, true));
}

/// Scenario 12: where the next wait would outlive the deadline, the last real status at once.
#[tokio::test(start_paused = true)]
async fn scenario_12_a_pointless_wait_gives_the_last_real_status_at_once() {
    let rig = Rig::new(config().timeout(Duration::from_millis(2_500))).await;
    rig.server.script(Answer::status(Code::Aborted).text("row locked"));
    let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
    let status = outcome.expect_err("the server fails every call");
    assert_eq!((status.code(), status.message(), took), (Code::Aborted, "row locked", SECOND));
}

/// Scenario 12: other calls on the connection are unaffected.
#[tokio::test(start_paused = true)]
async fn scenario_12_a_slow_call_takes_neither_the_link_nor_other_calls_down() {
    let rig = sleepy(5 * SECOND).await;
    rig.server.on("/test.Echo/Patient", Script::delay(4 * SECOND));
    let mut patient = Request::new(String::from("p"));
    patient.extensions_mut().insert(CallOptions::new().attempt_timeout(5 * SECOND));
    let channel = rig.supervisor.channel();
    let beside = tokio::spawn(async move {
        timed(channel.unary::<String, String>("/test.Echo/Patient", patient)).await
    });
    echo(&rig.supervisor.channel(), "x").await.expect("the third attempt");
    let (took, outcome) = beside.await.expect("no panic");
    assert_eq!((outcome.expect("answered").into_inner(), took), ("p".into(), 4 * SECOND));
    assert_eq!(rig.server.connections(), 1);
}

// --- 14: pushback
// -------------------------------------------------------------------------------

/// Scenario 14: pushback 700 ms: the second attempt at 700 ms; -1: one attempt. What is not a number
/// forbids retries, too (A6).
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

/// Scenario 14: the peer's own words that a message is too large, as servers of four languages say it:
/// one attempt, whatever the list.
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

/// Scenario 14: `max_request_message_bytes`: no attempt, at once, an error that names the sizes; the
/// mailbox is no way around it.
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

// --- 15: bugs of handlers, and faults of this side
// -------------------------------------------------------------------------------

/// Scenario 15: a handler that panics (UNKNOWN, INTERNAL): four attempts under the seed's list; one
/// where the list, or the method's own, omits the code.
#[tokio::test(start_paused = true)]
async fn scenario_15_a_handlers_bug_is_retried_where_the_list_says_so_and_nowhere_else() {
    let network = [Code::Unavailable];
    let for_method = MethodOptions::new().retryable_status_codes(network);
    for code in [Code::Unknown, Code::Internal] {
        for (config, attempts) in [
            (config(), 4),
            (config().retryable_status_codes(network), 1),
            (config().method("test.Echo/Say", for_method.clone()), 1),
            (config().method("test.Other/*", for_method.clone()), 4),
        ] {
            let rig = Rig::new(config).await;
            rig.server.script(Script::always(code));
            let status =
                echo(&rig.supervisor.channel(), "x").await.expect_err("the handler panics");
            assert_eq!((status.code(), rig.server.handled()), (code, attempts));
        }
    }
}

/// Scenario 15, the reverse: what breaks on this side or on the way is never UNKNOWN, and follows its
/// phase, not the handler's list: certainly unprocessed is sent again even where nothing may be
/// retried; maybe processed is UNAVAILABLE, and in the list or not.
#[tokio::test(start_paused = true)]
async fn scenario_15_a_local_fault_is_never_unknown_and_follows_its_phase() {
    let rig = Rig::new(config().retryable_status_codes([Code::Unknown, Code::Internal])).await;
    let channel = rig.supervisor.channel();
    rig.server.script(Answer::cut_after_processing());
    let status = echo(&channel, "x").await.expect_err("lost, and UNAVAILABLE is not in the list");
    assert_eq!((status.code(), report(&status).attempts_made), (Code::Unavailable, 1));
    assert_eq!(report(&status).outcome.origin, Origin::Local);
    let once = Answer::reset(7);
    rig.server.script(Script::sequence(vec![once], Answer::echo()));
    assert_eq!(echo(&channel, "x").await.expect("refused, so sent again"), "x");
    assert_eq!((rig.server.refused(), rig.supervisor.snapshot().retries), (1, 0));
}

// --- 24: retry count rules
// -------------------------------------------------------------------------------

/// Scenario 24: 0 -> 1, 3 -> 4, 10 -> 11 wire attempts; unlimited: as many as the deadline allows.
#[tokio::test(start_paused = true)]
async fn scenario_24_retry_counts_are_what_they_say_without_a_hidden_clamp() {
    let unlimited = RetryLimit::Unlimited;
    let at_most = RetryLimit::AtMost;
    // Unlimited within 600 s: 1, 2, 4, 8 s, then every 10 s while there is time.
    for (limit, attempts) in
        [(at_most(0), 1), (at_most(3), 4), (at_most(10), 11), (unlimited, 5 + 58)]
    {
        let rig = Rig::new(config().timeout(600 * SECOND).max_retry_attempts(limit)).await;
        rig.server.script(Script::always(Code::Unavailable));
        let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
        let status = outcome.expect_err("the server fails every call");
        assert_eq!(
            (rig.server.handled(), report(&status).attempts_made as usize),
            (attempts, attempts),
            "{limit:?}"
        );
        assert!(took < 600 * SECOND && status.code() == Code::Unavailable);
    }
}

/// Time without a link spends no retries: a call that was due while the server was away has all of
/// them left.
#[tokio::test(start_paused = true)]
async fn scenario_24_retry_counts_are_not_spent_while_there_is_no_link() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::fail_times(3, Code::Unavailable));
    let channel = rig.supervisor.channel();
    let call = tokio::spawn(async move { echo(&channel, "x").await });
    rig.server.arrived(1).await;
    rig.server.kill().await;
    sleep(30 * SECOND).await;
    assert_eq!((rig.server.handled(), call.is_finished()), (1, false));
    rig.server.restart().await;
    assert_eq!(call.await.expect("no panic").expect("the fourth attempt"), "x");
    assert_eq!((rig.server.handled(), rig.supervisor.snapshot().retries), (4, 3));
}

#[test]
fn scenario_24_unlimited_retries_without_a_deadline_are_an_error_with_the_key() {
    let endless = config().timeout(None).max_retry_attempts(RetryLimit::Unlimited).build();
    let error = endless.expect_err("nothing would ever end such a call").to_string();
    assert!(error.contains("grpc.max_retry_attempts") && error.contains("timeout"), "{error}");
}
