//! A look at a supervisor: everything there is to see, and nothing that keeps it alive.

use crate::{
    actor::{Core, SupervisorMsg, registered},
    clock,
    config::Config,
    model::{
        Allowance, ConnectivityState, Draining, Event, MethodCounts, OpenCall, Snapshot, Story,
    },
    telemetry::EventStream,
};
#[cfg(feature = "admin")]
use std::sync::atomic::Ordering::Relaxed;
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

/// Every supervisor of this process that lives, in the order in which they were spawned. A
/// supervisor that has closed is among them for as long as somebody holds a handle to it.
///
/// ```
/// for observer in tonic_supervisor::supervisors() {
///     println!("{}: {}", observer.name(), observer.state());
/// }
/// ```
pub fn supervisors() -> Vec<Observer> {
    registered().into_iter().map(Observer::new).collect()
}

/// Looks at a supervisor, without keeping it alive: for pages, commands and exporters. Find all of
/// a process with [`supervisors`], one with [`Supervisor::observer`](crate::Supervisor::observer).
#[derive(Clone)]
pub struct Observer {
    core: Arc<Core>,
}

impl Observer {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Its number in this process, from 1; never given twice.
    pub fn id(&self) -> u64 {
        self.core.registered.id
    }

    /// Its name ([`SupervisorBuilder::name`](crate::SupervisorBuilder::name)).
    pub fn name(&self) -> &str {
        &self.core.registered.name
    }

    /// The configuration that it was spawned with.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// The connectivity state now.
    pub fn state(&self) -> ConnectivityState {
        self.core.telemetry.state()
    }

    /// The supervisor at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let (core, now) = (&self.core, clock::now());
        let mut snapshot = core.telemetry.snapshot();
        (snapshot.id, snapshot.name) = (core.registered.id, core.registered.name.clone());
        snapshot.max_in_flight = core.config.max_in_flight;
        let allowance = core.calls.throttle.lock().allowance(now);
        snapshot.allowance = allowance.map(|(left, of)| Allowance { left, of });
        let shutdown = &core.calls.shutdown;
        let drain = shutdown.drain().filter(|_| !shutdown.is_closed());
        snapshot.draining = drain.map(|drain| Draining {
            left: drain.until.map(|until| until.saturating_duration_since(now)),
        });
        let picker = core.calls.picker();
        snapshot.streams = picker.links().map(|link| link.in_flight()).sum();
        let takes_calls = picker.links().filter(|link| link.is_accepting());
        let shown: BTreeMap<_, _> = takes_calls.map(|link| (link.incarnation(), link)).collect();
        let latencies = picker.latencies(now);
        for endpoint in &mut snapshot.endpoints {
            endpoint.latency = latencies.get(&endpoint.endpoint).copied();
            // A link that was replaced, or whose end is not announced yet, is still among them.
            endpoint.links.retain_mut(|link| {
                let Some(now) = shown.get(&link.incarnation) else { return false };
                let ends = now.peer().ends();
                (link.peer, link.local, link.tls) = (Some(ends.remote), ends.local, ends.tls);
                link.streams = now.in_flight();
                link.max_concurrent_streams = now.peer_limit();
                link.proven = now.is_proven();
                true
            });
        }
        snapshot
    }

    /// A snapshot, then every event in order. A reader that falls more than 512 events behind is
    /// told how many it missed.
    pub fn events(&self) -> EventStream {
        self.core.telemetry.subscribe()
    }

    /// The last 512 events, oldest first, as far back as somebody has asked for them to be kept
    /// ([`KeepHistory`](crate::KeepHistory)).
    pub fn history(&self) -> Vec<Arc<Event>> {
        self.core.telemetry.events_kept()
    }

    /// The stories of the last 128 calls that are worth a look, oldest first, as far back as
    /// somebody has asked for them to be kept ([`KeepHistory`](crate::KeepHistory)).
    pub fn stories(&self) -> Vec<Arc<Story>> {
        self.core.telemetry.stories()
    }

    /// The oldest open calls, at most so many: what each is doing, and what it waits for.
    pub fn open_calls(&self, most: usize) -> Vec<OpenCall> {
        self.core.calls.open_calls(most)
    }

    /// The numbers of each method that was called, by name.
    pub fn methods(&self) -> Vec<MethodCounts> {
        self.core.calls.counts()
    }

    /// How many calls ended so far, with OK and otherwise, and how many wait: much cheaper than
    /// all numbers.
    #[cfg(feature = "admin")]
    pub(crate) fn calls(&self) -> (u64, u64, usize) {
        let (ok, failed) = self.core.calls.ended();
        (ok, failed, self.core.telemetry.counts.waiting.load(Relaxed))
    }

    /// As [`Supervisor::reconnect_now`](crate::Supervisor::reconnect_now).
    pub fn reconnect_now(&self) {
        self.core.tell_supervisor(SupervisorMsg::ResetBackoff);
    }

    /// Begins what [`Supervisor::shutdown`](crate::Supervisor::shutdown) does, and does not wait
    /// for its end.
    pub fn begin_shutdown(&self, grace: Duration) {
        self.core.begin_drain(Some(grace));
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, state) = (self.name(), self.state());
        f.debug_struct("Observer").field("name", &name).field("state", &state).finish()
    }
}
