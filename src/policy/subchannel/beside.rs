//! The part of the machine that has links: they are lost, replaced and added to, with one dial
//! beside them at a time.

use super::{Input, LinkRecord, Moment, Output, Stage, Subchannel, Wait, waiting};
use crate::model::{
    ConnectivityState::{Connecting, TransientFailure},
    Incarnation,
};

/// The links that take calls, and what goes on beside them.
#[derive(Clone, Debug)]
pub(super) struct InUse {
    /// At least one, the oldest first.
    pub(super) links: Vec<LinkInUse>,
    pub(super) beside: Beside,
}

/// A link that takes calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkInUse {
    pub(super) record: LinkRecord,
    /// Whether it has answered a call or lived long enough; it is on trial until then.
    pub(super) proven: bool,
    /// Whether another shall take its place.
    pub(super) replace: Replace,
}

/// Whether a link is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replace {
    No,
    /// If a dial succeeds; one that fails leaves it as it is.
    Once,
    /// It shall go, however many dials that takes.
    Must,
}

/// What goes on beside the links.
#[derive(Clone, Copy, Debug)]
pub(super) enum Beside {
    Nothing,
    /// A dial: of the link to take the place of `replaces`, or of a further one.
    /// `again`: it may have read what has changed since, so one more follows it.
    Dialling {
        dial: LinkRecord,
        replaces: Option<(Incarnation, Replace)>,
        again: bool,
    },
    /// The wait before the next dial of a further link.
    Waiting(Wait),
}

impl InUse {
    /// The first link there is.
    pub(super) fn first(record: LinkRecord) -> Self {
        let link = LinkInUse { record, proven: false, replace: Replace::No };
        Self { links: vec![link], beside: Beside::Nothing }
    }

    /// Every link and dial.
    pub(super) fn open(&self) -> impl Iterator<Item = Incarnation> {
        let dial = match self.beside {
            Beside::Dialling { dial, .. } => Some(dial.incarnation),
            Beside::Nothing | Beside::Waiting(_) => None,
        };
        self.links.iter().map(|link| link.record.incarnation).chain(dial)
    }

    /// Whether a dial beside the links is to start.
    pub(super) fn wants_dial(&self, wanted: usize) -> bool {
        let replaced = self.links.iter().any(|link| link.replace != Replace::No);
        matches!(self.beside, Beside::Nothing) && (replaced || self.links.len() < wanted)
    }

    /// Whether a link shall go however many dials that takes.
    #[cfg(test)]
    pub(super) fn must_replace(&self) -> bool {
        self.links.iter().any(|link| link.replace == Replace::Must)
    }

    fn link(&mut self, link: Incarnation) -> Option<&mut LinkInUse> {
        self.links.iter_mut().find(|one| one.record.incarnation == link)
    }

    fn remove(&mut self, link: Incarnation) -> Option<LinkInUse> {
        let at = self.links.iter().position(|one| one.record.incarnation == link)?;
        Some(self.links.remove(at))
    }
}

impl Subchannel {
    /// A step while there are links.
    pub(super) fn step_ready(
        &mut self,
        mut in_use: InUse,
        input: Input,
        moment: Moment,
    ) -> (Stage, Vec<Output>) {
        let mut outputs = Vec::new();
        match (input, in_use.beside) {
            (Input::Proven(link), _) => {
                in_use.link(link).into_iter().for_each(|link| link.proven = true);
                self.failures = 0;
                // Of the only link it says nothing about further ones.
                if in_use.links.len() > 1 {
                    self.further_failures = 0;
                }
            }
            (Input::ResetBackoff, beside) => {
                self.further_failures = 0;
                in_use.links.iter_mut().for_each(|link| {
                    if link.replace == Replace::No {
                        link.replace = Replace::Once;
                    }
                });
                in_use.beside = match beside {
                    Beside::Dialling { dial, replaces, .. } => {
                        Beside::Dialling { dial, replaces, again: true }
                    }
                    Beside::Nothing | Beside::Waiting(_) => Beside::Nothing,
                };
            }
            (Input::WornOut(link), beside) => {
                let replaced = matches!(
                    beside,
                    Beside::Dialling { replaces: Some((former, _)), .. } if former == link
                );
                if !replaced {
                    in_use.link(link).into_iter().for_each(|link| link.replace = Replace::Must);
                }
                if matches!(beside, Beside::Waiting(_)) {
                    // The worn link cannot wait for as long as a further one has to.
                    in_use.beside = Beside::Nothing;
                }
            }
            (Input::Established(_), Beside::Dialling { dial, replaces, again }) => {
                let replace = if again { Replace::Once } else { Replace::No };
                let link = LinkInUse { record: dial, proven: false, replace };
                in_use.links.push(link);
                in_use.beside = Beside::Nothing;
                outputs.push(Output::Use(dial.incarnation));
                if let Some(former) = replaces.and_then(|(former, _)| in_use.remove(former)) {
                    outputs.push(Output::Drain(former.record.incarnation));
                }
            }
            (Input::DialFailed(_) | Input::DialRefused(_), Beside::Dialling { .. }) => {
                self.dial_failed(&mut in_use, &mut outputs, moment);
            }
            (Input::Lost { link, .. }, Beside::Dialling { dial, .. })
                if link == dial.incarnation =>
            {
                self.dial_failed(&mut in_use, &mut outputs, moment);
            }
            (Input::Lost { link, .. } | Input::GoAway(link), _) => {
                return self.link_ended(in_use, link, input, moment);
            }
            (Input::Moved, Beside::Dialling { dial, replaces, .. }) => {
                in_use.beside = Beside::Dialling { dial, replaces, again: true };
            }
            (Input::RedialDue, Beside::Waiting(wait)) if wait.at > moment.now => {
                outputs.push(Output::WaitUntil(wait.at));
            }
            (Input::RedialDue, Beside::Waiting(_)) => in_use.beside = Beside::Nothing,
            _ => {}
        }
        self.go_on(in_use, outputs, moment)
    }

    /// The dial beside the links failed.
    fn dial_failed(&mut self, in_use: &mut InUse, outputs: &mut Vec<Output>, moment: Moment) {
        let Beside::Dialling { dial, replaces, again } = in_use.beside else { return };
        in_use.beside = Beside::Nothing;
        if let Some((former, replace)) = replaces {
            // What is there stays for now.
            let replace = match (replace, again) {
                (Replace::Once, false) => Replace::No,
                (replace, _) => replace,
            };
            in_use.link(former).into_iter().for_each(|link| link.replace = replace);
            if replace == Replace::Must && !again {
                self.wait_beside(in_use, dial, outputs, moment);
            }
        } else if !again {
            self.wait_beside(in_use, dial, outputs, moment);
        }
    }

    /// A further link was not to be had, or went while it was on trial.
    fn wait_beside(
        &mut self,
        in_use: &mut InUse,
        dial: LinkRecord,
        outputs: &mut Vec<Output>,
        moment: Moment,
    ) {
        let n = self.further_failures;
        self.further_failures = n.saturating_add(1);
        let wait = self.backoff(n, dial, false, moment);
        in_use.beside = Beside::Waiting(wait);
        outputs.push(Output::WaitUntil(wait.at));
    }

    /// A link in use takes no more calls, or is gone.
    fn link_ended(
        &mut self,
        mut in_use: InUse,
        link: Incarnation,
        input: Input,
        moment: Moment,
    ) -> (Stage, Vec<Output>) {
        let (shows, mut outputs) = match input {
            Input::GoAway(_) => (Connecting, vec![Output::Drain(link)]),
            Input::Lost { goaway: true, .. } => (Connecting, Vec::new()),
            _ => (TransientFailure, Vec::new()),
        };
        let Some(ended) = in_use.remove(link) else { return (Stage::Ready(in_use), outputs) };
        if let Beside::Dialling { replaces, .. } = &mut in_use.beside
            && replaces.is_some_and(|(former, _)| former == link)
        {
            // Nothing is left to be replaced: it is a link like any other.
            *replaces = None;
        }
        if in_use.links.is_empty() {
            let (stage, more) = match in_use.beside {
                // That dial is the dial now.
                Beside::Dialling { dial, again, .. } => {
                    (Stage::Dialling { dial, again }, Vec::new())
                }
                _ if ended.proven => waiting(shows, self.spread(moment)),
                _ => self.back_off(shows, ended.record, false, moment),
            };
            outputs.extend(more);
            return (stage, outputs);
        }
        if matches!(in_use.beside, Beside::Nothing) && in_use.links.len() < self.wanted {
            if ended.proven {
                let wait = self.spread(moment);
                in_use.beside = Beside::Waiting(wait);
                outputs.push(Output::WaitUntil(wait.at));
            } else {
                self.wait_beside(&mut in_use, ended.record, &mut outputs, moment);
            }
        }
        self.go_on(in_use, outputs, moment)
    }

    /// Starts the next dial beside the links, if there is to be one: links that shall go come
    /// before further ones.
    pub(super) fn go_on(
        &mut self,
        mut in_use: InUse,
        mut outputs: Vec<Output>,
        moment: Moment,
    ) -> (Stage, Vec<Output>) {
        let Some(next) = moment.next.filter(|_| in_use.wants_dial(self.wanted)) else {
            return (Stage::Ready(in_use), outputs);
        };
        let former = in_use.links.iter_mut().find(|link| link.replace != Replace::No);
        let replaces = former.map(|link| {
            (link.record.incarnation, std::mem::replace(&mut link.replace, Replace::No))
        });
        let dial = LinkRecord { incarnation: next, dial_started: moment.now };
        in_use.beside = Beside::Dialling { dial, replaces, again: false };
        outputs.push(Output::Dial(next));
        (Stage::Ready(in_use), outputs)
    }
}

#[cfg(test)]
#[path = "beside_tests.rs"]
mod tests;
