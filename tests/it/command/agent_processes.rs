//! The commands of `tonic-supervisor agent`, from outside: one that cannot be started fails no
//! task, and whatever ends, nothing of a command is left running.

use crate::{
    command::agent::{Agent, QueueBehindProxy, spawned},
    support::secs,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use tokio::time::sleep;
use tonic_supervisor::agent_queue::{TaskStatus, server::Settings};

/// Waits until this is so, for at most so many seconds.
async fn within(seconds: u64, what: &str, mut ready: impl FnMut() -> bool) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < secs(seconds), "not in {seconds} s: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Seconds to sleep for that no other process sleeps for: they tell ours from all others.
fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}.{}", 70_000 + std::process::id() % 10_000, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The processes whose last argument this is, other than agents and keepers.
fn running(mark: &str) -> Vec<Pid> {
    let pids = fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let ours = |pid: &i32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        let mut words = arguments.trim_end_matches('\0').split('\0');
        !words.next().is_some_and(|program| program.ends_with("tonic-supervisor"))
            && words.next_back() == Some(mark)
    };
    pids.filter(ours).filter_map(Pid::from_raw).collect()
}

/// The parent of a process.
fn parent(pid: Pid) -> Pid {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).expect("it lives");
    let after_name = stat.rsplit(')').next().expect("fields");
    let parent = after_name.split_whitespace().nth(1).expect("a parent").parse().expect("a number");
    Pid::from_raw(parent).expect("a process")
}

fn script(path: &Path, text: &str) {
    // Beside, and then renamed: a file that is being written cannot be run.
    let beside = path.with_extension("new");
    fs::write(&beside, text).expect("written");
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).expect("permitted");
    fs::rename(beside, path).expect("renamed");
}

/// Its tasks may be lost once.
async fn start_with_one_claim() -> QueueBehindProxy {
    QueueBehindProxy::start_with(Settings::default().with_lease(secs(30)).with_max_claims(1)).await
}

async fn start() -> QueueBehindProxy {
    QueueBehindProxy::start_with(Settings::default().with_lease(secs(30))).await
}

async fn counts(rig: &QueueBehindProxy) -> [u64; 5] {
    let counts = rig.queue.get_queue_info().await.expect("told").tasks.expect("counted");
    [counts.pending, counts.processing, counts.completed, counts.failed, counts.cancelled]
}

async fn ended_well(mut agent: Agent) {
    agent.signal("-TERM");
    assert_eq!(agent.exit().await, Some(0));
}

#[tokio::test]
async fn a_script_that_is_removed_fails_no_task_and_they_are_done_when_it_is_back() {
    let (rig, folder) = (start_with_one_claim().await, tempfile::tempdir().expect("folder"));
    let path = folder.path().join("work");
    script(&path, "#!/bin/sh\ncat");
    let agent = Agent::run(&rig, &["--concurrency", "4"], &[path.to_str().expect("text")]);
    let first = rig.submit("1").await;
    assert_eq!(rig.ended(&first).await.result, "1");

    fs::remove_file(&path).expect("removed");
    for _ in 0..50 {
        rig.submit("2").await;
    }
    within(30, "it is told", || !agent.logged("ERROR").is_empty()).await;
    // More often than a task may be lost.
    let mut claims = 0;
    let began = Instant::now();
    while claims < 4 {
        assert!(began.elapsed() < secs(60), "{claims} claims");
        let tasks = rig.queue.list_tasks(None, 1_000, 0).await.expect("listed").tasks;
        claims = tasks.iter().map(|task| task.claims).max().unwrap_or_default();
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(counts(&rig).await[2..], [1, 0, 0]);
    assert!(agent.has_said("step", "given back"));
    let errors = agent.logged("ERROR");
    assert!(errors.len() == 1 && errors[0].contains("No such file or directory"), "{errors:?}");
    assert!(!errors[0].contains('\x1b'), "no colours in a file: {errors:?}");

    script(&path, "#!/bin/sh\ncat");
    let began = Instant::now();
    while counts(&rig).await != [0, 0, 51, 0, 0] {
        assert!(began.elapsed() < secs(60), "{:?}", counts(&rig).await);
        sleep(Duration::from_millis(50)).await;
    }
    ended_well(agent).await;
}

#[tokio::test]
async fn without_file_descriptors_no_task_fails() {
    let rig = start_with_one_claim().await;
    let agent = Agent::run(&rig, &["--concurrency", "4"], &["cat"]);
    let first = rig.submit("1").await;
    rig.ended(&first).await;
    let pid = Pid::from_raw(i32::try_from(agent.process.id()).expect("a number"));
    let open =
        fs::read_dir(format!("/proc/{}/fd", agent.process.id())).expect("its files").count() as u64;
    let before =
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(open + 1), maximum: Some(4_096) });
    let before = before.expect("limited");
    for _ in 0..20 {
        rig.submit("2").await;
    }
    within(30, "it is told", || {
        agent.logged("ERROR").iter().any(|line| line.contains("os error 24"))
    })
    .await;
    assert_eq!(counts(&rig).await[2..], [1, 0, 0]);
    let raised = Rlimit { current: Some(1_024), maximum: before.maximum.map(|_| 4_096) };
    prlimit(pid, Resource::Nofile, raised).expect("raised");
    let began = Instant::now();
    while counts(&rig).await != [0, 0, 21, 0, 0] {
        assert!(began.elapsed() < secs(60), "{:?}", counts(&rig).await);
        sleep(Duration::from_millis(50)).await;
    }
    ended_well(agent).await;
}

#[tokio::test]
async fn an_agent_that_cannot_start_commands_gives_up_where_it_was_told_to() {
    let (rig, folder) = (start_with_one_claim().await, tempfile::tempdir().expect("folder"));
    let path = folder.path().join("work");
    script(&path, "#!/no/such/interpreter");
    let mut agent = Agent::run(&rig, &["--give-up", "2"], &[path.to_str().expect("text")]);
    rig.submit("1").await;
    assert_eq!(agent.exit().await, Some(1));
    within(10, "it says why", || {
        !agent.logged("gave up: no command could be started for").is_empty()
    })
    .await;
    assert_eq!(counts(&rig).await, [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_task_ends_with_its_command_and_the_helpers_end_with_it() {
    let rig = start().await;
    let mark = mark();
    let scripts = [
        format!("sleep {mark} & echo 1"),
        // It ignores SIGTERM, and what it runs does, too.
        format!("(trap '' TERM; exec sleep {mark}) & echo 1"),
        // It does not hold the pipes.
        format!("sleep {mark} >/dev/null 2>&1 & echo 1"),
        // The helper of a helper that has ended.
        format!("(sleep {mark} & exit 0) & wait; echo 1"),
    ];
    for script in scripts {
        let agent = Agent::run(&rig, &[], &["sh", "-c", &script]);
        let began = Instant::now();
        let task = rig.submit("1").await;
        assert_eq!(rig.ended(&task).await.result, "1", "{script}");
        assert!(began.elapsed() < secs(30), "{script}: {:?}", began.elapsed());
        assert!(running(&mark).is_empty(), "{script}: its end is the end of all");
        ended_well(agent).await;
    }
}

#[tokio::test]
async fn a_helper_with_a_session_of_its_own_does_not_hold_its_task_and_lives_on() {
    let rig = start().await;
    let mark = mark();
    let agent = Agent::run(&rig, &[], &["sh", "-c", &format!("setsid sleep {mark} & echo 1")]);
    let task = rig.submit("1").await;
    assert_eq!(rig.ended(&task).await.result, "1");
    ended_well(agent).await;
    let left = running(&mark);
    assert_eq!(left.len(), 1, "as is documented");
    left.into_iter().for_each(|pid| kill_process(pid, Signal::KILL).expect("it lives"));
}

/// With a helper, deaf to SIGTERM, with a group of its own.
const COMMANDS: [&[&str]; 3] = [
    &["sh", "-c", "sleep MARK & sleep MARK"],
    &["sh", "-c", "trap '' TERM; sleep MARK; sleep MARK"],
    &["timeout", "60000", "sleep", "MARK"],
];

fn marked<'a>(command: &[&str], mark: &str) -> Vec<&'a str> {
    command.iter().map(|word| &*word.replace("MARK", mark).leak()).collect()
}

#[tokio::test]
async fn no_command_outlives_an_agent_that_is_killed() {
    for command in COMMANDS {
        let (rig, mark) = (start().await, mark());
        let mut agent = Agent::run(&rig, &["--concurrency", "2"], &marked(command, &mark));
        rig.submit("1").await;
        rig.submit("2").await;
        within(30, "both run", || running(&mark).len() >= 2).await;
        agent.process.kill().expect("it lives");
        within(20, "all have ended", || running(&mark).is_empty()).await;
    }
}

#[tokio::test]
async fn no_command_outlives_an_agent_that_is_told_to_end() {
    for command in COMMANDS {
        let (rig, mark) = (start().await, mark());
        let mut agent = Agent::run(&rig, &["--grace", "1"], &marked(command, &mark));
        let task = rig.submit("1").await;
        within(30, "it runs", || !running(&mark).is_empty()).await;
        agent.signal("-TERM");
        assert_eq!(agent.exit().await, Some(0));
        within(20, "it has ended", || running(&mark).is_empty()).await;
        assert_eq!(rig.queue.query_task(&task).await.expect("there").status(), TaskStatus::Pending);
    }
}

#[tokio::test]
async fn a_cancelled_tasks_command_ends_even_in_a_group_of_its_own() {
    let rig = QueueBehindProxy::start_with(Settings::default().with_lease(secs(3))).await;
    let mark = mark();
    let agent = Agent::run(&rig, &[], &["timeout", "60000", "sleep", &mark]);
    let task = rig.submit("1").await;
    within(30, "it runs", || running(&mark).len() >= 2).await;
    rig.queue.cancel_task(&task, "not needed").await.expect("cancelled");
    within(20, "it has ended", || running(&mark).is_empty()).await;
    ended_well(agent).await;
}

/// Whether a process of this name, dead or alive, has this parent.
fn has_child(parent: u32, name: &str) -> bool {
    let stats = fs::read_dir("/proc").expect("processes").filter_map(|entry| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let (before, after) = stat.rsplit_once(')')?;
        Some((
            before.split_once('(')?.1.to_owned(),
            after.split_whitespace().nth(1)?.parse::<u32>().ok()?,
        ))
    });
    stats.into_iter().any(|(its, of)| its == name && of == parent)
}

/// Where the agent is a container's first process nobody else would reap it. Here this process is.
#[tokio::test]
async fn a_command_that_is_killed_is_reaped_by_its_keeper() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("it is allowed");
    let rig = QueueBehindProxy::start_with(Settings::default().with_lease(secs(3))).await;
    let folder = tempfile::tempdir().expect("folder");
    let name = format!("kept{}", std::process::id());
    let path = folder.path().join(&name);
    script(&path, "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done");
    let agent = Agent::run(&rig, &[], &[path.to_str().expect("text")]);
    let task = rig.submit("1").await;
    let path = path.to_str().expect("text").to_owned();
    within(30, "it runs", || !running(&path).is_empty()).await;
    rig.queue.cancel_task(&task, "not needed").await.expect("cancelled");
    within(20, "it has ended", || running(&path).is_empty()).await;
    ended_well(agent).await;
    assert!(!has_child(std::process::id(), &name), "nobody has reaped it");
}

#[tokio::test]
async fn a_command_whose_keeper_is_killed_ends_and_fails_its_task() {
    let rig = start().await;
    let mark = mark();
    let agent = Agent::run(&rig, &[], &["sh", "-c", &format!("sleep {mark} & sleep {mark}")]);
    let task = rig.submit("1").await;
    within(30, "both run", || running(&mark).len() == 2).await;
    let keeper = parent(parent(running(&mark)[0]));
    kill_process(keeper, Signal::KILL).expect("it lives");
    let ended = rig.ended(&task).await;
    // The kernel takes a moment for it.
    within(30, "both ended", || running(&mark).is_empty()).await;
    assert_eq!(ended.status(), TaskStatus::Failed);
    assert!(
        ended.error_message.starts_with("its keeper was ended by signal 9"),
        "{}",
        ended.error_message
    );
    ended_well(agent).await;
}

#[tokio::test]
async fn a_script_may_signal_its_group_and_its_parent() {
    let rig = start().await;
    // The keeper is in the group, and the parent.
    for (script, why) in [
        ("trap '' TERM; kill 0; kill -HUP 0; echo 1", ""),
        ("trap 'exit 7' TERM; kill 0; sleep 60", "exited with code 7"),
        ("kill -INT $PPID; kill -QUIT $PPID; kill -USR1 $PPID; echo 1", ""),
        ("kill -KILL $PPID; sleep 60", "its keeper was ended by signal 9"),
        ("kill -KILL 0", "its keeper was ended by signal 9"),
    ] {
        let script = script.replace("kill -HUP 0", "trap '' HUP; kill -HUP 0");
        let agent = Agent::run(&rig, &[], &["sh", "-c", &script]);
        let task = rig.ended(&rig.submit("1").await).await;
        if why.is_empty() {
            assert_eq!((task.result.as_str(), task.error_message.as_str()), ("1", ""), "{script}");
        } else {
            assert!(task.error_message.contains(why), "{script}: {}", task.error_message);
        }
        ended_well(agent).await;
    }
}

#[tokio::test]
async fn a_large_payload_that_nobody_reads_and_a_large_result_are_no_trouble() {
    let rig = start().await;
    let payload = format!("{:?}", "x".repeat(1_000_000));
    let unread = Agent::run(&rig, &[], &["echo", "1"]);
    assert_eq!(rig.ended(&rig.submit(&payload).await).await.result, "1");
    ended_well(unread).await;
    let echoed = Agent::run(&rig, &[], &["cat"]);
    assert_eq!(rig.ended(&rig.submit(&payload).await).await.result, payload);
    ended_well(echoed).await;
}

#[tokio::test]
async fn standard_error_with_a_nul_fails_its_task_after_one_run() {
    let rig = start().await;
    let agent = Agent::run(&rig, &[], &["sh", "-c", r"printf 'a\0b' >&2; exit 3"]);
    let task = rig.ended(&rig.submit("1").await).await;
    assert_eq!((task.status(), task.claims), (TaskStatus::Failed, 1));
    assert_eq!(task.error_message, "the command exited with code 3: a\u{fffd}b");
    ended_well(agent).await;
}

/// What an agent prints for people, while it does this task.
async fn printed(rig: &QueueBehindProxy, json: bool, script: &str) -> String {
    let options: &[&str] = if json { &["--json"] } else { &[] };
    let agent = spawned(rig, options, &["sh", "-c", script]);
    rig.ended(&rig.submit("1").await).await;
    let pid = Pid::from_raw(i32::try_from(agent.id()).expect("a number")).expect("a process");
    kill_process(pid, Signal::TERM).expect("it lives");
    let output = agent.wait_with_output().expect("it ends");
    let all = [output.stdout, output.stderr].concat();
    String::from_utf8(all).expect("text")
}

#[tokio::test]
async fn standard_error_of_a_command_cannot_act_on_the_terminal() {
    let rig = start().await;
    let script =
        r"printf '\033[2J\033]0;title\007\r\177\302\233 ende\n2.00s  agent  forged' >&2; exit 3";
    for json in [false, true] {
        let printed = printed(&rig, json, script).await;
        let acts = |letter: char| letter.is_control() && letter != '\n';
        assert!(!printed.contains(acts), "{printed:?}");
        assert!(printed.contains("[2J") && printed.contains("ende"), "{printed}");
        assert!(!printed.lines().any(|line| line.starts_with("2.00s")), "{printed}");
    }
}
