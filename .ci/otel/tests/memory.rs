//! Spans as opentelemetry's SDK collects them: one for a call, one for each attempt below it, and
//! what the server reads of them.

use opentelemetry::{
    SpanId, Value, global,
    trace::{SpanKind, Status, TracerProvider as _},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use otel::{GlobalPropagator, filter};
use std::{collections::BTreeSet, time::Duration};
use tonic::{Code, Request};
use tonic_supervisor::{
    Config, Supervisor,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};
use tracing::{Instrument as _, instrument::WithSubscriber as _};
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _};

#[allow(dead_code)]
#[path = "../../../examples/otel.rs"]
mod otel;

const ADDRESS: &str = "server:50051";

/// What of `name` was exported.
#[track_caller]
fn named<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a SpanData> {
    let mut named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    named.sort_by_key(|span| span.start_time);
    named
}

/// The attribute's one value.
#[track_caller]
fn of(span: &SpanData, key: &str) -> Option<Value> {
    let mut values = span.attributes.iter().filter(|it| it.key.as_str() == key);
    let value = values.next().map(|it| it.value.clone());
    assert!(values.next().is_none(), "{key} is there twice: {span:#?}");
    value
}

#[track_caller]
fn assert_has(span: &SpanData, expected: &[(&str, Value)]) {
    for (key, value) in expected {
        assert_eq!(of(span, key).as_ref(), Some(value), "{key} of {span:#?}");
    }
}

/// The trace and the span of a `traceparent` (W3C Trace Context): `00-TRACE-SPAN-01`.
fn read(traceparent: &str) -> (String, SpanId) {
    let parts: Vec<_> = traceparent.split('-').collect();
    let [_, trace, span, _] = parts[..] else { panic!("{traceparent}") };
    (trace.to_owned(), SpanId::from_hex(span).expect("16 digits"))
}

#[tokio::test(start_paused = true)]
async fn a_call_is_one_span_its_attempts_are_below_it_and_each_carries_its_own() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter()));
    global::set_text_map_propagator(TraceContextPropagator::new());

    let network = MemoryNetwork::new();
    let busy = Answer::status(Code::Unavailable).text("busy");
    let script = Script::sequence(vec![busy, Answer::reset(7)], Answer::echo());
    let config = Config::builder().host("server").port(50_051).build().expect("valid");
    // Nobody listens where the supervisor lives.
    let supervisor = Supervisor::builder(config)
        .connector(network.connector())
        .propagation(GlobalPropagator)
        .rng_seed(1)
        .spawn();
    let channel = supervisor.channel();
    let call = async move {
        let mut request = Request::new("x".to_owned());
        let other = "00-11111111111111111111111111111111-2222222222222222-01";
        request.metadata_mut().insert("traceparent", other.parse().expect("text"));
        channel.unary::<String, String>("/test.Echo/Say", request).await.map(drop)
    };
    let order = async move { call.instrument(tracing::info_span!(target: "otel", "order")).await };
    let calling = tokio::spawn(order.with_subscriber(subscriber));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let server = ScriptedServer::builder().script(script).on_memory(&network, ADDRESS).await;
    calling.await.expect("no panic").expect("the third attempt is answered");

    let spans = exporter.get_finished_spans().expect("collected");
    let (order, calls) = (named(&spans, "order"), named(&spans, "test.Echo/Say"));
    let attempts = named(&spans, "Attempt.test.Echo/Say");
    assert_eq!((order.len(), calls.len(), attempts.len(), spans.len()), (1, 1, 3, 5));
    let call = calls[0];
    let trace = order[0].span_context.trace_id();
    assert!(spans.iter().all(|span| span.span_context.trace_id() == trace));
    assert_eq!(call.parent_span_id, order[0].span_context.span_id());
    assert_eq!((&call.span_kind, &call.status), (&SpanKind::Client, &Status::Unset));
    assert_has(
        call,
        &[
            ("rpc.system.name", "grpc".into()),
            ("rpc.method", "test.Echo/Say".into()),
            ("rpc.status_code", "OK".into()),
            ("server.address", "server".into()),
            ("server.port", 50_051.into()),
            ("network.peer.address", "server".into()),
            ("network.peer.port", 50_051.into()),
            ("tonic_supervisor.retries", 1.into()),
            ("tonic_supervisor.transparent_retries", 1.into()),
            ("tonic_supervisor.waits.retry_ms", 1_000.into()),
        ],
    );
    assert_eq!(of(call, "error.type"), None);
    assert!(matches!(of(call, "tonic_supervisor.waits.link_ms"), Some(Value::I64(500..1_000))));
    let events: Vec<_> = call.events.iter().map(|event| &*event.name).collect();
    assert_eq!(events, ["Delayed LB pick complete"]);

    for (attempt, (before, transparent)) in attempts.iter().zip([(0, false), (1, false), (1, true)])
    {
        assert_eq!(attempt.parent_span_id, call.span_context.span_id());
        assert_eq!(attempt.span_kind, SpanKind::Client);
        assert_has(
            attempt,
            &[
                ("previous-rpc-attempts", before.into()),
                ("transparent-retry", transparent.into()),
                (
                    "tonic_supervisor.incarnation",
                    of(attempts[0], "tonic_supervisor.incarnation").expect("a number"),
                ),
            ],
        );
        assert!(attempt.end_time <= call.end_time);
    }
    assert_eq!(attempts[0].status, Status::error("UNAVAILABLE, busy"));
    assert_has(attempts[0], &[("error.type", "UNAVAILABLE".into())]);
    assert!(matches!(attempts[1].status, Status::Error { .. }));
    assert_eq!(attempts[2].status, Status::Unset);

    // What the server makes of them is below the attempt that reached it.
    let came: Vec<_> = server
        .arrivals()
        .iter()
        .map(|arrival| read(arrival.metadata["traceparent"].to_str().expect("text")))
        .collect();
    let sent: Vec<_> = attempts
        .iter()
        .map(|attempt| (trace.to_string(), attempt.span_context.span_id()))
        .collect();
    assert_eq!(came, sent);
    assert_eq!(came.iter().map(|(_, span)| span.to_string()).collect::<BTreeSet<_>>().len(), 3);
}
