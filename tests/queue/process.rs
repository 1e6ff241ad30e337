//! The command `serve` as a process: started, killed, restarted on its port, asked to end.

use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
};

/// The command with these arguments, and nothing from this process's environment that it would read.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"));
    command.args(arguments).env_remove("RUST_LOG").env_remove("AGENT_QUEUE_STORE").stdin(Stdio::null());
    command
}

/// A server over `store`, killed when dropped.
pub(crate) struct Serve {
    process: Child,
    arguments: Vec<String>,
    pub(crate) address: SocketAddr,
}

impl Serve {
    /// On a free port; returns when it serves. `more` are further arguments.
    pub(crate) fn start(store: &str, more: &[&str]) -> Self {
        let arguments: Vec<String> =
            ["serve", "--json", "--store", store].iter().chain(more).map(|argument| argument.to_string()).collect();
        let (process, address) = spawn(&arguments, "127.0.0.1:0");
        Self { process, arguments, address }
    }

    /// `kill -9`: no goodbye.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("ended");
    }

    /// The same again, on the same port; returns when it serves.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(&self.arguments, &self.address.to_string()).0;
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let told = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        assert!(told.expect("kill").success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let wait = tokio::task::spawn_blocking(move || self.process.wait().expect("ended"));
        wait.await.expect("waited")
    }
}

fn spawn(arguments: &[String], address: &str) -> (Child, SocketAddr) {
    let arguments: Vec<&str> = arguments.iter().map(|argument| &**argument).chain(["--addr", address]).collect();
    let mut process = command(&arguments).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let said: Value = serde_json::from_str(&line).expect("it serves, and says so");
    let address = said["address"].as_str().expect("text").parse().expect("an address");
    (process, address)
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
