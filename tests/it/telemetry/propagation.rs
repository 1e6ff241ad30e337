//! The hook that carries traces to the server: asked for each attempt, within its span.

use crate::support::*;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue};
use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use tonic::{Code, Request};
use tonic_supervisor::{
    AttemptInfo, CallOptions, Incarnation, Propagation, SupervisedChannel, Supervisor, UnaryCall,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};
use tracing::level_filters::LevelFilter;

/// A server that answers by `script`, and a supervisor with `hook` that has a link.
async fn rig(script: impl Into<Script>, hook: impl Propagation) -> (ScriptedServer, Supervisor) {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().script(script).on_memory(&network, ADDRESS).await;
    let builder = Supervisor::builder(config().build().expect("valid"));
    let supervisor = builder.connector(network.connector()).propagation(hook).rng_seed(1).spawn();
    supervisor.wait_ready(LONG).await.expect("Ready");
    (server, supervisor)
}

/// Puts the id of the span that is current into `traceparent`.
fn current(_: &AttemptInfo, headers: &mut HeaderMap) {
    let id = tracing::Span::current().id().map_or(0, |id| id.into_u64());
    headers.insert("traceparent", HeaderValue::from(id));
}

/// What came under this name with each request.
fn came(server: &ScriptedServer, name: &str) -> Vec<Vec<String>> {
    let of = |value: &HeaderValue| value.to_str().expect("text").to_owned();
    let all = |headers: &HeaderMap| headers.get_all(name).iter().map(of).collect();
    server.arrivals().iter().map(|arrival| all(&arrival.metadata)).collect()
}

#[tokio::test(start_paused = true)]
async fn each_attempt_carries_its_own_span_in_place_of_what_the_caller_gave() {
    let spans = SpansSeen::listen();
    let busy = Answer::status(Code::Unavailable);
    let script = Script::sequence(vec![busy.clone(), Answer::reset(7), busy], Answer::echo());
    let infos: Arc<Mutex<Vec<AttemptInfo>>> = Arc::default();
    let kept = infos.clone();
    let (server, supervisor) = rig(script, move |info: &AttemptInfo, headers: &mut HeaderMap| {
        kept.lock().expect("no panic").push(info.clone());
        current(info, headers);
    })
    .await;
    let mut request = Request::new("x".to_owned());
    request.metadata_mut().insert("traceparent", "mine".parse().expect("a value"));
    request.metadata_mut().insert("x-tenant", "a".parse().expect("a value"));
    supervisor.channel().unary::<String, String>(SAY, request).await.expect("answered");
    let (_, attempts) = spans.one_call();
    let ids: Vec<_> = attempts.iter().map(|attempt| vec![attempt.id.to_string()]).collect();
    assert_eq!(came(&server, "traceparent"), ids);
    assert_eq!(came(&server, "x-tenant"), vec![vec!["a".to_owned()]; 4]);
    let infos = infos.lock().expect("no panic");
    let read: Vec<_> = infos
        .iter()
        .map(|info| (info.attempt, info.previous_attempts, info.is_transparent))
        .collect();
    assert_eq!(read, [(0, 0, false), (1, 1, false), (2, 1, true), (3, 2, false)]);
    assert!(infos.iter().all(|info| &*info.method == "test.Echo/Say"));
    assert!(infos.iter().all(|info| info.incarnation == Incarnation(1)));
}

#[tokio::test(start_paused = true)]
async fn where_nobody_wants_our_spans_the_callers_own_is_carried() {
    let spans = SpansSeen::listen_to(LevelFilter::INFO);
    let (server, supervisor) = rig(Script::fail_times(1, Code::Unavailable), current).await;
    let outer = tracing::info_span!("outer");
    let channel = supervisor.channel();
    let call = async { echo(&channel, "x").await.expect("answered") };
    tracing::Instrument::instrument(call, outer.clone()).await;
    let id = spans.named("outer")[0].id.to_string();
    assert_eq!(came(&server, "traceparent"), [vec![id.clone()], vec![id]]);
    let answer = post(&supervisor.mailbox(), "x", CallOptions::new());
    said(answer.await.expect("answered")).expect("OK");
    assert_eq!(came(&server, "traceparent")[2], ["0"], "it was made in no span");
    drop(outer);
    assert!(spans.named("outer")[0].ended.is_some(), "nothing holds it");
    assert!(spans.named("call").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_hook_costs_its_headers_and_no_call() {
    let log = LogLines::listen();
    let (server, supervisor) = rig(Script::echo(), |_: &AttemptInfo, headers: &mut HeaderMap| {
        headers.insert("traceparent", HeaderValue::from_static("1"));
        std::panic::resume_unwind(Box::new("no context"));
    })
    .await;
    for _ in 0..3 {
        echo(&supervisor.channel(), "x").await.expect("answered");
    }
    let (reply, answer) = tokio::sync::oneshot::channel();
    let call = UnaryCall::new(SAY, &"x".to_owned(), reply.into());
    supervisor.mailbox().send_message(call).expect("taken");
    said(answer.await.expect("answered")).expect("OK");
    assert_eq!(came(&server, "traceparent"), vec![Vec::<String>::new(); 4]);
    let lines = log.saying("it panicked: no context");
    assert_eq!(lines.len(), 1, "told once: {lines:?}");
    assert_eq!(supervisor.snapshot().child_failures, 0);
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_grpc_is_left_as_it_is() {
    let log = LogLines::listen();
    let (server, supervisor) = rig(Script::echo(), |_: &AttemptInfo, headers: &mut HeaderMap| {
        for name in ["grpc-timeout", "te", "content-type", "user-agent", "connection", "x-trace"] {
            headers.insert(name, HeaderValue::from_static("hooked"));
        }
    })
    .await;
    say(&supervisor.channel(), "x", CallOptions::new().timeout(SECOND)).await.expect("answered");
    echo(&supervisor.channel(), "x").await.expect("answered");
    let arrivals = server.arrivals();
    for arrival in &arrivals {
        let hooked = arrival.metadata.iter().filter(|(_, value)| *value == "hooked");
        assert_eq!(hooked.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x-trace"]);
        assert_eq!(arrival.metadata["te"], "trailers");
    }
    assert_eq!(arrivals[0].grpc_timeout.as_deref(), Some("1000m"));
    assert_eq!(log.saying("which belongs to gRPC").len(), 1);
}

/// What is added counts for what the peer takes.
#[tokio::test(start_paused = true)]
async fn headers_that_are_larger_than_the_peer_takes_end_the_call_and_not_the_link() {
    let (server, supervisor) = rig(Script::echo(), |_: &AttemptInfo, headers: &mut HeaderMap| {
        let large = "x".repeat(1 << 20);
        headers.insert("baggage", HeaderValue::from_str(&large).expect("letters"));
    })
    .await;
    let ended = echo(&supervisor.channel(), "x").await;
    assert_eq!(server.handled() > 0, ended.is_ok(), "{ended:?}");
    assert_eq!(supervisor.snapshot().incarnation, Incarnation(1));
}

/// It runs on the thread of whoever makes the call, and holds no lock of this crate.
#[tokio::test(start_paused = true)]
async fn a_hook_may_make_a_call_on_its_own_channel() {
    static OWN: OnceLock<SupervisedChannel> = OnceLock::new();
    static ASKED: AtomicBool = AtomicBool::new(false);
    let hook = |_: &AttemptInfo, _: &mut HeaderMap| {
        let Some(channel) = OWN.get().filter(|_| !ASKED.swap(true, Relaxed)) else { return };
        // Begun, and let go of.
        assert!(say(channel, "of the hook", CallOptions::new()).now_or_never().is_none());
    };
    let (_server, supervisor) = rig(Answer::echo(), hook).await;
    OWN.set(supervisor.channel()).expect("set once");
    let answer = say(&supervisor.channel(), "x", CallOptions::new()).await;
    assert_eq!((answer.expect("answered"), ASKED.load(Relaxed)), ("x".to_owned(), true));
}
