//! Every call that was accepted and not answered yet. Lives outside the actors, so that their
//! deaths lose nothing.

use super::state::Call;
use crate::model::CallId;
use parking_lot::Mutex;
use slab::Slab;
use std::{collections::BinaryHeap, sync::Arc};

/// The open calls of one supervisor.
#[derive(Default)]
pub(crate) struct Ledger {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    calls: Slab<Arc<Call>>,
    last_id: u64,
    closed: bool,
}

impl Ledger {
    /// Enters the call that `make` builds from its id and its slot; none once the ledger is closed.
    pub(crate) fn enter(&self, make: impl FnOnce(CallId, usize) -> Call) -> Option<Arc<Call>> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return None;
        }
        inner.last_id += 1;
        let id = CallId(inner.last_id);
        let slot = inner.calls.vacant_entry();
        let call = Arc::new(make(id, slot.key()));
        slot.insert(call.clone());
        Some(call)
    }

    /// The number of the last call that was entered.
    pub(crate) fn last_call(&self) -> u64 {
        self.inner.lock().last_id
    }

    /// Removes an answered call.
    pub(crate) fn remove(&self, call: &Call) {
        let mut inner = self.inner.lock();
        if inner.calls.get(call.slot).is_some_and(|kept| kept.id == call.id) {
            inner.calls.remove(call.slot);
        }
        // After a rush of calls the memory is given back.
        if inner.calls.is_empty() && inner.calls.capacity() > 4_096 {
            inner.calls.shrink_to_fit();
        }
    }

    /// The open calls that `pick` chooses, oldest first.
    pub(crate) fn open(&self, pick: impl Fn(&Call) -> bool) -> Vec<Arc<Call>> {
        let mut calls: Vec<_> = self
            .inner
            .lock()
            .calls
            .iter()
            .map(|(_, call)| call)
            .filter(|call| pick(call))
            .cloned()
            .collect();
        calls.sort_unstable_by_key(|call| call.id);
        calls
    }

    /// The oldest open calls, at most so many, oldest first.
    pub(crate) fn oldest(&self, most: usize) -> Vec<Arc<Call>> {
        let inner = self.inner.lock();
        let mut oldest = BinaryHeap::with_capacity(most.saturating_add(1));
        for (slot, call) in &inner.calls {
            oldest.push((call.id, slot));
            if oldest.len() > most {
                oldest.pop();
            }
        }
        let sorted = oldest.into_sorted_vec().into_iter();
        sorted.filter_map(|(_, slot)| inner.calls.get(slot).cloned()).collect()
    }

    /// Takes no more calls; the ones left, oldest first.
    pub(crate) fn close(&self) -> Vec<Arc<Call>> {
        self.inner.lock().closed = true;
        self.open(|_| true)
    }
}
