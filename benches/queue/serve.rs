//! The server's process; ends when dropped.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

pub(crate) struct Serve {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Serve {
    /// Returns when it serves.
    pub(crate) fn start(store: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"))
            .args(["serve", "--json", "--addr", "127.0.0.1:0", "--store", store])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let said: serde_json::Value = serde_json::from_str(&line).expect("it serves, and says so");
        let address = said["address"].as_str().expect("text").parse().expect("an address");
        Self { process, address }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
