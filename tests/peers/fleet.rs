//! Several servers of others behind one channel: how calls spread over them, and what it costs that
//! one of them ends. Each answer says which server gave it.

use super::{foreign::Foreign, load::Load};
use parking_lot::Mutex;
use std::{collections::BTreeMap, env, path::Path, process::Command, sync::Arc, time::Duration};
use tonic::{Code, Request, Status};
use tonic_supervisor::{Config, ConfigBuilder, Supervisor, config::Balancing};

/// Calls to all servers in turn.
pub(crate) fn round_robin() -> ConfigBuilder {
    Config::builder().balancing_policy(Balancing::RoundRobin)
}

/// How many calls each server has answered.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<BTreeMap<String, u64>>>);

impl Tally {
    pub(crate) fn count(&self, who: String) {
        *self.0.lock().entry(who).or_default() += 1;
    }

    pub(crate) fn of(&self, who: &str) -> u64 {
        self.0.lock().get(who).copied().unwrap_or_default()
    }

    fn shares(&self) -> Vec<u64> {
        self.0.lock().values().copied().collect()
    }
}

/// Waits until exactly so many links take calls.
pub(crate) async fn links_up(supervisor: &Supervisor, links: usize) {
    let mut in_use = supervisor.watch_links();
    let up = in_use.wait_for(|in_use| in_use.iter().count() == links);
    tokio::time::timeout(Duration::from_secs(30), up).await.expect("links are up").expect("lives");
}

/// 3,000 calls, one after another and 30 at once: a third for each of three servers.
pub(crate) async fn assert_even<F>(call: impl Fn(Tally) -> F + Clone + Send + 'static)
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    for (at_once, off) in [(1, 1), (30, 20)] {
        let tally = Tally::default();
        let callers = (0..at_once).map(|_| {
            let (tally, call) = (tally.clone(), call.clone());
            tokio::spawn(async move {
                for _ in 0..3_000 / at_once {
                    call(tally.clone()).await.expect("answered");
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.expect("no panic");
        }
        let shares = tally.shares();
        println!("{at_once} at once: {shares:?}");
        assert_eq!((shares.len(), shares.iter().sum::<u64>()), (3, 3_000), "{shares:?}");
        assert!(shares.iter().all(|share| share.abs_diff(1_000) <= off), "{shares:?}");
    }
}

/// How many calls worked, after none has failed.
pub(crate) async fn assert_none_failed(load: Load, supervisor: &Supervisor) {
    let (ok, failed) = load.stop().await;
    let seen = supervisor.snapshot();
    let (retries, resent) = (seen.retries, seen.transparent_retries);
    println!("{ok} calls, {} failed, {retries} retries, {resent} resent", failed.len());
    assert!(failed.is_empty(), "of {ok}: {:?}", failed.first());
}

/// How a server of grpcio goes down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// `kill -9`.
    Killed,
    /// `server.stop(grace=1)`.
    Stopped,
}

/// Three servers of grpcio.
pub(crate) struct Fleet {
    servers: Vec<Foreign>,
    pub(crate) addresses: Vec<String>,
}

impl Fleet {
    /// On `listen`, each `host:port`; port 0 is a free one.
    pub(crate) fn start(listen: [&str; 3]) -> Self {
        let servers: Vec<_> = listen.iter().map(|address| serve(address)).collect();
        let host = |address: &str| address.rsplit_once(':').expect("host:port").0.to_owned();
        let addresses = listen.iter().zip(&servers);
        let addresses = addresses.map(|(at, server)| format!("{}:{}", host(at), server.said));
        Self { addresses: addresses.collect(), servers }
    }

    /// Has the server at a place say of its health that it serves, or that it does not.
    #[allow(dead_code, reason = "one of the suites that share this file has no use for it")]
    pub(crate) fn serves(&mut self, place: usize, serving: bool) {
        self.servers[place].tell(if serving { "SERVING" } else { "NOT_SERVING" });
    }

    /// All three share the calls equally, and each goes down and comes back under load: no call
    /// fails. CANCELLED is in the list of codes where servers are stopped, since grpcio ends some
    /// of the calls that come meanwhile with it.
    pub(crate) async fn play(&mut self, config: ConfigBuilder, end: End) {
        let config = match end {
            End::Killed => config,
            End::Stopped => config.retryable_status_codes(RETRYABLE),
        };
        let supervisor = Supervisor::spawn(config.build().expect("valid"));
        links_up(&supervisor, 3).await;
        let caller = supervisor.clone();
        let call = move |tally: Tally| say(caller.clone(), tally);
        assert_even(call.clone()).await;
        let tally = Tally::default();
        let counted = tally.clone();
        let load = Load::start(8, move || call(counted.clone()));
        for place in 0..self.servers.len() {
            load.worked(300).await;
            match end {
                End::Killed => self.servers[place].kill(),
                End::Stopped => self.servers[place].terminate(),
            }
            load.worked(300).await;
            let before = tally.of(&self.addresses[place]);
            self.servers[place] = serve(&self.addresses[place]);
            links_up(&supervisor, 3).await;
            load.worked(300).await;
            let since = tally.of(&self.addresses[place]) - before;
            assert!(since >= 80, "{} of 300 calls went to the server that is back", since);
        }
        assert_none_failed(load, &supervisor).await;
    }
}

/// A call, which is counted for the server that answers it.
pub(crate) async fn say(supervisor: Supervisor, tally: Tally) -> Result<(), Status> {
    let request = Request::new("hello".to_owned());
    let answer = supervisor.channel().unary::<String, String>(SAY, request).await?;
    tally.count(answer.into_inner());
    Ok(())
}

/// The method that they serve.
const SAY: &str = "/test.Echo/Say";

/// The default list, and CANCELLED.
const RETRYABLE: [Code; 7] = [
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::ResourceExhausted,
    Code::Aborted,
    Code::Internal,
    Code::Unknown,
    Code::Cancelled,
];

fn serve(address: &str) -> Foreign {
    let mut command = Command::new(env::var_os("PEERS_PYTHON").unwrap_or("python3".into()));
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/fleet_server.py");
    command.arg(program).arg(address);
    Foreign::start(command, |line| Some(line.trim().to_owned()))
}
