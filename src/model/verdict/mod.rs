//! What is the matter with a channel, in one sentence, and what to do: the first line of every
//! page, of `status`, and of a readiness answer.
//!
//! A pure function of a snapshot and of what happened lately, so that no window can say anything
//! else than another. What hurts calls now goes first, what will hurt them later comes after it.

mod endpoint;
mod kind;
#[cfg(test)]
mod tests;

pub use kind::VerdictKind;

use super::{
    code::code_name,
    counts::MethodCounts,
    endpoint::EndpointId,
    snapshot::{EndpointSnapshot, LinkSnapshot, Snapshot},
    state::ConnectivityState::{self, Idle, Ready, Shutdown},
    text::{readable, shortened},
};
use endpoint::of_endpoint;
use std::{collections::HashMap, fmt, time::Duration};
use tonic::Code;

/// A method's calls fail if this share of them does,
const FAILING_SHARE: f64 = 0.05;
/// and at least so many.
const FAILING_CALLS: u64 = 3;
/// Retries, as a share of the calls, that are many,
const MANY_RETRIES: f64 = 0.2;
/// of at least so many calls.
const ENOUGH_CALLS: u64 = 20;
/// An actor's failure is told for so long.
const LATELY: Duration = Duration::from_secs(60);

/// What is the matter, and what to do. `{}` is the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// In one word.
    pub kind: VerdictKind,
    /// In a sentence, with what is known; printable.
    pub sentence: String,
    /// Which endpoint it is about; 0 if it is about all of the channel.
    pub endpoint: EndpointId,
}

/// What happened to a channel lately, over the last minute, say: the difference of two moments.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recent {
    /// How long it is from the one to the other.
    pub over: Duration,
    /// Calls that were refused.
    pub calls_shed: u64,
    /// Retries that the throttle forbade.
    pub retries_throttled: u64,
    /// What happened to each method's calls.
    pub methods: Vec<MethodCounts>,
}

impl Recent {
    /// What happened between an earlier moment and now: `over` is the time between them.
    pub fn between(
        earlier: (&Snapshot, &[MethodCounts]),
        now: (&Snapshot, &[MethodCounts]),
        over: Duration,
    ) -> Self {
        let less = |pick: fn(&Snapshot) -> u64| pick(now.0).saturating_sub(pick(earlier.0));
        let before: HashMap<&str, &MethodCounts> =
            earlier.1.iter().map(|method| (&*method.method, method)).collect();
        let methods = now.1.iter().map(|method| match before.get(&*method.method) {
            Some(before) => method.since(before),
            None => method.clone(),
        });
        Self {
            over,
            calls_shed: less(|snapshot| snapshot.calls_shed),
            retries_throttled: less(|snapshot| snapshot.retries_throttled),
            methods: methods.collect(),
        }
    }

    /// All methods together.
    pub fn total(&self) -> MethodCounts {
        self.methods.iter().fold(MethodCounts::default(), |sum, method| sum.plus(method))
    }
}

/// What is the matter with the channel.
pub fn verdict(now: &Snapshot, recent: &Recent) -> Verdict {
    let found = closed(now)
        .or_else(|| actors(now))
        .or_else(|| not_connected(now))
        .or_else(|| no_room(now))
        .or_else(|| refused(now, recent))
        .or_else(|| calls_fail(recent))
        .or_else(|| many_retries(recent))
        .or_else(|| servers_out(now))
        .or_else(|| later(now));
    found.unwrap_or_else(|| well(now))
}

/// What is the matter with each endpoint, in the order of their numbers.
pub fn endpoint_verdicts(now: &Snapshot) -> Vec<Verdict> {
    now.endpoints.iter().map(of_endpoint).collect()
}

fn about_all(kind: VerdictKind, sentence: String) -> Option<Verdict> {
    Some(Verdict { kind, sentence, endpoint: EndpointId::default() })
}

fn closed(now: &Snapshot) -> Option<Verdict> {
    if now.state != Shutdown || now.draining.is_some() {
        return None;
    }
    let why = now.closed_by.as_ref().map_or_else(
        || "it was shut down, or its last handle was dropped".to_owned(),
        |why| shortened(why).to_string(),
    );
    about_all(VerdictKind::Closed, format!("closed since {}: {why}", readable(now.since)))
}

fn actors(now: &Snapshot) -> Option<Verdict> {
    let last = failed_lately(now).filter(|_| now.intensity_reached)?;
    let times = now.child_failures;
    about_all(
        VerdictKind::ActorsFailing,
        format!("actors keep failing, {times} times since spawn: {last}"),
    )
}

/// Which actor failed within the last minute, and why.
fn failed_lately(now: &Snapshot) -> Option<&str> {
    now.since_child_failure.filter(|since| *since < LATELY)?;
    now.last_child_failure.as_deref()
}

/// There is no link that takes calls: why, in the words of the endpoint that came furthest.
fn not_connected(now: &Snapshot) -> Option<Verdict> {
    if matches!(now.state, Idle | Ready | Shutdown) {
        return None;
    }
    let waiting = waiting(now);
    if now.endpoints.is_empty() {
        let why = now.lookup_failure.as_ref();
        let why = why.map(|why| (VerdictKind::Resolve, shortened(why).to_string()));
        let none = || (VerdictKind::NoEndpoints, "there is no endpoint".to_owned());
        let (kind, why) = why.unwrap_or_else(none);
        return about_all(kind, format!("{why}{waiting}"));
    }
    let all: Vec<_> = now.endpoints.iter().map(of_endpoint).collect();
    let sick = all.iter().filter(|verdict| !verdict.kind.is_well());
    let place = |verdict: &&Verdict| VerdictKind::ALL.iter().position(|kind| *kind == verdict.kind);
    // Whoever came furthest says most: a server that hangs up more than one that is not there.
    let furthest = sick.max_by_key(place)?;
    let others = match all.len() {
        1 => String::new(),
        many => format!("; none of {many} servers takes calls"),
    };
    let sentence = format!("{}{others}{waiting}", furthest.sentence);
    Some(Verdict { sentence, ..furthest.clone() })
}

fn waiting(now: &Snapshot) -> String {
    match now.calls_waiting {
        0 => String::new(),
        1 => "; 1 call waits".to_owned(),
        many => format!("; {many} calls wait"),
    }
}

fn no_room(now: &Snapshot) -> Option<Verdict> {
    if now.state != Ready || now.calls_waiting == 0 {
        return None;
    }
    let own = now.max_in_flight;
    let links = || now.endpoints.iter().flat_map(|endpoint| &endpoint.links);
    let peers = |link: &LinkSnapshot| link.max_concurrent_streams.map(|most| most as usize);
    let limit = |link: &LinkSnapshot| peers(link).map_or(own, |peers| peers.min(own));
    let (open, most) = (
        links().map(|link| link.streams).sum::<usize>(),
        links().map(limit).fold(0, usize::saturating_add),
    );
    // A call that has come this very moment does not wait for room.
    if open < most {
        return None;
    }
    let whose = match links().any(|link| peers(link).is_some_and(|peers| peers <= own)) {
        true => "the peer's MAX_CONCURRENT_STREAMS",
        false => "max_in_flight",
    };
    let calls = if now.calls_waiting == 1 { "call waits" } else { "calls wait" };
    about_all(
        VerdictKind::NoRoom,
        format!(
            "{} {calls} for room: {open} of {most} streams are open ({whose})",
            now.calls_waiting
        ),
    )
}

fn refused(now: &Snapshot, recent: &Recent) -> Option<Verdict> {
    let over = readable(recent.over);
    if recent.calls_shed > 0 {
        let (shed, open) = (recent.calls_shed, now.calls_open);
        let sentence = format!("{shed} calls were refused in the last {over}; {open} are open");
        return about_all(VerdictKind::CallsRefused, sentence);
    }
    (recent.retries_throttled > 0).then_some(())?;
    let sentence = format!(
        "{} retries were not made in the last {over}: retries are at their share of the calls",
        recent.retries_throttled
    );
    about_all(VerdictKind::RetriesThrottled, sentence)
}

fn calls_fail(recent: &Recent) -> Option<Verdict> {
    // Callers that give up are no failure of a server.
    let failed = |method: &MethodCounts| method.failed() - method.ended[Code::Cancelled as usize];
    let failing = |method: &&MethodCounts| {
        let (failed, all) = (failed(method), method.failed() + method.ok());
        failed >= FAILING_CALLS && failed as f64 >= all as f64 * FAILING_SHARE
    };
    let worst = recent.methods.iter().filter(failing).max_by_key(|method| failed(method))?;
    let (failed, all) = (failed(worst), worst.failed() + worst.ok());
    let (code, _) = worst.worst()?;
    let words = worst.last_failure.as_ref().filter(|last| last.code == code);
    let words = words.map_or_else(String::new, |last| format!(" \"{}\"", last.words));
    let (method, over, code) = (&worst.method, readable(recent.over), code_name(code));
    about_all(
        VerdictKind::CallsFail,
        format!(
            "{method}: {failed} of {all} calls failed in the last {over}, most with {code}{words}"
        ),
    )
}

fn many_retries(recent: &Recent) -> Option<Verdict> {
    let total = recent.total();
    let calls = total.failed() + total.ok();
    let many = calls >= ENOUGH_CALLS && total.retries as f64 > calls as f64 * MANY_RETRIES;
    many.then_some(())?;
    let (over, attempts) = (readable(recent.over), total.attempts_ended() as f64 / calls as f64);
    about_all(
        VerdictKind::ManyRetries,
        format!("{attempts:.2} attempts per call in the last {over}, {} retries", total.retries),
    )
}

fn servers_out(now: &Snapshot) -> Option<Verdict> {
    if now.state != Ready {
        return None;
    }
    if let [only] = &now.endpoints[..] {
        // It may be connected and in trouble: its links end before they are proven.
        return Some(of_endpoint(only)).filter(|verdict| !verdict.kind.is_well());
    }
    let out: Vec<_> =
        now.endpoints.iter().map(of_endpoint).filter(|one| !one.kind.is_well()).collect();
    let first = out.first()?;
    let (all, address) = (now.endpoints.len(), address_of(now, first.endpoint));
    let (count, take) = (out.len(), if out.len() == 1 { "takes" } else { "take" });
    about_all(
        VerdictKind::ServersOut,
        format!("{count} of {all} servers {take} no calls; {address}: {}", first.sentence),
    )
}

fn address_of(now: &Snapshot, id: EndpointId) -> &str {
    let of = |one: &&EndpointSnapshot| one.endpoint == id;
    now.endpoints.iter().find(of).map_or("", |one| &*one.addresses)
}

/// What costs no call now.
fn later(now: &Snapshot) -> Option<Verdict> {
    if let Some(last) = failed_lately(now) {
        let sentence = format!("an actor failed and was restarted: {last}");
        return about_all(VerdictKind::ActorFailed, sentence);
    }
    if let Some(why) = &now.tls_rejected {
        let sentence = format!("the TLS files cannot be used as they are: {}", shortened(why));
        return about_all(VerdictKind::TlsFilesRejected, sentence);
    }
    if let Some(why) = &now.lookup_failure {
        let why = shortened(why);
        let sentence = format!("the name is not looked up, its last addresses are used: {why}");
        return about_all(VerdictKind::LookupsFail, sentence);
    }
    now.pings_reduced.then_some(())?;
    let time = now.keepalive_time.map_or_else(|| "off".to_owned(), readable);
    about_all(
        VerdictKind::TooManyPings,
        format!("the server wants fewer keepalive pings: keepalive_time is {time} now"),
    )
}

fn well(now: &Snapshot) -> Verdict {
    let since = readable(now.since);
    let (kind, sentence) = match (now.draining, now.state) {
        (Some(draining), _) => {
            let left = draining.left.map_or_else(String::new, |left| {
                format!(", which may take {} more", readable(left))
            });
            (VerdictKind::Draining, format!("draining: {} calls run{left}", now.calls_open))
        }
        (None, Idle) if now.was_connected => {
            (VerdictKind::Idle, format!("idle since {since}: the next call connects"))
        }
        (None, Ready) => {
            let links: usize = now.endpoints.iter().map(|endpoint| endpoint.links.len()).sum();
            let servers = match (now.endpoints.len(), links) {
                (0 | 1, 0 | 1) => String::new(),
                (servers, links) => format!(", {servers} servers, {links} links"),
            };
            (VerdictKind::Healthy, format!("healthy, connected for {since}{servers}"))
        }
        (None, ConnectivityState::Connecting | ConnectivityState::TransientFailure | Idle) => {
            let waiting = waiting(now);
            (VerdictKind::Connecting, format!("connecting since {since}{waiting}"))
        }
        (None, Shutdown) => (VerdictKind::Closed, "closed".to_owned()),
    };
    Verdict { kind, sentence, endpoint: EndpointId::default() }
}

impl Verdict {
    /// What to do about it.
    pub fn action(&self) -> &'static str {
        self.kind.action()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}
