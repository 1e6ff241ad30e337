//! `keep`: the process between an agent and one task's command. It leads the command's process
//! group, and ends the group when the command has ended or the agent has gone, however the agent
//! went.
//!
//! Its standard input is a socket to the agent; output and error are the command's own.
//!
//! | the agent sends | the wrapper |
//! |---|---|
//! | the payload, its length before it | starts the command and writes the payload to it |
//! | [`END`], or nothing more: it has gone | ends the group: SIGTERM, and after [`GRACE`] SIGKILL |
//! | [`KILL`] | ends the group at once: SIGKILL |
//!
//! The wrapper sends a line when it is about to start the command, when it has started it, when it
//! could not, and when the command has ended. It signals the group before it reaps the command:
//! until then the command's number, and that of a group of its own, can be nobody else's.

use crate::CliError;
use rustix::{
    io as raw,
    process::{
        Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpgid, getpgrp, getpid,
        kill_current_process_group, kill_process, kill_process_group, wait, waitid,
    },
    stdio,
};
use std::{
    fs::{self, OpenOptions},
    io,
    os::{fd::AsFd, unix::net},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::ChildStdin,
    runtime,
    signal::unix::{Signal as Signals, SignalKind, signal},
    time::{sleep, timeout},
};

/// How long what gets a SIGTERM may take to end.
const GRACE: Duration = Duration::from_secs(2);
/// A command that was killed has ended by then, unless the kernel holds it.
const REAPED: Duration = Duration::from_secs(1);
/// The byte that asks the wrapper to end the command's group.
pub(crate) const END: u8 = b'E';
/// The byte that asks the wrapper to kill the command's group at once.
pub(crate) const KILL: u8 = b'K';

/// What the wrapper reports to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WrapperMessage {
    /// From now on it may be that the command runs.
    Starting,
    /// It runs.
    Started,
    /// It could not be started, for this reason.
    CannotStart(String),
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
}

#[derive(Debug, clap::Args)]
pub(crate) struct WrapperArguments {
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the command, until it and its group have ended.
pub(crate) fn run(arguments: &WrapperArguments) -> Result<(), CliError> {
    if getpgrp() != getpid() {
        return Err(CliError::Usage("keep is started by the command agent, for each task".into()));
    }
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(keep(&arguments.command)))
        .map_err(CliError::failed("cannot keep the command"))
}

async fn keep(command: &[String]) -> io::Result<()> {
    outlive_signals()?;
    adopt_orphans()?;
    let children = signal(SignalKind::child())?;
    let (mut from_agent, mut to_agent) = agent()?.into_split();
    let Some(payload) = payload(&mut from_agent).await? else {
        return Ok(());
    };
    let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    send(&mut to_agent, &WrapperMessage::Starting).await;
    let mut child =
        match Command::new(&command[0]).args(&command[1..]).stdin(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => {
                send(&mut to_agent, &WrapperMessage::CannotStart(error.to_string())).await;
                return Ok(());
            }
        };
    let mut wrapped = WrappedCommand { command: number(&child), children };
    // The pipes are the command's: that it has closed them must be seen. Open files can be
    // replaced.
    let _ = stdio::dup2_stdout(&nowhere).and_then(|()| stdio::dup2_stderr(&nowhere));
    send(&mut to_agent, &WrapperMessage::Started).await;
    feed(&mut child, payload);
    let kill = tokio::select! {
        kill = kill_requested(&mut from_agent) => kill,
        ended = wrapped.ended() => {
            send(&mut to_agent, &ended).await;
            kill_requested(&mut from_agent).await
        }
    };
    if !kill {
        wrapped.end().await;
    }
    let _ = timeout(REAPED, wrapped.kill_children()).await;
    let _ = timeout(REAPED, wrapped.kill_command()).await;
    // This is the end of the wrapper, too.
    wrapped.signal(Signal::KILL);
    Ok(())
}

/// What a script sends to its group (`kill 0`) is not for the wrapper. The command begins with the
/// signals' own meanings: only handlers that are set to "ignore" are inherited.
fn outlive_signals() -> io::Result<()> {
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::alarm(),
    ];
    // A handler stays for as long as the process lives.
    kinds.into_iter().try_for_each(|kind| signal(kind).map(drop))
}

/// Makes helpers that outlive their parents the wrapper's children: it sees whether any is left. On
/// other systems than Linux they are not, and are killed without a grace.
fn adopt_orphans() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(getpid()))?;
    Ok(())
}

/// The socket to the agent.
fn agent() -> io::Result<UnixStream> {
    let socket = net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

/// What the command is to read; none if the agent has gone before it was all here.
async fn payload(from_agent: &mut OwnedReadHalf) -> io::Result<Option<Vec<u8>>> {
    let Ok(len) = from_agent.read_u64().await else {
        return Ok(None);
    };
    let mut payload = Vec::new();
    from_agent.take(len).read_to_end(&mut payload).await?;
    Ok((payload.len() as u64 == len).then_some(payload))
}

/// An agent that has gone is noticed where its bytes are read.
async fn send(to_agent: &mut OwnedWriteHalf, message: &WrapperMessage) {
    let _ = to_agent.write_all(message.line().as_bytes()).await;
}

/// Writes the payload to the command, which may end without reading it.
fn feed(child: &mut Child, payload: Vec<u8>) {
    let Some(Ok(mut stdin)) = child.stdin.take().map(ChildStdin::from_std) else { return };
    tokio::spawn(async move { stdin.write_all(&payload).await });
}

fn number(child: &Child) -> Pid {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process has a number")
}

/// Returns when the group is to end: whether at once.
async fn kill_requested(from_agent: &mut OwnedReadHalf) -> bool {
    from_agent.read_u8().await.is_ok_and(|message| message == KILL)
}

/// The command and its group, which is the wrapper's own.
struct WrappedCommand {
    command: Pid,
    /// Tells that a child has ended.
    children: Signals,
}

impl WrappedCommand {
    /// How the command ended. It is not reaped yet.
    async fn ended(&mut self) -> WrapperMessage {
        loop {
            if let Some(ended) = self.look() {
                return ended;
            }
            self.children.recv().await;
        }
    }

    fn look(&self) -> Option<WrapperMessage> {
        let here = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            if let Ok(Some(status)) = waitid(WaitId::Pid(self.command), here) {
                return Some(WrapperMessage::end(
                    status.exit_status(),
                    status.terminating_signal(),
                ));
            }
            // Helpers whose parents have ended are reaped here.
            match wait(WaitOptions::NOHANG) {
                // It ended between the two looks.
                Ok(Some((pid, status))) if pid == self.command => {
                    return Some(WrapperMessage::end(
                        status.exit_status(),
                        status.terminating_signal(),
                    ));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Asks the group to end; returns when it has, or after the grace.
    async fn end(&mut self) {
        self.signal(Signal::TERM);
        let over = sleep(GRACE);
        tokio::pin!(over);
        while self.any_left() {
            tokio::select! {
                () = &mut over => return,
                _ = self.children.recv() => {}
            }
        }
    }

    /// Kills the group's children one by one, and reaps them. The last signal to the group ends the
    /// wrapper with them, and a process that was killed lives on until the kernel gets to it: the
    /// agent, which sees the wrapper's end, would report the task too early.
    async fn kill_children(&mut self) {
        while self.any_left() {
            // While they are children that have not been reaped, their numbers are their own.
            for child in children() {
                let group = getpgid(Some(child));
                if group.is_ok_and(|group| group == getpgrp() || group == self.command) {
                    let _ = kill_process(child, Signal::KILL);
                }
            }
            self.children.recv().await;
        }
    }

    /// Kills the command, if it still runs, and reaps it: where the agent is a container's first
    /// process, nobody would do so after the wrapper.
    async fn kill_command(&mut self) {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        // While it is a child that has not been reaped, its number is its own.
        while let Ok(None) = waitid(WaitId::Pid(self.command), ended) {
            let _ = kill_process(self.command, Signal::KILL);
            self.children.recv().await;
        }
    }

    /// For the group, and for the command's own if it has made one, as `timeout` and `setsid` do.
    fn signal(&self, signal: Signal) {
        let looked = waitid(
            WaitId::Pgid(Some(self.command)),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
        );
        // Only with a child in it, dead or alive, is it certainly still the same group.
        if looked.is_ok() {
            let _ = kill_process_group(self.command, signal);
        }
        let _ = kill_current_process_group(signal);
    }

    /// Whether any child of these groups still lives. Reaps those that do not.
    fn any_left(&self) -> bool {
        let lives = |group| {
            loop {
                match waitid(WaitId::Pgid(group), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                    Ok(Some(_)) | Err(raw::Errno::INTR) => {}
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        };
        // Both are reaped.
        let [own, its] = [None, Some(self.command)].map(lives);
        own || its
    }
}

/// This process's children, those that it adopted among them; none where the system does not say.
fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children"));
    let numbers: Vec<String> = threads.filter_map(|thread| of(thread).ok()).collect();
    let numbers = numbers.iter().flat_map(|text| text.split_whitespace());
    numbers.filter_map(|number| Pid::from_raw(number.parse().ok()?)).collect()
}

impl WrapperMessage {
    fn end(code: Option<i32>, signal: Option<i32>) -> Self {
        match (code, signal) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Killed(signal.unwrap_or_default()),
        }
    }

    fn line(&self) -> String {
        match self {
            Self::Starting => "starting\n".into(),
            Self::Started => "started\n".into(),
            Self::CannotStart(why) => format!("cannot start: {}\n", why.replace('\n', " ")),
            Self::Exited(code) => format!("exited {code}\n"),
            Self::Killed(signal) => format!("killed {signal}\n"),
        }
    }

    /// The message of a line; none if it is no message of a wrapper.
    pub(crate) fn of(line: &str) -> Option<Self> {
        match line {
            "starting" => Some(Self::Starting),
            "started" => Some(Self::Started),
            _ => {
                let exited = |code: &str| code.parse().ok().map(Self::Exited);
                let killed = |signal: &str| signal.parse().ok().map(Self::Killed);
                line.strip_prefix("cannot start: ")
                    .map(|why| Self::CannotStart(why.to_owned()))
                    .or_else(|| line.strip_prefix("exited ").and_then(exited))
                    .or_else(|| line.strip_prefix("killed ").and_then(killed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_a_line_that_is_read_as_it_was_meant() {
        let why = "No such file or directory (os error 2)".to_owned();
        for message in [
            WrapperMessage::Starting,
            WrapperMessage::Started,
            WrapperMessage::CannotStart(why),
            WrapperMessage::Exited(-1),
            WrapperMessage::Killed(9),
        ] {
            let line = message.line();
            assert_eq!(WrapperMessage::of(line.trim_end_matches('\n')), Some(message));
        }
        assert_eq!(WrapperMessage::of("exited"), None);
        assert_eq!(WrapperMessage::CannotStart("a\nb".into()).line().matches('\n').count(), 1);
    }
}
