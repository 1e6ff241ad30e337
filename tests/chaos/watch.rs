//! What a supervisor announced, and when.

use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tonic_supervisor::{EventItem, Fact, LinkEnd, Supervisor};

/// Something, and when it was announced.
#[derive(Clone, Debug)]
pub(crate) struct Stamp<T> {
    pub(crate) at: Instant,
    pub(crate) what: T,
}

/// Listens until the supervisor is closed.
pub(crate) struct Watch(Arc<Mutex<Vec<Stamp<Fact>>>>);

impl Watch {
    pub(crate) fn of(supervisor: &Supervisor) -> Self {
        let (mut events, seen) = (supervisor.events(), Arc::new(Mutex::new(Vec::new())));
        let facts = seen.clone();
        tokio::spawn(async move {
            while let Some(item) = events.next().await {
                match item {
                    EventItem::Event(event) => {
                        facts.lock().push(Stamp { at: Instant::now(), what: event.fact.clone() })
                    }
                    EventItem::Lagged(missed) => panic!("the test missed {missed} events"),
                    _ => {}
                }
            }
        });
        Self(seen)
    }

    /// How the link that was in use ended, first of all after `fault`.
    pub(crate) async fn lost(&self, fault: Instant) -> Stamp<LinkEnd> {
        let lost = |fact: &Fact| match fact {
            Fact::LinkLost { end, current: true, .. } => Some(end.clone()),
            _ => None,
        };
        self.first_after(fault, lost).await
    }

    /// A wait between dials has just begun.
    pub(crate) async fn waits(&self) {
        let waits = |fact: &Fact| matches!(fact, Fact::BackoffStarted { .. }).then_some(());
        self.first_after(Instant::now(), waits).await;
    }

    /// When the dial that brought the first link after `lost` was due: at the end of the wait
    /// before it, or, if it was under way when the fault was `healed`, within `under_way`.
    pub(crate) fn dial_due(&self, lost: Instant, healed: Instant, under_way: Duration) -> Instant {
        let facts = self.0.lock();
        let up = facts
            .iter()
            .position(|fact| fact.at > lost && matches!(fact.what, Fact::LinkEstablished { .. }));
        let before = &facts[..up.expect("a link is up")];
        let dial = before
            .iter()
            .rposition(|fact| matches!(fact.what, Fact::DialStarted { .. }))
            .expect("it was dialled");
        if before[dial].at < healed {
            return healed + under_way;
        }
        let wait = before[..dial].iter().rev().find_map(|fact| match &fact.what {
            Fact::BackoffStarted { delay, .. } => Some(fact.at + *delay),
            _ => None,
        });
        wait.expect("a lost link is followed by a wait")
    }

    async fn first_after<T>(&self, when: Instant, pick: impl Fn(&Fact) -> Option<T>) -> Stamp<T> {
        let found = async {
            loop {
                let picked = self
                    .0
                    .lock()
                    .iter()
                    .filter(|fact| fact.at >= when)
                    .find_map(|fact| Some(Stamp { at: fact.at, what: pick(&fact.what)? }));
                match picked {
                    Some(stamp) => return stamp,
                    None => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(40), found).await.expect("it is announced")
    }
}
