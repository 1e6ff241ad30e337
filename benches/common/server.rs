//! The server: tonic's own, echoing, in a process of its own that ends with its standard input, and
//! can be killed, stopped and restarted on the same port.

use super::client::PATH;
use std::{
    convert::Infallible,
    future::Future,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    pin::Pin,
    process::{Command, Stdio},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{io::AsyncReadExt as _, net::TcpListener};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Service, http},
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

/// In this variable a server finds the median of the times that its answers are to take, in
/// microseconds; without it they take none.
const MEDIAN: &str = "BENCH_MEDIAN_US";

/// If this variable is set, the server stays on the last core.
const PINNED: &str = "BENCH_PINNED";

#[derive(Clone)]
struct Echo {
    median: Option<Duration>,
}

impl Echo {
    fn new() -> Self {
        let micros = std::env::var(MEDIAN).ok().and_then(|text| text.parse().ok());
        Self { median: micros.map(Duration::from_micros) }
    }
}

/// A time with this median, lognormal (Box and Muller).
fn lognormal(median: Duration) -> Duration {
    let (one, other): (f64, f64) = (1.0 - rand::random::<f64>(), rand::random());
    let normal = (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos();
    median.mul_f64((0.4 * normal).exp())
}

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl UnaryService<Vec<u8>> for Echo {
    type Response = Vec<u8>;
    type Future = std::future::Ready<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        std::future::ready(Ok(Response::new(request.into_inner())))
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), PATH);
        let echo = self.clone();
        Box::pin(async {
            if let Some(median) = echo.median {
                tokio::time::sleep(lognormal(median)).await;
            }
            Ok(Grpc::new(ProstCodec::<Vec<u8>, Vec<u8>>::default()).unary(echo, request).await)
        })
    }
}

/// Keeps the calling thread, and those it starts, on the last core.
#[cfg(target_os = "linux")]
pub(crate) fn stay_on_one_core() {
    if std::env::var_os(PINNED).is_none() {
        return;
    }
    let pinned = rustix::thread::sched_getaffinity(None).and_then(|cores| {
        let mut last = rustix::thread::CpuSet::new();
        let core = (0..rustix::thread::CpuSet::MAX_CPU).rev().find(|core| cores.is_set(*core));
        core.inspect(|core| last.set(*core));
        rustix::thread::sched_setaffinity(None, &last)
    });
    if let Err(error) = pinned {
        eprintln!("the server is not pinned: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn stay_on_one_core() {}

/// Serves on `address` until standard input ends; then says goodbye (GOAWAY) and lets calls finish.
/// With the path of a certificate, over TLS.
pub(crate) async fn serve(address: &str, certificate: Option<&str>) {
    let listener = TcpListener::bind(address).await.expect("a port");
    println!("{}", listener.local_addr().expect("bound"));
    let orphaned = async { drop(tokio::io::stdin().read(&mut [0]).await) };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = secured(Server::builder(), certificate).add_service(Echo::new());
    server.serve_with_incoming_shutdown(incoming, orphaned).await.expect("serves");
}

/// tonic's own TLS is built with the feature `cli` only.
#[cfg(not(feature = "cli"))]
fn secured(server: Server, _: Option<&str>) -> Server {
    server
}

#[cfg(feature = "cli")]
fn secured(server: Server, certificate: Option<&str>) -> Server {
    use tonic::transport::{Identity, ServerTlsConfig};
    let Some(certificate) = certificate else { return server };
    // tonic's server chooses for itself, and cannot where more than one is built in
    // (`--all-features`).
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read = |path: String| std::fs::read(path).expect("written by the bench");
    let identity =
        Identity::from_pem(read(certificate.to_owned()), read(format!("{certificate}.key")));
    server.tls_config(ServerTlsConfig::new().identity(identity)).expect("a certificate and its key")
}

/// The server's process; ends when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) address: SocketAddr,
}

impl Child {
    pub(crate) fn start() -> Self {
        Self::start_on("127.0.0.1:0")
    }

    /// Returns when the server listens.
    pub(crate) fn start_on(address: &str) -> Self {
        Self::start_with(&["--serve", address])
    }

    /// The same over TLS, as whom `certificate` says; its key lies beside it.
    pub(crate) fn start_secured(certificate: &str) -> Self {
        Self::start_with(&["--serve", "127.0.0.1:0", certificate])
    }

    /// A server whose answers take times with this median.
    pub(crate) fn start_slow(median: Duration) -> Self {
        let median = (MEDIAN, median.as_micros().to_string());
        Self::start_as(&["--serve", "127.0.0.1:0"], Some(median))
    }

    /// A server that stays on one core, where there are several and the system can be told.
    pub(crate) fn start_pinned() -> Self {
        Self::start_as(&["--serve", "127.0.0.1:0"], Some((PINNED, String::new())))
    }

    fn start_with(arguments: &[&str]) -> Self {
        Self::start_as(arguments, None)
    }

    fn start_as(arguments: &[&str], variable: Option<(&str, String)>) -> Self {
        let me = std::env::current_exe().expect("this program");
        let mut process = Command::new(me)
            .args(arguments)
            .envs(variable)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        Self { process, address: line.trim().parse().expect("an address") }
    }

    /// SIGKILL: no goodbye.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// A planned stop: GOAWAY, then the end. Returns when the process is gone.
    pub(crate) fn stop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }

    /// Another server on the same port; returns when it listens.
    pub(crate) fn restart(&mut self) {
        *self = Self::start_on(&self.address.to_string());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
