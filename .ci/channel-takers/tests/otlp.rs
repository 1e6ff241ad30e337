//! opentelemetry-otlp exports through a supervised channel to a small collector that is not there
//! at first, and goes away in between: no span is lost.

use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use opentelemetry_otlp::WithTonicConfig as _;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};
use tonic_supervisor::{Config, Supervisor};

/// The names of the spans that came.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<String>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        let names = scopes.flat_map(|scope| scope.spans).map(|span| span.name);
        self.0.lock().expect("no panic").extend(names);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    fn start(&self, address: SocketAddr) -> JoinHandle<()> {
        let (socket, service) = (TcpSocket::new_v4().expect("a socket"), self.clone());
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(address).expect("the port is free");
        let incoming = TcpListenerStream::new(socket.listen(16).expect("it listens"));
        let router = Server::builder().add_service(TraceServiceServer::new(service));
        tokio::spawn(async move { router.serve_with_incoming(incoming).await.expect("it serves") })
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }
}

async fn flush(provider: &SdkTracerProvider) {
    let provider = provider.clone();
    let flushed = tokio::task::spawn_blocking(move || provider.force_flush());
    flushed.await.expect("no panic").expect("exported");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_exported_over_an_outage_and_before_the_collectors_first_start() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = free.local_addr().expect("bound");
    drop(free);
    let config = Config::builder().host("127.0.0.1").port(address.port()).build().expect("valid");
    let supervisor = Supervisor::spawn(config);
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_channel(supervisor.tonic_channel())
        .build()
        .expect("an exporter");
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let tracer = provider.tracer("test");
    let collector = Collector::default();

    tracer.in_span("before the first start", |_| ());
    let flushing = tokio::spawn({
        let provider = provider.clone();
        async move { flush(&provider).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let serving = collector.start(address);
    flushing.await.expect("no panic");
    assert_eq!(collector.names(), ["before the first start"]);

    serving.abort();
    assert!(serving.await.is_err(), "it is gone");
    for number in 0..100 {
        tracer.in_span(format!("in the outage {number}"), |_| ());
    }
    let flushing = tokio::spawn({
        let provider = provider.clone();
        async move { flush(&provider).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let _serving = collector.start(address);
    flushing.await.expect("no panic");
    assert_eq!(collector.names().len(), 101);
}
