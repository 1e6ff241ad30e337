//! Receives what a link reports, and passes it on to whom it concerns: its connection actor, the
//! supervisor, or the request actors.

use super::{
    core::Core,
    message::{ConnectionMsg, RequestMsg, SupervisorMsg},
};
use crate::{
    model::Incarnation,
    transport::{LinkEvent, LinkListener},
};
use ractor::ActorRef;
use std::sync::{Weak, atomic::Ordering::Relaxed};

/// The receiver of one link's events.
pub(super) struct LinkEvents {
    /// Not kept alive: links may outlive it in a caller's hands.
    pub(super) core: Weak<Core>,
    pub(super) incarnation: Incarnation,
    pub(super) connection: ActorRef<ConnectionMsg>,
}

impl LinkListener for LinkEvents {
    fn on_event(&self, event: LinkEvent) {
        let Some(core) = self.core.upgrade() else { return };
        let incarnation = self.incarnation;
        let links = || core.watch_links().borrow().iter().collect();
        match event {
            LinkEvent::HasRoom if core.mutations.forgets_room(incarnation, links) => {}
            LinkEvent::HasRoom => core.requests.tell_all(|| RequestMsg::RoomFreed),
            LinkEvent::Proven => core.tell_supervisor(SupervisorMsg::LinkProven(incarnation)),
            LinkEvent::Retired => core.tell_supervisor(SupervisorMsg::LinkRetired(incarnation)),
            LinkEvent::WornOut => core.tell_supervisor(SupervisorMsg::LinkWornOut(incarnation)),
            LinkEvent::Shut => {
                core.tell_supervisor(SupervisorMsg::LinkShut);
                let _ = self.connection.cast(ConnectionMsg::Shut);
            }
            LinkEvent::Suspect(suspect) => {
                core.tell_supervisor(SupervisorMsg::LinkSuspect { incarnation, suspect })
            }
            // An actor that has ended needs no news of its link.
            LinkEvent::Ended(end) => drop(self.connection.cast(ConnectionMsg::Ended(end))),
            LinkEvent::GoAway(goaway) => {
                drop(self.connection.cast(ConnectionMsg::GoAwayReceived(goaway)))
            }
            LinkEvent::RoundTrip(took) => {
                core.telemetry.counts.round_trip.store(took.as_nanos() as u64, Relaxed)
            }
            #[cfg(feature = "tls")]
            LinkEvent::TlsMaterialRejected(cause) => {
                let cause = cause.into();
                let fact = crate::model::Fact::TlsMaterialRejected { incarnation, cause };
                core.telemetry.announce(fact);
            }
        }
    }
}
