//! Which events are worth a line to a person, and what it says: for the log, and for programs that
//! write lines of their own.
//!
//! An outage of the channel is one line at its start, thinned repeats, and one line at its end with
//! its length; until the first link it begins with the first dial that fails, and the first link is
//! a line of its own. What a peer or a caller can cause at will (GOAWAY, its health, refused calls,
//! throttled retries) is thinned in the same way, until it has been quiet for a minute. Thinned is:
//! the 1st, 2nd, 4th, 8th ... time, and at the latest one in five minutes. Of other facts each is a
//! line whose level is INFO or above: every retry is one, as the seed promises.

use super::{EventItem, line::Line};
use crate::model::{ConnectivityState, EndpointId, Fact, Health, Level, Snapshot};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// After this long without a fact of a kind, its lines are counted anew.
const QUIET: Duration = Duration::from_secs(60);

/// While facts of a kind go on, there is a line of them at least so often.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// While so many endpoints are out, the loss of a further one is thinned, too.
const LOST_TOGETHER: usize = 8;

/// Turns what an [`EventStream`](super::EventStream) yields into lines for people: the same events
/// as in the log, thinned in the same way, as sentences.
///
/// ```no_run
/// use tonic_supervisor::{EventLines, Supervisor};
///
/// async fn tell(supervisor: &Supervisor) {
///     let (mut events, mut lines) = (supervisor.events(), EventLines::default());
///     while let Some(item) = events.next().await {
///         if let Some(line) = lines.line(&item) {
///             println!("{line}");
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct EventLines {
    /// The outage under way: its dials that failed, and when it began.
    outage: Option<(Thinned, Duration)>,
    /// The same of single endpoints, where there are several.
    endpoints: BTreeMap<EndpointId, (Thinned, Duration)>,
    lost_together: Thinned,
    listed: Thinned,
    /// Those that are ejected: their changes of state are told of by that.
    ejected: BTreeSet<EndpointId>,
    ejections: Thinned,
    /// Whether there was a link.
    connected: bool,
    goaways: Thinned,
    /// Servers that say how they are, and those that cannot.
    health: Thinned,
    /// Endpoints that do not serve: their changes of state are told of by that.
    sick: BTreeSet<EndpointId>,
    /// Outages by health alone, and whether the one under way is no line.
    sick_outages: Thinned,
    is_unsaid: bool,
    no_health: Thinned,
    fewer_pings: Thinned,
    refused: Thinned,
    throttled: Thinned,
}

/// How often something happened. Times count from the supervisor's start.
#[derive(Clone, Copy, Debug, Default)]
struct Thinned {
    times: u64,
    last: Duration,
    written: Duration,
}

impl Thinned {
    /// Counts from `now` on, after `times` of which the last was written just now.
    fn begin(times: u64, now: Duration) -> Self {
        Self { times, last: now, written: now }
    }

    /// One more time; whether it is a line.
    fn is_due(&mut self, now: Duration) -> bool {
        self.times += 1;
        let pace = now.saturating_sub(self.last);
        self.last = now;
        // Waits between dials differ by a fifth either way: the next may take half as long again.
        let next = now.saturating_add(pace.saturating_mul(3) / 2);
        let due = self.times.is_power_of_two() || next > self.written.saturating_add(LONGEST);
        if due {
            self.written = now;
        }
        due
    }

    /// One more time of what has no end that could be written; its line, if there is one.
    fn repeat(&mut self, now: Duration) -> Option<Line> {
        if now.saturating_sub(self.last) >= QUIET {
            *self = Self::begin(0, now);
        }
        self.is_due(now).then_some(Line::Repeated { times: self.times })
    }
}

impl EventLines {
    /// The line that `item` is worth; none for what people can do without. It has no line breaks.
    pub fn line(&mut self, item: &EventItem) -> Option<String> {
        match item {
            EventItem::Snapshot(now) => Some(self.begin(now)),
            EventItem::Lagged(missed) => {
                // The end of an outage may be among them. One that goes on is told of anew.
                self.outage = None;
                self.endpoints.clear();
                self.ejected.clear();
                self.sick.clear();
                Some(format!("{missed} events were missed: they came faster than they were read"))
            }
            EventItem::Event(event) => {
                let line = self.choose(&event.fact, event.since_spawn)?;
                Some(line.sentence(&event.fact))
            }
        }
    }

    fn begin(&mut self, now: &Snapshot) -> String {
        self.connected |= now.links > 0;
        let why = now.last_error.as_ref().map_or(String::new(), |error| format!(": {error}"));
        format!("{} is {}{why}", now.target, now.state)
    }

    /// The line that `fact` is worth, if it is worth one now.
    pub(super) fn choose(&mut self, fact: &Fact, now: Duration) -> Option<Line> {
        if let Some(line) = self.outage_by_health(fact, now) {
            return line;
        }
        match (fact, &mut self.outage) {
            (Fact::GoAwayReceived { .. }, _) => self.goaways.repeat(now),
            (Fact::HealthChanged { endpoint, health, .. }, _) => {
                match health {
                    Health::NotServing | Health::WatchBroken | Health::Unanswered => {
                        self.sick.insert(*endpoint);
                    }
                    Health::Serving | Health::Unsupported => drop(self.sick.remove(endpoint)),
                    Health::Unknown => {}
                }
                match health {
                    Health::Unsupported => self.no_health.repeat(now),
                    _ => self.health.repeat(now),
                }
            }
            (Fact::KeepaliveBackedOff { .. }, _) => self.fewer_pings.repeat(now),
            (Fact::CallShed { .. }, _) => self.refused.repeat(now),
            (Fact::RetryThrottled { .. }, _) => self.throttled.repeat(now),
            (Fact::StateChanged { to: ConnectivityState::TransientFailure, .. }, outage @ None) => {
                // The first dial's failure is what begins it, and has come before its consequence.
                let failed_dials = if self.connected { 0 } else { 1 };
                *outage = Some((Thinned::begin(failed_dials, now), now));
                Some(if self.connected { Line::ConnectionLost } else { Line::NotConnectedYet })
            }
            // An outage that was under way is over for now: nobody asks for the server.
            (Fact::StateChanged { to: ConnectivityState::Idle, .. }, outage) => {
                *outage = None;
                self.endpoints.clear();
                Some(Line::Idle)
            }
            (Fact::EndpointAdded { .. } | Fact::EndpointRemoved { .. }, _) => {
                if let Fact::EndpointRemoved { endpoint, .. } = fact {
                    self.endpoints.remove(endpoint);
                    self.ejected.remove(endpoint);
                    self.sick.remove(endpoint);
                }
                self.listed.repeat(now)
            }
            (Fact::EndpointEjected { endpoint, .. }, _) => {
                self.ejected.insert(*endpoint);
                self.ejections.repeat(now)
            }
            (Fact::EndpointReturned { endpoint, .. }, _) => {
                self.ejected.remove(endpoint);
                self.ejections.repeat(now)
            }
            // The 1st, 2nd, 4th and so on in a row.
            (Fact::ResolveFailed { failures, .. }, _) => {
                failures.is_power_of_two().then_some(Line::Plain)
            }
            (Fact::SubchannelChanged { endpoint, to, .. }, _) => {
                self.endpoint_changed(*endpoint, *to, now)
            }
            (Fact::DialFailed { endpoint, .. }, None) if self.endpoints.contains_key(endpoint) => {
                let (dials, since) = self.endpoints.get_mut(endpoint)?;
                dials.is_due(now).then_some(Line::EndpointStillLost {
                    failed_dials: dials.times,
                    outage: now.saturating_sub(*since),
                })
            }
            (Fact::DialFailed { .. }, Some((dials, since))) => {
                dials.is_due(now).then_some(Line::StillNotConnected {
                    failed_dials: dials.times,
                    outage: now.saturating_sub(*since),
                })
            }
            (Fact::StateChanged { to: ConnectivityState::Ready, .. }, outage) => {
                let ended = outage.take();
                let failed_dials = ended.map_or(0, |(dials, _)| dials.times);
                if !std::mem::replace(&mut self.connected, true) {
                    return Some(Line::Connected { failed_dials });
                }
                ended.map(|(_, since)| Line::ConnectedAgain {
                    failed_dials,
                    outage: now.saturating_sub(since),
                })
            }
            (fact, _) => (fact.level() > Level::Debug).then_some(Line::Plain),
        }
    }
}

impl EventLines {
    /// A server can change its mind about its health at will, and take the channel with it: of such
    /// outages only some are told of, with their ends. None: it is about something else.
    fn outage_by_health(&mut self, fact: &Fact, now: Duration) -> Option<Option<Line>> {
        let Fact::StateChanged { to, .. } = fact else { return None };
        match to {
            ConnectivityState::TransientFailure
                if self.connected && self.outage.is_none() && !self.sick.is_empty() =>
            {
                self.outage = Some((Thinned::begin(0, now), now));
                let line = self.sick_outages.repeat(now);
                self.is_unsaid = line.is_none();
                Some(line.map(|_| Line::Plain))
            }
            ConnectivityState::Ready if std::mem::take(&mut self.is_unsaid) => {
                self.outage = None;
                Some(None)
            }
            _ => None,
        }
    }

    fn endpoint_changed(
        &mut self,
        endpoint: EndpointId,
        to: ConnectivityState,
        now: Duration,
    ) -> Option<Line> {
        match to {
            ConnectivityState::TransientFailure
                if self.ejected.contains(&endpoint) || self.sick.contains(&endpoint) =>
            {
                None
            }
            ConnectivityState::TransientFailure if !self.endpoints.contains_key(&endpoint) => {
                let many = self.endpoints.len() >= LOST_TOGETHER;
                self.endpoints.insert(endpoint, (Thinned::begin(0, now), now));
                if many {
                    return self.lost_together.repeat(now).map(|_| Line::EndpointLost);
                }
                Some(Line::EndpointLost)
            }
            ConnectivityState::Ready => {
                let (dials, since) = self.endpoints.remove(&endpoint)?;
                let outage = now.saturating_sub(since);
                Some(Line::EndpointBack { failed_dials: dials.times, outage })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
