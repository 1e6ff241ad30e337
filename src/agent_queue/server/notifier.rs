//! Notifies waiting claims and watches of the changes of their queues.

use super::{
    meters::{GaugeGuard, Meters},
    record::TaskEvent,
    waiting_claims::WaitingClaims,
};
use crate::clock;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Instant};
use tokio::{
    sync::{Notify, watch},
    time,
};

/// How a queue changed. Every change wakes its watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueChange {
    /// Something changed that no claim waits for.
    Changed,
    /// So many more tasks may be claimed now: this wakes as many claims, the oldest first.
    Claimable(u32),
    /// The number of new tasks is not known, or the queue is gone: claims check the store one after
    /// the other, until one finds nothing.
    Any,
}

impl QueueChange {
    /// One change that stands for both.
    pub fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => Self::Any,
            (Self::Claimable(one), Self::Claimable(two)) => {
                Self::Claimable(one.saturating_add(two))
            }
            (Self::Claimable(count), Self::Changed) | (Self::Changed, Self::Claimable(count)) => {
                Self::Claimable(count)
            }
            (Self::Changed, Self::Changed) => Self::Changed,
        }
    }
}

/// Who waits for changes of which queue, and the metrics of each queue. Clones share their state.
///
/// It holds an entry per queue that somebody waits for, and none for the others.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: Mutex<HashMap<String, Entry>>,
    meters: Meters,
}

/// Who waits for one queue.
#[derive(Debug, Default)]
struct Entry {
    watches: watch::Sender<()>,
    claims: WaitingClaims,
}

/// A watch's subscription to the changes of a queue. Dropping it ends the subscription.
#[derive(Debug)]
pub struct ChangeSubscription {
    notifier: Notifier,
    agent_id: String,
    changed: Option<watch::Receiver<()>>,
    /// Once it waits: then its queue is there.
    counted: Option<GaugeGuard>,
}

/// A claim's place among those that wait for a queue's tasks. Dropping it ends the wait, and
/// another is woken in its place if need be.
#[derive(Debug)]
pub struct WaitingClaim {
    notifier: Notifier,
    agent_id: String,
    number: u64,
    notify: Arc<Notify>,
    served: bool,
    /// Once it waits: then its queue is there.
    counted: Option<GaugeGuard>,
}

impl Notifier {
    /// Wakes those whom this change of a queue concerns.
    pub fn notify(&self, agent_id: &str, change: QueueChange) {
        if let Some(entry) = self.0.entries.lock().get_mut(agent_id) {
            entry.notify(change);
        }
    }

    /// Counts what became of a task of a queue, once it is committed.
    pub fn count(&self, agent_id: &str, event: TaskEvent) {
        self.0.meters.of(agent_id).count(event);
    }

    pub(super) fn meters(&self) -> &Meters {
        &self.0.meters
    }

    /// Any queue may have changed: for a store that does not know what it missed.
    pub fn notify_all(&self) {
        self.0.entries.lock().values_mut().for_each(|entry| entry.notify(QueueChange::Any));
    }

    /// A lease of a queue ends then, so that a task may become claimable without any operation.
    pub fn check_by(&self, agent_id: &str, at: Instant) {
        if let Some(entry) = self.0.entries.lock().get_mut(agent_id) {
            entry.claims.check_by(at);
        }
    }

    /// Waits for all changes of a queue, from now on: for a watch.
    pub fn subscribe(&self, agent_id: &str) -> ChangeSubscription {
        let changed =
            self.0.entries.lock().entry(agent_id.to_owned()).or_default().watches.subscribe();
        ChangeSubscription {
            notifier: self.clone(),
            agent_id: agent_id.to_owned(),
            changed: Some(changed),
            counted: None,
        }
    }

    /// Waits for a task of a queue, from now on: for a claim, which checks the store next.
    pub fn wait_for_task(&self, agent_id: &str) -> WaitingClaim {
        let notify = Arc::new(Notify::new());
        let number = self
            .0
            .entries
            .lock()
            .entry(agent_id.to_owned())
            .or_default()
            .claims
            .join(notify.clone());
        WaitingClaim {
            notifier: self.clone(),
            agent_id: agent_id.to_owned(),
            number,
            notify,
            served: false,
            counted: None,
        }
    }

    /// Changes an entry, and forgets it where nobody waits any more.
    fn with<T: Default>(&self, agent_id: &str, change: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries = self.0.entries.lock();
        let Some(entry) = entries.get_mut(agent_id) else { return T::default() };
        let answer = change(entry);
        if entry.watches.receiver_count() == 0 && entry.claims.is_empty() {
            entries.remove(agent_id);
        }
        answer
    }
}

impl Entry {
    fn notify(&mut self, change: QueueChange) {
        self.watches.send_replace(());
        match change {
            QueueChange::Changed => {}
            QueueChange::Claimable(count) => self.claims.tasks_added(count),
            QueueChange::Any => self.claims.unknown_added(),
        }
    }
}

impl ChangeSubscription {
    /// Returns at the first change since the last return, or since the subscription.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no change is missed.
    pub async fn changed(&mut self) {
        self.counted.get_or_insert_with(|| {
            GaugeGuard::new(&self.notifier.meters().of(&self.agent_id).watches)
        });
        if let Some(changed) = &mut self.changed {
            // The entry with the sender stays for as long as this subscription.
            let _ = changed.changed().await;
        }
    }

    /// Forgets the changes so far.
    pub fn catch_up(&mut self) {
        if let Some(changed) = &mut self.changed {
            changed.mark_unchanged();
        }
    }
}

impl Drop for ChangeSubscription {
    fn drop(&mut self) {
        self.changed = None;
        self.notifier.with(&self.agent_id, |_| ());
    }
}

impl WaitingClaim {
    /// The store had no task. Returns when it is worth checking again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a claim that stops waiting keeps its place.
    pub async fn woken(&mut self) {
        self.counted.get_or_insert_with(|| {
            GaugeGuard::new(&self.notifier.meters().of(&self.agent_id).claims_waiting)
        });
        self.waiting(|claims, number| claims.sleep(number));
        // A wake that comes between the look below and the wait leaves its permit in `notify`, so
        // the wait returns at once. A permit may also be an old one, or say only that the time of
        // the check is another: therefore it looks again each time.
        loop {
            let (sleeps, checks_at) =
                self.waiting(|claims, number| (claims.sleeps(number), claims.checks_at(number)));
            if !sleeps {
                return;
            }
            match checks_at {
                Some(at) => tokio::select! {
                    () = self.notify.notified() => {}
                    () = time::sleep_until(at.into()) => {
                        self.waiting(|claims, number| claims.due(number, clock::now()));
                    }
                },
                None => self.notify.notified().await,
            }
        }
    }

    /// It checks the store now, woken or not.
    pub fn check(&mut self) {
        self.waiting(|claims, number| claims.check(number));
    }

    /// The store gave it a task.
    pub fn served(mut self) {
        self.served = true;
    }

    fn waiting<T: Default>(&self, change: impl FnOnce(&mut WaitingClaims, u64) -> T) -> T {
        self.notifier.with(&self.agent_id, |entry| change(&mut entry.claims, self.number))
    }
}

impl Drop for WaitingClaim {
    fn drop(&mut self) {
        let served = self.served;
        self.waiting(|claims, number| claims.leave(number, served));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::time::Duration;

    #[tokio::test]
    async fn a_mark_between_two_waits_is_not_missed() {
        let notifier = Notifier::default();
        let mut news = notifier.subscribe("a");
        notifier.notify("a", QueueChange::Changed);
        notifier.notify("a", QueueChange::Changed);
        news.changed().await;
        assert!(news.changed().now_or_never().is_none(), "both changes are notified as one");
    }

    #[tokio::test]
    async fn claims_are_woken_by_claimable_tasks_only_and_watches_by_everything() {
        let notifier = Notifier::default();
        let (mut claim, mut watch) = (notifier.wait_for_task("a"), notifier.subscribe("a"));
        let mut waits = std::pin::pin!(claim.woken());
        assert!(waits.as_mut().now_or_never().is_none());
        notifier.notify("b", QueueChange::Any);
        assert!(watch.changed().now_or_never().is_none());
        notifier.notify("a", QueueChange::Changed);
        assert!(
            waits.as_mut().now_or_never().is_none() && watch.changed().now_or_never().is_some()
        );
        notifier.notify("a", QueueChange::Claimable(1));
        assert!(
            waits.as_mut().now_or_never().is_some() && watch.changed().now_or_never().is_some()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_thousand_waiting_claims_as_many_wake_as_tasks_came() {
        let notifier = Notifier::default();
        let (woken, mut waking) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..1000 {
            let (mut turn, woken) = (notifier.wait_for_task("a"), woken.clone());
            tokio::spawn(async move {
                turn.woken().await;
                let _ = woken.send(number);
                turn.served();
            });
        }
        tokio::task::yield_now().await;
        for expected in 0..10 {
            notifier.notify("a", QueueChange::Claimable(1));
            assert_eq!(waking.recv().await, Some(expected), "the oldest");
        }
        notifier.notify("a", QueueChange::Claimable(990));
        for _ in 0..990 {
            waking.recv().await.expect("woken");
        }
        assert!(notifier.0.entries.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_claim_looks_when_a_lease_ends_and_the_next_when_that_one_is_gone() {
        let notifier = Notifier::default();
        let (mut first, mut second) = (notifier.wait_for_task("a"), notifier.wait_for_task("a"));
        let at = clock::now() + Duration::from_secs(5);
        notifier.check_by("a", at);
        let ((), ()) = tokio::join!(
            async {
                first.woken().await;
                assert_eq!(clock::now(), at);
                time::sleep(Duration::from_secs(1)).await;
                drop(first);
            },
            async {
                second.woken().await;
                assert_eq!(clock::now(), at + Duration::from_secs(1));
            }
        );
    }

    #[test]
    fn a_queue_that_nobody_waits_for_has_no_entry() {
        let notifier = Notifier::default();
        let (first, second) = (notifier.subscribe("a"), notifier.wait_for_task("a"));
        drop(first);
        assert_eq!(notifier.0.entries.lock().len(), 1);
        drop(second);
        assert!(notifier.0.entries.lock().is_empty());
    }
}
