//! What servers saw of calls, once all is over: each attempt at most once, after its wait, at a
//! server that was listed, and at none where the call had failed while another had room.

use crate::{
    calls::Caller,
    events::{GRAIN, Story},
    fleet::SERVERS,
    shared::Came,
};
use std::{collections::BTreeSet, time::Duration};
use tonic_supervisor::{CallReport, Cause, EndpointId, LinkEnd, config::Balancing};

/// Of so many endpoints a call remembers that it failed there.
const REMEMBERED: usize = 4;

impl Caller {
    /// What the server saw of call `n`, once all is over.
    pub(crate) fn judge_arrivals(&self, n: usize) {
        let (call, arrivals, story) =
            (&self.script.calls[n], self.shared.arrivals(n), self.story.borrow());
        let retries = story.retries(n);
        arrivals.iter().for_each(|came| self.judge_place(n, came, &story));
        let executed = arrivals.iter().filter(|came| came.executed);
        let times = executed.clone().count();
        self.shared.require((call.idempotent && !call.is_known_to_stream()) || times <= 1, || {
            format!("call {n} was executed {times} times")
        });
        // What a call costs the others: each attempt may end a link, and one more that was free.
        let cut = arrivals.iter().filter(|came| came.cut).count();
        self.shared.require(cut <= 2 + retries.len(), || {
            format!("call {n} ended {cut} links with {} retries", retries.len())
        });
        let refused = arrivals.iter().filter(|came| !came.executed).count();
        self.shared.require(refused <= 2 + retries.len(), || {
            format!("call {n} was refused {refused} times with {} retries", retries.len())
        });
        for attempt in 0..=retries.len() as u32 {
            let times = executed.clone().filter(|came| came.previous == attempt).count();
            self.shared.require(times <= 1, || {
                format!("attempt {attempt} of call {n} was executed {times} times")
            });
        }
        for came in &arrivals {
            let Some(last) = came.previous.checked_sub(1) else { continue };
            match retries.get(last as usize) {
                None => self.shared.violated(format_args!(
                    "call {n} arrived as retry {}, which nobody announced",
                    came.previous
                )),
                Some(retry) => {
                    let due = retry.at + retry.delay;
                    let (earliest, at) = (due.saturating_sub(self.script.tick + GRAIN), came.at);
                    self.shared.require(at >= earliest, || {
                        format!(
                            "retry {} of call {n} came at {at:?}, due at {due:?}",
                            came.previous
                        )
                    });
                }
            }
        }
    }

    /// Whether an arrival came to where it should: to a server that was listed, and to none where
    /// the call had failed, if another had room.
    fn judge_place(&self, n: usize, came: &Came, story: &Story) {
        let Came { at, server, previous, .. } = *came;
        let (call, retries, rooms) = (&self.script.calls[n], story.retries(n), self.rooms.borrow());
        let (before, host) = (retries.len().min(previous as usize), SERVERS[server]);
        let (before, picked) = match retries[..before].last() {
            Some(last) => (&retries[..before], last.at + last.delay),
            None => (&[][..], call.at),
        };
        self.shared.require(story.endpoints.listings.had(server, picked, at), || {
            format!("call {n} of {picked:?} came to {host} at {at:?}, which is not listed")
        });
        // What was sent again for free may have failed anywhere.
        if self.script.config.balancing() == Balancing::PickFirst || rooms.resent(call.at, at) {
            return;
        }
        let avoided: BTreeSet<_> = before.iter().filter_map(|retry| retry.avoids).collect();
        let here = |id: &EndpointId| story.endpoints.servers(*id).contains(&server);
        if avoided.len() <= REMEMBERED && avoided.iter().any(here) {
            let other = rooms.elsewhere(&avoided, picked, at);
            self.shared.require(other.is_none(), || {
                format!(
                    "retry {previous} of call {n} came to {host}, where it had failed, and \
                     endpoint {other:?} had room"
                )
            });
        }
    }

    /// Where the attempts went, as the reports of failed calls say, once all is over.
    pub(crate) fn judge_reports(&self) {
        if self.script.config.balancing() != Balancing::PickFirst {
            let reports = std::mem::take(&mut self.story.borrow_mut().reports);
            reports.iter().for_each(|(n, begun, report)| self.judge_places(*n, *begun, report));
        }
    }

    fn judge_places(&self, n: usize, begun: Duration, report: &CallReport) {
        let rooms = self.rooms.borrow();
        let mut failed: Vec<EndpointId> = Vec::new();
        if report.attempts.len() < report.attempts_made as usize {
            return;
        }
        for pair in report.attempts.windows(2) {
            let [last, next] = pair else { continue };
            let goaway = matches!(&last.failure.cause, Cause::LinkLost(end)
                if matches!(**end, LinkEnd::GoAway(_)));
            // 0: it never got a link.
            let went = last.endpoint != EndpointId::default();
            // Those that failed longest ago are forgotten, and may fail once more.
            let known = failed.iter().rev().take(REMEMBERED).any(|id| *id == last.endpoint);
            if went && !goaway && !known {
                failed.push(last.endpoint);
            }
            let avoided: BTreeSet<_> = failed.iter().rev().take(REMEMBERED).copied().collect();
            if avoided.contains(&next.endpoint) {
                let (from, until) = (begun + last.elapsed, begun + next.elapsed);
                let other = rooms.elsewhere(&avoided, from, until);
                self.shared.require(other.is_none(), || {
                    format!(
                        "attempt {} of call {n} went where it had failed, and endpoint {other:?} \
                         had room: {report}",
                        next.attempt
                    )
                });
            }
        }
    }
}
