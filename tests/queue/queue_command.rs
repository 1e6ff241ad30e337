//! `tonic-supervisor queue`, from outside: what is shown, what is done once however often it is
//! asked for, and what fails in which words.

use crate::process::{Serve, command};
use serde_json::Value;
use std::{net::SocketAddr, process::Output};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic_supervisor::agent_queue::{
    NewTask, PrivateAgentTasksQueue, TaskStatus, TaskType, Update,
};

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Every line fits a terminal and does nothing to it.
    #[track_caller]
    fn lines(&self) -> Vec<&str> {
        assert_eq!(self.code, Some(0), "{}", self.err);
        for line in self.out.lines() {
            let wide = line.chars().filter(|letter| *letter > '\u{2e80}').count();
            assert!(
                line.chars().count() + wide <= 80 && !line.contains(char::is_control),
                "{line:?}"
            );
        }
        self.out.lines().collect()
    }
}

fn queue(address: SocketAddr, arguments: &[&str]) -> Said {
    let target = format!("http://{address}");
    let Output { status, stdout, stderr } =
        command(&[&["queue", "--target", &target], arguments].concat()).output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

fn client(address: SocketAddr) -> PrivateAgentTasksQueue {
    PrivateAgentTasksQueue::builder().grpc_port(address.port()).build().expect("valid")
}

/// A queue with tasks that failed for these reasons.
async fn failed(
    client: &PrivateAgentTasksQueue,
    agent: &str,
    reasons: impl IntoIterator<Item = String>,
) {
    let queue = client.get_queue(agent, true).await.expect("made");
    for reason in reasons {
        queue.submit_task(NewTask::new(TaskType::ApiCall, "{}")).await.expect("submitted");
        let claim =
            queue.get_task(std::time::Duration::ZERO).await.expect("asked").expect("a task");
        queue.update_task_status(&claim, Update::Failed(reason)).await.expect("failed");
    }
}

#[tokio::test]
async fn a_task_is_submitted_found_and_shown_from_a_shell() {
    let server = Serve::start("memory", &[]);
    let submit = [
        "submit",
        "agent_001",
        r#"{"n": 1}"#,
        "--type",
        "api-call",
        "--priority",
        "7",
        "--request-id",
        "r1",
    ];
    let refused = queue(server.address, &submit);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("cannot submit to agent_001: NotFound")
            && refused.err.lines().count() == 1,
        "{}",
        refused.err
    );
    let submit = [&submit[..], &["--create"]].concat();
    assert_eq!(queue(server.address, &submit).lines(), ["task-1"]);
    assert_eq!(
        queue(server.address, &submit).lines(),
        ["task-1, submitted before by the same name"]
    );

    let listed = queue(server.address, &["ls", "--json"]).json();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["agent_id"], &listed[0]["tasks"]["pending"]),
        (&"agent_001".into(), &1.into())
    );
    let table = queue(server.address, &["ls"]);
    assert!(table.lines()[1].starts_with("agent_001 "), "{}", table.out);
    let tasks = queue(server.address, &["list", "agent_001"]);
    assert!(
        tasks.lines()[1].starts_with("task-1               PENDING    API_CALL        7      0"),
        "{}",
        tasks.out
    );
    let shown = queue(server.address, &["show", "agent_001", "task-1"]);
    assert!(shown.lines().contains(&r#"payload      {"n": 1}"#), "{}", shown.out);
    let shown = queue(server.address, &["show", "agent_001", "task-1", "--json"]).json();
    assert_eq!(
        (&shown[0]["status"], &shown[0]["payload"]),
        (&"PENDING".into(), &r#"{"n": 1}"#.into())
    );
    let stats = queue(server.address, &["stats", "agent_001", "--json"]).json();
    assert_eq!(
        (&stats[0]["tasks"]["pending"], &stats[0]["types"][0]["type"]),
        (&1.into(), &"API_CALL".into())
    );
    assert!(queue(server.address, &["stats", "agent_001"]).lines()[1].starts_with("PENDING"));
}

#[tokio::test]
async fn failures_are_grouped_by_error_and_a_group_is_retried_once() {
    let server = Serve::start("memory", &[]);
    let client = client(server.address);
    let timeouts =
        (0..30).map(|n| format!("connect to 10.0.3.{n}:{} timed out\nTraceback {n}", 8000 + n));
    let others = ["payload.url: not a URL".to_owned(), "payload.url: not a URL".to_owned()];
    failed(&client, "a", timeouts.chain(others)).await;

    let said = queue(server.address, &["failures", "a"]);
    let lines = said.lines();
    assert_eq!(lines[0], "       30 x connect to #:# timed out");
    assert_eq!(lines[2], "        2 x payload.url: not a URL");
    assert_eq!(lines[4..], ["looked at all 32 failed tasks of a"]);
    let part = queue(server.address, &["failures", "a", "--look", "5"]);
    assert_eq!(part.lines()[0], "        3 x connect to #:# timed out");
    assert_eq!(part.lines().last(), Some(&"looked at the newest 5 of 32 failed tasks of a"));

    let groups = queue(server.address, &["failures", "a", "--json"]).json();
    let group = groups[0]["group"].as_str().expect("an id").to_owned();
    assert!(lines[1].contains(&format!("group {group}, last ")), "{}", lines[1]);
    let count = async |status: Option<TaskStatus>| {
        client.queue("a").list_tasks(status, 1, 0).await.expect("listed").total
    };
    let dry = queue(server.address, &["retry", "a", "--group", &group, "--dry-run"]);
    assert_eq!(
        dry.lines(),
        [
            "30 tasks would be retried: connect to #:# timed out",
            "looked at all 32 failed tasks of a"
        ]
    );
    assert_eq!(count(Some(TaskStatus::Pending)).await, 0);
    let first = queue(server.address, &["retry", "a", "--group", &group]);
    assert_eq!(first.lines().len(), 32, "{}", first.out);
    assert_eq!(count(Some(TaskStatus::Pending)).await, 30);
    let again = queue(server.address, &["retry", "a", "--group", &group]);
    assert_eq!(again.out, first.out, "the same answers");
    assert_eq!((count(Some(TaskStatus::Pending)).await, count(None).await), (30, 62));
    let unknown = queue(server.address, &["retry", "a", "--group", "00000000"]);
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.err.contains("no group 00000000 is among all 32 failed tasks of a"),
        "{}",
        unknown.err
    );
}

#[tokio::test]
async fn tasks_are_cancelled_and_deleted_once_however_often_it_is_asked_for() {
    let server = Serve::start("memory", &[]);
    let client = client(server.address);
    let tasks = client.get_queue("a", true).await.expect("made");
    for _ in 0..3 {
        tasks.submit_task(NewTask::custom("own", "{}")).await.expect("submitted");
    }
    for _ in 0..2 {
        let said =
            queue(server.address, &["cancel", "a", "task-1", "task-2", "--reason", "not needed"]);
        assert_eq!(said.lines(), ["task-1 is cancelled", "task-2 is cancelled"]);
        assert_eq!(queue(server.address, &["rm", "a", "task-3"]).lines(), ["task-3 is deleted"]);
    }
    assert_eq!(tasks.query_task("task-1").await.expect("there").error_message, "not needed");

    let part = queue(server.address, &["rm", "a", "task-9", "task-1"]);
    assert_eq!(
        (part.code, part.out.as_str()),
        (Some(1), "task-1 is deleted\n"),
        "one refusal holds up no other"
    );
    assert!(
        part.err.contains("cannot delete task-9: ")
            && part.err.contains("1 of 2 tasks were refused"),
        "{}",
        part.err
    );

    for what in ["--everything", "--all-tasks"] {
        let asked = queue(server.address, &["rm", "a", what]);
        assert_eq!(asked.code, Some(2));
        assert!(
            asked.err.contains("a has 1 tasks") && asked.err.contains("--yes"),
            "{}",
            asked.err
        );
    }
    assert_eq!(
        queue(server.address, &["rm", "a", "--all-tasks", "--yes"]).lines(),
        ["1 tasks of a are deleted"]
    );
    assert_eq!(
        queue(server.address, &["rm", "a", "--everything", "--yes"]).lines(),
        ["0 tasks of a are deleted"]
    );
    assert_eq!(queue(server.address, &["ls", "--json"]).out, "");
}

#[tokio::test]
async fn what_servers_say_is_escaped_and_tables_keep_to_80_columns() {
    let server = Serve::start("memory", &[]);
    let client = client(server.address);
    let names = [
        "\u{1b}]0;title\u{7}",
        "任务队列任务队列任务队列任务队列任务队列",
        &"long".repeat(60),
        "\u{202e}turned",
    ];
    for name in names {
        failed(
            &client,
            name,
            ["\u{1b}[2J\u{9b}31m 出错出错出错出错出错出错出错出错出错出错出错出错出错出错出错出错出错出错出错".into()],
        )
        .await;
        for command in ["list", "failures", "stats"] {
            queue(server.address, &[command, name]).lines();
            let json = queue(server.address, &["--json", command, name]);
            assert!(
                !json.out.trim_end_matches('\n').replace('\n', "").contains(char::is_control),
                "{:?}",
                json.out
            );
        }
    }
    assert_eq!(queue(server.address, &["ls"]).lines().len(), 5);
    let shown = queue(server.address, &["show", names[0], "task-1"]);
    assert!(!shown.out.replace('\n', "").contains(char::is_control), "{:?}", shown.out);
    let found: Vec<_> = queue(server.address, &["ls", "--json"]).json();
    assert_eq!(
        found
            .iter()
            .filter(|queue| names.contains(&queue["agent_id"].as_str().expect("text")))
            .count(),
        4
    );
}

#[tokio::test]
async fn a_server_without_the_operation_and_no_server_at_all_get_one_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (_, health) = tonic_health::server::health_reporter();
    let other = tonic::transport::Server::builder().add_service(health);
    let serving = tokio::spawn(other.serve_with_incoming(TcpListenerStream::new(listener)));
    let ask = |arguments: &'static [&'static str]| {
        tokio::task::spawn_blocking(move || queue(address, arguments))
    };
    let said = ask(&["ls"]).await.expect("said");
    assert_eq!(said.code, Some(1));
    assert!(
        said.err.starts_with(
            "tonic-supervisor: cannot list the queues: the server does not know this operation"
        ),
        "{}",
        said.err
    );
    serving.abort();
    drop(serving.await);
    let said = ask(&["--timeout", "1", "ls"]).await.expect("said");
    assert_eq!((said.code, said.err.lines().count()), (Some(1), 1), "{}", said.err);
    assert!(
        said.err.contains("cannot list the queues: ") && said.err.contains("refused"),
        "{}",
        said.err
    );
}

#[test]
fn what_is_used_wrongly_is_refused_before_any_server_is_asked() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    for (arguments, text) in [
        (&["submit", "a", "{}", "--type", "dance"][..], "must be one of data-processing"),
        (&["submit", "a", "{}"], "--type"),
        (&["retry", "a"], "--group"),
        (&["retry", "a", "task-1", "--dry-run"], "--dry-run"),
        (&["rm", "a", "task-1", "--status", "failed"], "--status"),
        (&["rm", "a", "--status", "failed"], "--all-tasks"),
        (&["list", "a", "--limit", "0"], "--limit"),
        (&["--timeout", "0", "ls"], "0.1 to 3600"),
    ] {
        let said = queue(nowhere, arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}: {}", said.err);
        assert!(said.err.contains(text), "{arguments:?}: {}", said.err);
    }
    let said = command(&["queue", "--target", "no target at all", "ls"]).output().expect("it ends");
    assert_eq!(said.status.code(), Some(3), "{}", String::from_utf8_lossy(&said.stderr));
}
