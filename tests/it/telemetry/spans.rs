//! The spans of calls and attempts: one for each, with its parent, what it says of itself, and one
//! end, however the call ends.

use crate::support::*;
use futures::{FutureExt as _, StreamExt as _};
use http::HeaderMap;
use std::time::Duration;
use tonic::{Code, Status, metadata::MetadataMap};
use tonic_supervisor::{
    AttemptInfo, CallOptions, Config, CredentialsRequest, Supervisor,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};
use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, span};

const METHOD: &str = "test.Echo/Say";

/// The fields' values, each by its name.
#[track_caller]
fn assert_fields(span: &SpanSeen, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(span.field(name), *value, "{name} of {span:#?}");
    }
}

/// How each attempt ended.
fn codes(attempts: &[SpanSeen]) -> Vec<&str> {
    attempts.iter().map(|attempt| attempt.field("rpc.status_code")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_span_and_each_of_its_attempts_one_below_it() {
    let spans = SpansSeen::listen();
    let rig = Rig::with_script(Script::fail_times(1, Code::Unavailable), config()).await.ready();
    rig.await.call(CallOptions::new()).await.expect("the second attempt is answered");
    let (call, attempts) = spans.one_call();
    assert_eq!((call.began, call.parent), (ms(0), None));
    assert_fields(
        &call,
        &[
            ("otel.name", METHOD),
            ("otel.kind", "client"),
            ("rpc.system.name", "grpc"),
            ("rpc.method", METHOD),
            ("server.address", "server"),
            ("server.port", "50051"),
            ("network.peer.address", "server"),
            ("network.peer.port", "50051"),
            ("rpc.status_code", "OK"),
            ("error.type", ""),
            ("otel.status_code", ""),
            ("otel.status_description", ""),
            ("tonic_supervisor.retries", "1"),
            ("tonic_supervisor.transparent_retries", "0"),
            ("tonic_supervisor.waits.link_ms", ""),
            ("tonic_supervisor.waits.retry_ms", "1000"),
        ],
    );
    let [first, second] = &attempts[..] else { panic!("{attempts:#?}") };
    for attempt in &attempts {
        assert_fields(
            attempt,
            &[
                ("otel.name", "Attempt.test.Echo/Say"),
                ("otel.kind", "client"),
                ("rpc.method", METHOD),
                ("network.peer.address", "server"),
                ("transparent-retry", "false"),
                ("tonic_supervisor.incarnation", "1"),
            ],
        );
    }
    assert_fields(
        first,
        &[
            ("previous-rpc-attempts", "0"),
            ("rpc.status_code", "UNAVAILABLE"),
            ("error.type", "UNAVAILABLE"),
            ("otel.status_code", "ERROR"),
        ],
    );
    assert!(first.field("otel.status_description").starts_with("UNAVAILABLE, "), "{first:#?}");
    assert_fields(
        second,
        &[("previous-rpc-attempts", "1"), ("rpc.status_code", "OK"), ("otel.status_code", "")],
    );
    // The first has ended before the wait for the retry begins.
    assert_time(second.began - first.ended.expect("ended"), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_says_with_what_and_why_it_was_not_retried() {
    let spans = SpansSeen::listen();
    let answer = Answer::status(Code::NotFound).text("no such %1B[31mtask");
    let rig = Rig::with_script(answer, config()).await.ready().await;
    rig.call(CallOptions::new()).await.expect_err("nothing is there");
    let (call, attempts) = spans.one_call();
    assert_fields(
        &call,
        &[
            ("rpc.status_code", "NOT_FOUND"),
            ("error.type", "NOT_FOUND"),
            ("otel.status_code", "ERROR"),
            ("otel.status_description", "no such \\u{1b}[31mtask"),
            ("tonic_supervisor.not_retried", "NOT_FOUND is not one of retryable_status_codes"),
        ],
    );
    assert_fields(
        &attempts[0],
        &[("otel.status_description", "NOT_FOUND, no such \\u{1b}[31mtask")],
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_for_nothing_is_said_to_be_transparent_and_not_counted() {
    let spans = SpansSeen::listen();
    let busy = Answer::status(Code::Unavailable);
    let script = Script::sequence(vec![Answer::reset(7), busy], Answer::echo());
    let rig = Rig::with_script(script, config()).await.ready().await;
    rig.call(CallOptions::new()).await.expect("the third attempt is answered");
    let (call, attempts) = spans.one_call();
    let read = |attempt: &SpanSeen| {
        let of = |name: &str| attempt.field(name).to_owned();
        (of("previous-rpc-attempts"), of("transparent-retry"))
    };
    let read: Vec<_> = attempts.iter().map(read).collect();
    let expected = [("0", "false"), ("0", "true"), ("1", "false")];
    assert_eq!(read, expected.map(|(before, again)| (before.to_owned(), again.to_owned())));
    assert_eq!(codes(&attempts), ["UNAVAILABLE", "UNAVAILABLE", "OK"]);
    assert_fields(
        &call,
        &[("tonic_supervisor.retries", "1"), ("tonic_supervisor.transparent_retries", "1")],
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_has_a_span_that_says_so_and_no_attempts() {
    let spans = SpansSeen::listen();
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config().queue_max_calls(1));
    let waiting = start(&supervisor.channel(), "first", CallOptions::new());
    settle().await;
    echo(&supervisor.channel(), "second").await.expect_err("the queue is full");
    let answer = post(&supervisor.mailbox(), "third", CallOptions::new());
    answer.await.expect("answered").expect_err("the queue is full");
    generated_unary(&supervisor.channel(), CallOptions::new()).await.expect_err("it is full");
    let calls = spans.named("call");
    assert_eq!((calls.len(), spans.named("attempt").len()), (4, 0));
    assert!(calls[0].ended.is_none(), "it waits");
    for refused in &calls[1..] {
        assert!(refused.ended.is_some());
        assert_fields(refused, &[("rpc.status_code", "RESOURCE_EXHAUSTED")]);
        assert!(refused.field("otel.status_description").contains("queue.max_calls"));
    }
    waiting.abort();
    supervisor.shutdown(Duration::ZERO).await;
    echo(&supervisor.channel(), "late").await.expect_err("it is shut down");
    let calls = spans.named("call");
    assert_eq!(calls.len(), 5);
    assert!(calls.iter().all(|call| call.ended.is_some()), "{calls:#?}");
    assert_fields(&calls[4], &[("rpc.status_code", "CANCELLED")]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_ends_its_spans_whether_it_waits_or_is_on_the_wire() {
    let spans = SpansSeen::listen();
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config());
    let waiting = start(&supervisor.channel(), "waits", CallOptions::new());
    settle().await;
    waiting.abort();
    settle().await;
    let (call, attempts) = spans.one_call();
    assert_fields(&call, &[("rpc.status_code", "CANCELLED"), ("otel.status_code", "ERROR")]);
    assert!(attempts.is_empty() && call.events.is_empty(), "it never left the waiting room");
    drop(spans);

    let spans = SpansSeen::listen();
    let rig = Rig::with_script(Answer::hang(), config()).await.ready().await;
    let running = start(&rig.channel(), "hangs", CallOptions::new());
    settle().await;
    assert!(spans.named("attempt")[0].ended.is_none());
    running.abort();
    settle().await;
    let (call, attempts) = spans.one_call();
    assert_eq!(codes(&attempts), ["CANCELLED"]);
    assert_fields(&call, &[("rpc.status_code", "CANCELLED")]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_spans_of_a_call_that_waits_and_of_one_on_the_wire() {
    let spans = SpansSeen::listen();
    let supervisor = supervise(&MemoryNetwork::new(), config());
    let two = CallOptions::new().timeout(2 * SECOND);
    say(&supervisor.channel(), "waits", two).await.expect_err("no server");
    let (call, attempts) = spans.one_call();
    assert!(attempts.is_empty());
    assert_time(call.ended.expect("ended"), 2 * SECOND);
    assert_fields(
        &call,
        &[
            ("rpc.status_code", "DEADLINE_EXCEEDED"),
            ("error.type", "DEADLINE_EXCEEDED"),
            ("network.peer.address", ""),
            ("tonic_supervisor.waits.link_ms", "2000"),
        ],
    );
    assert!(call.field("otel.status_description").contains("waited for a link"), "{call:#?}");
    drop(spans);

    let spans = SpansSeen::listen();
    let rig = Rig::with_script(Answer::hang(), config()).await.ready().await;
    rig.call(two).await.expect_err("no answer");
    let (_, attempts) = spans.one_call();
    assert_eq!(codes(&attempts), ["DEADLINE_EXCEEDED"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_left_the_waiting_room_says_when_in_an_event() {
    let spans = SpansSeen::listen();
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config());
    let call = start(&supervisor.channel(), "waits", CallOptions::new());
    tokio::time::sleep(ms(500)).await;
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    call.await.expect("no panic").1.expect("answered");
    assert_eq!(server.handled(), 1);
    let (call, attempts) = spans.one_call();
    assert_eq!(call.events, ["Delayed LB pick complete"]);
    assert!(attempts[0].events.is_empty());
    let waited: u64 = call.field("tonic_supervisor.waits.link_ms").parse().expect("a number");
    assert!((500..=1_000).contains(&waited), "{waited}");
    // One that goes out at once waits in no room.
    echo(&supervisor.channel(), "at once").await.expect("answered");
    let calls = spans.named("call");
    assert!(calls[1].events.is_empty() && calls[1].ended.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_credentials_are_fetched_leaves_the_waiting_room_once() {
    let spans = SpansSeen::listen();
    let network = MemoryNetwork::new();
    let hook = |_: CredentialsRequest| async {
        tokio::time::sleep(ms(300)).await;
        Ok::<_, Status>(MetadataMap::new())
    };
    let supervisor = Supervisor::builder(config().build().expect("valid"))
        .connector(network.connector())
        .call_credentials(hook)
        .allow_plaintext(true)
        .spawn();
    let call = start(&supervisor.channel(), "waits", CallOptions::new());
    tokio::time::sleep(ms(500)).await;
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    call.await.expect("no panic").1.expect("answered");
    let (call, attempts) = spans.one_call();
    assert_eq!((call.events.len(), attempts.len()), (1, 1));
    assert_fields(&call, &[("tonic_supervisor.waits.credentials_ms", "300")]);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_calls_spans_end_with_its_body() {
    let spans = SpansSeen::listen();
    let answer = Answer::stream(["a", "b"], Code::Ok).every(SECOND);
    let rig = Rig::with_script(answer, config()).await.ready().await;
    let mut stream =
        generated_stream(&rig.channel(), CallOptions::new()).await.expect("its head came");
    let open = |spans: &SpansSeen| {
        let all = [spans.named("call"), spans.named("attempt")].concat();
        all.iter().filter(|span| span.ended.is_none()).count()
    };
    assert_eq!(open(&spans), 2);
    stream.next().await.expect("a message").expect_err("no text, but a message");
    drop(stream);
    settle().await;
    let (call, _) = spans.one_call();
    assert_fields(&call, &[("rpc.status_code", "CANCELLED")]);
    drop(spans);

    let spans = SpansSeen::listen();
    rig.server.script(Answer::echo_stream());
    let mut stream =
        generated_stream(&rig.channel(), CallOptions::new()).await.expect("its head came");
    stream.next().await.expect("a message").expect("it is the request's");
    assert_eq!(open(&spans), 2);
    assert!(stream.next().await.is_none());
    let (call, attempts) = spans.one_call();
    assert_eq!(codes(&attempts), ["OK"]);
    assert_fields(&call, &[("rpc.status_code", "OK"), ("error.type", "")]);
}

#[tokio::test(start_paused = true)]
async fn the_span_that_is_current_when_a_call_is_made_is_its_parent_for_messages_too() {
    let spans = SpansSeen::listen();
    let rig = Rig::new(config()).await.ready().await;
    let outer = tracing::info_span!("outer");
    let channel = rig.channel();
    let call = async { echo(&channel, "x").await.expect("answered") };
    tracing::Instrument::instrument(call, outer.clone()).await;
    let mailbox = rig.supervisor.mailbox();
    let answer = outer.in_scope(|| post(&mailbox, "x", CallOptions::new()));
    said(answer.await.expect("answered")).expect("OK");
    let of_outer = spans.named("outer")[0].id;
    let calls = spans.named("call");
    assert_eq!(calls.len(), 2);
    for (call, attempt) in calls.iter().zip(spans.named("attempt")) {
        assert_eq!((call.parent, attempt.parent), (Some(of_outer), Some(call.id)));
        assert!(call.ended.is_some() && attempt.ended.is_some());
        assert_fields(call, &[("rpc.status_code", "OK"), ("rpc.method", METHOD)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_spans_of_all_calls() {
    let spans = SpansSeen::listen();
    let rig = Rig::with_script(Answer::hang(), config()).await.ready().await;
    let calls = start_many(&rig.channel(), CallOptions::new(), 3);
    let message = post(&rig.supervisor.mailbox(), "x", CallOptions::new());
    settle().await;
    rig.supervisor.shutdown(Duration::ZERO).await;
    join(calls).await;
    message.await.expect("answered").expect_err("shut down");
    for name in ["call", "attempt"] {
        let all = spans.named(name);
        assert_eq!(all.len(), 4);
        for span in all {
            assert!(span.ended.is_some(), "{span:#?}");
            assert_fields(&span, &[("rpc.status_code", "CANCELLED")]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_wants_spans_there_are_none() {
    let spans = SpansSeen::listen_to(LevelFilter::INFO);
    let rig = Rig::with_script(Script::fail_times(1, Code::Unavailable), config()).await.ready();
    rig.await.call(CallOptions::new()).await.expect("answered");
    assert!(spans.named("call").is_empty() && spans.named("attempt").is_empty());
}

/// Ids of one subscriber mean nothing to another.
#[test]
fn all_that_is_told_of_a_call_goes_to_the_subscriber_of_the_thread_that_made_it() {
    let here = SpansSeen::listen();
    let runtime = paused_runtime();
    let rig = runtime.block_on(async {
        let busy = Script::fail_times(1, Code::Unavailable);
        Rig::with_script(busy, config()).await.ready().await
    });
    let (channel, there) = (rig.channel(), SpansSeen::listen());
    // Made where `there` listens, and run where `here` does.
    let mut call = Box::pin(async move { echo(&channel, "x").await });
    assert!(call.as_mut().now_or_never().is_none(), "it is under way");
    let back = tracing::dispatcher::set_default(&here.dispatch());
    runtime.block_on(call).expect("answered");
    drop(back);
    assert!(here.named("call").is_empty() && here.named("attempt").is_empty());
    let (_, attempts) = there.one_call();
    assert_eq!(codes(&attempts), ["UNAVAILABLE", "OK"]);
}

/// A subscriber that panics when it is told one thing of our spans.
struct Furious(&'static str);

impl Furious {
    fn hears(&self, what: &str) {
        if self.0 == what {
            std::panic::resume_unwind(Box::new("a furious subscriber"));
        }
    }
}

impl Subscriber for Furious {
    fn enabled(&self, meta: &Metadata<'_>) -> bool {
        meta.target() == "tonic_supervisor::call"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        self.hears("new_span");
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {
        self.hears("record");
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.hears("event");
    }

    fn enter(&self, _: &span::Id) {
        self.hears("enter");
    }

    fn exit(&self, _: &span::Id) {
        self.hears("exit");
    }

    fn clone_span(&self, id: &span::Id) -> span::Id {
        self.hears("clone_span");
        id.clone()
    }

    fn try_close(&self, _: span::Id) -> bool {
        self.hears("try_close");
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_costs_spans_and_no_call() {
    for what in ["new_span", "record", "event", "enter", "exit", "clone_span", "try_close"] {
        let network = MemoryNetwork::new();
        let supervisor = Supervisor::builder(config().build().expect("valid"))
            .connector(network.connector())
            .propagation(|_: &AttemptInfo, _: &mut HeaderMap| ())
            .spawn();
        let _listening = tracing::subscriber::set_default(Furious(what));
        let waiting = start(&supervisor.channel(), "waits", CallOptions::new());
        settle().await;
        let script = Script::fail_times(1, Code::Unavailable);
        let _server = ScriptedServer::builder().script(script).on_memory(&network, ADDRESS).await;
        waiting.await.expect("no panic").1.unwrap_or_else(|status| panic!("{what}: {status}"));
        let answer = post(&supervisor.mailbox(), "x", CallOptions::new());
        said(answer.await.expect("answered")).unwrap_or_else(|status| panic!("{what}: {status}"));
        assert_eq!(supervisor.snapshot().child_failures, 0, "{what}");
    }
}

/// Its server is what the configuration names, not what its connector reaches.
#[tokio::test(start_paused = true)]
async fn the_server_of_a_socket_is_its_path() {
    let spans = SpansSeen::listen();
    let config = Config::builder().target("unix:/run/queue.sock").build().expect("valid");
    let supervisor = Supervisor::builder(config).connector(MemoryNetwork::new().connector());
    let options = CallOptions::new().timeout(SECOND);
    say(&supervisor.spawn().channel(), "x", options).await.expect_err("no server");
    let (call, _) = spans.one_call();
    assert_fields(&call, &[("server.address", "/run/queue.sock"), ("server.port", "")]);
}
