//! The watchdog: an actor that nothing would move again fails aloud, and starts over with a dial.

use super::{
    super::{message::SupervisorMsg, timer::Timer},
    Session,
};
use crate::{clock, model::ConnectivityState};
use std::time::Duration;

/// So long a link may be shown as Ready although it takes no calls: the news of its end are under
/// way.
const END_REPORT_TIMEOUT: Duration = Duration::from_secs(5);

impl Session {
    /// What is wrong, if something is.
    ///
    /// It looks after each event. Where there is none it looks all the same: a link that shuts says
    /// so by itself (`LinkShut`), whatever became of its driver and its actor; and if their news do
    /// not follow, `LinkCheckDue` does.
    pub(super) fn check_progress(&mut self) -> Option<String> {
        let redial_due = self.redial.as_ref().is_some_and(|(_, timer)| timer.is_running());
        let runs = |dial| self.connection_at(dial).is_some();
        let takes_calls = |link| self.link(link).is_some_and(|link| link.is_accepting());
        let watched = self.ready_without_link.as_ref().map(|(endpoint, ..)| *endpoint);
        let (mut first, mut still) = (None, false);
        for (endpoint, state) in self.channel.stuck(runs, redial_due, takes_calls) {
            if state != ConnectivityState::Ready {
                return Some(format!("stuck: {state} with neither a dial nor a redial due"));
            }
            still |= watched == Some(endpoint);
            first = first.or(Some(endpoint));
        }
        // The clock is one endpoint's: of many, another may be so at every moment, and none long.
        if !still {
            self.ready_without_link = None;
        }
        let endpoint = first?;
        let (core, me, now) = (&self.core, &self.me, clock::now());
        let look = || {
            let timer = Timer::new(core, me, END_REPORT_TIMEOUT, SupervisorMsg::LinkCheckDue);
            (endpoint, now, timer)
        };
        let (_, since, _) = self.ready_without_link.get_or_insert_with(look);
        let over = now.saturating_duration_since(*since) >= END_REPORT_TIMEOUT;
        over.then(|| "stuck: READY without a link that takes calls".to_owned())
    }
}
