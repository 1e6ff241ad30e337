//! Where a request actor finds new calls: one message tells it of all that came since the last.

use crate::call::Call;
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};

/// New calls of one shard, in order. What is lost here with an actor is in the ledger still.
#[derive(Default)]
pub(crate) struct Inbox {
    calls: Mutex<VecDeque<Arc<Call>>>,
}

impl Inbox {
    /// Puts a call in; true if the actor must be told.
    pub(crate) fn push(&self, call: Arc<Call>) -> bool {
        let mut calls = self.calls.lock();
        calls.push_back(call);
        calls.len() == 1
    }

    /// The oldest call.
    pub(crate) fn pop(&self) -> Option<Arc<Call>> {
        let mut calls = self.calls.lock();
        let call = calls.pop_front();
        // After a rush of calls the memory is given back.
        if calls.is_empty() && calls.capacity() > 4_096 {
            calls.shrink_to_fit();
        }
        call
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls.lock().is_empty()
    }

    /// Forgets them all: an actor that begins finds them in the ledger.
    pub(crate) fn clear(&self) {
        self.calls.lock().clear();
    }
}
