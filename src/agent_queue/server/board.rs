//! Tells who waits that a queue has news: waiting claims, and watches.

use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::watch;

/// What kind of news a queue has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// A task may be claimed now, or the queue is gone: this wakes claims, and watches too.
    Claimable,
    /// Something else changed: this wakes watches only.
    Changed,
}

/// Who waits for news of which queue. Clones are the same board.
///
/// It holds an entry per queue that somebody waits for, and none for the others.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Entries>>);

type Entries = HashMap<(String, Mark), watch::Sender<()>>;

/// One waiter's view of a queue. Dropping it ends the wait.
#[derive(Debug)]
pub struct News {
    board: Board,
    key: (String, Mark),
    marked: Option<watch::Receiver<()>>,
}

impl Board {
    /// Wakes those who wait for this queue.
    pub fn mark(&self, agent_id: &str, mark: Mark) {
        let entries = self.0.lock();
        if entries.is_empty() {
            return;
        }
        let wake = |mark| {
            if let Some(entry) = entries.get(&(agent_id.to_owned(), mark)) {
                entry.send_replace(());
            }
        };
        wake(Mark::Changed);
        if mark == Mark::Claimable {
            wake(Mark::Claimable);
        }
    }

    /// Wakes everybody: for a store that cannot say what it missed.
    pub fn mark_all(&self) {
        self.0.lock().values().for_each(|entry| entry.send_replace(()));
    }

    /// Waits for news of this kind, from now on.
    pub fn subscribe(&self, agent_id: &str, mark: Mark) -> News {
        let key = (agent_id.to_owned(), mark);
        let marked = self.0.lock().entry(key.clone()).or_insert_with(|| watch::Sender::new(())).subscribe();
        News { board: self.clone(), key, marked: Some(marked) }
    }
}

impl News {
    /// Returns at the first mark since the last return, or since the subscription. Cancel safe.
    pub async fn come(&mut self) {
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
        let mut entries = self.board.0.lock();
        self.marked = None;
        if entries.get(&self.key).is_some_and(|entry| entry.receiver_count() == 0) {
            entries.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_mark_between_two_waits_is_not_missed() {
        let board = Board::default();
        let mut news = board.subscribe("a", Mark::Claimable);
        board.mark("a", Mark::Claimable);
        board.mark("a", Mark::Claimable);
        news.come().await;
        assert!(news.come().now_or_never().is_none(), "both marks are told as one");
    }

    #[tokio::test]
    async fn claims_are_woken_by_claimable_tasks_only_and_watches_by_everything() {
        let board = Board::default();
        let (mut claim, mut watch) = (board.subscribe("a", Mark::Claimable), board.subscribe("a", Mark::Changed));
        board.mark("b", Mark::Claimable);
        assert!(watch.come().now_or_never().is_none());
        board.mark("a", Mark::Changed);
        assert!(claim.come().now_or_never().is_none() && watch.come().now_or_never().is_some());
        board.mark("a", Mark::Claimable);
        assert!(claim.come().now_or_never().is_some() && watch.come().now_or_never().is_some());
    }

    #[test]
    fn a_queue_that_nobody_waits_for_has_no_entry() {
        let board = Board::default();
        let (first, second) = (board.subscribe("a", Mark::Changed), board.subscribe("a", Mark::Changed));
        drop(first);
        assert_eq!(board.0.lock().len(), 1);
        drop(second);
        assert!(board.0.lock().is_empty());
    }
}
