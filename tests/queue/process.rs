//! The command `serve` as a process: started, killed, restarted on its port, asked to end.

use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
};
use tokio::net::TcpSocket;

/// The command with these arguments, and nothing from this process's environment that it would
/// read.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"));
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("AGENT_QUEUE_STORE")
        .stdin(Stdio::null());
    // Of the manager of whoever runs the tests.
    command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
    command
}

/// The same, where no more than so many files may be open.
fn limited(files: u32, arguments: &[&str]) -> Command {
    let whole = command(arguments);
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg(format!("ulimit -n {files}; exec \"$@\""))
        .arg("sh")
        .arg(whole.get_program());
    limited
        .args(whole.get_args())
        .env_remove("RUST_LOG")
        .env_remove("AGENT_QUEUE_STORE")
        .stdin(Stdio::null());
    limited
}

/// A server over `store`, killed when dropped.
pub(crate) struct Serve {
    process: Child,
    store: String,
    more: Vec<String>,
    pub(crate) address: SocketAddr,
    /// Bound and never listening: nobody else is given the port while no server runs.
    _port: TcpSocket,
}

impl Serve {
    /// On a free port; returns when it serves. `more` are further arguments.
    pub(crate) fn start(store: &str, more: &[&str]) -> Self {
        Self::start_by(None, store, more)
    }

    /// The same, and what it says on its standard error.
    pub(crate) fn start_heard(store: &str, more: &[&str]) -> (Self, BufReader<ChildStderr>) {
        let mut server = Self::begin(None, store, more, |command| {
            command.stderr(Stdio::piped());
        });
        let errors = server.process.stderr.take().expect("piped");
        (server, BufReader::new(errors))
    }

    /// The same, where everything is logged to a file.
    pub(crate) fn start_logging(store: &str, more: &[&str], log: File) -> Self {
        Self::begin(None, store, more, |command| {
            command.env("RUST_LOG", "trace").stderr(log);
        })
    }

    fn start_by(files: Option<u32>, store: &str, more: &[&str]) -> Self {
        Self::begin(files, store, more, |_| {})
    }

    fn begin(
        files: Option<u32>,
        store: &str,
        more: &[&str],
        set_up: impl FnOnce(&mut Command),
    ) -> Self {
        let port = TcpSocket::new_v4().expect("a socket");
        port.set_reuseaddr(true).expect("an option");
        port.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let address = port.local_addr().expect("bound");
        let more = more.iter().map(|argument| argument.to_string()).collect::<Vec<_>>();
        let process = spawn(files, store, &more, address, set_up);
        Self { process, store: store.into(), more, address, _port: port }
    }

    /// The same, in a process that may open so many files.
    pub(crate) fn start_with_files(files: u32, store: &str, more: &[&str]) -> Self {
        Self::start_by(Some(files), store, more)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// `kill -9`: no goodbye. A server that has ended by itself is a failure.
    pub(crate) fn kill(&mut self) {
        let ended = self.process.try_wait().expect("a child");
        assert!(ended.is_none(), "the server ended by itself: {ended:?}");
        self.process.kill().expect("killed");
        self.process.wait().expect("ended");
    }

    /// The same again, on the same port; returns when it serves.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(None, &self.store, &self.more, self.address, |_| {});
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, name: &str) {
        let told = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(told.expect("kill").success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let wait = tokio::task::spawn_blocking(move || self.process.wait().expect("ended"));
        wait.await.expect("waited")
    }
}

/// The store is told by the environment: it may hold a password, and everybody can read a command
/// line.
fn spawn(
    files: Option<u32>,
    store: &str,
    more: &[String],
    address: SocketAddr,
    set_up: impl FnOnce(&mut Command),
) -> Child {
    let address_text = address.to_string();
    let arguments = ["serve", "--json", "--addr", &address_text];
    let mut command = match files {
        None => command(&arguments),
        Some(files) => limited(files, &arguments),
    };
    set_up(&mut command);
    let mut process = command
        .args(more)
        .env("AGENT_QUEUE_STORE", store)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let said: Value = serde_json::from_str(&line).expect("it serves, and says so");
    assert_eq!(said["address"], address.to_string());
    process
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
