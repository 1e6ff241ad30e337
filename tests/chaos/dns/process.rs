//! A Python program that obeys lines and answers each with a line. Killed when dropped.

use std::{
    env,
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

pub(super) struct Process {
    process: Child,
    /// None when it has been told to end.
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts `program` of this folder; [`ready`](Self::ready) is to follow.
    pub(super) fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(env::var_os("PEERS_PYTHON").unwrap_or("python3".into()));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chaos/dns");
        command.arg(folder.join(program)).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("Python is there");
        let answers = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { orders: process.stdin.take(), process, answers }
    }

    /// Waits until it says so.
    pub(super) fn ready(&mut self) {
        assert_eq!(self.answer(), "ready");
    }

    /// Its answer to `order`.
    pub(super) fn ask(&mut self, order: &str) -> String {
        let orders = self.orders.as_mut().expect("not told to end");
        writeln!(orders, "{order}").expect("it listens");
        self.answer()
    }

    /// Tells it to end.
    pub(super) fn end(&mut self) {
        self.orders = None;
    }

    /// The next line that it says.
    pub(super) fn answer(&mut self) -> String {
        self.answers.next().expect("it runs").expect("text")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
