//! A server process that others wrote, and how it ends. The suite of real networks uses it, too.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// A foreign server. Killed when dropped.
pub(crate) struct Foreign {
    process: Child,
    /// What it said first.
    pub(crate) said: String,
}

impl Foreign {
    /// Starts it, and waits for the first line that `wanted` makes something of.
    pub(crate) fn start(
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

    /// Gives it a line to read.
    #[allow(dead_code, reason = "one of the suites that share this file has no use for it")]
    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.process.stdin.as_mut().expect("piped");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("it reads");
    }

    /// SIGTERM: it ends in its own way; back when it has.
    pub(crate) fn terminate(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("it runs");
        self.process.wait().expect("it ends");
    }

    /// `kill -9`, and gone.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
