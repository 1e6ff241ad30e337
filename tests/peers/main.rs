//! Against servers that others wrote: OpenSSL for what goes wrong in TLS, grpcio (C-core) and etcd
//! (grpc-go) for what goes right.
//!
//! Needs `openssl`, `etcd`, and a Python with grpcio and grpcio-tools: `python3`, or the one that
//! `PEERS_PYTHON` names. `.ci/peers` sets all of it up.

#[path = "../it/tls/certificates.rs"]
mod certificates;
mod etcd;
mod grpcio;
mod interop;
mod keepalive;
mod load;
mod openssl;
mod wire;

use certificates::Authority;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};
use tonic_supervisor::{Config, ConfigBuilder};

/// A foreign server. Killed when dropped.
struct Foreign {
    process: Child,
    /// What it said first.
    said: String,
}

impl Foreign {
    /// Starts it, and waits for the first line that `wanted` makes something of.
    fn start(
        mut command: Command,
        wanted: impl Fn(&str) -> Option<String> + Send + 'static,
    ) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process =
            command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let (sender, said) = mpsc::channel();
        // It reads to the end: the server shall not stop because nobody does.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(found) = wanted(&line) {
                    let _ = sender.send(found);
                }
            }
        });
        let mut foreign = Self { process, said: String::new() };
        let said = said.recv_timeout(Duration::from_secs(20));
        foreign.said = said.unwrap_or_else(|_| panic!("{command:?} did not say that it serves"));
        foreign
    }
}

impl Foreign {
    /// SIGTERM: it ends in its own way; back when it has.
    fn terminate(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("it runs");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder with an authority of ours and one of others.
struct World {
    folder: tempfile::TempDir,
    ours: Authority,
    theirs: Authority,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let (ours, theirs) = (Authority::new("our authority"), Authority::new("their authority"));
        fs::write(folder.path().join("ca.pem"), &ours.pem).expect("written");
        Self { folder, ours, theirs }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Trusts our authority.
    fn config(&self, target: impl Into<String>) -> ConfigBuilder {
        let ca = self.file("ca.pem").display().to_string();
        Config::builder().target(target).tls_ca(ca).connect_timeout(Duration::from_secs(3))
    }

    /// Shows `client.pem`.
    fn showing(&self, config: ConfigBuilder) -> ConfigBuilder {
        let path = |name: &str| self.file(name).display().to_string();
        config.tls_certificate(path("client.pem")).tls_key(path("client.key"))
    }
}
