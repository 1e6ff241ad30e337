//! The server: this test program as another process, which a test may kill, freeze, and put into a
//! namespace.

use super::{namespace::Namespace, tonic_server::Echo};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport;

/// The method that it serves.
pub(crate) const SAY: &str = "/test.Echo/Say";
/// Where the process shall listen.
const LISTEN: &str = "CHAOS_LISTEN";
const SERVES: &str = "serves on ";

/// A running server process. Killed when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Server {
    /// On loopback.
    pub(crate) fn start() -> Self {
        let itself = env::current_exe().expect("a test has a file");
        Self::spawn(Command::new(itself), SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// At the far end of a pair of wires.
    pub(crate) fn start_in(namespace: &Namespace) -> Self {
        let mut command = namespace.command();
        command.arg(env::current_exe().expect("a test has a file"));
        Self::spawn(command, SocketAddr::from((namespace.far, 0)))
    }

    fn spawn(mut command: Command, listen: SocketAddr) -> Self {
        command.args(["--exact", "server::the_server_process", "--ignored", "--nocapture"]);
        command
            .env(LISTEN, listen.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn().expect("the server starts");
        let mut lines =
            BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let address = lines
            .find_map(|line| line.strip_prefix(SERVES)?.parse().ok())
            .expect("the server serves");
        Self { address, process }
    }

    /// `kill -9`, and gone.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    /// A new process in the place of the killed one.
    pub(crate) fn start_again(&mut self) {
        let itself = env::current_exe().expect("a test has a file");
        *self = Self::spawn(Command::new(itself), self.address);
    }

    /// SIGSTOP: it stands still; the kernel still acknowledges what is sent to it.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Not a test: what the other process runs, for ever.
#[tokio::test]
#[ignore = "the server of the other tests"]
async fn the_server_process() {
    let listen = env::var(LISTEN).expect("started by a test");
    let listener = TcpListener::bind(listen).await.expect("a free address");
    let address = listener.local_addr().expect("bound");
    let serving = transport::Server::builder()
        .add_service(Echo)
        .serve_with_incoming(TcpListenerStream::new(listener));
    // The harness has begun a line of its own.
    println!("\n{SERVES}{address}");
    serving.await.expect("it serves");
}
