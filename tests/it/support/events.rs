//! What a supervisor announced: all of it at any moment ([`EventLog`]), or one event after the
//! other ([`EventReader`]).

use super::{LONG, bounded, eventually, millis, settle};
use std::time::Duration;
use tokio::sync::watch;
use tonic_supervisor::{
    ConnectivityState, DialFailure, Event, EventItem, EventStream, Fact, LinkEnd, Snapshot,
    Supervisor,
};

/// All that a supervisor announced since this was made.
#[derive(Clone)]
pub(crate) struct EventLog(watch::Receiver<Seen>);

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    missed: u64,
}

impl EventLog {
    /// Ends, task and all, when the supervisor is closed.
    pub(crate) fn of(supervisor: &Supervisor) -> Self {
        let mut stream = supervisor.events();
        let (seen, all) = watch::channel(Seen::default());
        tokio::spawn(async move {
            while let Some(item) = stream.next().await {
                seen.send_modify(|seen| match item {
                    EventItem::Event(event) => seen.events.push(event),
                    EventItem::Lagged(missed) => seen.missed += missed,
                    _ => {}
                });
            }
        });
        Self(all)
    }

    /// What `pick` makes of each fact so far, and when it was announced.
    pub(crate) fn all<T>(&self, pick: impl Fn(&Fact) -> Option<T>) -> Vec<(Duration, T)> {
        let seen = self.0.borrow();
        assert_eq!(seen.missed, 0, "the test reads too slowly");
        seen.events
            .iter()
            .filter_map(|event| Some((event.since_spawn, pick(&event.fact)?)))
            .collect()
    }

    /// The same without the times, once the reader has caught up.
    pub(crate) async fn facts<T>(&self, pick: impl Fn(&Fact) -> Option<T>) -> Vec<T> {
        settle().await;
        self.all(pick).into_iter().map(|(_, picked)| picked).collect()
    }

    /// How many facts are `wanted`.
    pub(crate) fn count(&self, wanted: impl Fn(&Fact) -> bool) -> usize {
        self.all(|fact| wanted(fact).then_some(())).len()
    }

    /// How the dials failed that failed.
    pub(crate) fn dials_failed(&self) -> Vec<DialFailure> {
        let failed = |fact: &Fact| match fact {
            Fact::DialFailed { failure, .. } => Some(failure.clone()),
            _ => None,
        };
        self.all(failed).into_iter().map(|(_, failure)| failure).collect()
    }

    /// How the links ended that were lost.
    pub(crate) fn links_lost(&self) -> Vec<LinkEnd> {
        let lost = |fact: &Fact| match fact {
            Fact::LinkLost { end, .. } => Some(end.clone()),
            _ => None,
        };
        self.all(lost).into_iter().map(|(_, end)| end).collect()
    }

    /// Waits until `times` facts were `wanted`, looking every millisecond.
    pub(crate) async fn until(&self, what: &str, times: usize, wanted: impl Fn(&Fact) -> bool) {
        eventually(what, || self.count(&wanted) >= times).await;
    }

    /// Waits for the fact that is the `times`th to be `wanted`, and goes on at once; when that was,
    /// since the supervisor was spawned.
    pub(crate) async fn nth(&self, times: usize, wanted: impl Fn(&Fact) -> bool) -> Duration {
        let mut all = self.0.clone();
        let find = |seen: &Seen| {
            let found = seen.events.iter().filter(|event| wanted(&event.fact)).nth(times - 1);
            found.map(|event| millis(event.since_spawn))
        };
        let found = tokio::time::timeout(LONG, all.wait_for(|seen| find(seen).is_some())).await;
        find(&found.expect("announced in time").expect("announced before the end"))
            .expect("just seen")
    }

    /// The same, for the first one.
    pub(crate) async fn first(&self, wanted: impl Fn(&Fact) -> bool) -> Duration {
        self.nth(1, wanted).await
    }
}

/// Reads a supervisor's events in order, and keeps what it has read.
pub(crate) struct EventReader {
    stream: EventStream,
    pub(crate) snapshot: Snapshot,
    pub(crate) seen: Vec<Event>,
}

impl EventReader {
    pub(crate) async fn of(supervisor: &Supervisor) -> Self {
        let mut stream = supervisor.events();
        let Some(EventItem::Snapshot(snapshot)) = stream.next().await else {
            panic!("the snapshot comes first")
        };
        Self { stream, snapshot: *snapshot, seen: Vec::new() }
    }

    /// The next event; none after the last.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        match bounded("an event", self.stream.next()).await? {
            EventItem::Event(event) => {
                self.seen.push(event.clone());
                Some(event)
            }
            other => panic!("only events follow the snapshot: {other:?}"),
        }
    }

    /// The next event with a fact that is wanted; those before it are kept in `seen`.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Fact) -> bool) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("ended after {:#?}", self.seen));
            if wanted(&event.fact) {
                return event;
            }
        }
    }

    /// The next change to this state.
    pub(crate) async fn until_state(&mut self, state: ConnectivityState) -> Event {
        self.until(|fact| matches!(fact, Fact::StateChanged { to, .. } if *to == state)).await
    }

    /// Reads what is there already; all facts so far.
    pub(crate) async fn facts(&mut self) -> Vec<Fact> {
        while let Some(Some(item)) = futures::FutureExt::now_or_never(self.stream.next()) {
            match item {
                EventItem::Event(event) => self.seen.push(event),
                other => panic!("only events follow the snapshot: {other:?}"),
            }
        }
        self.seen.iter().map(|event| event.fact.clone()).collect()
    }

    /// The states of all changes so far.
    pub(crate) async fn states(&mut self) -> Vec<ConnectivityState> {
        let to = |fact: &Fact| match fact {
            Fact::StateChanged { to, .. } => Some(*to),
            _ => None,
        };
        self.facts().await.iter().filter_map(to).collect()
    }
}

/// The laws of every history: no number is left out, states follow from one another along legal
/// edges.
pub(crate) fn check_history(mut state: ConnectivityState, mut seq: u64, events: &[Event]) {
    for event in events {
        assert_eq!(event.seq, seq + 1, "{events:#?}");
        seq = event.seq;
        if let Fact::StateChanged { from, to, cause, .. } = &event.fact {
            assert!(*from == state && from.can_become(*to), "{from} -> {to} after {state}");
            assert!(!cause.is_empty());
            state = *to;
        }
    }
}
