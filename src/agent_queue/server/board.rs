//! Tells who waits that a queue has news: waiting claims, and watches.

use super::{
    line::Line,
    meters::{Counted, Meters},
    record::Happened,
};
use crate::clock;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Instant};
use tokio::{
    sync::{Notify, watch},
    time,
};

/// What kind of news a queue has. All of them wake its watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Something changed that no claim waits for.
    Changed,
    /// So many more tasks may be claimed now: this wakes as many claims, the oldest first.
    Claimable(u32),
    /// Nobody knows how many, or the queue is gone: claims look one after the other, until one
    /// finds nothing.
    Any,
}

impl Mark {
    /// Both as one.
    pub fn and(self, other: Self) -> Self {
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

/// Who waits for news of which queue, and what is counted of each. Clones are the same board.
///
/// It holds an entry per queue that somebody waits for, and none for the others.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Posted>);

#[derive(Debug, Default)]
struct Posted {
    entries: Mutex<HashMap<String, Entry>>,
    meters: Meters,
}

/// Who waits for one queue.
#[derive(Debug, Default)]
struct Entry {
    watches: watch::Sender<()>,
    claims: Line,
}

/// A watch's view of a queue. Dropping it ends the wait.
#[derive(Debug)]
pub struct News {
    board: Board,
    agent_id: String,
    marked: Option<watch::Receiver<()>>,
    /// Once it waits: then its queue is there.
    counted: Option<Counted>,
}

/// A claim's place among those that wait for a queue's tasks. Dropping it ends the wait, and
/// another is woken in its place if need be.
#[derive(Debug)]
pub struct Turn {
    board: Board,
    agent_id: String,
    number: u64,
    told: Arc<Notify>,
    served: bool,
    /// Once it waits: then its queue is there.
    counted: Option<Counted>,
}

impl Board {
    /// Wakes those whom this news of a queue concerns.
    pub fn mark(&self, agent_id: &str, mark: Mark) {
        if let Some(entry) = self.0.entries.lock().get_mut(agent_id) {
            entry.mark(mark);
        }
    }

    /// Counts what became of a task of a queue, once it is committed.
    pub fn happened(&self, agent_id: &str, happened: Happened) {
        self.0.meters.of(agent_id).happened(happened);
    }

    pub(super) fn meters(&self) -> &Meters {
        &self.0.meters
    }

    /// Any queue may have news: for a store that cannot say what it missed.
    pub fn mark_all(&self) {
        self.0.entries.lock().values_mut().for_each(|entry| entry.mark(Mark::Any));
    }

    /// A lease of a queue ends then, so that a task may come by itself.
    pub fn look_by(&self, agent_id: &str, at: Instant) {
        if let Some(entry) = self.0.entries.lock().get_mut(agent_id) {
            entry.claims.look_by(at);
        }
    }

    /// Waits for all news of a queue, from now on: for a watch.
    pub fn subscribe(&self, agent_id: &str) -> News {
        let marked =
            self.0.entries.lock().entry(agent_id.to_owned()).or_default().watches.subscribe();
        News {
            board: self.clone(),
            agent_id: agent_id.to_owned(),
            marked: Some(marked),
            counted: None,
        }
    }

    /// Waits for a task of a queue, from now on: for a claim, which looks at the store next.
    pub fn line_up(&self, agent_id: &str) -> Turn {
        let told = Arc::new(Notify::new());
        let number =
            self.0.entries.lock().entry(agent_id.to_owned()).or_default().claims.join(told.clone());
        Turn {
            board: self.clone(),
            agent_id: agent_id.to_owned(),
            number,
            told,
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
    fn mark(&mut self, mark: Mark) {
        self.watches.send_replace(());
        match mark {
            Mark::Changed => {}
            Mark::Claimable(count) => self.claims.tasks(count),
            Mark::Any => self.claims.any(),
        }
    }
}

impl News {
    /// Returns at the first mark since the last return, or since the subscription. Cancel safe.
    pub async fn come(&mut self) {
        self.counted
            .get_or_insert_with(|| Counted::new(&self.board.meters().of(&self.agent_id).watches));
        if let Some(marked) = &mut self.marked {
            // The sender stands on the board for as long as this does.
            let _ = marked.changed().await;
        }
    }

    /// Forgets the marks so far.
    pub fn catch_up(&mut self) {
        if let Some(marked) = &mut self.marked {
            marked.mark_unchanged();
        }
    }
}

impl Drop for News {
    fn drop(&mut self) {
        self.marked = None;
        self.board.with(&self.agent_id, |_| ());
    }
}

impl Turn {
    /// The store had no task. Returns when it is worth looking again. Cancel safe: who stops
    /// waiting is still in line.
    pub async fn come(&mut self) {
        self.counted.get_or_insert_with(|| {
            Counted::new(&self.board.meters().of(&self.agent_id).claims_waiting)
        });
        self.line(|line, number| line.rest(number));
        loop {
            let (rests, looks_at) =
                self.line(|line, number| (line.rests(number), line.looks_at(number)));
            if !rests {
                return;
            }
            match looks_at {
                Some(at) => tokio::select! {
                    () = self.told.notified() => {}
                    () = time::sleep_until(at.into()) => {
                        self.line(|line, number| line.due(number, clock::now()));
                    }
                },
                None => self.told.notified().await,
            }
        }
    }

    /// It looks now, woken or not.
    pub fn look(&mut self) {
        self.line(|line, number| line.look(number));
    }

    /// The store gave it a task.
    pub fn served(mut self) {
        self.served = true;
    }

    fn line<T: Default>(&self, change: impl FnOnce(&mut Line, u64) -> T) -> T {
        self.board.with(&self.agent_id, |entry| change(&mut entry.claims, self.number))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let served = self.served;
        self.line(|line, number| line.leave(number, served));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::time::Duration;

    #[tokio::test]
    async fn a_mark_between_two_waits_is_not_missed() {
        let board = Board::default();
        let mut news = board.subscribe("a");
        board.mark("a", Mark::Changed);
        board.mark("a", Mark::Changed);
        news.come().await;
        assert!(news.come().now_or_never().is_none(), "both marks are told as one");
    }

    #[tokio::test]
    async fn claims_are_woken_by_claimable_tasks_only_and_watches_by_everything() {
        let board = Board::default();
        let (mut claim, mut watch) = (board.line_up("a"), board.subscribe("a"));
        let mut waits = std::pin::pin!(claim.come());
        assert!(waits.as_mut().now_or_never().is_none());
        board.mark("b", Mark::Any);
        assert!(watch.come().now_or_never().is_none());
        board.mark("a", Mark::Changed);
        assert!(waits.as_mut().now_or_never().is_none() && watch.come().now_or_never().is_some());
        board.mark("a", Mark::Claimable(1));
        assert!(waits.as_mut().now_or_never().is_some() && watch.come().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_thousand_waiting_claims_as_many_wake_as_tasks_came() {
        let board = Board::default();
        let (woken, mut waking) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..1000 {
            let (mut turn, woken) = (board.line_up("a"), woken.clone());
            tokio::spawn(async move {
                turn.come().await;
                let _ = woken.send(number);
                turn.served();
            });
        }
        tokio::task::yield_now().await;
        for expected in 0..10 {
            board.mark("a", Mark::Claimable(1));
            assert_eq!(waking.recv().await, Some(expected), "the oldest");
        }
        board.mark("a", Mark::Claimable(990));
        for _ in 0..990 {
            waking.recv().await.expect("woken");
        }
        assert!(board.0.entries.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_claim_looks_when_a_lease_ends_and_the_next_when_that_one_is_gone() {
        let board = Board::default();
        let (mut first, mut second) = (board.line_up("a"), board.line_up("a"));
        let at = clock::now() + Duration::from_secs(5);
        board.look_by("a", at);
        let ((), ()) = tokio::join!(
            async {
                first.come().await;
                assert_eq!(clock::now(), at);
                time::sleep(Duration::from_secs(1)).await;
                drop(first);
            },
            async {
                second.come().await;
                assert_eq!(clock::now(), at + Duration::from_secs(1));
            }
        );
    }

    #[test]
    fn a_queue_that_nobody_waits_for_has_no_entry() {
        let board = Board::default();
        let (first, second) = (board.subscribe("a"), board.line_up("a"));
        drop(first);
        assert_eq!(board.0.entries.lock().len(), 1);
        drop(second);
        assert!(board.0.entries.lock().is_empty());
    }
}
