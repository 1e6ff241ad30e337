//! What the endpoints' states add up to: the channel's state, what a fail-fast call is told while
//! no endpoint is up, why none is, and whether anything will ever move.
//!
//! | its subchannels | the channel (gRPC, "Aggregated Connectivity States") |
//! |---|---|
//! | one | that one's state, redials included |
//! | several, any with a link that may be picked | Ready |
//! | several, none such, any that has not failed since it was Ready | Connecting |
//! | several, all failing | TransientFailure, until one is Ready: redials do not show |
//! | none: the list is empty, or its first lookup failed | TransientFailure |
//! | none: the list is being looked up for the first time | Connecting |

use super::{Channel, Lookup, Record, Stage, Step};
use crate::model::{
    ConnectivityState::{self, Connecting, Idle, Ready, Shutdown, TransientFailure},
    EndpointId, Incarnation,
};
use std::sync::Arc;

/// Why there is no link where the list is empty.
pub const NO_ENDPOINTS: &str = "there is no endpoint: the list is empty";

impl Channel {
    /// The channel's connectivity state.
    pub fn state(&self) -> ConnectivityState {
        match (self.stage, &self.subchannels[..]) {
            (Stage::Shutdown { .. }, _) => Shutdown,
            (Stage::Idle, _) => Idle,
            (Stage::Connects, []) if self.lookup == Lookup::UnderWay => Connecting,
            (Stage::Connects, []) => TransientFailure,
            (Stage::Connects, [(_, record)]) => match record.state() {
                // Its dial's turn comes.
                Idle => Connecting,
                state => state,
            },
            (Stage::Connects, several) => {
                if several.iter().any(|(_, record)| record.may_be_picked()) {
                    Ready
                } else if several.iter().any(|(_, record)| !record.failing) {
                    Connecting
                } else {
                    TransientFailure
                }
            }
        }
    }

    /// The list was not to be had, and none was there before.
    pub fn on_lookup_failed(&mut self, cause: &Arc<str>) -> Step {
        let before = self.before();
        if self.lookup != Lookup::Done {
            self.lookup = Lookup::Failed(cause.clone());
        }
        self.finish(before, None, Step::default())
    }

    /// How many endpoints there are, and how many of them have failed since they were last Ready.
    fn failing(&self) -> (usize, usize) {
        let failing = self.subchannels.iter().filter(|(_, record)| record.failing);
        (self.subchannels.len(), failing.count())
    }

    /// The last connect error, if no link has been Ready since: what a fail-fast call fails with,
    /// redialling or not.
    pub fn last_error(&self) -> Option<Arc<str>> {
        match (self.failing(), &self.subchannels[..]) {
            ((1, _), [(_, record)]) => record.last_error.clone(),
            ((all, failing), _) if all == failing && self.stage == Stage::Connects => {
                self.failures_in_words(all, failing)
            }
            _ => None,
        }
    }

    /// Why there is no link: the last connect error or, while none followed, what ended the last
    /// link. None: no dial has ended yet.
    pub fn why_no_link(&self) -> Option<Arc<str>> {
        let lost = || self.subchannels.iter().find_map(|(_, record)| record.lost.clone());
        match (self.failing(), &self.subchannels[..]) {
            ((1, _), [(_, record)]) => record.last_error.clone().or_else(lost),
            ((_, 0), [_, ..]) => lost(),
            ((all, failing), _) => self.failures_in_words(all, failing),
        }
    }

    fn failures_in_words(&self, all: usize, failing: usize) -> Option<Arc<str>> {
        if all == 0 {
            return match &self.lookup {
                Lookup::Done => Some(NO_ENDPOINTS.into()),
                Lookup::UnderWay => None,
                Lookup::Failed(cause) => Some(cause.clone()),
            };
        }
        let last = self.last_failure.as_ref()?;
        Some(format!("{failing} of {all} endpoints have failed, the last one so: {last}").into())
    }

    /// The endpoints that nothing will ever move again, with their states: one shall connect, but
    /// no dial of it runs and no redial is due; or it is Ready, but none of its links takes calls.
    /// True for longer than news take, it is a bug. `is_running` knows whose dial runs, `is_open`
    /// which link takes calls.
    pub fn stuck(
        &self,
        is_running: impl Fn(Incarnation) -> bool,
        redial_due: bool,
        is_open: impl Fn(Incarnation) -> bool,
    ) -> impl Iterator<Item = (EndpointId, ConnectivityState)> {
        let full = self.is_full();
        let stuck = move |record: &Record| {
            let machine = &record.subchannel;
            let dials = machine.dialling().is_some_and(&is_running);
            let waits = machine.next_dial().is_some() && (redial_due || full);
            match machine.state() {
                Connecting | TransientFailure => !dials && !waits,
                Ready => !machine.links().any(&is_open),
                Idle => self.stage == Stage::Connects && !full,
                Shutdown => false,
            }
        };
        let all = self.subchannels.iter().filter(move |(_, record)| stuck(record));
        all.map(|(id, record)| (*id, record.subchannel.state()))
    }
}
