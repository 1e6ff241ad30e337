//! How many dials of a channel are under way at once: with a thousand endpoints, 64, so that
//! neither this machine nor the servers have to take all of them at the same moment. The others
//! have their turn when one ends.

use super::{Channel, Record, Stage, Step};
use crate::{
    model::{ConnectivityState, EndpointId},
    policy::subchannel::Input,
};
use std::{sync::Arc, time::Instant};

/// As many dials of a channel are under way at once.
const MOST_DIALS: usize = 64;

impl Channel {
    /// Whether as many dials run as may.
    pub(super) fn is_full(&self) -> bool {
        self.dials >= MOST_DIALS
    }

    /// Starts the dials that may start: those of endpoints that were never dialled before all
    /// others, then those that have waited longest, so that endpoints which do not answer keep
    /// nobody from their turn. `redials`: whether this is the moment for those that are due, too.
    pub(super) fn dial_next(
        &mut self,
        redials: bool,
        cause: &Arc<str>,
        now: Instant,
        random: &mut impl FnMut() -> f64,
        step: &mut Step,
    ) {
        while self.stage == Stage::Connects && !self.is_full() {
            let wants = |(place, (_, record)): (usize, &(EndpointId, Record))| {
                let waits = record.subchannel.state() != ConnectivityState::Idle
                    && record.subchannel.next_dial().is_some();
                let since = record.subchannel.wants_dial(now).filter(|_| redials || !waits)?;
                Some((since, place))
            };
            let next = self.subchannels.iter().enumerate().filter_map(wants).min();
            let Some((since, place)) = next else { return };
            let input = if since.is_none() { Input::Connect } else { Input::RedialDue };
            let _ = self.step(place, input, cause, now, random, step);
        }
    }

    /// When the next dial is due that is waited for; none while no more may run: the end of one is
    /// waited for then.
    pub fn next_dial(&self) -> Option<Instant> {
        if self.is_full() {
            return None;
        }
        self.subchannels.iter().filter_map(|(_, record)| record.subchannel.next_dial()).min()
    }

    /// Makes the wait of an endpoint last until `at`, whatever calls wait; its end.
    pub fn hold_until(&mut self, id: EndpointId, at: Instant) -> Option<Instant> {
        let place = self.place(id).ok()?;
        self.subchannels[place].1.subchannel.hold_until(at)
    }
}
