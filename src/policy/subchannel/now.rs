//! What others may ask of a subchannel: its state, its links and dials, and whether news about one
//! of them come late.

use super::{
    Input, Stage, Subchannel,
    beside::{Beside, InUse, Replace},
};
use crate::model::{
    ConnectivityState::{self, Connecting, Ready},
    Incarnation,
};
use std::time::Instant;

impl Subchannel {
    /// The state to show.
    pub fn state(&self) -> ConnectivityState {
        match self.stage {
            Stage::Idle => ConnectivityState::Idle,
            Stage::Waiting { shows, .. } => shows,
            Stage::Dialling { .. } => Connecting,
            Stage::Ready(_) => Ready,
            Stage::Shutdown { .. } => ConnectivityState::Shutdown,
        }
    }

    /// The links to use, the oldest first.
    pub fn links(&self) -> impl Iterator<Item = Incarnation> {
        let links = match &self.stage {
            Stage::Ready(in_use) => &in_use.links[..],
            _ => &[],
        };
        links.iter().map(|link| link.record.incarnation)
    }

    /// The dial under way: the only one while there is no link, or one beside the links.
    pub fn dialling(&self) -> Option<Incarnation> {
        match &self.stage {
            Stage::Dialling { dial, .. } => Some(dial.incarnation),
            Stage::Ready(InUse { beside: Beside::Dialling { dial, .. }, .. }) => {
                Some(dial.incarnation)
            }
            _ => None,
        }
    }

    /// How many links are to be replaced, the one that is being replaced included.
    pub fn replacements(&self) -> usize {
        let Stage::Ready(in_use) = &self.stage else { return 0 };
        let dialled = matches!(in_use.beside, Beside::Dialling { replaces: Some(_), .. });
        let due = in_use.links.iter().filter(|link| link.replace != Replace::No);
        due.count() + usize::from(dialled)
    }

    /// The link or dial that the state is about, the newest link of several; after a shutdown, one
    /// that there was then.
    pub fn subject(&self) -> Option<Incarnation> {
        match self.stage {
            Stage::Shutdown { link } => link,
            _ => self.links().last().or(self.dialling()),
        }
    }

    /// Whether a link or dial is the machine's.
    pub fn owns(&self, link: Incarnation) -> bool {
        self.links().any(|one| one == link) || self.dialling() == Some(link)
    }

    /// How many dials failed, or links were lost unproven, since a link was last proven.
    pub fn failures(&self) -> u32 {
        match self.stage {
            Stage::Ready(_) => self.further_failures,
            _ => self.failures,
        }
    }

    /// Whether this link in use has answered a call or lived long enough.
    pub fn is_proven(&self, link: Incarnation) -> bool {
        match &self.stage {
            Stage::Ready(in_use) => {
                in_use.links.iter().any(|one| one.record.incarnation == link && one.proven)
            }
            _ => false,
        }
    }

    /// When the next dial is due, while one is waited for.
    pub fn next_dial(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Waiting { wait, .. } => Some(wait.at),
            Stage::Ready(InUse { beside: Beside::Waiting(wait), .. }) => Some(wait.at),
            _ => None,
        }
    }

    /// Whether a dial shall start by `now`, and since when; no time: nothing was tried yet.
    pub fn wants_dial(&self, now: Instant) -> Option<Option<Instant>> {
        match &self.stage {
            Stage::Idle => Some(None),
            Stage::Ready(in_use) if in_use.wants_dial(self.wanted) => Some(Some(now)),
            _ => self.next_dial().filter(|at| *at <= now).map(Some),
        }
    }

    /// Whether it is about a link or dial that is not the machine's, or no longer is.
    pub fn is_late(&self, input: Input) -> bool {
        let in_use = |one| self.links().any(|link| link == one);
        match input {
            Input::Established(one) | Input::DialFailed(one) | Input::DialRefused(one) => {
                self.dialling() != Some(one)
            }
            Input::Proven(one) | Input::GoAway(one) | Input::WornOut(one) => !in_use(one),
            Input::Lost { link, .. } => !self.owns(link),
            Input::Connect | Input::RedialDue | Input::ResetBackoff | Input::Moved => false,
            Input::CallsWaiting(_) | Input::Shutdown => false,
        }
    }
}
