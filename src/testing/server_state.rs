//! What a scripted server and its connections share: scripts, the calls so far, and their counts.
//!
//! It stands below both, so that a connection knows nothing of the server that accepted it.

use super::{Answer, Arrival, HealthAnswer, Script};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

/// A request that a connection send a GOAWAY, with where to report that it has left.
pub(super) type GoAwaySent = oneshot::Sender<()>;

/// How a server's connections are set up.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) max_concurrent_streams: Option<u32>,
    pub(super) goaway_every: Option<Duration>,
    pub(super) goaway_after_calls: Option<usize>,
    pub(super) answer_at_headers: bool,
    pub(super) unrecorded: bool,
}

/// How many connections and calls there were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) connections: usize,
    pub(super) arrived: usize,
    pub(super) handled: usize,
    pub(super) refused: usize,
    pub(super) cancelled: usize,
}

/// What the server and its connections share; it lives on when the server is restarted.
#[derive(Debug)]
pub(super) struct ServerState {
    pub(super) created: Instant,
    pub(super) options: Options,
    /// The script for all calls, and those for single paths.
    pub(super) scripts: Mutex<(Script, HashMap<String, Script>)>,
    pub(super) arrivals: Mutex<Vec<Arrival>>,
    /// How questions about its health are answered; none: by the script, as calls.
    pub(super) health: watch::Sender<Option<HealthAnswer>>,
    /// When they came.
    pub(super) asked: Mutex<Vec<Duration>>,
    pub(super) counts: watch::Sender<Counts>,
    pub(super) open: Mutex<BTreeMap<usize, mpsc::UnboundedSender<GoAwaySent>>>,
}

impl ServerState {
    pub(super) fn new(options: Options, script: Script) -> Self {
        Self {
            created: Instant::now(),
            options,
            scripts: Mutex::new((script, HashMap::new())),
            arrivals: Mutex::default(),
            health: watch::Sender::default(),
            asked: Mutex::default(),
            counts: watch::Sender::default(),
            open: Mutex::default(),
        }
    }

    /// The script's answer to a call, which is recorded and counted.
    pub(super) fn ask(&self, arrival: Arrival) -> Answer {
        let script = {
            let scripts = self.scripts.lock();
            scripts.1.get(&arrival.path).unwrap_or(&scripts.0).clone()
        };
        let answer = script.answer(&arrival);
        if !self.options.unrecorded {
            self.arrivals.lock().push(arrival);
        }
        self.counts.send_modify(|counts| {
            counts.arrived += 1;
            match answer.refuses() {
                true => counts.refused += 1,
                false => counts.handled += 1,
            }
        });
        answer
    }

    /// Counts a connection; its number.
    pub(super) fn accepted(&self) -> usize {
        self.counts.send_modify(|counts| counts.connections += 1);
        self.counts.borrow().connections
    }

    pub(super) fn note_cancelled(&self) {
        self.counts.send_modify(|counts| counts.cancelled += 1);
    }

    /// Enters a connection whose HTTP/2 handshake is done.
    pub(super) fn open(&self, number: usize) -> GoAwayRequests<'_> {
        let (sender, goaway_requests) = mpsc::unbounded_channel();
        self.open.lock().insert(number, sender);
        GoAwayRequests { goaway_requests, state: self, number }
    }

    fn close(&self, number: usize) {
        self.open.lock().remove(&number);
    }
}

/// The receiving end of the requests for a GOAWAY that a server has for one of its connections.
pub(super) struct GoAwayRequests<'a> {
    goaway_requests: mpsc::UnboundedReceiver<GoAwaySent>,
    state: &'a ServerState,
    number: usize,
}

impl GoAwayRequests<'_> {
    pub(super) async fn recv(&mut self) -> Option<GoAwaySent> {
        self.goaway_requests.recv().await
    }
}

impl Drop for GoAwayRequests<'_> {
    fn drop(&mut self) {
        self.state.close(self.number);
    }
}
