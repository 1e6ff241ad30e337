//! The end of a supervisor: nothing new is accepted, links close as their calls end, and what lasts
//! longer than the grace is answered and cut.

use super::{
    super::{
        message::{ConnectionMsg, RequestMsg, SupervisorMsg},
        timer::Timer,
    },
    Session,
};
use crate::{clock, model::Failure, policy::Input};
use std::time::Duration;

/// After the grace, links have this long to write what is left before they are cut.
const CUT_AFTER: Duration = Duration::from_millis(100);

impl Session {
    pub(super) fn drain(&mut self) {
        let until = self.core.calls.shutdown.drain().and_then(|closing| closing.until);
        if !std::mem::replace(&mut self.draining, true) {
            self.redial = None;
            self.core.requests.tell_all(|| RequestMsg::Drain);
            self.step(Input::Shutdown, "the supervisor is shutting down");
        }
        if self.connections.is_empty() {
            return self.me.stop(None);
        }
        if let Some(until) = until {
            let grace = until.saturating_duration_since(clock::now());
            self.grace = Some(Timer::new(&self.core, &self.me, grace, SupervisorMsg::GraceDue));
        }
    }

    /// What still runs is answered, links are closed, and are cut if they cannot be.
    pub(super) fn grace_over(&mut self) {
        self.core.calls.end_all(self.core.calls.ledger.open(|_| true), Failure::shutdown);
        for connection in self.connections.iter_mut() {
            connection.cut =
                Some(Timer::new(&self.core, &connection.actor, CUT_AFTER, ConnectionMsg::HangUp));
        }
    }
}
