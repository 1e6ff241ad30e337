//! One task done by a command: payload in, result out. A wrapper process of this same program runs
//! it; dropped, the job has the wrapper kill the command and all that the command has started.

use crate::wrapper::{END, KILL, WrapperMessage};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::de::IgnoredAny;
use std::{
    env, io,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net, process::CommandExt, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{self, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    process::{Child, ChildStderr, ChildStdout, Command},
    runtime::Handle,
    time::{sleep, timeout},
};
use tonic_supervisor::agent_queue::Task;

/// The longest result that the server takes, in bytes.
const LONGEST_RESULT: u64 = 1 << 20;
/// How much of the end of the standard error is reported, in bytes.
const TAIL: usize = 4 << 10;
/// No server gives a task such a long name, kind or agent, in bytes; a longer one fits no
/// environment.
const LONGEST_NAME: usize = 4 << 10;
/// A wrapper that has not started the command by then never will.
const START: Duration = Duration::from_secs(60);
/// How long the command's pipes may be open after its end, for what it has written last.
const PIPES: Duration = Duration::from_secs(2);
/// A wrapper ends its group, and itself, in less than this.
const WRAPPER_END: Duration = Duration::from_secs(5);

/// Why a command was not run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotStarted {
    /// It could not be started on this machine, now.
    Here(String),
    /// No machine can give this task to a command.
    Anywhere(String),
}

/// Whether there is such a program, by path or on `PATH`.
pub(crate) fn can_be_run(program: &str) -> bool {
    let runs = |path: &Path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return runs(Path::new(program));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| runs(&folder.join(program)))
}

/// The command for each task, and the program that keeps it.
#[derive(Clone, Debug)]
pub(crate) struct TaskCommand {
    command: Arc<[String]>,
    wrapper: Arc<Path>,
}

impl TaskCommand {
    pub(crate) fn new(command: Vec<String>) -> io::Result<Self> {
        // Linux finds the running program by this name even when its file was replaced or removed.
        let itself = PathBuf::from("/proc/self/exe");
        let wrapper = if itself.exists() { itself } else { env::current_exe()? };
        Ok(Self { command: command.into(), wrapper: wrapper.into() })
    }

    /// Starts the command for `task`.
    pub(crate) async fn start(&self, task: &Task) -> Result<Job, NotStarted> {
        let environment = environment(task).map_err(NotStarted::Anywhere)?;
        let here = |why: &dyn std::fmt::Display| {
            NotStarted::Here(format!("cannot run {:?}: {why}", self.command[0]))
        };
        let mut job = Job::spawn(self, environment).map_err(|error| here(&error))?;
        let started = timeout(START, job.begin(&task.payload)).await;
        match started.unwrap_or_else(|_| {
            Err(format!("its keeper has not started it in {} s", START.as_secs()))
        }) {
            Ok(()) => Ok(job),
            Err(why) => Err(here(&why)),
        }
    }
}

/// What the command gets of its task beside the payload, as environment variables; or which part no
/// environment can hold.
fn environment(task: &Task) -> Result<[(&'static str, String); 6], String> {
    let texts = [
        ("AGENT_ID", task.agent_id.clone()),
        ("TASK_ID", task.task_id.clone()),
        ("TASK_TYPE", task.r#type().as_str_name().trim_start_matches("TASK_TYPE_").to_owned()),
        ("TASK_CUSTOM_TYPE", task.custom_type.clone()),
        ("TASK_PRIORITY", task.priority.to_string()),
        ("TASK_CLAIMS", task.claims.to_string()),
    ];
    match texts.iter().find(|(_, text)| text.len() > LONGEST_NAME || text.contains('\0')) {
        None => Ok(texts),
        Some((name, text)) => {
            let nul = if text.contains('\0') { " and a NUL" } else { "" };
            Err(format!(
                "{name} has {} bytes{nul}: a command takes at most {LONGEST_NAME}, without a NUL",
                text.len()
            ))
        }
    }
}

/// A running command. Its wrapper leads a process group of its own: a Ctrl-C for the agent is not
/// for it.
pub(crate) struct Job {
    /// None once it is left to end by itself.
    wrapper: Option<Child>,
    socket: BufReader<UnixStream>,
    /// Whether the wrapper has the payload, and reads what comes after it.
    fed: bool,
    pipes: Option<(ChildStdout, ChildStderr)>,
}

impl Job {
    fn spawn(
        task_command: &TaskCommand,
        environment: [(&'static str, String); 6],
    ) -> io::Result<Self> {
        let (ours, its) = net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut wrapper = process::Command::new(&*task_command.wrapper);
        wrapper
            .arg0("tonic-supervisor")
            .args(["keep", "--"])
            .args(&*task_command.command)
            .envs(environment);
        wrapper
            .stdin(OwnedFd::from(its))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut wrapper = Command::from(wrapper).spawn()?;
        let pipes = wrapper.stdout.take().zip(wrapper.stderr.take());
        let socket = BufReader::new(UnixStream::from_std(ours)?);
        Ok(Self { wrapper: Some(wrapper), socket, fed: false, pipes })
    }

    /// Gives the wrapper the payload; returns when the command runs, or may have run.
    async fn begin(&mut self, payload: &str) -> Result<(), String> {
        // A wrapper that has gone is noticed by its silence.
        let fed = async {
            self.socket.write_u64(payload.len() as u64).await?;
            self.socket.write_all(payload.as_bytes()).await
        };
        self.fed = fed.await.is_ok();
        match self.next_message().await {
            Some(WrapperMessage::Starting) => {}
            _ => return Err(self.silence().await),
        }
        match self.next_message().await {
            Some(WrapperMessage::CannotStart(why)) => Err(why),
            // A wrapper that has gone by now may have started it: `finish` reports how it ended.
            _ => Ok(()),
        }
    }

    /// The wrapper's next message; none when it has gone.
    async fn next_message(&mut self) -> Option<WrapperMessage> {
        let mut line = String::new();
        self.socket.read_line(&mut line).await.ok()?;
        WrapperMessage::of(line.trim_end_matches('\n'))
    }

    /// The result of the command as JSON text, or why it failed. All that it started has ended
    /// then.
    pub(crate) async fn finish(mut self) -> Result<String, String> {
        let (mut stdout, mut stderr) =
            self.pipes.take().ok_or("the command's pipes are missing")?;
        let (mut output, mut complaints) = (Vec::new(), Vec::new());
        let ended = {
            let reading = async {
                tokio::try_join!(
                    read_result(&mut stdout, &mut output),
                    read_tail(&mut stderr, &mut complaints)
                )
            };
            tokio::pin!(reading);
            tokio::select! {
                ended = self.next_message() => {
                    // What else holds the pipes, a helper say, is not waited for.
                    if let Ok(read) = timeout(PIPES, reading).await {
                        read?;
                    }
                    ended
                }
                read = &mut reading => {
                    read?;
                    self.next_message().await
                }
            }
        };
        let how = match ended {
            Some(WrapperMessage::Exited(code)) => format!("exited with code {code}"),
            Some(WrapperMessage::Killed(signal)) => format!("was ended by signal {signal}"),
            _ => return Err(self.silence().await),
        };
        self.send(END);
        if let Some(wrapper) = self.wrapper.take() {
            gone(wrapper).await;
        }
        match ended {
            Some(WrapperMessage::Exited(0)) => Ok(as_json(&output)),
            _ => Err(format!(
                "the command {how}: {}",
                String::from_utf8_lossy(&complaints).trim_end()
            )),
        }
    }

    /// Why the wrapper is silent: it has ended, or is ended here, and its group with it.
    async fn silence(&mut self) -> String {
        let Some(mut wrapper) = self.wrapper.take() else { return "it has no keeper".into() };
        // It is not reaped, so the number of its group is nobody else's.
        kill_group(&wrapper);
        let ended = wrapper.wait().await;
        let mut complaints = Vec::new();
        if let Some((_, mut stderr)) = self.pipes.take() {
            let _ = timeout(PIPES, read_tail(&mut stderr, &mut complaints)).await;
        }
        let how = ended.map_or_else(|error| error.to_string(), describe_exit);
        format!("its keeper {how}: {}", String::from_utf8_lossy(&complaints).trim_end())
    }

    /// Sends one byte to the wrapper, without waiting: so little always has room.
    fn send(&self, byte: u8) {
        if self.fed {
            let _ = rustix::io::write(self.socket.get_ref(), &[byte]);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let Some(wrapper) = self.wrapper.take() else { return };
        self.send(KILL);
        // Without a runtime the agent is at its end; the wrapper sees that, and is reaped by
        // others.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(gone(wrapper));
        }
    }
}

/// Reaps a wrapper that ends by itself, or ends it: it may be frozen.
async fn gone(mut wrapper: Child) {
    let ended = tokio::select! {
        ended = wrapper.wait() => ended.is_ok(),
        () = sleep(WRAPPER_END) => false,
    };
    if !ended {
        kill_group(&wrapper);
        let _ = wrapper.wait().await;
    }
}

/// Kills the group of a wrapper that is not reaped.
fn kill_group(wrapper: &Child) {
    let group = wrapper.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group {
        // A group that is gone already needs no kill.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

async fn read_result(stdout: impl AsyncRead + Unpin, output: &mut Vec<u8>) -> Result<(), String> {
    let read = stdout.take(LONGEST_RESULT + 1).read_to_end(output).await;
    read.map_err(|error| format!("cannot read what the command wrote: {error}"))?;
    match output.len() as u64 > LONGEST_RESULT {
        true => Err(format!(
            "the command wrote more than {LONGEST_RESULT} bytes to its standard output"
        )),
        false => Ok(()),
    }
}

/// Reads everything, and keeps the end.
async fn read_tail(mut stderr: impl AsyncRead + Unpin, tail: &mut Vec<u8>) -> Result<(), String> {
    let mut piece = [0; TAIL];
    loop {
        let read = stderr.read(&mut piece).await;
        match read
            .map_err(|error| format!("cannot read what the command complained of: {error}"))?
        {
            0 => return Ok(()),
            len => tail.extend_from_slice(&piece[..len]),
        }
        tail.drain(..tail.len().saturating_sub(TAIL));
    }
}

fn describe_exit(ended: ExitStatus) -> String {
    match (ended.code(), ended.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        _ => "did not exit".into(),
    }
}

/// What was written, if it is JSON; otherwise the same as a JSON string.
fn as_json(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => text.to_owned(),
        Err(_) => serde_json::Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_is_not_json_becomes_a_json_string() {
        assert_eq!(as_json(b" {\"ok\": true}\n"), "{\"ok\": true}");
        assert_eq!(as_json(b"two\nlines\n"), r#""two\nlines""#);
        assert_eq!(as_json(b""), r#""""#);
        assert_eq!(as_json(b"{\"half\":"), r#""{\"half\":""#);
    }

    #[tokio::test]
    async fn of_a_long_complaint_the_end_is_kept() {
        let long = [vec![b'a'; 3 * TAIL], b"the end".to_vec()].concat();
        let mut tail = Vec::new();
        read_tail(&*long, &mut tail).await.expect("read");
        assert!(tail.len() == TAIL && tail.ends_with(b"the end"), "{tail:?}");
    }

    #[tokio::test]
    async fn output_without_end_is_refused() {
        let why =
            read_result(tokio::io::repeat(b'1'), &mut Vec::new()).await.expect_err("too long");
        assert_eq!(why, "the command wrote more than 1048576 bytes to its standard output");
    }

    #[test]
    fn a_command_is_found_by_path_or_by_name() {
        assert!(can_be_run("sh") && can_be_run("/bin/sh"));
        assert!(
            !can_be_run("no-such-command-anywhere")
                && !can_be_run("/etc/passwd")
                && !can_be_run("/bin")
        );
    }

    #[test]
    fn a_task_that_no_environment_can_hold_is_told_from_a_machine_that_cannot_run_it() {
        let task = |kind: &str| Task { custom_type: kind.into(), ..Task::default() };
        assert!(environment(&task(&"x".repeat(LONGEST_NAME))).is_ok());
        let why = environment(&task("a\0b")).expect_err("a NUL");
        assert_eq!(
            why,
            "TASK_CUSTOM_TYPE has 3 bytes and a NUL: a command takes at most 4096, without a NUL"
        );
        let why = environment(&task(&"x".repeat(200 << 10))).expect_err("too long");
        assert!(why.starts_with("TASK_CUSTOM_TYPE has 204800 bytes: a command takes"), "{why}");
    }
}
