//! A channel's endpoints, a subchannel for each: an input goes to the one that it is about, and
//! each dial has a number of its own. How their states add up stands in `aggregate`, what is known
//! of them besides their links in `overlay`, what others may ask in `now`.

mod aggregate;
mod dials;
mod idle;
mod now;
mod overlay;

pub use aggregate::NO_ENDPOINTS;
pub use overlay::{News, Standing};

use super::{
    schedules::Schedules,
    subchannel::{Input, Output, Subchannel},
};
use crate::model::{ConnectivityState, EndpointId, Incarnation};
use ConnectivityState::{Connecting, Ready, Shutdown, TransientFailure};
use overlay::Overlay;
use std::{sync::Arc, time::Instant};

/// The machine of the supervisor actor.
#[derive(Clone, Debug)]
pub struct Channel {
    schedules: Arc<Schedules>,
    /// How many links each endpoint shall have.
    connections: usize,
    stage: Stage,
    /// In the order of their endpoints' numbers.
    subchannels: Vec<(EndpointId, Record)>,
    /// The last link or dial there was.
    last: Incarnation,
    /// How many dials are under way.
    dials: usize,
    calls_waiting: bool,
    /// The last failure of any subchannel.
    last_failure: Option<Arc<str>>,
    lookup: Lookup,
}

/// Whether the list of endpoints is known: it may have to be looked up first.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lookup {
    Done,
    UnderWay,
    /// The first one failed, for this reason.
    Failed(Arc<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Connects,
    /// `link`: a link or dial that there was then.
    Shutdown {
        link: Option<Incarnation>,
    },
}

/// A subchannel, and why it has no link.
#[derive(Clone, Debug)]
struct Record {
    subchannel: Subchannel,
    /// Whether it has failed since it was last Ready.
    failing: bool,
    /// The last connect error, since it was last Ready.
    last_error: Option<Arc<str>>,
    /// What ended its last link, other than a failure.
    lost: Option<Arc<str>>,
    overlay: Overlay,
}

impl Record {
    fn new(subchannel: Subchannel) -> Self {
        let overlay = Overlay::default();
        Self { subchannel, failing: false, last_error: None, lost: None, overlay }
    }
}

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// What to do, in this order.
    pub outputs: Vec<(EndpointId, Output)>,
    /// The state before and after, if it changed.
    pub changed: Option<(ConnectivityState, ConnectivityState)>,
    /// The same of each endpoint, where there are several.
    pub endpoints: Vec<(EndpointId, ConnectivityState, ConnectivityState)>,
    /// Why the state changed, where that is not the cause of the step.
    pub cause: Option<Arc<str>>,
    /// The link or dial that it is about: that of the input, else the one there is now, else the
    /// one there was.
    pub about: Incarnation,
}

impl Channel {
    /// Idle, without endpoints. Each endpoint shall have `connections` links.
    pub fn new(
        schedules: impl Into<Arc<Schedules>>,
        connections: usize,
        last: Incarnation,
    ) -> Self {
        Self {
            schedules: schedules.into(),
            connections,
            stage: Stage::Idle,
            // As a rule there is one; a vector that grows makes room for four.
            subchannels: Vec::with_capacity(1),
            last,
            dials: 0,
            calls_waiting: false,
            last_failure: None,
            lookup: Lookup::Done,
        }
    }

    /// The same, whose list is not known yet; why not, if a lookup has failed.
    #[must_use]
    pub fn unresolved(self, why: Option<Arc<str>>) -> Self {
        Self { lookup: why.map_or(Lookup::UnderWay, Lookup::Failed), ..self }
    }

    /// As after a failure, with a redial of each endpoint due at once: what a restarted supervisor
    /// begins with. `last` was the last link or dial before.
    pub fn after_a_crash(
        schedules: impl Into<Arc<Schedules>>,
        connections: usize,
        endpoints: impl IntoIterator<Item = EndpointId>,
        now: Instant,
        last: Incarnation,
    ) -> Self {
        let mut channel = Self::new(schedules, connections, last);
        channel.stage = Stage::Connects;
        for id in endpoints {
            let subchannel = Subchannel::after_a_crash(channel.schedules.clone(), connections, now);
            channel.insert(id, Record { failing: true, ..Record::new(subchannel) });
        }
        channel
    }

    /// As after a shutdown: what a supervisor begins with that was restarted in the midst of it.
    pub fn after_shutdown(schedules: impl Into<Arc<Schedules>>, last: Incarnation) -> Self {
        let stage = Stage::Shutdown { link: None };
        Self { stage, ..Self::new(schedules, 1, last) }
    }

    /// Takes one step; none if the input comes late, and is about a link that is no longer this
    /// channel's. `cause` explains a failure, `random` gives numbers in `0.0..1.0`.
    pub fn on(
        &mut self,
        input: Input,
        cause: &Arc<str>,
        now: Instant,
        mut random: impl FnMut() -> f64,
    ) -> Option<Step> {
        let at: Vec<usize> = match (about(input), input) {
            (Some(link), _) => vec![self.owner(link)?],
            // `dial_next` knows whose turn it is.
            (None, Input::Connect | Input::RedialDue) => Vec::new(),
            (None, _) => (0..self.subchannels.len()).collect(),
        };
        let (before, was_full) = (self.before(), self.is_full());
        match input {
            Input::Connect if self.stage == Stage::Idle => {
                self.stage = Stage::Connects;
                // Whoever ends a rest looks the list up anew.
                if matches!(self.lookup, Lookup::Failed(_)) {
                    self.lookup = Lookup::UnderWay;
                }
            }
            Input::CallsWaiting(waiting) => self.calls_waiting = waiting,
            Input::Shutdown if !matches!(self.stage, Stage::Shutdown { .. }) => {
                self.stage = Stage::Shutdown { link: self.subject() };
            }
            _ => {}
        }
        let mut step = Step::default();
        for place in at {
            self.step(place, input, cause, now, &mut random, &mut step)?;
        }
        let redials = was_full || input == Input::RedialDue;
        self.dial_next(redials, cause, now, &mut random, &mut step);
        Some(self.finish(before, about(input), step))
    }

    /// Takes a change of the list: endpoints that came are dialled, the links of those that went
    /// are drained.
    pub fn on_list(
        &mut self,
        added: impl IntoIterator<Item = EndpointId>,
        removed: impl IntoIterator<Item = EndpointId>,
        cause: &Arc<str>,
        now: Instant,
        mut random: impl FnMut() -> f64,
    ) -> Step {
        let (before, mut step) = (self.before(), Step::default());
        if matches!(self.stage, Stage::Shutdown { .. }) {
            return step;
        }
        self.lookup = Lookup::Done;
        for id in added {
            let subchannel = Subchannel::new(self.schedules.clone(), self.connections);
            self.insert(id, Record::new(subchannel.while_calls_wait(self.calls_waiting)));
        }
        let was_full = self.is_full();
        self.dial_next(was_full, cause, now, &mut random, &mut step);
        // Those that came are dialled first: a channel is never without an endpoint in between.
        for id in removed {
            let Ok(place) = self.place(id) else { continue };
            let _ = self.step(place, Input::Shutdown, cause, now, &mut random, &mut step);
            self.subchannels.remove(place);
        }
        self.dial_next(was_full, cause, now, &mut random, &mut step);
        let mut step = self.finish(before, None, step);
        if matches!(step.changed, Some((_, TransientFailure))) {
            // The list is not to blame for what its endpoints are like.
            step.cause = self.why_no_link();
        }
        step
    }

    /// The state and the link that it is about.
    fn before(&self) -> (ConnectivityState, Option<Incarnation>) {
        (self.state(), self.subject())
    }

    fn step(
        &mut self,
        place: usize,
        input: Input,
        cause: &Arc<str>,
        now: Instant,
        random: &mut impl FnMut() -> f64,
        step: &mut Step,
    ) -> Option<()> {
        let next = Incarnation(self.last.0 + 1);
        let full = self.is_full();
        let (id, record) = &mut self.subchannels[place];
        let id = *id;
        let (from, was) = (record.state(), record.subchannel.state());
        let dialled = record.subchannel.dialling().is_some();
        // One dial may follow on another of the same endpoint.
        let may_dial = (!full || dialled).then_some(next);
        let outputs = record.subchannel.on(input, now, random, may_dial)?;
        record.forget_lost_links();
        let (is, dials) = (record.subchannel.state(), record.subchannel.dialling().is_some());
        if outputs.contains(&Output::Dial(next)) {
            self.last = next;
        }
        self.dials -= usize::from(dialled);
        self.dials += usize::from(dials);
        self.shows(place, from, was != is && is == TransientFailure, cause, step);
        step.outputs.extend(outputs.into_iter().map(|output| (id, output)));
        Some(())
    }

    /// An endpoint showed `from`, and takes note of what it shows now. `failed`: its dial or its
    /// link did, whatever it shows.
    fn shows(
        &mut self,
        place: usize,
        from: ConnectivityState,
        failed: bool,
        cause: &Arc<str>,
        step: &mut Step,
    ) {
        let several = self.subchannels.len() > 1;
        let (id, record) = &mut self.subchannels[place];
        let to = record.state();
        // A link that came up is no reason for a failure.
        let cause = record.why_not().unwrap_or(cause).clone();
        match (from, to) {
            (_, TransientFailure) if failed || from != to => {
                record.failing = true;
                record.last_error = Some(cause.clone());
                self.last_failure = Some(cause);
            }
            _ if from == to => {}
            (Ready, Connecting) => record.lost = Some(cause),
            (_, Ready) => (record.failing, record.last_error, record.lost) = (false, None, None),
            _ => {}
        }
        if several && from != to && to != Shutdown {
            step.endpoints.push((*id, from, to));
        }
    }

    fn finish(
        &self,
        (from, before): (ConnectivityState, Option<Incarnation>),
        about: Option<Incarnation>,
        mut step: Step,
    ) -> Step {
        let to = self.state();
        step.changed = (from != to).then_some((from, to));
        // Of one endpoint the state is about the link or dial that there is then.
        let about = about.filter(|_| self.subchannels.len() > 1);
        step.about = about.or(self.subject()).or(before).unwrap_or_default();
        step
    }

    fn insert(&mut self, id: EndpointId, record: Record) {
        if let Err(place) = self.place(id) {
            self.subchannels.insert(place, (id, record));
        }
    }

    fn place(&self, id: EndpointId) -> Result<usize, usize> {
        self.subchannels.binary_search_by_key(&id, |(one, _)| *one)
    }

    fn owner(&self, link: Incarnation) -> Option<usize> {
        self.subchannels.iter().position(|(_, record)| record.subchannel.owns(link))
    }
}

/// The link or dial that an input is about.
fn about(input: Input) -> Option<Incarnation> {
    match input {
        Input::Established(link)
        | Input::DialFailed(link)
        | Input::DialRefused(link)
        | Input::Proven(link)
        | Input::Lost { link, .. }
        | Input::GoAway(link)
        | Input::WornOut(link) => Some(link),
        Input::Connect | Input::RedialDue | Input::ResetBackoff | Input::Moved => None,
        Input::CallsWaiting(_) | Input::Shutdown => None,
    }
}

#[cfg(test)]
#[path = "channel/machine_tests.rs"]
mod tests;
