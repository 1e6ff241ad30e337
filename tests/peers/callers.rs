//! Clients that others wrote, each one process for a whole test: told an address and a method, it
//! makes a call and says what it has seen of it.

use serde_json::{Value, json};
use std::{
    collections::HashMap,
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::oneshot;

/// How long after its deadline a call may end.
const PATIENCE: Duration = Duration::from_secs(20);

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// A client's process. Killed when dropped.
pub(crate) struct Caller {
    process: Child,
    /// Its standard input, and the number of the next call.
    calls: Mutex<(ChildStdin, u64)>,
    waiting: Waiting,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// `host:port`.
    pub(crate) address: &'a str,
    pub(crate) method: &'a str,
    /// Whether the client makes it as a server-streaming call, or as a unary one.
    pub(crate) streaming: bool,
    pub(crate) timeout: Duration,
}

impl Caller {
    /// grpcio.
    pub(crate) fn python() -> Self {
        let python = env::var_os("PEERS_PYTHON").unwrap_or_else(|| "python3".into());
        let mut command = Command::new(python);
        command.env("GRPC_VERBOSITY", "NONE");
        Self::start(command, "fault_client.py")
    }

    /// grpc-js.
    pub(crate) fn node() -> Self {
        Self::start(Command::new("node"), "fault_client.js")
    }

    fn start(mut command: Command, script: &str) -> Self {
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process =
            command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let stdin = process.stdin.take().expect("piped");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let ready = lines.next().and_then(Result::ok);
        assert_eq!(ready.as_deref(), Some("ready"), "{command:?}");
        let waiting = Waiting::default();
        let told = waiting.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let seen: Value = serde_json::from_str(&line).expect("JSON");
                let id = seen["id"].as_u64().expect("a number");
                let waits = told.lock().expect("no panic").remove(&id).expect("a call");
                let _ = waits.send(seen);
            }
            // It has ended: whoever waits hears that nothing comes.
            told.lock().expect("no panic").clear();
        });
        Self { process, calls: Mutex::new((stdin, 0)), waiting }
    }

    /// Makes the call; what it has seen of it: `code`, `words`, `messages`, `head`, `trailers`.
    pub(crate) async fn call(&self, wanted: Wanted<'_>) -> Value {
        let (sender, seen) = oneshot::channel();
        {
            let mut calls = self.calls.lock().expect("no panic");
            let id = calls.1;
            calls.1 += 1;
            self.waiting.lock().expect("no panic").insert(id, sender);
            let line = json!({
                "id": id,
                "address": wanted.address,
                "method": wanted.method,
                "streaming": wanted.streaming,
                "timeout": wanted.timeout.as_secs_f64(),
            });
            writeln!(calls.0, "{line}").expect("it reads");
        }
        let seen = tokio::time::timeout(wanted.timeout + PATIENCE, seen).await;
        let seen = seen.unwrap_or_else(|_| panic!("the client says nothing: {wanted:?}"));
        seen.unwrap_or_else(|_| panic!("the client has ended: {wanted:?}"))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
