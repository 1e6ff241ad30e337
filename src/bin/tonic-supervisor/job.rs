//! One task done by a command: payload in, result out. Dropped, it kills the command and all that it has started.

use rustix::process::{Pid, Signal, kill_process_group};
use serde::de::IgnoredAny;
use std::{
    env, io,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::{ExitStatus, Stdio},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
};
use tonic_supervisor::agent_queue::Task;

/// The longest result that the server takes, in bytes.
const LONGEST_RESULT: u64 = 1 << 20;
/// So much of the end of the standard error is told, in bytes.
const TAIL: usize = 4 << 10;

/// Whether there is such a program, by path or on `PATH`.
pub(crate) fn can_be_run(program: &str) -> bool {
    let runs = |path: &Path| path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return runs(Path::new(program));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| runs(&folder.join(program)))
}

/// Runs `command` for `task`: its result as JSON text, or why it failed.
pub(crate) async fn run(command: &[String], task: &Task) -> Result<String, String> {
    let mut job = Job::start(command, task).map_err(|error| format!("cannot run {:?}: {error}", command[0]))?;
    let (stdin, stdout, stderr) = (job.0.stdin.take(), job.0.stdout.take(), job.0.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        return Err("the command's pipes are missing".into());
    };
    let ((), output, complaints, ended) =
        tokio::try_join!(write(stdin, &task.payload), read_result(stdout), read_tail(stderr), wait(&mut job.0))?;
    match ended.success() {
        true => Ok(as_json(&output)),
        false => Err(format!("{}: {}", words(ended), complaints.trim_end())),
    }
}

/// A running command, in a process group of its own: a Ctrl-C for the agent is not for it.
struct Job(Child);

impl Job {
    fn start(command: &[String], task: &Task) -> io::Result<Self> {
        Command::new(&command[0])
            .args(&command[1..])
            .env("AGENT_ID", &task.agent_id)
            .env("TASK_ID", &task.task_id)
            .env("TASK_TYPE", task.r#type().as_str_name().trim_start_matches("TASK_TYPE_"))
            .env("TASK_CUSTOM_TYPE", &task.custom_type)
            .env("TASK_PRIORITY", task.priority.to_string())
            .env("TASK_CLAIMS", task.claims.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map(Self)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // None: it has ended, and its number may be somebody else's.
        let group = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            // A group that is gone already needs no kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A command may end without reading.
async fn write(mut stdin: ChildStdin, payload: &str) -> Result<(), String> {
    let _ = stdin.write_all(payload.as_bytes()).await;
    Ok(())
}

async fn read_result(stdout: impl AsyncRead + Unpin) -> Result<Vec<u8>, String> {
    let mut output = Vec::new();
    let read = stdout.take(LONGEST_RESULT + 1).read_to_end(&mut output).await;
    read.map_err(|error| format!("cannot read what the command wrote: {error}"))?;
    match output.len() as u64 > LONGEST_RESULT {
        true => Err(format!("the command wrote more than {LONGEST_RESULT} bytes to its standard output")),
        false => Ok(output),
    }
}

/// Reads everything, and keeps the end.
async fn read_tail(mut stderr: impl AsyncRead + Unpin) -> Result<String, String> {
    let (mut tail, mut piece) = (Vec::new(), [0; TAIL]);
    loop {
        let read = stderr.read(&mut piece).await;
        match read.map_err(|error| format!("cannot read what the command complained of: {error}"))? {
            0 => return Ok(String::from_utf8_lossy(&tail).into_owned()),
            len => tail.extend_from_slice(&piece[..len]),
        }
        tail.drain(..tail.len().saturating_sub(TAIL));
    }
}

async fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    child.wait().await.map_err(|error| format!("cannot wait for the command: {error}"))
}

fn words(ended: ExitStatus) -> String {
    match (ended.code(), ended.signal()) {
        (Some(code), _) => format!("the command exited with code {code}"),
        (_, Some(signal)) => format!("the command was ended by signal {signal}"),
        _ => "the command did not exit".into(),
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
        let tail = read_tail(&*long).await.expect("read");
        assert!(tail.len() == TAIL && tail.ends_with("the end"), "{tail}");
    }

    #[tokio::test]
    async fn output_without_end_is_refused() {
        let why = read_result(tokio::io::repeat(b'1')).await.expect_err("too long");
        assert_eq!(why, "the command wrote more than 1048576 bytes to its standard output");
    }

    #[test]
    fn a_command_is_found_by_path_or_by_name() {
        assert!(can_be_run("sh") && can_be_run("/bin/sh"));
        assert!(!can_be_run("no-such-command-anywhere") && !can_be_run("/etc/passwd") && !can_be_run("/bin"));
    }
}
