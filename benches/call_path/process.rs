//! A client in a process of its own, and what is said between it and the bench: a line in with the
//! load, a line out with what it gave. It ends with its standard input.

use crate::{
    common::{client, client::Echo},
    load::{Cell, Sample},
};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};
use tonic_supervisor::{Config, Supervisor};

/// On every call, as a service would have one.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Which client it is.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Side {
    Tonic,
    Supervised,
    TwoLinks,
}

impl Side {
    const ALL: [(Self, &str); 3] =
        [(Self::Tonic, "tonic"), (Self::Supervised, "supervised"), (Self::TwoLinks, "two_links")];

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(side, _)| *side == self).expect("all are there").1
    }

    fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|(_, known)| *known == name).expect("a side").0
    }
}

/// The bench's end. The process ends when this is dropped.
pub(crate) struct Client {
    process: std::process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Client {
    /// With so many tokio workers, or as many as there are cores.
    pub(crate) fn start(side: Side, server: SocketAddr, workers: Option<usize>) -> Self {
        let me = std::env::current_exe().expect("this program");
        let mut process = Command::new(me)
            .args(["--client", side.name(), &server.to_string()])
            .envs(workers.map(|workers| ("TOKIO_WORKER_THREADS", workers.to_string())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client starts");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, input, output }
    }

    /// Puts the load on; waits until it is over.
    pub(crate) fn run(&mut self, Cell { payload, in_flight }: Cell, window: Duration) -> Sample {
        let input = self.input.as_mut().expect("taken by the drop only");
        writeln!(input, "{payload} {in_flight} {}", window.as_millis()).expect("it lives");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        let [cpu_us, calls_per_s, p50_us, p99_us, p999_us] = numbers(&line);
        Sample { cpu_us, calls_per_s, p50_us, p99_us, p999_us }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// The process's end: `--client SIDE ADDRESS`.
pub(crate) async fn serve(arguments: &[String]) {
    let [side, address] = arguments else { panic!("two arguments: {arguments:?}") };
    let address = address.parse().expect("an address");
    match Side::named(side) {
        Side::Tonic => answer(client::plain(address).await.within(Some(DEADLINE))).await,
        side => {
            let supervisor = supervise(address, if side == Side::TwoLinks { 2 } else { 1 }).await;
            answer(client::over(supervisor.channel()).within(Some(DEADLINE))).await;
        }
    }
}

async fn supervise(address: SocketAddr, links: usize) -> Supervisor {
    let config = Config::builder().host("127.0.0.1").port(address.port()).connections(links);
    let supervisor = Supervisor::spawn(config.build().expect("a valid configuration"));
    let mut in_use = supervisor.watch_links();
    let up = in_use.wait_for(|in_use| in_use.iter().count() == links);
    let up = tokio::time::timeout(Duration::from_secs(5), up).await;
    up.expect("the server listens").expect("it lives");
    supervisor
}

/// Lines are read between loads only, so nothing is held up by it.
async fn answer(echo: impl Echo) {
    for line in std::io::stdin().lines() {
        let [payload, in_flight, millis] = numbers(&line.expect("text"));
        let cell = Cell { payload: payload as usize, in_flight: in_flight as usize };
        let sample = cell.run(&echo, Duration::from_millis(millis as u64)).await;
        let Sample { cpu_us, calls_per_s, p50_us, p99_us, p999_us } = sample;
        println!("{cpu_us} {calls_per_s} {p50_us} {p99_us} {p999_us}");
    }
}

fn numbers<const N: usize>(line: &str) -> [f64; N] {
    let all: Vec<f64> =
        line.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    all.try_into().expect("as many as are said")
}
