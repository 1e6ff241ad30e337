//! What calls say of the endpoints, and what follows: one where too many in a row failed is
//! ejected, and let in again when one call there was answered. The decisions are those of
//! `policy::Ejections`.
//!
//! All of this is the session's: after a failure of the supervisor actor every endpoint is in use
//! again, and its numbers start over. Links are dialled anew then, too, and an endpoint that still
//! fails is ejected after as many calls as the first time.

use super::{
    super::{core::Core, message::SupervisorMsg, timer::Timer},
    Session,
};
use crate::{
    clock,
    config::Balancing,
    model::{EndpointId, Fact},
    policy::{Ejections, News, Probation, Standing, Verdict},
    transport::{Judged, Stats, Tell},
};
use ractor::ActorRef;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// What is known of the endpoints by their calls.
pub(super) struct Watched {
    tell: Tell,
    stats: BTreeMap<EndpointId, Arc<Stats>>,
    ejections: Ejections,
    /// The timer for the next probation.
    due: Option<(Instant, Timer)>,
}

impl Watched {
    /// None: nobody asks.
    pub(super) fn new(core: &Core, me: &ActorRef<SupervisorMsg>) -> Option<Self> {
        let (config, me) = (&core.config, me.clone());
        // To an actor that is gone there is nothing to say.
        let tell = move |judged| drop(me.send_message(SupervisorMsg::EndpointJudged(judged)));
        let ejections = Ejections::new(config.ejection);
        (config.ejects() || config.balancing == Balancing::PeakEwma).then(|| Self {
            tell: Arc::new(tell),
            stats: BTreeMap::new(),
            ejections,
            due: None,
        })
    }

    /// Where the calls to an endpoint are counted, if they are.
    pub(super) fn stats(&self, endpoint: EndpointId) -> Option<Arc<Stats>> {
        self.stats.get(&endpoint).cloned()
    }

    /// Whether calls go to it one at a time.
    pub(super) fn is_on_probation(&self, endpoint: EndpointId) -> bool {
        self.ejections.is_on_probation(endpoint)
    }
}

impl Session {
    /// Another list of endpoints is in use.
    pub(super) fn watch_listed(&mut self) {
        let Some(watched) = &mut self.watched else { return };
        let listed: BTreeSet<_> = self.core.listed().into_iter().map(|(id, _)| id).collect();
        let (rule, tell) = (self.core.config.ejection, watched.tell.clone());
        watched.stats.retain(|id, _| listed.contains(id));
        for id in &listed {
            let new = || Arc::new(Stats::new(*id, rule, tell.clone()));
            watched.stats.entry(*id).or_insert_with(new);
        }
        let returned =
            watched.ejections.list(listed.len(), |id| listed.contains(&id), clock::now());
        for endpoint in returned {
            self.returned(endpoint, "there are fewer endpoints, and so many may not be ejected");
        }
        self.arm_probation();
    }

    /// A run of failures reached the limit, or the call of a probation ended.
    pub(super) fn judged(&mut self, judged: Judged) {
        let Judged { endpoint, method, probe, answered } = judged;
        let (now, unit) = (clock::now(), self.core.random());
        let others = self.is_another_in_use(endpoint);
        let Some(watched) = self.watched.as_mut().filter(|_| !self.draining) else { return };
        let Some(stats) = watched.stats.get(&endpoint) else { return };
        if probe {
            match watched.ejections.probed(endpoint, answered, now, unit) {
                Some(Probation::Returned) => self.returned(endpoint, "a call there was answered"),
                Some(Probation::Ejected(time)) => {
                    self.announce_ejection(endpoint, method, time);
                    self.publish_picker();
                }
                None => {}
            }
        } else if stats.is_at_limit() {
            let listed = watched.stats.len();
            match watched.ejections.failed(endpoint, (listed, others), now, unit) {
                Verdict::Ejected(time) => {
                    let cause = match self.core.config.ejection.consecutive_failures {
                        1 => "a call failed there".to_owned(),
                        failures => format!("{failures} calls in a row failed there"),
                    };
                    self.announce_ejection(endpoint, method, time);
                    self.news(News::Ejected(endpoint, true), &cause);
                }
                Verdict::Unenforced => self.core.telemetry.ejection_unenforced(),
                Verdict::Known => {}
            }
        }
        self.arm_probation();
    }

    /// The time of an ejection is over.
    pub(super) fn probation_due(&mut self) {
        let Some(watched) = &mut self.watched else { return };
        watched.due = None;
        let due = watched.ejections.due(clock::now());
        for endpoint in &due {
            watched.stats.get(endpoint).inspect(|stats| stats.begin_probation());
        }
        if !due.is_empty() {
            self.publish_picker();
        }
        self.arm_probation();
    }

    /// A link to it is lost. Without any it is not ejected.
    pub(super) fn in_use_without_links(&mut self, endpoint: EndpointId) {
        let has_links = self.channel.links().any(|(id, _)| id == endpoint);
        let Some(watched) = self.watched.as_mut().filter(|_| !has_links && !self.draining) else {
            return;
        };
        if watched.ejections.lost(endpoint, clock::now()) {
            watched.stats.get(&endpoint).inspect(|stats| stats.start_over());
            self.returned(endpoint, "it has no link any more");
            self.arm_probation();
        }
    }

    fn returned(&mut self, endpoint: EndpointId, cause: &str) {
        let addresses = self.core.addresses_of(endpoint);
        self.core.telemetry.announce(Fact::EndpointReturned { endpoint, addresses });
        self.news(News::Ejected(endpoint, false), cause);
    }

    fn announce_ejection(&self, endpoint: EndpointId, method: Arc<str>, time: Duration) {
        let (addresses, ejected_for) = (self.core.addresses_of(endpoint), time);
        let fact = Fact::EndpointEjected { endpoint, addresses, method, ejected_for };
        self.core.telemetry.announce(fact);
    }

    /// What is picked and shown changes, and not what is dialled.
    pub(super) fn news(&mut self, news: News, cause: &str) {
        self.take_step(cause, |channel, cause, _, _| channel.on_news(news, cause));
    }

    /// Whether calls go to another endpoint as well.
    fn is_another_in_use(&self, endpoint: EndpointId) -> bool {
        let mut others = self.channel.links().filter(|(id, _)| *id != endpoint);
        others.any(|(id, link)| self.channel.standing(id, link) < Standing::Ejected)
    }

    fn arm_probation(&mut self) {
        let Some(watched) = &mut self.watched else { return };
        let next = watched.ejections.next_due().filter(|_| !self.draining);
        if watched.due.as_ref().map(|(at, _)| *at) == next {
            return;
        }
        watched.due = next.map(|at| {
            let delay = at.saturating_duration_since(clock::now());
            (at, Timer::new(&self.core, &self.me, delay, SupervisorMsg::ProbationDue))
        });
    }
}
