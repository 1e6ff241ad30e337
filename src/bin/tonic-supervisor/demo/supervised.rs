//! The supervised side: the same generated client on a `SupervisedChannel`, and its events as they
//! come.

use super::{report::Report, tally::Counts};
use crate::{CliError, facts};
use serde_json::json;
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{task::JoinHandle, time::timeout};
use tonic_supervisor::{
    Config, ConnectivityState, EndpointSnapshot, Event, EventItem, EventStream, Fact,
    SupervisedChannel, Supervisor, agent_queue::DESCRIPTORS, config::Balancing,
};

/// How long a call may take, all its attempts and waits included.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the supervisor may take to close, once its agent has finished.
const GRACE: Duration = Duration::from_secs(2);

/// So many changes of state are kept, many times those of the demo.
const STATES: usize = 1_000;

/// A state, and when it began: since the demo's start.
pub(super) type StateSince = (Duration, ConnectivityState);

/// The states that were seen, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct States {
    pub(super) channel: Vec<StateSince>,
    /// Each server's, where there are several.
    pub(super) servers: Vec<Vec<StateSince>>,
}

/// What is left of a side when its channel is given away.
pub(super) struct Side {
    supervisor: Supervisor,
    events: JoinHandle<States>,
}

/// A channel to `addresses`, to several in turns; its retries are as in `config`, or the defaults.
pub(super) fn start(
    agent: &'static str,
    addresses: &[SocketAddr],
    config: Option<&Path>,
    report: &Arc<Report>,
) -> Result<(SupervisedChannel, Side), CliError> {
    let mut builder = Config::builder();
    if let Some(file) = config {
        builder = builder.file(file);
    }
    builder = match addresses {
        [only] => builder.host(only.ip().to_string()).port(only.port()),
        several => builder
            .endpoints(several.iter().map(ToString::to_string))
            .balancing_policy(Balancing::RoundRobin),
    };
    let config = builder
        .timeout(TIMEOUT)
        // A frozen server is to be noticed within the demo.
        .connect_timeout(Duration::from_secs(1))
        .keepalive_floor(Duration::from_millis(200))
        .keepalive_time(Duration::from_millis(500))
        .keepalive_timeout(Duration::from_millis(500))
        .build()
        .map_err(|error| CliError::Config(error.to_string()))?;
    let supervisor = Supervisor::builder(config)
        .name(agent)
        .descriptor_set(DESCRIPTORS)
        .map_err(CliError::failed("cannot read the service's descriptors"))?
        .spawn();
    let channel = supervisor.channel();
    let events = supervisor.events();
    // A link may be up already: what was announced before is in the snapshot.
    let states = States::of(&supervisor, addresses.len(), report.now());
    let events = tokio::spawn(report_events(agent, states, events, report.clone()));
    Ok((channel, Side { supervisor, events }))
}

impl Side {
    /// Waits until the channel is Ready, for at most `timeout`; whether it is.
    pub(super) async fn ready(&self, timeout: Duration) -> bool {
        self.supervisor.wait_ready(timeout).await.is_ok()
    }

    /// Waits until every server is back, for at most `patience`: one that is ejected when its fault
    /// is over takes calls again some seconds later.
    pub(super) async fn all_back(&self, patience: Duration) {
        // From here on no change is missed.
        let mut events = self.supervisor.events();
        let is_back = |endpoint: &EndpointSnapshot| endpoint.state == ConnectivityState::Ready;
        let back = async {
            while !self.supervisor.snapshot().endpoints.iter().all(is_back) {
                if events.next().await.is_none() {
                    return;
                }
            }
        };
        // Where one is not, the summary says so.
        let _ = timeout(patience, back).await;
    }

    pub(super) fn counts(&self) -> Counts {
        let snapshot = self.supervisor.snapshot();
        Counts {
            dials: Some(snapshot.dials),
            reconnects: Some(snapshot.links.saturating_sub(snapshot.endpoints.len() as u64)),
            retries: snapshot.retries,
            transparent_retries: snapshot.transparent_retries,
        }
    }

    /// Closes the channel; its last events are still reported. Returns the states it was in.
    pub(super) async fn close(self) -> States {
        self.supervisor.shutdown(GRACE).await;
        let abort = self.events.abort_handle();
        match timeout(GRACE, self.events).await {
            Ok(states) => states.unwrap_or_default(),
            Err(_) => {
                abort.abort();
                States::default()
            }
        }
    }
}

async fn report_events(
    agent: &'static str,
    mut states: States,
    mut events: EventStream,
    report: Arc<Report>,
) -> States {
    while let Some(item) = events.next().await {
        match item {
            EventItem::Event(Event { seq, fact, .. }) => {
                states.add(&fact, report.now());
                let mut fields = facts::fields(&fact);
                fields["seq"] = json!(seq);
                let quiet = facts::is_quiet(&fact);
                report.event(agent, fact.name(), &fact.to_string(), fields, quiet);
            }
            EventItem::Lagged(missed) => {
                let text = format!("{missed} events were missed");
                report.event(agent, "Lagged", &text, json!({ "missed": missed }), false);
            }
            _ => {}
        }
    }
    states
}

impl States {
    /// Each server's state now.
    fn of(supervisor: &Supervisor, servers: usize, now: Duration) -> Self {
        let mut states = Self { channel: Vec::new(), servers: vec![Vec::new(); servers] };
        let endpoints = supervisor.snapshot().endpoints;
        for (states, endpoint) in states.servers.iter_mut().zip(endpoints) {
            states.push((now, endpoint.state));
        }
        states
    }

    /// Adds what the fact says, if it is a change of state.
    fn add(&mut self, fact: &Fact, now: Duration) {
        let (states, to) = match fact {
            Fact::StateChanged { to, .. } => (Some(&mut self.channel), to),
            // Endpoints are numbered from 1, in the order of the list.
            Fact::SubchannelChanged { endpoint, to, .. } => {
                let place = (endpoint.0 as usize).wrapping_sub(1);
                (self.servers.get_mut(place), to)
            }
            _ => return,
        };
        if let Some(states) = states
            && states.len() < STATES
        {
            states.push((now, *to));
        }
    }
}
