//! `tonic-supervisor agent`, from outside: a real process that works through a real service's
//! queue, one command per task.

use crate::support::{AGENT, eventually, secs};
use parking_lot::Mutex;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_supervisor::{
    agent_queue::{
        AgentQueue, NewTask, PrivateAgentTasksQueue, Task, TaskStatus,
        agent_queue_server::AgentQueueServer,
        server::{MemoryStore, Service, Settings},
    },
    testing::FaultProxy,
};

/// A service on loopback, a queue of it, and a proxy that the agent comes through.
pub(crate) struct QueueBehindProxy {
    proxy: FaultProxy,
    pub(crate) queue: AgentQueue,
    serving: JoinHandle<()>,
}

impl QueueBehindProxy {
    async fn start() -> Self {
        Self::start_with(Settings::default().with_lease(secs(3)).with_max_claims(1_000)).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        let service = Service::new(MemoryStore::new(settings));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let serving = Server::builder().add_service(AgentQueueServer::new(service));
        let serving = serving.serve_with_incoming(TcpListenerStream::new(listener));
        let serving = tokio::spawn(async move { serving.await.expect("it serves") });
        let client =
            PrivateAgentTasksQueue::builder().grpc_port(address.port()).build().expect("valid");
        let queue = client.get_queue(AGENT, true).await.expect("a queue");
        Self { proxy: FaultProxy::to(address).await, queue, serving }
    }

    /// Where the agent comes to.
    pub(crate) fn port(&self) -> String {
        self.proxy.addr().port().to_string()
    }

    pub(crate) async fn submit(&self, payload: &str) -> String {
        self.queue.submit_task(NewTask::custom("script", payload)).await.expect("submitted").task_id
    }

    pub(crate) async fn ended(&self, task_id: &str) -> Task {
        self.until(task_id, |status| {
            !matches!(status, TaskStatus::Pending | TaskStatus::Processing)
        })
        .await
    }

    pub(crate) async fn until(&self, task_id: &str, wanted: impl Fn(TaskStatus) -> bool) -> Task {
        let look = async {
            loop {
                let task = self.queue.query_task(task_id).await.expect("it is there");
                if wanted(task.status()) {
                    return task;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(secs(60), look).await.expect("in time")
    }
}

impl Drop for QueueBehindProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// `tonic-supervisor agent` on `rig`'s queue, with its outputs as pipes.
pub(crate) fn spawned(rig: &QueueBehindProxy, options: &[&str], command: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"))
        .args(["agent", "--queue", AGENT])
        .args(options)
        .arg("--")
        .args(command)
        .env("TONIC_SUPERVISOR_GRPC_PORT", rig.port())
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs")
}

/// The command, running. Dropping it kills it.
pub(crate) struct Agent {
    pub(crate) process: Child,
    said: Arc<Mutex<Vec<Value>>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Agent {
    /// Runs `script` for each task.
    fn start(rig: &QueueBehindProxy, options: &[&str], script: &str) -> Self {
        Self::run(rig, options, &["sh", "-c", script])
    }

    /// Runs `command` for each task.
    pub(crate) fn run(rig: &QueueBehindProxy, options: &[&str], command: &[&str]) -> Self {
        let options = [&["--json"], options].concat();
        let mut process = spawned(rig, &options, command);
        let said = Arc::<Mutex<Vec<Value>>>::default();
        let (lines, out) = (said.clone(), BufReader::new(process.stdout.take().expect("piped")));
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                lines.lock().push(serde_json::from_str(&line).expect(&line));
            }
        });
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (lines, err) = (log.clone(), BufReader::new(process.stderr.take().expect("piped")));
        thread::spawn(move || {
            err.lines().map_while(Result::ok).for_each(|line| lines.lock().push(line))
        });
        Self { process, said, log }
    }

    /// The lines of its standard error that contain this.
    pub(crate) fn logged(&self, text: &str) -> Vec<String> {
        self.log.lock().iter().filter(|line| line.contains(text)).cloned().collect()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.process.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success());
    }

    /// The exit code, once it has ended by itself.
    pub(crate) async fn exit(&mut self) -> Option<i32> {
        let mut ended = None::<ExitStatus>;
        eventually("the agent ends", || {
            ended = self.process.try_wait().expect("a child");
            ended.is_some()
        })
        .await;
        ended.and_then(|ended| ended.code())
    }

    pub(crate) fn has_said(&self, name: &str, value: &str) -> bool {
        self.said.lock().iter().any(|line| line[name] == value)
    }

    /// The last line.
    pub(crate) async fn summary(&self) -> Value {
        eventually("a summary", || self.has_said("kind", "summary")).await;
        self.said.lock().last().cloned().expect("a line")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

#[tokio::test]
async fn each_task_is_a_run_of_the_command_and_sigterm_ends_the_agent() {
    let rig = QueueBehindProxy::start().await;
    let script = r#"
        case "$(cat)" in
            '"json"')
                kind="$TASK_TYPE/$TASK_CUSTOM_TYPE"
                echo "{\"id\": \"$TASK_ID\", \"kind\": \"$kind\", \"claims\": $TASK_CLAIMS}" ;;
            '"text"') printf 'two\nlines\n' ;;
            '"fail"') echo "cannot: no disk" >&2; exit 3 ;;
            '"kill"') kill -KILL $$ ;;
        esac"#;
    let mut ids = Vec::new();
    for payload in [r#""json""#, r#""text""#, r#""fail""#, r#""kill""#] {
        ids.push(rig.submit(payload).await);
    }
    let mut agent = Agent::start(&rig, &["--concurrency", "2"], script);
    let [json, text, fail, kill] = [0, 1, 2, 3].map(|n: usize| ids[n].clone());
    let expected = format!(r#"{{"id": "{json}", "kind": "CUSTOM/script", "claims": 1}}"#);
    assert_eq!(rig.ended(&json).await.result, expected);
    assert_eq!(rig.ended(&text).await.result, r#""two\nlines""#);
    let failed = rig.ended(&fail).await;
    assert_eq!(failed.status(), TaskStatus::Failed);
    assert_eq!(failed.error_message, "the command exited with code 3: cannot: no disk");
    assert!(rig.ended(&kill).await.error_message.starts_with("the command was ended by signal 9"));

    agent.signal("-TERM");
    assert_eq!(agent.exit().await, Some(0));
    let summary = agent.summary().await;
    assert_eq!(
        ["completed", "failed", "given_back", "lost", "left"].map(|name| summary[name].as_u64()),
        [2, 2, 0, 0, 0].map(Some)
    );
    assert!(
        agent.has_said("to", "READY") && agent.has_said("to", "SHUTDOWN"),
        "state events are told"
    );
}

#[tokio::test]
async fn at_the_end_what_runs_may_finish_and_what_does_not_is_killed_and_given_back() {
    let rig = QueueBehindProxy::start().await;
    let folder = tempfile::tempdir().expect("folder");
    let survivor = folder.path().join("survivor");
    // A child of the command's own, which would tell if it lived on.
    let script = format!(
        "read seconds; (sleep $((seconds + 1)); touch {}) & sleep \"$seconds\"; echo 1",
        survivor.display()
    );
    let (short, long) = (rig.submit("1\n").await, rig.submit("6\n").await);
    let mut agent = Agent::start(&rig, &["--concurrency", "2", "--grace", "3"], &script);
    rig.until(&short, |status| status == TaskStatus::Processing).await;
    rig.until(&long, |status| status == TaskStatus::Processing).await;
    agent.signal("-INT");
    assert_eq!(agent.exit().await, Some(0));
    let summary = agent.summary().await;
    assert_eq!(
        [summary["completed"].as_u64(), summary["given_back"].as_u64()],
        [Some(1), Some(1)],
        "{summary}"
    );
    assert_eq!(rig.queue.query_task(&long).await.unwrap().status(), TaskStatus::Pending);
    std::fs::remove_file(&survivor).expect("the short one's child lived to tell");
    tokio::time::sleep(secs(6)).await;
    assert!(!survivor.exists(), "the long one's child was killed with it");
}

#[tokio::test]
async fn a_cancelled_tasks_command_is_killed_and_the_next_task_is_done() {
    let rig = QueueBehindProxy::start().await;
    let (endless, next) = (rig.submit("1000\n").await, rig.submit("0\n").await);
    let mut agent = Agent::start(&rig, &[], "read seconds; sleep \"$seconds\"; echo 1");
    rig.until(&endless, |status| status == TaskStatus::Processing).await;
    rig.queue.cancel_task(&endless, "not needed").await.unwrap();
    assert_eq!(rig.ended(&next).await.status(), TaskStatus::Completed);
    assert!(agent.has_said("step", "stopped"));
    agent.signal("-TERM");
    assert_eq!(agent.exit().await, Some(0));
}

#[tokio::test]
async fn the_agent_outlives_an_outage() {
    let rig = QueueBehindProxy::start().await;
    let mut agent = Agent::start(&rig, &[], "cat");
    let before = rig.submit("1").await;
    assert_eq!(rig.ended(&before).await.result, "1");
    rig.proxy.refuse(true).await;
    rig.proxy.reset().await;
    eventually("it has noticed", || agent.has_said("to", "TRANSIENT_FAILURE")).await;
    let after = rig.submit("2").await;
    rig.proxy.refuse(false).await;
    assert_eq!(rig.ended(&after).await.result, "2");
    agent.signal("-TERM");
    assert_eq!(agent.exit().await, Some(0));
    assert_eq!(agent.summary().await["completed"], 2);
}

/// The log's choice of events, as sentences; colours only on a terminal, which a pipe is not.
#[tokio::test]
async fn people_are_told_of_an_outage_in_a_few_sentences_with_the_time_of_day() {
    let rig = QueueBehindProxy::start().await;
    let mut process = Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"))
        .args(["agent", "--queue", AGENT, "--", "cat"])
        .env("TONIC_SUPERVISOR_GRPC_PORT", rig.port())
        .env("RUST_LOG", "tonic_supervisor=info")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let said = Arc::<Mutex<Vec<String>>>::default();
    let (lines, out) = (said.clone(), BufReader::new(process.stdout.take().expect("piped")));
    let told = thread::spawn(move || {
        out.lines().map_while(Result::ok).for_each(|line| lines.lock().push(line))
    });
    let logged = thread::spawn({
        let err = BufReader::new(process.stderr.take().expect("piped"));
        move || err.lines().map_while(Result::ok).collect::<Vec<_>>()
    });
    let has_said = |text: &str| said.lock().iter().any(|line| line.contains(text));
    let before = rig.submit("1").await;
    rig.ended(&before).await;
    rig.proxy.refuse(true).await;
    rig.proxy.reset().await;
    eventually("it goes on", || has_said("still not connected after ")).await;
    rig.proxy.refuse(false).await;
    eventually("its end", || has_said("connected again after ")).await;
    let sent =
        Command::new("kill").args(["-TERM", &process.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    told.join().expect("no panic");
    let logged = logged.join().expect("no panic");
    assert!(process.wait().expect("a child").success());
    assert!(has_said("connection lost: ") && has_said(" done in "), "{said:?}");
    for line in said.lock().iter() {
        let (clock, text) = line.split_once("  ").expect("a time, and a text");
        let digits =
            |range: std::ops::Range<usize>| clock[range].bytes().all(|byte| byte.is_ascii_digit());
        assert!(
            clock.len() == 20
                && clock.ends_with('Z')
                && digits(0..4)
                && digits(11..13)
                && digits(17..19),
            "{line}"
        );
        assert!(
            !text.contains(" -> ") && !text.contains("StateChanged") && !text.contains('\u{1b}'),
            "{line}"
        );
    }
    let lost = logged.iter().find(|line| line.contains("connection lost")).expect("a line");
    assert!(
        lost.contains(" WARN tonic_supervisor: connection lost") && !lost.contains('\u{1b}'),
        "{lost}"
    );
}

#[tokio::test]
async fn a_deleted_queue_ends_the_agent_with_exit_code_1() {
    let rig = QueueBehindProxy::start().await;
    let mut agent = Agent::start(&rig, &[], "cat");
    let task = rig.submit("1").await;
    rig.ended(&task).await;
    rig.queue.client().delete_queue(AGENT, true).await.expect("deleted");
    assert_eq!(agent.exit().await, Some(1));
}

#[test]
fn an_agent_without_a_command_that_can_be_run_is_wrong_usage() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"))
            .arg("agent")
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&["--queue", "a", "--", "no-such-command"]);
    assert!(code == Some(2) && text.contains("no-such-command"), "{text}");
    let (code, text) = run(&["--queue", "a"]);
    assert!(code == Some(2) && text.contains("COMMAND"), "{text}");
    let (code, text) = run(&["--queue", "a", "--concurrency", "0", "--", "true"]);
    assert!(code == Some(2) && text.contains("1..=1024"), "{text}");
}
