//! A call that waited, and that would not finish any more, is not started: under an overload the
//! server works for calls that are answered in time, and without one nothing is refused.

use crate::support::*;
use std::time::Duration;
use tokio::{task::JoinHandle, time::Instant};
use tonic::{Code, Request, Status};
use tonic_supervisor::{
    CallKind, CallOptions, Cause, ConfigBuilder, Fact, Phase, ShedReason, SupervisedChannel,
    Supervisor,
    config::MethodOptions,
    testing::{Answer, Arrival, MemoryNetwork, Script, ScriptedServer},
};

/// Another method than [`SAY`].
const OTHER: &str = "/test.Echo/Other";

/// A server with one place, which is READY.
async fn one_place(script: Script, config: ConfigBuilder) -> (ScriptedServer, Supervisor) {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().max_concurrent_streams(1).script(script);
    let server = server.on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config);
    supervisor.wait_ready(LONG).await.expect("Ready");
    (server, supervisor)
}

/// Makes a call every 10 ms for so long, each with 1.5 s: 100 a second. When each ended, counted
/// from the first, and how.
async fn offer(channel: &SupervisedChannel, time: Duration) -> Vec<(Duration, Ended)> {
    let (begin, options) = (Instant::now(), CallOptions::new().timeout(ms(1_500)));
    let mut calls = Vec::new();
    while begin.elapsed() < time {
        let made = begin.elapsed();
        calls.push((made, start(channel, "hello", options)));
        tokio::time::sleep_until(begin + ms(10 * calls.len() as u64)).await;
    }
    let (made, calls): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
    let ended = join(calls).await;
    made.into_iter().zip(ended).map(|(made, (took, end))| (made + took, (took, end))).collect()
}

/// How many were answered with OK in each of these seconds.
fn answered(ended: &[(Duration, Ended)], seconds: std::ops::Range<u64>) -> Vec<usize> {
    let in_second = |second| {
        let ok = ended.iter().filter(|(at, (_, end))| end.is_ok() && at.as_secs() == second);
        ok.count()
    };
    seconds.map(in_second).collect()
}

/// The deadline came, or was too near; nothing was sent.
fn is_refused(end: &Result<String, Status>) -> bool {
    let refused = |status: &Status| matches!(cause(status), Cause::WouldNotFinish { .. });
    end.as_ref().is_err_and(refused)
}

#[tokio::test(start_paused = true)]
async fn in_an_overload_nine_tenths_of_what_the_peer_can_do_are_answered() {
    let (server, supervisor) = one_place(Script::delay(ms(50)), config()).await;
    let log = EventLog::of(&supervisor);
    let ended = offer(&supervisor.channel(), secs(20)).await;
    let each = answered(&ended, 0..20);
    assert!(each.iter().all(|ok| *ok >= 18), "of 20 a second: {each:?}");
    let refused: Vec<_> = ended.iter().filter(|(_, (_, end))| is_refused(end)).collect();
    for (_, (took, end)) in &refused {
        let status = end.as_ref().expect_err("refused");
        let report = report(status);
        assert_eq!((status.code(), report.outcome.phase), (Code::DeadlineExceeded, Phase::Unsent));
        assert_eq!((report.attempts_made, report.retries), (0, 0));
        assert!(report.certainly_unprocessed() && report.not_retried.is_none());
        assert!(*took >= ms(1_400), "with time enough it waits: {took:?}");
    }
    let said = |fact: &Fact| match fact {
        Fact::CallShed { reason, .. } => Some(*reason),
        _ => None,
    };
    let said = log.facts(said).await;
    assert!(said.len() > 1_000 && said.iter().all(|why| *why == ShedReason::WouldNotFinish));
    assert_eq!(said.len(), refused.len());
    // All that came in vain.
    let ok: usize = ended.iter().filter(|(_, (_, end))| end.is_ok()).count();
    assert!(server.handled() <= ok + ok / 20, "{} for {ok} answers", server.handled());
}

#[tokio::test(start_paused = true)]
async fn without_the_refusal_an_overload_leaves_next_to_nothing_answered() {
    let config = config().refuse_late(false);
    let (_server, supervisor) = one_place(Script::delay(ms(50)), config).await;
    let ended = offer(&supervisor.channel(), secs(5)).await;
    assert_eq!(answered(&ended, 2..5), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_slow_is_found_to_be_fast_again() {
    let (server, supervisor) = one_place(Script::delay(ms(400)), config()).await;
    let channel = supervisor.channel();
    let slow = offer(&channel, secs(10)).await;
    let total: usize = answered(&slow, 4..10).iter().sum();
    assert!(total >= 13, "of 15 in 6 s: {total}");
    server.script(Script::delay(ms(50)));
    let each = answered(&offer(&channel, secs(10)).await, 3..10);
    assert!(each.iter().all(|ok| *ok >= 18), "of 20 a second: {each:?}");
}

/// The calls that wait for the first link have next to no time left when it comes, and none of them
/// is answered: nothing is known but that.
#[tokio::test(start_paused = true)]
async fn an_overload_that_began_before_the_server_did_is_no_worse() {
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config());
    let channel = supervisor.channel();
    let offered = tokio::spawn(async move { offer(&channel, secs(20)).await });
    tokio::time::sleep(secs(5)).await;
    let server = ScriptedServer::builder().max_concurrent_streams(1).script(Script::delay(ms(50)));
    let _server = server.on_memory(&network, ADDRESS).await;
    let each = answered(&bounded("all end", offered).await.expect("no panic"), 8..20);
    assert!(each.iter().all(|ok| *ok >= 18), "of 20 a second: {each:?}");
}

/// Bursts of what the place can do in half the time that a call has; answers take 30 to 70 ms.
#[tokio::test(start_paused = true)]
async fn without_an_overload_nothing_is_refused() {
    let uneven = |arrival: &Arrival| {
        Answer::echo().after(ms(30 + u64::from(arrival.stream).wrapping_mul(2_654_435_761) % 41))
    };
    let (_server, supervisor) = one_place(Script::new(uneven), config()).await;
    let options = CallOptions::new().timeout(ms(1_500));
    for _ in 0..60 {
        let burst = start_many(&supervisor.channel(), options, 15);
        for (took, end) in join(burst).await {
            assert!(end.is_ok(), "{end:?} after {took:?}");
        }
    }
}

/// Where the place of a call of [`SAY`] was before it is taken for half a second, and the call has
/// 540 ms: how it ends, and whether it was sent.
async fn with_forty_ms_left(
    server: &ScriptedServer,
    supervisor: &Supervisor,
    call: impl Future<Output = Result<String, Status>> + Send + 'static,
) -> (Result<String, Status>, bool) {
    server.on(OTHER, Script::delay(ms(500)));
    let channel = supervisor.channel();
    let other = tokio::spawn(async move {
        let request = Request::new("other".to_owned());
        channel.unary::<String, String>(OTHER, request).await.map(drop)
    });
    settle().await;
    let before = server.handled();
    let call: JoinHandle<_> = tokio::spawn(call);
    bounded("it has the place", other).await.expect("no panic").expect("answered");
    let end = bounded("it ends", call).await.expect("no panic");
    settle().await;
    (end, server.handled() > before)
}

/// Answers so many calls of [`SAY`], one after the other.
async fn answer(supervisor: &Supervisor, calls: usize, options: CallOptions) {
    for _ in 0..calls {
        let _ = say(&supervisor.channel(), "hello", options).await;
    }
}

fn hurried() -> CallOptions {
    // 1 ms goes by before.
    CallOptions::new().timeout(ms(539))
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_not_finish_says_what_it_has_and_what_answers_take() {
    let (server, supervisor) = one_place(Script::delay(ms(50)), config()).await;
    answer(&supervisor, 40, CallOptions::new()).await;
    let channel = supervisor.channel();
    let call = async move { say(&channel, "hello", hurried()).await };
    let (end, sent) = with_forty_ms_left(&server, &supervisor, call).await;
    let status = end.expect_err("refused");
    assert_eq!(status.message(), "would not finish: 40 ms left, answers take 50 ms");
    assert!(!sent && report(&status).waiting.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_message_and_a_generated_client_are_refused_alike() {
    let (server, supervisor) = one_place(Script::delay(ms(50)), config()).await;
    answer(&supervisor, 40, CallOptions::new()).await;
    let mailbox = supervisor.mailbox();
    let posted = async move { said(post(&mailbox, "hello", hurried()).await.expect("answered")) };
    let (end, sent) = with_forty_ms_left(&server, &supervisor, posted).await;
    assert!(is_refused(&end) && !sent, "{end:?}");
    // Or one would be started after the silence.
    answer(&supervisor, 1, CallOptions::new()).await;
    let channel = supervisor.channel();
    let generated = async move { generated_unary(&channel, hurried()).await };
    let (end, sent) = with_forty_ms_left(&server, &supervisor, generated).await;
    assert!(is_refused(&end) && !sent, "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_of_generated_clients_that_nobody_described_count() {
    let (server, supervisor) = one_place(Script::delay(ms(50)), config()).await;
    let channel = supervisor.channel();
    for _ in 0..40 {
        generated_unary(&channel, CallOptions::new()).await.expect("answered");
    }
    let call = async move { generated_unary(&channel, hurried()).await };
    let (end, sent) = with_forty_ms_left(&server, &supervisor, call).await;
    assert!(is_refused(&end) && !sent, "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_found_room_is_started_however_little_time_it_has() {
    let (server, supervisor) = one_place(Script::delay(ms(50)), config()).await;
    answer(&supervisor, 40, CallOptions::new()).await;
    let end = say(&supervisor.channel(), "hello", CallOptions::new().timeout(ms(20))).await;
    let report = report(&end.expect_err("too late")).clone();
    assert_eq!((report.attempts_made, server.handled()), (1, 41));
}

#[tokio::test(start_paused = true)]
async fn streams_long_polls_and_methods_without_the_key_are_started() {
    let off = config().method("test.Echo/Say", MethodOptions::new().refuse_late(false));
    let stream = hurried().kind(CallKind::Streaming);
    let poll = hurried().long_poll(secs(10));
    for (config, options) in [(config(), poll), (config(), stream), (off, hurried())] {
        let (server, supervisor) = one_place(Script::delay(ms(50)), config).await;
        answer(&supervisor, 40, CallOptions::new()).await;
        let channel = supervisor.channel();
        let call = async move { generated_stream(&channel, options).await.map(|_| String::new()) };
        let (end, sent) = with_forty_ms_left(&server, &supervisor, call).await;
        assert!(!is_refused(&end) && sent, "{options:?}: {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn errors_and_long_polls_say_nothing_of_how_long_an_answer_takes() {
    let error = || Answer::status(Code::NotFound).after(ms(200)).into();
    let poll = CallOptions::new().long_poll(secs(10));
    for (script, options) in [(error(), CallOptions::new()), (Script::delay(ms(200)), poll)] {
        let (server, supervisor) = one_place(script, config()).await;
        answer(&supervisor, 40, options).await;
        server.script(Script::delay(ms(20)));
        let channel = supervisor.channel();
        let call = async move { say(&channel, "hello", hurried()).await };
        let (end, sent) = with_forty_ms_left(&server, &supervisor, call).await;
        assert!(end.is_ok() && sent, "{end:?}");
    }
}

/// Errors that come at once do not hide that answers take long.
#[tokio::test(start_paused = true)]
async fn quick_errors_do_not_lower_the_figure() {
    let (server, supervisor) = one_place(Script::delay(ms(50)), config()).await;
    answer(&supervisor, 40, CallOptions::new()).await;
    server.script(Script::always(Code::NotFound));
    answer(&supervisor, 40, CallOptions::new()).await;
    server.script(Script::delay(ms(50)));
    let channel = supervisor.channel();
    let call = async move { say(&channel, "hello", hurried()).await };
    let (end, sent) = with_forty_ms_left(&server, &supervisor, call).await;
    // The place was taken for 500 ms and no call was answered: fewer than 16 times 50 ms.
    assert!(is_refused(&end) && !sent, "{end:?}");
}
