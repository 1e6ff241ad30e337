//! Around every message that an actor handles: the switch by which tests make it panic, and a
//! clock. No handler waits for anything, so one that takes long is worth a warning.

use super::{core::Core, message::Named};
use crate::{call::Child, clock};
use std::time::Instant;

/// One message being handled.
pub(super) struct Handling {
    child: Child,
    message: &'static str,
    begun: Instant,
}

impl Handling {
    /// An actor of this kind begins to handle this message.
    pub(super) fn begin(core: &Core, child: Child, message: &impl Named) -> Self {
        let message = message.name();
        core.calls.panics.inject(child, message);
        Self { child, message, begun: clock::now() }
    }

    /// It is done.
    pub(super) fn end(self, core: &Core) {
        core.telemetry.handled(self.child.name(), self.message, self.begun);
    }
}
