//! The command's server as a process: started, killed with SIGKILL, and started again on its port. Dropped, it is killed.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpSocket,
    process::{self, ChildStdout, Command},
    time::timeout,
};

/// No healthy server needs so long to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// `tonic-supervisor serve` on a port of its own.
pub(crate) struct Server {
    store: String,
    /// Where it serves.
    pub(crate) address: SocketAddr,
    /// Bound and never listening: nobody else is given the port while no server runs.
    _port: TcpSocket,
    process: Process,
}

struct Process {
    process: process::Child,
    /// Kept open, so that the server can say what it wants.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Returns when it serves.
    pub(crate) async fn start(store: &str) -> Self {
        let port = TcpSocket::new_v4().expect("a socket");
        port.set_reuseaddr(true).expect("an option");
        port.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let address = port.local_addr().expect("bound");
        Self { store: store.into(), address, _port: port, process: Process::start(store, address).await }
    }

    /// SIGKILL, no goodbye; a server that had ended by itself is a failure. Returns when the process is gone.
    pub(crate) async fn kill(&mut self) {
        let process = &mut self.process.process;
        let ended = process.try_wait().expect("a child");
        assert!(ended.is_none(), "the server ended by itself: {ended:?}");
        process.kill().await.expect("killed");
    }

    /// A new process on the same port and store; returns when it serves.
    pub(crate) async fn start_again(&mut self) {
        self.process = Process::start(&self.store, self.address).await;
    }
}

impl Process {
    async fn start(store: &str, address: SocketAddr) -> Self {
        // The store may hold a password, and everybody can read a command line.
        let mut process = Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"))
            .args(["--json", "serve", "--addr", &address.to_string()])
            .env("AGENT_QUEUE_STORE", store)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the command starts");
        let mut said = BufReader::new(process.stdout.take().expect("piped")).lines();
        let line = timeout(PATIENCE, said.next_line()).await.expect("it serves in time").expect("text");
        let line = line.expect("it serves; it has said why not");
        assert!(line.contains(r#""kind":"serving""#), "{line}");
        Self { process, _said: said }
    }
}
