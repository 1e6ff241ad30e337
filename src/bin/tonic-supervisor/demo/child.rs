//! A server process, as its parent starts, kills, freezes and replaces it. Dropping it kills the
//! process.

use crate::CliError;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env,
    ffi::{OsStr, OsString},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpSocket,
    process::{self, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// No step of a healthy server takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a server keeps its queues.
#[derive(Clone, Debug)]
pub(super) enum Keeps {
    /// In its own memory, every change in this file.
    Journal(PathBuf),
    /// It keeps nothing: it hands all calls on to the server at this address, and signs the answers
    /// with its own number.
    HandsOn { backend: SocketAddr, number: usize },
}

/// The server, whichever process plays it at the moment.
#[derive(Debug)]
pub(super) struct Child {
    keeps: Keeps,
    config: Option<PathBuf>,
    address: SocketAddr,
    /// Bound and never listening: the port stays ours while no server runs.
    _port: TcpSocket,
    process: Process,
}

#[derive(Debug)]
struct Process {
    process: process::Child,
    commands: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts a server on a free port and waits until it serves.
    pub(super) async fn start(keeps: Keeps, config: Option<&Path>) -> Result<Self, CliError> {
        let (port, address) =
            reserve().map_err(CliError::failed("cannot reserve a port on 127.0.0.1"))?;
        let mut process = Process::start(&keeps, config, address)?;
        process.wait_for_line("serving").await?;
        Ok(Self { keeps, config: config.map(Into::into), address, _port: port, process })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `kill -9`: no goodbye.
    pub(super) async fn kill(&mut self) -> Result<(), CliError> {
        self.process.signal(Signal::KILL)?;
        self.process.ended().await
    }

    /// Starts a new process on the same port and waits until it serves.
    pub(super) async fn start_again(&mut self) -> Result<(), CliError> {
        self.process = Process::start(&self.keeps, self.config.as_deref(), self.address)?;
        self.process.wait_for_line("serving").await
    }

    /// The process stands still; its sockets stay open.
    pub(super) fn freeze(&self) -> Result<(), CliError> {
        self.process.signal(Signal::STOP)
    }

    /// The process goes on.
    pub(super) fn thaw(&self) -> Result<(), CliError> {
        self.process.signal(Signal::CONT)
    }

    /// A successor listens before the old process is asked to drain, and serves when the old one
    /// has ended.
    pub(super) async fn replace(&mut self) -> Result<(), CliError> {
        let mut successor = Process::start(&self.keeps, self.config.as_deref(), self.address)?;
        successor.wait_for_line("listening").await?;
        let mut old = std::mem::replace(&mut self.process, successor);
        old.signal(Signal::TERM)?;
        old.ended().await?;
        self.process.wait_for_line("serving").await
    }

    /// Every call is refused with UNAVAILABLE for so many seconds.
    pub(super) async fn refuse_calls(&mut self, seconds: u32) -> Result<(), CliError> {
        let command = format!("unavailable {seconds}\n");
        let written = self.process.commands.write_all(command.as_bytes()).await;
        written.map_err(CliError::failed("cannot talk to the server process"))
    }

    /// Asks the process to end, and waits.
    pub(super) async fn stop(&mut self) -> Result<(), CliError> {
        self.process.signal(Signal::TERM)?;
        self.process.ended().await
    }
}

impl Keeps {
    /// As `demo-server` reads it.
    fn arguments(&self) -> Vec<OsString> {
        match self {
            Self::Journal(journal) => vec!["--journal".into(), journal.into()],
            Self::HandsOn { backend, number } => vec![
                "--backend".into(),
                backend.to_string().into(),
                "--number".into(),
                number.to_string().into(),
            ],
        }
    }
}

impl Process {
    fn start(keeps: &Keeps, config: Option<&Path>, address: SocketAddr) -> Result<Self, CliError> {
        let itself =
            env::current_exe().map_err(CliError::failed("cannot find the program's own file"))?;
        let mut process = Command::new(itself)
            .arg("demo-server")
            .args(keeps.arguments())
            .arg("--listen")
            .arg(address.to_string())
            .args(config.into_iter().flat_map(|file| [OsStr::new("--config"), file.as_os_str()]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(CliError::failed("cannot start the server process"))?;
        let pipes = (process.stdin.take(), process.stdout.take());
        let (Some(commands), Some(output)) = pipes else {
            return Err(CliError::Failed("the server process has no pipes".into()));
        };
        Ok(Self { process, commands, output: BufReader::new(output).lines() })
    }

    /// Waits until the process prints the line `expected`.
    async fn wait_for_line(&mut self, expected: &str) -> Result<(), CliError> {
        let line = async {
            while let Ok(Some(line)) = self.output.next_line().await {
                if line == expected {
                    return Ok(());
                }
            }
            Err(CliError::Failed(format!("the server process ended before it was {expected}")))
        };
        let late = || {
            CliError::Failed(format!(
                "the server process was not {expected} within {} s",
                PATIENCE.as_secs()
            ))
        };
        timeout(PATIENCE, line).await.map_err(|_| late())?
    }

    fn signal(&self, signal: Signal) -> Result<(), CliError> {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let id =
            id.ok_or_else(|| CliError::Failed("the server process has ended by itself".into()))?;
        kill_process(id, signal).map_err(CliError::failed("cannot signal the server process"))
    }

    async fn ended(&mut self) -> Result<(), CliError> {
        let late = || {
            CliError::Failed(format!(
                "the server process did not end within {} s",
                PATIENCE.as_secs()
            ))
        };
        let ended = timeout(PATIENCE, self.process.wait()).await.map_err(|_| late())?;
        ended.map(drop).map_err(CliError::failed("cannot wait for the server process"))
    }
}

/// A port that no other program gets while the socket lives, and that servers of the same user may
/// share.
fn reserve() -> std::io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}
