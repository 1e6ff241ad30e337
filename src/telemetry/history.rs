//! What happened a while ago, for whoever comes to look: a supervisor's last events, and the
//! stories of its last calls that are worth a look.
//!
//! It costs memory, so it is kept only while somebody in the process asks for it
//! ([`KeepHistory`]).

use super::EVENTS_KEPT;
use crate::model::{Event, Fact, Story};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// How many stories are kept.
const STORIES_KEPT: usize = 128;
/// How many events about single calls are kept, beside those about the channel: in an outage they
/// are so many that nothing else would be left.
const CALLS_KEPT: usize = 128;
/// And how many of the others.
const OTHERS_KEPT: usize = EVENTS_KEPT - CALLS_KEPT;

/// How many ask for it.
static KEEPERS: AtomicUsize = AtomicUsize::new(0);

/// While one of these lives, every supervisor of the process keeps its last 512 events, of which at
/// most 128 are about single calls, and the stories of the last 128 calls that are worth a look:
/// those that failed, were sent more than once, waited longer than 100 ms or took longer than 1 s.
/// [`Observer`](crate::Observer) shows them. When the last one is dropped nothing is shown any
/// more; the memory is given back with the supervisor's next event.
///
/// ```
/// use tonic_supervisor::KeepHistory;
/// let keeping = KeepHistory::begin();
/// // ... as long as somebody may look
/// drop(keeping);
/// ```
#[derive(Debug)]
#[must_use = "nothing is kept once this is dropped"]
pub struct KeepHistory(());

impl KeepHistory {
    /// From now on.
    pub fn begin() -> Self {
        KEEPERS.fetch_add(1, Relaxed);
        Self(())
    }
}

impl Drop for KeepHistory {
    fn drop(&mut self) {
        KEEPERS.fetch_sub(1, Relaxed);
    }
}

/// Whether somebody asks for it.
pub(crate) fn is_history_kept() -> bool {
    KEEPERS.load(Relaxed) > 0
}

/// What one supervisor keeps.
#[derive(Default)]
pub(super) struct History {
    of_calls: Mutex<VecDeque<Arc<Event>>>,
    others: Mutex<VecDeque<Arc<Event>>>,
    stories: Mutex<VecDeque<Arc<Story>>>,
}

impl History {
    pub(super) fn note(&self, event: Arc<Event>) {
        match event.fact {
            Fact::RetryScheduled { .. } | Fact::RetryThrottled { .. } | Fact::CallShed { .. } => {
                push(&self.of_calls, event, CALLS_KEPT);
            }
            _ => push(&self.others, event, OTHERS_KEPT),
        }
    }

    pub(super) fn tell(&self, story: Story) {
        push(&self.stories, Arc::new(story), STORIES_KEPT);
    }

    /// The events that are kept, oldest first.
    pub(super) fn events(&self) -> Vec<Arc<Event>> {
        if !is_history_kept() {
            return Vec::new();
        }
        let mut all: Vec<_> = self.others.lock().iter().cloned().collect();
        all.extend(self.of_calls.lock().iter().cloned());
        all.sort_unstable_by_key(|event| event.seq);
        all
    }

    /// The stories that are kept, oldest first.
    pub(super) fn stories(&self) -> Vec<Arc<Story>> {
        if !is_history_kept() {
            return Vec::new();
        }
        self.stories.lock().iter().cloned().collect()
    }

    /// Gives its memory back.
    pub(super) fn forget(&self) {
        *self.of_calls.lock() = VecDeque::new();
        *self.others.lock() = VecDeque::new();
        *self.stories.lock() = VecDeque::new();
    }
}

fn push<T>(ring: &Mutex<VecDeque<T>>, item: T, most: usize) {
    let mut ring = ring.lock();
    if ring.len() == most {
        ring.pop_front();
    }
    ring.push_back(item);
}
