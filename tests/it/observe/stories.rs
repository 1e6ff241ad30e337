//! Stories of calls: why a call was not retried, what the server said, and which calls are worth a
//! look afterwards. And numbers per method that can be read again.

use crate::support::{
    LONG, Rig, SAY, config, generated_stream, generated_unary, ms, record, report, request, say,
    secs,
};
use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};
use tonic::{Code, Request, client::Grpc};
use tonic_supervisor::{
    CallKind, CallOptions, CallReport, EventItem, KeepHistory, NotRetried, Story,
    testing::{Answer, Script},
};

async fn refused(rig: &Rig, options: CallOptions) -> Option<NotRetried> {
    let status = rig.call(options).await.expect_err("it fails");
    report(&status).not_retried
}

#[tokio::test(start_paused = true)]
async fn each_reason_for_no_retry_is_told() {
    let always = |code| Script::always(code);
    let unary = CallOptions::new;
    let rig = Rig::with_script(always(Code::NotFound), config()).await.ready().await;
    assert_eq!(refused(&rig, unary()).await, Some(NotRetried::CodeNotListed(Code::NotFound)));

    rig.server.script(always(Code::Unavailable));
    let once = unary().idempotent(false);
    assert_eq!(refused(&rig, once).await, Some(NotRetried::MaybeProcessed));
    assert_eq!(refused(&rig, unary()).await, Some(NotRetried::LimitReached(3)));
    assert_eq!(refused(&rig, unary().retry(false)).await, Some(NotRetried::LimitReached(0)));
    let soon = unary().timeout(ms(500));
    assert_eq!(refused(&rig, soon).await, Some(NotRetried::OutlivesDeadline(secs(1))));

    rig.server.script(Script::pushback(Code::Unavailable, "-1"));
    assert_eq!(refused(&rig, unary()).await, Some(NotRetried::Forbidden));

    let rig = Rig::with_script(
        always(Code::Unavailable),
        config().retry_throttle_floor(0.0).retry_throttle_ratio(0.0),
    )
    .await
    .ready()
    .await;
    let mut reasons = Vec::new();
    for _ in 0..5 {
        reasons.extend(refused(&rig, unary()).await);
    }
    assert!(reasons.contains(&NotRetried::Throttled), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_not_retried_and_neither_is_what_nobody_described() {
    let rig = Rig::with_script(Script::always(Code::Unavailable), config()).await.ready().await;
    let streaming = CallOptions::new().kind(CallKind::Streaming);
    let status = generated_unary(&rig.channel(), streaming).await.expect_err("unavailable");
    assert_eq!(report(&status).not_retried, Some(NotRetried::Streaming));

    let config = config().retry_undescribed(false);
    let rig = Rig::with_script(Script::always(Code::Unavailable), config).await.ready().await;
    let status =
        generated_unary(&rig.channel(), CallOptions::new()).await.expect_err("unavailable");
    assert_eq!(report(&status).not_retried, Some(NotRetried::Undescribed));
}

/// What the sentence of a report says is what its field says.
#[tokio::test(start_paused = true)]
async fn the_reason_stands_in_the_reports_words() {
    let rig = Rig::with_script(Script::always(Code::NotFound), config()).await.ready().await;
    let status = rig.call(CallOptions::new()).await.expect_err("not found");
    let words = report(&status).to_string();
    let reason = "; no retry followed: NOT_FOUND is not one of retryable_status_codes";
    assert!(words.contains(reason), "{words}");
}

/// Both ways of a unary call, of the crate's own and of generated clients.
#[tokio::test(start_paused = true)]
async fn an_answer_tells_its_calls_story_where_the_call_asks_for_it() {
    let script = Script::sequence(
        vec![Answer::status(Code::Unavailable).text("warming up%0A")],
        Answer::echo(),
    );
    let rig = Rig::with_script(script, config()).await.ready().await;
    let asked = request("hello", CallOptions::new().story());
    let answer = rig.channel().unary::<String, String>(SAY, asked).await.expect("answered");
    let story = answer.extensions().get::<Story>().expect("a story");
    assert_eq!((story.code, story.attempts_made, story.retries), (Code::Ok, 2, 1));
    assert_eq!(story.attempts[0].said.as_deref(), Some("warming up\\n"));
    assert_eq!(story.waits.retry, secs(1));
    let words = "OK after 1.0 s, 2 attempts (retry 1.0 s, wire 0 ms)";
    assert!(story.to_string().ends_with(words), "{story}");

    let mut grpc = Grpc::new(rig.channel());
    grpc.ready().await.expect("ready");
    let asked = request("hello", CallOptions::new().unary().story());
    let codec = crate::support::codec();
    let answer = grpc.unary(asked, crate::support::path(), codec).await.expect("answered");
    assert_eq!(answer.extensions().get::<Story>().map(|story| story.attempts_made), Some(1));

    let plain = Request::new("hello".to_owned());
    let answer = rig.channel().unary::<String, String>(SAY, plain).await.expect("answered");
    assert!(answer.extensions().get::<Story>().is_none(), "nobody asked");
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_worth_a_look_are_kept_and_others_are_not() {
    let _keeping = KeepHistory::begin();
    let rig = Rig::new(config()).await.ready().await;
    let observer = rig.supervisor.observer();
    let stories = || {
        let stories = observer.stories();
        stories.iter().map(|story| (story.code, story.attempts_made)).collect::<Vec<_>>()
    };
    rig.call(CallOptions::new()).await.expect("answered");
    assert_eq!(stories(), [], "quick and well");

    rig.server.script(Script::delay(ms(1_001)));
    rig.call(CallOptions::new()).await.expect("answered");
    rig.server.script(Script::fail_times(1, Code::Unavailable));
    rig.call(CallOptions::new()).await.expect("answered");
    rig.server.script(Script::new(|_| Answer::status(Code::NotFound).text("<script>%1B[31m")));
    rig.call(CallOptions::new()).await.expect_err("not found");
    generated_stream(&rig.channel(), CallOptions::new()).await.expect_err("not found");
    let told = [(Code::Ok, 1), (Code::Ok, 2), (Code::NotFound, 1), (Code::NotFound, 1)];
    assert_eq!(stories(), told);
    let words = observer.stories()[2].words.clone();
    assert_eq!(words.as_deref(), Some("<script>\\u{1b}[31m"), "fit to be shown");

    for _ in 0..200 {
        rig.call(CallOptions::new()).await.expect_err("not found");
    }
    assert_eq!(stories().len(), 128, "no more are kept");
}

/// The history is the event stream's, from when somebody asked for it.
#[tokio::test(start_paused = true)]
async fn events_are_kept_while_somebody_asks_for_it() {
    let _keeping = KeepHistory::begin();
    let rig = Rig::new(config()).await;
    let mut events = rig.supervisor.events();
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
    for _ in 0..200 {
        rig.supervisor.reconnect_now();
        tokio::time::sleep(secs(1)).await;
    }
    let history = rig.supervisor.observer().history();
    assert_eq!(history.len(), 384, "128 places are for events about single calls");
    assert!(history.windows(2).all(|two| two[0].seq + 1 == two[1].seq), "without gaps");
    assert_eq!(history.last().map(|last| last.seq), Some(rig.supervisor.snapshot().seq));
    rig.supervisor.shutdown(Duration::ZERO).await;
    let mut seen = 0;
    while let Some(item) = events.next().await {
        if let EventItem::Event(event) = item {
            seen = event.seq;
        }
    }
    assert_eq!(rig.supervisor.observer().history().last().map(|last| last.seq), Some(seen));
}

/// In an outage of many calls the events of the channel are not crowded out.
#[tokio::test(start_paused = true)]
async fn events_about_calls_leave_room_for_those_about_the_channel() {
    let _keeping = KeepHistory::begin();
    let rig = Rig::with_script(Script::always(Code::Unavailable), config()).await.ready().await;
    for _ in 0..400 {
        rig.call(CallOptions::new().timeout(secs(2))).await.expect_err("unavailable");
    }
    let history = rig.supervisor.observer().history();
    let of_calls = history.iter().filter(|event| event.fact.name() == "RetryScheduled").count();
    assert_eq!(of_calls, 128);
    assert!(history.iter().any(|event| event.fact.name() == "LinkEstablished"));
}

/// 1,000 calls of every fate: each is counted once, as what it is, and what the recorder gets is
/// the same.
#[test]
fn numbers_can_be_read_again_and_are_those_of_the_recorder() {
    let counted = Cell::new((0, 0));
    let recorded = record(|| async {
        let calls = AtomicUsize::new(0);
        let script = Script::new(move |_| match calls.fetch_add(1, Relaxed) % 4 {
            0 => Answer::status(Code::NotFound),
            1 => Answer::status(Code::Unavailable).pushback("1"),
            _ => Answer::echo(),
        });
        let rig = Rig::with_script(script, config().queue_max_calls(4)).await.ready().await;
        for n in 0..250 {
            let channel = rig.channel();
            let one = || say(&channel, "hello", CallOptions::new().retry(n % 2 == 0));
            let _ = tokio::join!(one(), one(), one(), one(), one());
        }
        let methods = rig.supervisor.observer().methods();
        let [only] = &methods[..] else { panic!("{methods:?}") };
        assert_eq!(&*only.method, SAY.trim_start_matches('/'));
        assert_eq!(only.started, 1_250, "those that were refused included");
        assert_eq!(only.ok() + only.failed(), 1_250, "all have ended");
        assert_eq!(only.latency.iter().sum::<u64>(), 1_250);
        assert_eq!(only.ended[Code::ResourceExhausted as usize], 250, "the queue holds four");
        assert_eq!(only.attempts, rig.server.arrivals().len() as u64);
        assert_eq!(only.attempts - only.retries, 1_000, "one for each call that was let in");
        assert_eq!(only.attempts_ok, only.ok());
        counted.set((only.attempts, only.ok()));
    });
    let of = |name: &str, label: &str| {
        let of = |(key, _): &(&String, &Vec<f64>)| key.starts_with(name) && key.contains(label);
        recorded.iter().filter(of).map(|(_, values)| values.clone()).collect::<Vec<_>>().concat()
    };
    let (attempts, ok) = counted.get();
    assert_eq!(of("grpc.client.attempt.started", ""), [attempts as f64]);
    assert_eq!(of("grpc.client.call.duration", "grpc.status=OK").len() as u64, ok);
    assert_eq!(of("grpc.client.call.duration", "").len(), 1_250);
}

/// A report of a failure has the same numbers as its story.
#[tokio::test(start_paused = true)]
async fn a_failed_calls_story_is_its_report() {
    let _keeping = KeepHistory::begin();
    let rig = Rig::with_script(Script::always(Code::Unavailable), config()).await.ready().await;
    let status = rig.call(CallOptions::new()).await.expect_err("unavailable");
    let report = CallReport::of(&status).expect("a report");
    let stories = rig.supervisor.observer().stories();
    let story = stories.last().expect("a story");
    assert_eq!((&story.attempts, story.retries), (&report.attempts, report.retries));
    assert_eq!((story.waits, story.elapsed), (report.waits, report.elapsed));
    assert_eq!((story.not_retried, story.endpoint.0), (report.not_retried, 1));
}
