//! The supervisor's lookups: `policy::Resolve` decides when to look and what to believe, and a task
//! of its own asks.

use super::{
    super::{core::Core, message::SupervisorMsg, timer::Timer},
    Session,
};
use crate::{
    call, clock,
    config::{Balancing, Period},
    model::{Address, Endpoint, Fact},
    policy::{Resolve, ResolveRule, Schedules},
    transport::{Link, Resolution, Resolver},
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::AbortHandle;

/// How often a name is looked up where its servers share the calls: one that was added is found.
const PERIOD_OF_MANY: Duration = Duration::from_secs(30);

/// The same where one server has them all.
const PERIOD_OF_ONE: Duration = Duration::from_secs(300);

/// The name of a channel, looked up.
pub(super) struct Names {
    resolver: Arc<dyn Resolver>,
    machine: Resolve,
    /// Ends with this actor.
    lookup: Option<AbortHandle>,
    due: Option<(Instant, Timer)>,
}

impl Names {
    /// None: the channel has no name.
    pub(super) fn new(core: &Core, schedules: Schedules) -> Option<Self> {
        let (resolver, rule) = (core.resolver()?, &core.config.resolve);
        let period = match (rule.period, core.config.balancing) {
            (Period::Auto, Balancing::PickFirst) => Some(PERIOD_OF_ONE),
            (Period::Auto, _) => Some(PERIOD_OF_MANY),
            (Period::Never, _) => None,
            (Period::Every(time), _) => Some(time),
        };
        let rule = ResolveRule { period, min_interval: rule.min_interval, absent: rule.absent };
        let machine = Resolve::new(rule, schedules);
        Some(Self { resolver, machine, lookup: None, due: None })
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if let Some(lookup) = &self.lookup {
            lookup.abort();
        }
    }
}

impl Session {
    /// Looks the name up now, if there is one.
    pub(super) fn look_up_now(&mut self) {
        self.look_up(Resolve::ask_now);
    }

    /// There is a reason to look: a link was lost, or a dial failed.
    pub(super) fn look_up_soon(&mut self) {
        let now = clock::now();
        self.look_up(|machine| machine.ask(now));
    }

    /// Calls began to wait: a lookup that failed is not waited for as long as while none did.
    pub(super) fn look_up_for_calls(&mut self) {
        let now = clock::now();
        self.look_up(|machine| machine.hurry(now));
    }

    pub(super) fn lookup_due(&mut self) {
        let now = clock::now();
        if let Some(names) = &mut self.names {
            names.due = None;
        }
        self.look_up(|machine| machine.is_due(now));
    }

    fn look_up(&mut self, begins: impl FnOnce(&mut Resolve) -> bool) {
        let (core, me) = (self.core.clone(), self.me.clone());
        let rests = self.draining || self.channel.is_idle();
        let Some(names) = self.names.as_mut().filter(|_| !rests) else { return };
        if begins(&mut names.machine) {
            let (resolver, timeout) = (names.resolver.clone(), core.config.connect_timeout);
            let asking = async move {
                let answer = tokio::time::timeout(timeout, resolver.resolve()).await;
                let silent = |_| {
                    let time = timeout.as_secs_f64();
                    Err(format!("the lookup has not answered within connect_timeout ({time} s)"))
                };
                answer.unwrap_or_else(silent)
            };
            let asked = clock::now();
            names.lookup = Some(call::spawn(&core.calls, "Lookup", asking, move |answer| {
                let panicked = |words: String| Err(format!("the resolver panicked: {words}"));
                let answer = answer.unwrap_or_else(panicked);
                let took = clock::now().saturating_duration_since(asked);
                // A dead supervisor needs no answer.
                let _ = me.send_message(SupervisorMsg::Resolved(Box::new((answer, took))));
            }));
        }
        self.arm_lookup();
    }

    /// A lookup has ended.
    pub(super) fn resolved(&mut self, (answer, took): (Result<Resolution, String>, Duration)) {
        let (now, unit, calls_wait) = (clock::now(), self.core.random(), self.calls_wait());
        let Some(names) = self.names.as_mut().filter(|_| !self.draining) else { return };
        names.lookup = None;
        let answer = answer.and_then(|mut answer| {
            answer.endpoints.retain(|endpoint| !endpoint.addresses().is_empty());
            match answer.endpoints.is_empty() {
                true => Err("the answer has no addresses".to_owned()),
                false => Ok(answer),
            }
        });
        match answer {
            Err(cause) => {
                let failures = names.machine.failed(calls_wait, now, unit);
                self.lookup_failed(cause.into(), failures, took);
            }
            Ok(Resolution { endpoints, fresh_for }) => {
                let in_use = in_use(self.peers());
                let Some(names) = self.names.as_mut() else { return };
                let failed_before = names.machine.has_failed();
                let list = names.machine.answered(&endpoints, fresh_for, in_use, now, unit);
                let first = !self.core.set_resolved();
                if first || failed_before || list.is_some() {
                    let endpoints = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
                    self.core.telemetry.announce(Fact::NameResolved { endpoints, took });
                }
                if let Some(list) = list {
                    let change = self.core.take_list(list, true);
                    self.apply(change, first, "the name was looked up");
                }
            }
        }
        self.arm_lookup();
    }

    /// The list stays. Where the target itself is dialled until there is one, the dial says what is
    /// wrong, in its own words.
    fn lookup_failed(&mut self, cause: Arc<str>, failures: u32, took: Duration) {
        if !self.core.has_list() {
            self.take_step(&cause, |channel, cause, _, _| Some(channel.on_lookup_failed(cause)));
        } else if !self.core.is_resolved() {
            return;
        }
        self.core.telemetry.announce(Fact::ResolveFailed { cause, failures, took });
    }

    /// The addresses that links lead to, as they are listed and as they were found.
    fn peers(&self) -> BTreeSet<Address> {
        let links = self.channel.links().filter_map(|(_, link)| self.link(link));
        let both = |link: &Arc<Link>| {
            let peer = link.peer();
            [peer.listed.clone(), peer.address().clone()]
        };
        links.flat_map(both).collect()
    }

    /// No name is looked up while the channel is idle.
    pub(super) fn stop_lookups(&mut self) {
        self.arm_lookup();
    }

    fn arm_lookup(&mut self) {
        let (core, me, idle) = (&self.core, &self.me, self.channel.is_idle());
        let Some(names) = self.names.as_mut() else { return };
        let next = names.machine.next().filter(|_| !idle);
        if names.due.as_ref().map(|(at, _)| *at) == next {
            return;
        }
        names.due = next.map(|at| {
            let wait = at.saturating_duration_since(clock::now());
            (at, Timer::new(core, me, wait, SupervisorMsg::LookupDue))
        });
    }
}

/// Whether an endpoint has a link, given the peers of all links.
fn in_use(peers: BTreeSet<Address>) -> impl Fn(&Endpoint) -> bool {
    move |endpoint| endpoint.addresses().iter().any(|address| peers.contains(address))
}
