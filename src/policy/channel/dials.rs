//! How many dials of a channel are under way at once: with a thousand endpoints, 64, so that
//! neither this machine nor the servers have to take all of them at the same moment. The others
//! have their turn when one ends.

use super::{Channel, Stage, Step};
use crate::{model::ConnectivityState, policy::subchannel::Input};
use std::{sync::Arc, time::Instant};

/// As many dials of a channel are under way at once.
const MOST_DIALS: usize = 64;

impl Channel {
    /// Whether as many dials run as may.
    pub(super) fn is_full(&self) -> bool {
        let dials = self.subchannels.iter().filter(|(_, it)| it.subchannel.dialling().is_some());
        dials.count() >= MOST_DIALS
    }

    /// Starts the dials that had to wait because too many were under way.
    pub(super) fn dial_next(
        &mut self,
        cause: &Arc<str>,
        now: Instant,
        random: &mut impl FnMut() -> f64,
        step: &mut Step,
    ) {
        if self.stage != Stage::Connects || self.subchannels.len() < MOST_DIALS {
            return;
        }
        for place in 0..self.subchannels.len() {
            let subchannel = &self.subchannels[place].1.subchannel;
            let input = match subchannel.next_dial() {
                None if subchannel.state() == ConnectivityState::Idle => Input::Connect,
                Some(at) if at <= now => Input::RedialDue,
                _ => continue,
            };
            if self.is_full() {
                return;
            }
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
}
