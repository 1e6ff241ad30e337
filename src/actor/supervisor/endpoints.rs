//! The supervisor's endpoints: lists of them that are given, and where calls go out with the links
//! that there are.

use super::{
    super::{
        core::Core,
        message::{RequestMsg, SupervisorMsg},
    },
    Session,
};
use crate::{
    call::{NoLink, Picker, RoundRobin},
    model::{EndpointId, Fact, Incarnation},
    policy::{Input, ListChange, NO_ENDPOINTS},
    transport::Link,
};
use std::sync::Arc;
use tokio::task::AbortHandle;

/// Tells the supervisor when another list is given. Ends when it is dropped, and with whoever gives
/// lists: the last one holds on.
pub(super) struct GivenWatch(AbortHandle);

impl GivenWatch {
    pub(super) fn new(core: &Arc<Core>) -> Option<Self> {
        let mut given = core.given()?;
        // What is there now is taken in by whoever begins.
        given.mark_unchanged();
        let core = Arc::downgrade(core);
        let watching = async move {
            while given.changed().await.is_ok() {
                let Some(core) = core.upgrade() else { return };
                core.tell_supervisor(SupervisorMsg::EndpointsGiven);
            }
        };
        Some(Self(tokio::spawn(watching).abort_handle()))
    }
}

impl Drop for GivenWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// The first steps: what is listed is dialled.
    pub(super) fn begin_with_list(&mut self) {
        // Another list may have come since the supervisor was spawned, and its endpoints shown.
        let change = self.core.take_given();
        let listed = self.core.listed();
        self.core.telemetry.list(&listed);
        let ids: Vec<_> = listed.iter().map(|(id, _)| *id).collect();
        let added = if ids.len() > 1 { listed } else { change.added };
        self.announce_list(&ListChange { added, removed: change.removed });
        let cause = if ids.is_empty() { NO_ENDPOINTS } else { "the supervisor was spawned" };
        self.take_step(cause, |channel, cause, now, random| {
            Some(channel.on_list(ids, [], cause, now, random))
        });
        self.step(Input::Connect, cause);
    }

    /// A list was given: endpoints that are new are dialled, links of those that it lacks drain.
    pub(super) fn endpoints_given(&mut self) {
        if self.draining {
            return;
        }
        let change = self.core.take_given();
        if change == ListChange::default() {
            return;
        }
        self.announce_list(&change);
        let ids = |of: &[(EndpointId, _)]| of.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        let (mut added, mut removed) = (ids(&change.added), ids(&change.removed));
        self.core.mutations.misapply(&mut added, &mut removed);
        let empty = self.core.listed().is_empty();
        let cause = if empty { NO_ENDPOINTS } else { "another list of endpoints was given" };
        self.take_step(cause, |channel, cause, now, random| {
            Some(channel.on_list(added, removed, cause, now, random))
        });
    }

    fn announce_list(&self, change: &ListChange) {
        for (endpoint, of) in change.added.iter().cloned() {
            let addresses = of.to_string().into();
            self.core.telemetry.announce(Fact::EndpointAdded { endpoint, addresses });
        }
        for (endpoint, of) in change.removed.iter().cloned() {
            let addresses = of.to_string().into();
            self.core.telemetry.announce(Fact::EndpointRemoved { endpoint, addresses });
        }
    }

    /// What the picker is made of: the links, and what fail-fast calls fail with.
    pub(super) fn where_calls_go(&self) -> (Vec<Incarnation>, Option<Arc<str>>) {
        (self.channel.links().map(|(_, link)| link).collect(), self.channel.last_error())
    }

    /// Tells everybody where calls go out.
    pub(super) fn publish_picker(&self) {
        let picker = self.picker();
        self.core.show_picker(picker.clone());
        self.core.requests.tell_all(|| RequestMsg::PickerChanged(picker.clone()));
    }

    pub(super) fn picker(&self) -> Picker {
        let links = self.channel.links().filter_map(|(_, link)| self.link(link)).cloned();
        let mut links: Vec<_> = links.collect();
        match links.len() {
            0 => Picker::None(NoLink {
                failing: self.channel.last_error(),
                why: self.channel.why_no_link(),
            }),
            1 => Picker::One(links.swap_remove(0)),
            many => {
                // Channels that were started together do not all begin with the same endpoint.
                let first = (self.core.random() * many as f64) as usize;
                Picker::Many(Arc::new(RoundRobin::new(links, first)))
            }
        }
    }

    /// The link of a connection actor, once it is up.
    pub(super) fn link(&self, incarnation: Incarnation) -> Option<&Arc<Link>> {
        let place = self.connection_at(incarnation)?;
        self.connections[place].link.as_ref()
    }

    /// Where a connection actor stands: they are in the order of their incarnations.
    pub(super) fn connection_at(&self, incarnation: Incarnation) -> Option<usize> {
        self.connections.binary_search_by_key(&incarnation, |one| one.incarnation).ok()
    }
}
