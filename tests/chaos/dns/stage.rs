//! One step's servers and clients, all of them new, so that no step suffers from another.

use super::{
    clients::{Client, KINDS, Kind, Met},
    name_server::NameServer,
    servers::Servers,
};
use std::time::{Duration, Instant};

/// Often enough to time a call.
const LOOK: Duration = Duration::from_millis(5);

pub(super) struct Stage<'a> {
    pub(super) names: &'a mut NameServer,
    pub(super) servers: Servers,
    clients: Vec<Client>,
}

/// When calls came to the servers that were watched.
#[derive(Clone, Copy, Default)]
pub(super) struct Calls {
    pub(super) first: Option<Duration>,
    pub(super) last: Option<Duration>,
}

/// What a client did during a step.
pub(super) struct Seen {
    pub(super) met: Met,
    /// Connections that ended without the step's doing.
    pub(super) closed: usize,
    /// How many questions for its A records came; one lookup may ask several times.
    pub(super) questions: u64,
    /// How many servers it has called, ever.
    pub(super) called: usize,
}

impl<'a> Stage<'a> {
    /// Servers at `served`, of which the names have `listed`; `take` at a time if that is not 0.
    /// Back when each client that calls all servers is connected to all that it was told of.
    pub(super) async fn set(
        names: &'a mut NameServer,
        served: &[u8],
        listed: &[u8],
        take: usize,
    ) -> Self {
        let mut servers = Servers::default();
        for kind in &KINDS {
            names.say_in_turn(kind.name, "answer", listed, take);
            for host in served {
                servers.start(kind.port, *host).await;
            }
        }
        let mut clients: Vec<_> = KINDS.iter().map(Client::start).collect();
        for client in &mut clients {
            client.ready().await;
        }
        let told = if take == 0 { listed.len() } else { take };
        let connected = async {
            let enough = |kind: &Kind| {
                let wanted = if kind.round_robin { told } else { 1 };
                servers.connected(kind.port) >= wanted
            };
            while !KINDS.iter().all(enough) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), connected).await.expect("all connect");
        Self { names, servers, clients }
    }

    /// Begins to count; what [`end`](Self::end) is to be told.
    pub(super) fn begin(&mut self) -> Vec<usize> {
        for kind in &KINDS {
            self.names.count(kind.name);
        }
        self.clients.iter_mut().for_each(Client::begin);
        KINDS.iter().map(|kind| self.servers.closed(kind.port)).collect()
    }

    /// Watches, for each client, the server at `focus`, for `time`.
    pub(super) async fn watch(&self, focus: &[u8], time: Duration) -> Vec<Calls> {
        let began = Instant::now();
        let handled = |place: usize| self.servers.handled(KINDS[place].port, focus[place]);
        let mut counted: Vec<_> = (0..KINDS.len()).map(handled).collect();
        let mut calls = vec![Calls::default(); KINDS.len()];
        while began.elapsed() < time {
            tokio::time::sleep(LOOK).await;
            for (place, calls) in calls.iter_mut().enumerate() {
                let now = handled(place);
                if now > counted[place] {
                    counted[place] = now;
                    let at = began.elapsed();
                    calls.first.get_or_insert(at);
                    calls.last = Some(at);
                }
            }
        }
        calls
    }

    /// Ends the clients and the servers, and says what each client did.
    pub(super) async fn end(self, closed: &[usize]) -> Vec<Seen> {
        let after: Vec<_> = KINDS.iter().map(|kind| self.servers.closed(kind.port)).collect();
        let mut all = Vec::new();
        for (place, client) in self.clients.into_iter().enumerate() {
            let kind = &KINDS[place];
            let questions = self.names.count(kind.name);
            let met = client.end().await;
            let closed = after[place].saturating_sub(closed[place]);
            all.push(Seen { met, closed, questions, called: self.servers.called(kind.port) });
        }
        self.servers.end().await;
        all
    }

    /// For each client the server that it uses; the first of several.
    pub(super) fn in_use(&self) -> Vec<u8> {
        KINDS.iter().map(|kind| self.servers.in_use(kind.port)).collect()
    }
}
