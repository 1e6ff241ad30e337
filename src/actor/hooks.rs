//! What a link tells without a message of its own in hand: turned into messages here.

use super::{
    core::Core,
    message::{RequestMsg, SupervisorMsg},
};
use crate::{model::Incarnation, transport::LinkWatcher};
use std::sync::Weak;

/// Does not keep the core alive: links may outlive it in a caller's hands.
pub(super) struct Hooks(pub(super) Weak<Core>);

impl LinkWatcher for Hooks {
    fn has_room(&self) {
        if let Some(core) = self.0.upgrade() {
            core.requests.tell_all(|| RequestMsg::RoomFreed);
        }
    }

    fn proven(&self, incarnation: Incarnation) {
        if let Some(core) = self.0.upgrade() {
            core.tell_supervisor(SupervisorMsg::LinkProven(incarnation));
        }
    }

    fn shut(&self) {
        if let Some(core) = self.0.upgrade() {
            core.tell_supervisor(SupervisorMsg::LinkShut);
        }
    }

    fn retired(&self, incarnation: Incarnation) {
        if let Some(core) = self.0.upgrade() {
            core.tell_supervisor(SupervisorMsg::LinkRetired(incarnation));
        }
    }

    fn worn_out(&self, incarnation: Incarnation) {
        if let Some(core) = self.0.upgrade() {
            core.tell_supervisor(SupervisorMsg::LinkWornOut(incarnation));
        }
    }
}
