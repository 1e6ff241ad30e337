//! What was told of one endpoint, and when it may be dialled.

use crate::{events::GRAIN, script::Script, shared::now};
use std::{sync::Arc, time::Duration};
use tonic_supervisor::{ConnectivityState, Incarnation};

/// What was told of one endpoint.
pub(crate) struct Told {
    pub(crate) addresses: Arc<str>,
    pub(crate) listed: bool,
    /// Whether that was announced, rather than there from the start.
    pub(crate) announced: bool,
    pub(crate) state: ConnectivityState,
    /// Whether it has failed since it was last Ready.
    pub(crate) failing: bool,
    /// Whether it is ejected: what it shows says nothing of its links.
    pub(crate) ejected: bool,
    /// When, at the latest, something must have happened, if it shall have more links.
    pub(crate) way_on_by: Duration,
    pub(crate) dialled_at: Option<Duration>,
    pub(crate) redial_not_before: Option<Duration>,
    /// How many dials to come may be early, because somebody asked for them.
    pub(crate) dials_asked_for: u32,
    /// The servers that it has left, which get calls until the links it had then are gone: those up
    /// to this one.
    pub(crate) left: (Vec<usize>, Incarnation),
    /// Whether the last dial that ended was refused.
    pub(crate) refused: bool,
    /// What ended last, and may be what a wait counts from.
    pub(crate) ended: Option<Incarnation>,
    /// From when the wait for the next dial counts, where there are several links.
    pub(crate) counts_from: Option<Duration>,
}

impl Told {
    pub(crate) fn new(addresses: &Arc<str>, announced: bool) -> Self {
        Self {
            addresses: addresses.clone(),
            listed: true,
            announced,
            state: ConnectivityState::Idle,
            failing: false,
            ejected: false,
            way_on_by: now(),
            dialled_at: None,
            redial_not_before: None,
            dials_asked_for: 0,
            left: (Vec::new(), Incarnation::default()),
            refused: false,
            ended: None,
            counts_from: None,
        }
    }

    /// Whether a dial may begin now: it keeps to the wait that was announced, and to the schedule.
    pub(crate) fn may_dial(
        &mut self,
        script: &Script,
        failures: u32,
        now: Duration,
    ) -> Result<(), String> {
        let (not_before, counts_from) = (self.redial_not_before.take(), self.counts_from.take());
        let before = self.dialled_at.replace(now);
        if self.dials_asked_for > 0 {
            self.dials_asked_for -= 1;
            return Ok(());
        }
        if let Some(not_before) = not_before.filter(|not_before| now + GRAIN < *not_before) {
            return Err(format!("came before its wait was over, {not_before:?}"));
        }
        // Of several links any may be the one that a wait counts from, and after a success the next
        // one is dialled at once.
        let only = script.config.connections() == 1;
        // Beside an only link a dial may have failed since its own, because somebody asked for it.
        let from = match (only, counts_from) {
            (true, Some(counts)) => before.map(|before| before.min(counts)),
            (true, None) => before,
            (false, counts) => counts,
        };
        let (Some(from), Some(n)) = (from, failures.checked_sub(1)) else { return Ok(()) };
        let reconnect = script.config.reconnect();
        // The quick schedule is the least that may be waited.
        let waiting =
            if self.refused { reconnect.refused_delay(n) } else { reconnect.waiting().delay(n) };
        let least = waiting.min(reconnect.idle().delay(n));
        let least = least.mul_f64(1.0 - reconnect.jitter());
        if now + GRAIN < from + least {
            let after = now - from;
            return Err(format!("after {failures} failures came after {after:?}, not {least:?}"));
        }
        Ok(())
    }
}
