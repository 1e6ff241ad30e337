//! Links that are not needed, or are old: without a call for long all are closed, and one that has
//! reached its greatest age is replaced.

use super::{
    super::{message::SupervisorMsg, timer::Timer},
    Session,
};
use crate::{
    clock,
    model::{EndpointId, Incarnation},
    policy::{IdleWatch, Idleness, Input, jittered},
};
use std::{sync::atomic::Ordering::SeqCst, time::Duration};

/// The share by which ages differ (gRPC A9): links that came up together are not replaced together.
const AGE_JITTER: f64 = 0.1;

/// The watch over a channel that is not idle, and the timer for its next look.
pub(super) struct IdleLooks {
    watch: IdleWatch,
    _due: Timer,
}

impl Session {
    /// From now on it is looked at whether there are calls, if that is configured.
    pub(super) fn begin_idle_looks(&mut self) {
        let Some(timeout) = self.core.config.idle_timeout else { return };
        let last_call = self.core.calls.ledger.last_call();
        let watch = IdleWatch::new(timeout, last_call, clock::now());
        let _due = Timer::new(&self.core, &self.me, timeout / 4, SupervisorMsg::IdleDue);
        self.idle_looks = Some(Box::new(IdleLooks { watch, _due }));
    }

    pub(super) fn idle_due(&mut self) {
        let Some(mut looks) = self.idle_looks.take().filter(|_| !self.draining) else { return };
        let (now, last_call) = (clock::now(), self.core.calls.ledger.last_call());
        match looks.watch.look(now, self.has_calls(), last_call) {
            Idleness::LookAt(at) => {
                let wait = at.saturating_duration_since(now);
                looks._due = Timer::new(&self.core, &self.me, wait, SupervisorMsg::IdleDue);
                self.idle_looks = Some(looks);
            }
            // A call that comes now either finds its link and finishes there, or waits and says so.
            Idleness::Idle => {
                let cause = "there was no call for idle_timeout";
                self.take_step(cause, |channel, cause, now, _| channel.rest(cause, now));
                self.stop_lookups();
            }
        }
    }

    /// Whether a call waits, sleeps or runs, or somebody waits for the channel to be Ready. A
    /// stream that was handed on is on its link only.
    fn has_calls(&self) -> bool {
        let accepted = self.core.telemetry.counts.open.load(SeqCst) > 0;
        let mut links = self.connections.iter().filter_map(|one| one.link.as_ref());
        accepted || self.core.awaits_ready() || links.any(|link| link.in_flight() > 0)
    }

    /// Connects, if the channel is idle.
    pub(super) fn leave_idle(&mut self, cause: &str) {
        if self.channel.is_idle() && !self.draining {
            self.step(Input::Connect, cause);
            self.look_up_now();
            self.begin_idle_looks();
        }
    }

    /// A link has come up: it has an age at which it is replaced, if that is configured.
    pub(super) fn begin_to_age(&mut self, incarnation: Incarnation) {
        if let Some(age) = self.core.config.max_connection_age {
            self.age_after(incarnation, jittered(age, AGE_JITTER, self.core.random()));
        }
    }

    fn age_after(&mut self, incarnation: Incarnation, time: Duration) {
        let aged = SupervisorMsg::LinkAged(incarnation);
        let timer = Timer::new(&self.core, &self.me, time, aged);
        if let Some(connection) = self.connection(incarnation) {
            connection.age = Some(timer);
        }
    }

    /// Another takes its place once it is up. Where that would end a stream, since as many links
    /// drain, or will, as may, it waits.
    pub(super) fn link_aged(&mut self, incarnation: Incarnation) {
        let Some(link) = self.link(incarnation) else { return };
        let (endpoint, limit) = (link.endpoint(), self.core.config.max_draining_links);
        match self.core.config.max_connection_age {
            Some(age)
                if self.draining_links(endpoint) + self.channel.replacements(endpoint) >= limit =>
            {
                self.age_after(incarnation, age.mul_f64(AGE_JITTER));
            }
            _ => self.step(Input::WornOut(incarnation), "it has reached max_connection_age"),
        }
    }

    /// How many links to an endpoint only finish their calls.
    pub(super) fn draining_links(&self, endpoint: EndpointId) -> usize {
        self.connections.iter().filter(|one| one.only_finishes(endpoint)).count()
    }
}
