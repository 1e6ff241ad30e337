//! Where facts go: one [`Fact`] in; event stream, state watch, snapshot, metrics and log lines out.
//!
//! [`Telemetry::announce`] is the only way to say that something happened. It numbers the fact,
//! adds it to the summary that snapshots are taken from, and hands it on, all under one lock: so a
//! subscriber sees a snapshot and then every later event, in order.

mod calls;
#[cfg(test)]
mod facts_tests;
mod history;
mod levels;
mod line;
mod lines;
mod log;
mod method_counts;
mod metric_list;
mod metrics;
#[cfg(test)]
mod page_tests;
mod stream;
mod summary;
mod troubles;

pub(crate) use calls::{AttemptEnd, CallEnd, MethodMetrics};
pub use history::KeepHistory;
pub(crate) use history::is_history_kept;
pub(crate) use levels::{Levels, record as record_levels};
pub use lines::EventLines;
pub use stream::{EventItem, EventStream};

use crate::{
    clock,
    model::{
        ConnectivityState, Endpoint, EndpointId, Event, Fact, LinkEnd, Snapshot, Story, clean,
    },
    unwind::caught,
};
use history::History;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};
use summary::Summary;
use tokio::sync::{broadcast, watch};

/// How many events a reader may be behind before it is told `Lagged`. The room for them, 16 KiB, is
/// taken for the first reader.
const EVENTS_KEPT: usize = 512;

/// A handler that takes longer holds up whatever is behind it in the mailbox.
const SLOW: Duration = Duration::from_millis(50);

/// Numbers that change too often to be facts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Calls accepted and not answered.
    pub(crate) open: AtomicUsize,
    /// The size of their requests.
    pub(crate) bytes: AtomicUsize,
    /// Those of them that wait for a link or for room on it.
    pub(crate) waiting: AtomicUsize,
    /// Transparent retries so far.
    pub(crate) transparent: AtomicU64,
    /// The last PING's round trip in nanoseconds; 0 is none yet.
    pub(crate) round_trip: AtomicU64,
}

/// The hub of one supervisor.
pub(crate) struct Telemetry {
    spawned: Instant,
    target: Arc<str>,
    /// The target as metrics carry it: gRPC A66's canonical URI.
    canonical: Arc<str>,
    security: &'static str,
    pub(crate) counts: Arc<Counts>,
    state: watch::Sender<ConnectivityState>,
    history: History,
    inner: Mutex<Inner>,
}

struct Inner {
    seq: u64,
    closed: bool,
    /// None until somebody reads.
    events: Option<broadcast::Sender<Arc<Event>>>,
    summary: Summary,
    lines: EventLines,
    /// Whether somebody asked for a history when the last fact was announced.
    kept: bool,
}

impl Telemetry {
    pub(crate) fn new(
        target: Arc<str>,
        canonical: Arc<str>,
        security: &'static str,
        keepalive_time: Option<Duration>,
    ) -> Self {
        let now = clock::now();
        let (summary, lines) = (Summary::new(now, keepalive_time), EventLines::default());
        let inner = Inner { seq: 0, closed: false, events: None, summary, lines, kept: false };
        Self {
            spawned: now,
            target,
            canonical,
            security,
            counts: Arc::default(),
            state: watch::Sender::new(ConnectivityState::Idle),
            history: History::default(),
            inner: Mutex::new(inner),
        }
    }

    /// Describes the metrics, and begins the channel's series at 0.
    pub(crate) fn begin_series(&self) {
        // A recorder is other people's code, here and below.
        let _ = caught(|| metric_list::begin(&self.canonical, self.security));
    }

    /// Says that something happened.
    pub(crate) fn announce(&self, fact: Fact) {
        let (fact, now) = (fact.cleaned(), clock::now());
        let mut inner = self.inner.lock();
        // What is still under way in another thread while a runtime ends comes too late.
        if inner.closed {
            return;
        }
        inner.seq += 1;
        inner.closed |= matches!(fact, Fact::Closed { .. });
        inner.summary.fold(&fact, now);
        let since_spawn = now.saturating_duration_since(self.spawned);
        let line = inner.lines.choose(&fact, since_spawn);
        let state = inner.summary.state;
        self.state.send_if_modified(|shown| std::mem::replace(shown, state) != state);
        let kept = is_history_kept();
        if inner.kept && !kept {
            self.history.forget();
        }
        inner.kept = kept;
        if kept || inner.events.is_some() {
            let event = Arc::new(Event {
                seq: inner.seq,
                at: SystemTime::now(),
                since_spawn,
                fact: fact.clone(),
            });
            if kept {
                self.history.note(event.clone());
            }
            // The readers may be gone again.
            let _ = inner.events.as_ref().map(|events| events.send(event));
        }
        // Recorders and subscribers are other people's code: they shall not hold up who comes next.
        drop(inner);
        // Nor shall a panic of theirs, which hits whoever announces: at the worst the one who
        // closes everything.
        let _ = caught(|| metrics::record(&fact, &self.canonical, self.security));
        let _ = caught(|| log::write(&fact, line, &self.target));
    }

    /// The endpoints there are from the start, for snapshots.
    pub(crate) fn list(&self, endpoints: &[(EndpointId, Endpoint)]) {
        self.inner.lock().summary.list(&cleaned(endpoints), clock::now());
    }

    /// Shows these addresses of endpoints that are listed already.
    pub(crate) fn show_addresses(&self, endpoints: &[(EndpointId, Endpoint)]) {
        self.inner.lock().summary.show_addresses(&cleaned(endpoints));
    }

    /// Announces the end of every link that was announced and not ended: their actors have failed.
    pub(crate) fn links_gone(&self, end: &LinkEnd) {
        let open = self.inner.lock().summary.open_links(clock::now());
        for (incarnation, endpoint, lived) in open {
            let (end, current) = (end.clone(), true);
            self.announce(Fact::LinkLost { incarnation, endpoint, end, lived, current });
        }
    }

    /// Announces of each of several endpoints that it failed: the actor that knew them has.
    pub(crate) fn endpoints_failed(&self, cause: &Arc<str>) {
        let (several, to) =
            (self.inner.lock().summary.several(), ConnectivityState::TransientFailure);
        for (endpoint, addresses, from) in several {
            if from.can_become(to) {
                let cause = cause.clone();
                self.announce(Fact::SubchannelChanged { endpoint, addresses, from, to, cause });
            }
        }
    }

    /// Announces of each ejected endpoint that it is in use again: the actor that knew them failed.
    pub(crate) fn ejections_ended(&self) {
        let ejected = self.inner.lock().summary.ejected();
        for (endpoint, addresses) in ejected {
            self.announce(Fact::EndpointReturned { endpoint, addresses });
        }
    }

    /// An endpoint was to be ejected, and was not, since too many are already.
    pub(crate) fn ejection_unenforced(&self) {
        let _ = caught(|| metrics::ejection_unenforced(&self.canonical));
    }

    /// An actor handled a message in the time since `begun`. No handler waits for anything, so one
    /// that takes long is a bug, or an overloaded machine.
    pub(crate) fn handled(&self, child: &'static str, message: &'static str, begun: Instant) {
        let took = clock::now().saturating_duration_since(begun);
        if took > SLOW {
            let _ = caught(|| metrics::slow_handler(&self.canonical, child));
            let target = &self.target;
            log::line!(
                warn, %target, child, message, ?took,
                "an actor was slow to handle a message"
            );
        }
    }

    /// A message about a link that is no longer in use came late, and changed nothing.
    pub(crate) fn stale(&self, message: &'static str) {
        let _ = caught(|| metrics::stale(&self.canonical, message));
    }

    /// One request actor's number of parked calls went from `before` to `now`.
    pub(crate) fn waiting_changed(&self, before: usize, now: usize) {
        self.counts.waiting.fetch_add(now.wrapping_sub(before), Relaxed);
        let _ = caught(|| metrics::waiting_changed(&self.canonical, before, now));
    }

    /// The events that are kept, oldest first.
    pub(crate) fn events_kept(&self) -> Vec<Arc<Event>> {
        self.history.events()
    }

    /// The stories that are kept, oldest first.
    pub(crate) fn stories(&self) -> Vec<Arc<Story>> {
        self.history.stories()
    }

    /// Keeps the story of a call that is worth a look.
    pub(crate) fn tell(&self, story: Story) {
        self.history.tell(story);
    }

    /// The target as metrics carry it.
    pub(crate) fn canonical(&self) -> &Arc<str> {
        &self.canonical
    }

    /// The state now.
    pub(crate) fn state(&self) -> ConnectivityState {
        *self.state.borrow()
    }

    /// The state now and every later one; quick changes may coalesce.
    pub(crate) fn watch(&self) -> watch::Receiver<ConnectivityState> {
        self.state.subscribe()
    }

    /// The channel at this moment.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshot_of(&self.inner.lock())
    }

    /// A snapshot, and every event after it; none after the last.
    pub(crate) fn subscribe(&self) -> EventStream {
        let mut inner = self.inner.lock();
        let open = !inner.closed;
        let events = open.then(|| {
            inner.events.get_or_insert_with(|| broadcast::Sender::new(EVENTS_KEPT)).subscribe()
        });
        EventStream::new(self.snapshot_of(&inner), events)
    }

    fn snapshot_of(&self, inner: &Inner) -> Snapshot {
        let round_trip = self.counts.round_trip.load(Relaxed);
        Snapshot {
            target: self.target.clone(),
            uri: self.canonical.clone(),
            calls_open: self.counts.open.load(Relaxed),
            calls_waiting: self.counts.waiting.load(Relaxed),
            transparent_retries: self.counts.transparent.load(Relaxed),
            round_trip: (round_trip > 0).then(|| Duration::from_nanos(round_trip)),
            seq: inner.seq,
            ..inner.summary.snapshot(clock::now())
        }
    }
}

fn cleaned(endpoints: &[(EndpointId, Endpoint)]) -> Vec<(EndpointId, Arc<str>)> {
    let text = |(id, endpoint): &(EndpointId, Endpoint)| {
        let mut addresses = endpoint.to_string();
        clean(&mut addresses);
        (*id, addresses.into())
    };
    endpoints.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    /// Scenario 18.
    #[tokio::test(start_paused = true)]
    async fn a_handler_that_takes_more_than_50_ms_raises_a_metric() {
        let recorder = DebuggingRecorder::new();
        let _installed = ::metrics::set_default_local_recorder(&recorder);
        let telemetry =
            Telemetry::new("queue:50051".into(), "dns:///queue:50051".into(), "none", None);
        let slow = || -> u64 {
            let recorded = recorder.snapshotter().snapshot().into_vec();
            let slow = recorded
                .iter()
                .filter(|(key, ..)| key.key().name() == "tonic_supervisor.handlers.slow");
            slow.map(
                |(_, _, _, value)| if let DebugValue::Counter(count) = value { *count } else { 0 },
            )
            .sum()
        };
        let begun = clock::now();
        tokio::time::advance(Duration::from_millis(50)).await;
        telemetry.handled("request", "Submit", begun);
        assert_eq!(slow(), 0, "50 ms are not more than 50 ms");
        tokio::time::advance(Duration::from_millis(1)).await;
        telemetry.handled("request", "Submit", begun);
        assert_eq!(slow(), 1);
    }
}
