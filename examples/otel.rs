//! Traces by OpenTelemetry: a call's span, its attempts below it, and the server's own below the
//! attempt that reached it.
//!
//! This example needs OpenTelemetry's crates, and is built beside this package:
//! `cargo run --manifest-path .ci/otel/Cargo.toml --example otel -- HOST:PORT` makes one call of
//! `/test.Echo/Say`, and exports its spans to `OTEL_EXPORTER_OTLP_ENDPOINT`
//! (`http://localhost:4317`).

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{global, propagation::Injector, trace::TracerProvider as _};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use std::{error::Error, time::Duration};
use tonic::Request;
use tonic_supervisor::{AttemptInfo, Config, Propagation, Supervisor};
use tracing::{Instrument as _, Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Sends the context of the span that is current in OpenTelemetry's global format.
pub struct GlobalPropagator;

impl Propagation for GlobalPropagator {
    fn inject(&self, _: &AttemptInfo, headers: &mut HeaderMap) {
        let context = Span::current().context();
        global::get_text_map_propagator(|format| {
            format.inject_context(&context, &mut Fields(headers));
        });
    }
}

struct Fields<'a>(&'a mut HeaderMap);

impl Injector for Fields<'_> {
    fn set(&mut self, name: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// The spans of this crate and of the program. Without a filter there are those of the exporter's
/// own connection, too, which make more to be exported.
pub fn filter() -> Targets {
    Targets::new().with_target("tonic_supervisor", Level::DEBUG).with_target("otel", Level::INFO)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::args().nth(1).ok_or("which server? HOST:PORT")?;
    let exporter = SpanExporter::builder().with_tonic().build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("otel"));
    tracing_subscriber::registry().with(layer.with_filter(filter())).init();
    global::set_text_map_propagator(TraceContextPropagator::new());

    let config = Config::builder().target(&target).build()?;
    let supervisor = Supervisor::builder(config).propagation(GlobalPropagator).spawn();
    let channel = supervisor.channel();
    let call = channel.unary::<String, String>("/test.Echo/Say", Request::new("hello".into()));
    let answer = call.instrument(tracing::info_span!(target: "otel", "order")).await?;
    println!("{}", answer.into_inner());

    supervisor.shutdown(Duration::from_secs(1)).await;
    // It exports what is left, and must not hold up the runtime that it exports on.
    tokio::task::spawn_blocking(move || provider.shutdown()).await??;
    Ok(())
}
