//! The gauges of tasks and their ages: read from the store now and then, not at every change.
//!
//! Counting is cheap for a few queues and not for millions of tasks; so the pause after a look is
//! at least twenty times as long as the look took.

use super::{Millis, Store};
use crate::{
    agent_queue::labels::label,
    proto::agent_queue::{QueueSummary, TaskCounts},
};
use metrics::SharedString;
use std::{collections::HashMap, time::Duration};
use tonic::Status;

/// How long a server waits between two looks, at least.
const EVERY: Duration = Duration::from_secs(15);
/// How many times as long as a look the pause after it is, at least.
const SHARE: u32 = 20;
/// How many queues are counted in one go.
const PAGE: usize = 100;

/// What the gauges show.
#[derive(Debug, Default)]
pub(super) struct Samples(HashMap<SharedString, LabelTotals>);

/// How the queues of one label stand together.
#[derive(Clone, Copy, Debug, Default)]
struct LabelTotals {
    tasks: TaskCounts,
    oldest_pending: f64,
    oldest_processing: f64,
}

/// How long to wait after a look that took so long.
pub(super) fn pause(took: Duration) -> Duration {
    EVERY.max(took.saturating_mul(SHARE))
}

impl Samples {
    /// Looks at every queue and sets the gauges. Where the store cannot answer they stay as they
    /// are.
    ///
    /// Each queue has the time of its own look: by an old one, a lease that was renewed since would
    /// be taken for one that a wrong clock made too long, and shortened.
    pub(super) async fn look<S: Store>(
        &mut self,
        store: &S,
        clock: impl Fn() -> Millis,
    ) -> Result<(), Status> {
        let (mut found, mut after) = (HashMap::<SharedString, LabelTotals>::new(), String::new());
        loop {
            let names = store.queue_names(&after, PAGE).await?;
            let Some(last) = names.last().cloned() else { break };
            after = last;
            for name in names {
                if let Some(queue) = store.summary(&name, clock()).await? {
                    found.entry(label(&queue.agent_id)).or_default().add(&queue);
                }
            }
        }
        // A queue that is gone has no tasks.
        for gone in self.0.keys().filter(|label| !found.contains_key(*label)) {
            store.notifier().meters().labelled(gone.clone()).set_totals(
                &TaskCounts::default(),
                0.0,
                0.0,
            );
        }
        for (label, totals) in &found {
            let LabelTotals { tasks, oldest_pending, oldest_processing } = totals;
            store.notifier().meters().labelled(label.clone()).set_totals(
                tasks,
                *oldest_pending,
                *oldest_processing,
            );
        }
        self.0 = found;
        Ok(())
    }
}

impl LabelTotals {
    fn add(&mut self, queue: &QueueSummary) {
        let more = queue.tasks.unwrap_or_default();
        let tasks = &mut self.tasks;
        tasks.pending += more.pending;
        tasks.processing += more.processing;
        tasks.completed += more.completed;
        tasks.failed += more.failed;
        tasks.cancelled += more.cancelled;
        self.oldest_pending = self.oldest_pending.max(queue.oldest_pending.unwrap_or(0.0));
        self.oldest_processing = self.oldest_processing.max(queue.oldest_processing.unwrap_or(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent_queue::server::{MemoryStore, Settings},
        proto::agent_queue::CreateQueueRequest,
    };
    use std::cell::Cell;

    #[tokio::test]
    async fn each_queue_is_looked_at_with_the_time_of_its_own_look() {
        let store = MemoryStore::new(Settings::default());
        for agent_id in ["a", "b", "c"].map(String::from) {
            store.create_queue(CreateQueueRequest { agent_id }, 1).await.expect("made");
        }
        let asked = Cell::new(0);
        let clock = || {
            asked.set(asked.get() + 1);
            asked.get()
        };
        Samples::default().look(&store, clock).await.expect("looked");
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn the_store_is_looked_at_for_a_twentieth_of_the_time_at_most() {
        assert_eq!(pause(Duration::from_millis(3)), EVERY);
        assert_eq!(pause(Duration::from_secs(2)), Duration::from_secs(40));
    }
}
