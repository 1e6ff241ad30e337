//! `demo-server`: the child process, a real agent queue on loopback that refuses calls on command.
//! With `--backend` it keeps no queue, and hands calls on to the server that does.
//!
//! It prints `listening` and `serving` on standard output, takes `unavailable SECONDS` on standard
//! input, drains on SIGTERM, and ends when standard input does: with its parent.

use super::forward::Forward;
use crate::{CliError, address::Address, tls::Tls};
use parking_lot::Mutex;
use std::{
    future::Future,
    io::{self, BufRead, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    process,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime,
    signal::unix::{SignalKind, signal},
    task, time,
};
use tonic::{
    Request, Status,
    server::NamedService,
    service::interceptor::InterceptedService,
    transport::{Server, server::TcpIncoming},
};
use tonic_supervisor::agent_queue::{
    agent_queue_server::AgentQueueServer,
    server::{MemoryStore, Service, Settings},
};
use tower_service::Service as Tower;

/// How long a claim holds: longer than the demo's longest fault.
const LEASE: Duration = Duration::from_secs(10);
/// How long every answer is held back after the work was done, so that faults find calls that were
/// executed and not answered.
const ANSWER: Duration = Duration::from_millis(20);
/// How long calls in flight may take after SIGTERM.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct ServerArguments {
    /// The file that keeps every change.
    #[arg(long, required_unless_present = "backend")]
    journal: Option<PathBuf>,
    /// The server to hand all calls on to, in place of a journal.
    #[arg(long, value_name = "IP:PORT", conflicts_with = "journal", requires = "number")]
    backend: Option<SocketAddr>,
    /// The number that answers are signed with.
    #[arg(long, requires = "backend")]
    number: Option<u32>,
    /// The address to serve on; others may listen there too.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Address,
    /// The configuration to use, a YAML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Holds every answer back for a moment.
#[derive(Clone, Debug)]
struct Slow<S>(S);

/// Until when every call is refused.
#[derive(Clone, Debug, Default)]
struct Refusal(Arc<Mutex<Option<Instant>>>);

/// Serves, over TLS where the configuration has it.
pub(crate) fn serve(arguments: &ServerArguments) -> Result<(), CliError> {
    let tls = Tls::for_both_ends(arguments.config.as_deref())?;
    // A frozen process does not see its standard input end.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(CliError::failed("cannot tie the server to its parent"))?;
    let refusal = Refusal::default();
    let commands = refusal.clone();
    thread::spawn(move || obey(&commands));
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::failed("cannot start the runtime"))?
        .block_on(serve_until_terminated(arguments, tls, refusal))
}

async fn serve_until_terminated(
    arguments: &ServerArguments,
    tls: Option<Tls>,
    refusal: Refusal,
) -> Result<(), CliError> {
    let error = "cannot listen for signals";
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::failed(error))?;
    // Ctrl-C goes to the whole terminal; the parent decides what it means.
    let _ignored = signal(SignalKind::interrupt()).map_err(CliError::failed(error))?;

    let error = format!("cannot listen on {}", arguments.listen);
    let listener = listen(&arguments.listen).await.map_err(CliError::failed(&error))?;
    print_line("listening");
    let (draining, mut drain) = tokio::sync::oneshot::channel();
    let mut builder = Server::builder();
    if let Some(tls) = tls {
        builder =
            builder.tls_config(tls.server()).map_err(CliError::failed("cannot serve over TLS"))?;
    }
    let refuse = move |request| refusal.check(request);
    let (routes, service) = match (&arguments.journal, arguments.backend.zip(arguments.number)) {
        (Some(journal), _) => {
            let service = queue(journal).await?;
            let guarded = AgentQueueServer::with_interceptor(service.clone(), refuse);
            (builder.add_service(Slow(guarded)), Some(service))
        }
        (None, Some((backend, number))) => {
            let forward = Forward::to(backend, number)
                .map_err(CliError::failed("cannot name the queue behind this server"))?;
            (builder.add_service(InterceptedService::new(forward, refuse)), None)
        }
        (None, None) => return Err(CliError::Usage("demo-server needs a --journal".into())),
    };
    print_line("serving");
    let terminated = async move {
        terminate.recv().await;
        if let Some(service) = service {
            service.drain();
        }
        let _ = draining.send(());
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = routes.serve_with_incoming_shutdown(incoming, terminated);
    let overdue = async {
        let _ = (&mut drain).await;
        time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server => ended.map_err(CliError::failed("the server failed")),
        () = overdue => Ok(()),
    }
}

/// The queue that `journal` keeps. Waits for a predecessor to let go of it; connections that come
/// meanwhile wait in the backlog.
async fn queue(journal: &Path) -> Result<Service<MemoryStore>, CliError> {
    let journal = journal.to_owned();
    let settings = Settings::default().with_lease(LEASE);
    let store = task::spawn_blocking(move || MemoryStore::with_journal(&journal, settings))
        .await
        .map_err(CliError::failed("cannot open the journal"))?
        .map_err(|error| CliError::Failed(error.to_string()))?;
    Ok(Service::new(store))
}

/// A successor may listen beside its predecessor.
async fn listen(address: &Address) -> io::Result<TcpListener> {
    // The lookup finds at least one.
    let address = address.lookup().await?[0];
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Carries out the lines of standard input; its end ends the process.
fn obey(refusal: &Refusal) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match line.split_once(' ').map(|(command, seconds)| (command, seconds.parse())) {
            Some(("unavailable", Ok(seconds))) => refusal.begin(Duration::from_secs(seconds)),
            _ => eprintln!("demo-server: {line:?} is not a command"),
        }
    }
    process::exit(0);
}

fn print_line(line: &str) {
    let mut out = io::stdout().lock();
    // A parent that does not listen is gone, and standard input ends then.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

impl Refusal {
    fn begin(&self, lasting: Duration) {
        *self.0.lock() = Some(Instant::now() + lasting);
    }

    fn check(&self, request: Request<()>) -> Result<Request<()>, Status> {
        let until = *self.0.lock();
        match until {
            Some(until) if Instant::now() < until => {
                Err(Status::unavailable("the demo lets the server refuse calls"))
            }
            _ => Ok(request),
        }
    }
}

impl<S: NamedService> NamedService for Slow<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Tower<R, Future: Send + 'static, Response: Send>, R> Tower<R> for Slow<S>
where
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let work = self.0.call(request);
        Box::pin(async move {
            let answer = work.await;
            time::sleep(ANSWER).await;
            answer
        })
    }
}
