//! What the hosts of one simulated life share, beside the network: what happened, what arrived at
//! the servers, and what went wrong.

use crate::{
    fleet::SERVERS,
    script::{Fate, Script},
};
use parking_lot::Mutex;
use std::{fmt::Display, sync::Arc, time::Duration};
use tonic_supervisor::testing::Arrival;

/// Clones share one state.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Inner>>);

struct Inner {
    script: Arc<Script>,
    trace: Vec<String>,
    broken: Option<String>,
    arrivals: Vec<Vec<Came>>,
    /// How many calls to see who gets them arrived at each server.
    shares: [usize; SERVERS.len()],
    /// When each call's caller had the head of its answer, as far as that is seen.
    began: Vec<Option<Duration>>,
    /// Whether calls are made from outside the simulation, where its clock is not known.
    called_from_outside: bool,
}

/// One arrival of a call at a server.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) at: Duration,
    pub(crate) server: usize,
    /// The header `grpc-previous-rpc-attempts`.
    pub(crate) previous: u32,
    /// Whether it was processed, rather than refused.
    pub(crate) executed: bool,
    /// Whether it ended its connection.
    pub(crate) cut: bool,
}

impl Shared {
    pub(crate) fn new(script: Arc<Script>) -> Self {
        let arrivals = script.calls.iter().map(|_| Vec::new()).collect();
        let began = vec![None; script.calls.len()];
        Self(Arc::new(Mutex::new(Inner {
            script,
            trace: Vec::new(),
            broken: None,
            arrivals,
            shares: [0; SERVERS.len()],
            began,
            called_from_outside: false,
        })))
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&self, what: impl Display) {
        let line = format!("{:>10.6} {what}", now().as_secs_f64());
        self.0.lock().trace.push(line);
    }

    /// A law was broken; the first one counts.
    pub(crate) fn violated(&self, what: impl Display) {
        self.note(format_args!("LAW BROKEN: {what}"));
        self.0.lock().broken.get_or_insert(what.to_string());
    }

    /// Says that a law was broken, unless it `holds`.
    pub(crate) fn require(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violated(what());
        }
    }

    pub(crate) fn broken(&self) -> Option<String> {
        self.0.lock().broken.clone()
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.0.lock().trace.clone()
    }

    /// From now on calls are made from outside the simulation, by another clock.
    pub(crate) fn call_from_outside(&self) {
        self.0.lock().called_from_outside = true;
    }

    pub(crate) fn is_called_from_outside(&self) -> bool {
        self.0.lock().called_from_outside
    }

    /// The caller of call `n` has the head of its answer.
    pub(crate) fn begin_answer(&self, n: usize) {
        self.0.lock().began[n] = Some(now());
    }

    /// When the caller of call `n` had the head of its answer.
    pub(crate) fn answer_began(&self, n: usize) -> Option<Duration> {
        self.0.lock().began[n]
    }

    /// How call `n` arrived so far.
    pub(crate) fn arrivals(&self, n: usize) -> Vec<Came> {
        self.0.lock().arrivals[n].clone()
    }

    /// How many calls of [`SHARE`] arrived at each server since this was asked last.
    pub(crate) fn take_shares(&self) -> [usize; SERVERS.len()] {
        std::mem::take(&mut self.0.lock().shares)
    }

    /// Notes an arrival at a server; the fate that the script has for it, if it is one of the
    /// script's calls. `burst` is what befalls all calls there now.
    pub(crate) fn arrived(&self, server: usize, arrival: &Arrival, burst: Option<Fate>) -> Fate {
        let number = call_of(&arrival.path);
        let previous =
            arrival.previous_attempts.as_deref().map_or(0, |text| text.parse().expect("a number"));
        let fate = {
            let mut inner = self.0.lock();
            let echo = Fate::echo(Duration::ZERO);
            let fate = number
                .and_then(|n| inner.script.calls[n].fates.get(inner.arrivals[n].len()).copied());
            let fate = burst.or(fate).unwrap_or(echo);
            if let Some(n) = number {
                let (executed, cut) = (!fate.refuses(), matches!(fate, Fate::Cut));
                inner.arrivals[n].push(Came { at: now(), server, previous, executed, cut });
            }
            inner.shares[server] += usize::from(arrival.path == SHARE);
            fate
        };
        let (path, connection, stream) = (&arrival.path, arrival.connection, arrival.stream);
        let host = SERVERS[server];
        self.note(format_args!(
            "{host}: {path} on {connection}/{stream}, retry {previous}, will {fate:?}"
        ));
        fate
    }
}

/// The method of calls that are made to see which servers they go to.
pub(crate) const SHARE: &str = "/sim.Calls/Share";

/// Every call has a method of its own, so that events tell which call they are about.
pub(crate) fn path_of(n: usize) -> String {
    format!("/sim.Calls/n{n}")
}

/// The call whose method this is, as a path or a name.
pub(crate) fn call_of(path: &str) -> Option<usize> {
    path.rsplit_once("/n")?.1.parse().ok()
}

/// Since the simulation's start, on whichever host.
pub(crate) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}
