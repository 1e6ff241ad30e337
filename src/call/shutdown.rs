//! The end of a supervisor, as its handles and calls see it: a drain that was asked for, and the
//! moment when everything is over.

use crate::{
    model::{Failure, Phase, RUNTIME_ENDED},
    policy::earliest,
};
use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Instant,
};
use tokio::sync::SetOnce;

/// What was asked of a supervisor about its end, and whether it has come.
#[derive(Default)]
pub(crate) struct Shutdown {
    drain: Mutex<Option<Drain>>,
    /// Set before the ledger is closed: a call that finds the ledger closed reads it then.
    runtime_gone: AtomicBool,
    closed: SetOnce<()>,
}

/// A drain that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    /// Until when what runs may go on; none: until it ends.
    pub(crate) until: Option<Instant>,
}

impl Shutdown {
    /// Asks for a drain that lasts until then at most; of several, the earliest time holds. True
    /// for the first.
    pub(crate) fn begin(&self, until: Option<Instant>) -> bool {
        let mut drain = self.drain.lock();
        let first = drain.is_none();
        let until = drain.map_or(until, |before| earliest(before.until, until));
        *drain = Some(Drain { until });
        first
    }

    /// The drain that was asked for.
    pub(crate) fn drain(&self) -> Option<Drain> {
        *self.drain.lock()
    }

    /// What a new call ends with, if none is accepted any more.
    pub(crate) fn refusal(&self) -> Option<Failure> {
        if self.drain().is_some() {
            return Some(Failure::shutdown(Phase::Unsent));
        }
        self.is_closed().then(|| self.too_late(Phase::Unsent))
    }

    /// What a call ends with that comes when all is over.
    pub(crate) fn too_late(&self, phase: Phase) -> Failure {
        match self.runtime_gone.load(Relaxed) {
            true => Failure::supervision(RUNTIME_ENDED.into(), phase),
            false => Failure::shutdown(phase),
        }
    }

    /// Says whether it is the runtime's end that ends everything.
    pub(crate) fn set_runtime_gone(&self, gone: bool) {
        self.runtime_gone.store(gone, Relaxed);
    }

    /// Everything is over: each call is answered, each link is gone.
    pub(crate) fn set_closed(&self) {
        let _ = self.closed.set(());
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get().is_some()
    }

    /// Waits until everything is over. Cancel safe.
    pub(crate) async fn closed(&self) {
        self.closed.wait().await;
    }
}
