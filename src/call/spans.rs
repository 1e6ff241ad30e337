//! The `tracing` spans of a call and of its attempts, under OpenTelemetry's names (semantic
//! conventions for RPC; gRPC A72). All spans of this crate are made here, with the target
//! `tonic_supervisor::call` and at DEBUG.
//!
//! ```text
//! call     from its submission to its answer; its parent is the span that its caller was in
//! attempt  one for each, below the call's; whoever answers it can hang theirs below it
//! ```
//!
//! Where nobody wants them a call has none, which costs it a look at tracing's switch. Whoever
//! gets them is no code of ours: nothing is told while a call's lock is held, and a panic costs
//! spans and no call. An attempt may begin on a thread where another subscriber listens than where
//! its call was made: all that is told of a call goes to the subscriber that its span went to.

use super::method::Method;
use crate::{
    model::{Address, NotRetried, Waits, code_name, printable},
    transport::Link,
    unwind::caught,
};
use std::{borrow::Cow, sync::Arc, time::Duration};
use tonic::Code;
use tracing::{
    Span,
    dispatcher::{Dispatch, with_default},
    field::Empty,
};

/// A span with the one target that filters go by.
macro_rules! span {
    ($($rest:tt)+) => {
        tracing::debug_span!(target: "tonic_supervisor::call", $($rest)+)
    };
}

/// The spans of one call.
pub(crate) struct Spans {
    call: Arc<Span>,
    /// The span that the caller was in, where the call has none of its own, and is asked for one
    /// all the same: headers carry it to the server.
    caller: Arc<Span>,
    /// Of the attempt under way.
    attempt: Span,
    /// Where the last attempt went.
    peer: Option<Address>,
}

/// What an attempt's span is made of: taken while the call's lock is held, used when it is not.
pub(crate) struct NextAttempt {
    call: Arc<Span>,
    caller: Arc<Span>,
    /// Which attempt it is, from 0.
    pub(crate) number: u32,
    /// How many were made before, without transparent ones.
    pub(crate) before: u32,
    /// Whether it is made again because the server never saw the last one.
    pub(crate) transparent: bool,
    /// Whether the call waited for it among those that wait for a link, or for room.
    pub(crate) delayed: bool,
}

/// How a call ended.
pub(super) struct Ended<'a> {
    pub(super) code: Code,
    /// What is said of its failure.
    pub(super) words: Option<&'a str>,
    pub(super) retries: u32,
    pub(super) transparent: u32,
    pub(super) waits: Waits,
    pub(super) not_retried: Option<NotRetried>,
}

impl<'a> Ended<'a> {
    /// Before it began.
    pub(super) fn refused(code: Code, words: Option<&'a str>) -> Self {
        let (waits, not_retried) = (Waits::default(), None);
        Self { code, words, retries: 0, transparent: 0, waits, not_retried }
    }
}

impl Spans {
    /// Of a call that is made now, by whoever is on this thread. None where nobody wants to know.
    pub(crate) fn new(method: &Method, is_propagated: bool) -> Option<Box<Self>> {
        let call = caught(|| call_span(method)).unwrap_or_else(|_| Span::none());
        if call.is_disabled() && !is_propagated {
            return None;
        }
        let caller = match call.is_disabled() {
            true => caught(Span::current).unwrap_or_else(|_| Span::none()),
            false => Span::none(),
        };
        let (call, caller) = (Arc::new(call), Arc::new(caller));
        Some(Box::new(Self { call, caller, attempt: Span::none(), peer: None }))
    }

    /// What the span of an attempt that begins now is made of.
    pub(super) fn next(
        &mut self,
        peer: &Address,
        (number, before): (u32, u32),
        transparent: bool,
        delayed: bool,
    ) -> Box<NextAttempt> {
        self.peer = Some(peer.clone());
        let (call, caller) = (self.call.clone(), self.caller.clone());
        Box::new(NextAttempt { call, caller, number, before, transparent, delayed })
    }

    /// The span of the attempt that began.
    pub(super) fn attempt_began(&mut self, span: Span) {
        self.attempt = span;
    }

    /// The same, when the attempt ends.
    pub(super) fn attempt_ended(&mut self) -> Span {
        std::mem::replace(&mut self.attempt, Span::none())
    }

    /// The call's own, to say something there.
    pub(super) fn of_call(&self) -> Arc<Span> {
        self.call.clone()
    }

    /// The call ends, and with it whatever attempt is under way.
    pub(super) fn end(self: Box<Self>, ended: &Ended<'_>) {
        // Its spans end with it, which may panic, too.
        let _ = caught(move || self.tell_end(ended));
    }

    fn tell_end(self, ended: &Ended<'_>) {
        let Self { call, attempt, peer, .. } = self;
        end_attempt(attempt, ended.code, ended.words);
        if call.is_disabled() {
            return;
        }
        if let Some(peer) = &peer {
            let (address, port) = place(peer);
            call.record("network.peer.address", &*address);
            call.record("network.peer.port", port);
        }
        call.record("tonic_supervisor.retries", i64::from(ended.retries));
        call.record("tonic_supervisor.transparent_retries", i64::from(ended.transparent));
        for (name, time) in WAITS.into_iter().zip(ended.waits.by_reason().map(|(_, time)| time)) {
            let millis = millis(time);
            if millis > 0 {
                call.record(name, millis);
            }
        }
        if let Some(reason) = ended.not_retried {
            call.record("tonic_supervisor.not_retried", tracing::field::display(reason));
        }
        record_status(&call, ended.code, ended.words.unwrap_or_default());
    }
}

impl NextAttempt {
    /// Begins the attempt's span, and does `within` in it, or in the innermost that somebody wants.
    pub(crate) fn begin<T>(
        &self,
        method: &Method,
        link: &Link,
        within: Option<impl FnOnce() -> T>,
    ) -> (Span, Option<T>) {
        if self.delayed {
            pick_complete(&self.call);
        }
        let outer = if self.call.is_disabled() { &self.caller } else { &self.call };
        let begun = caught(|| {
            told_to(outer, || {
                let span = self.span(method, link);
                let inner: &Span = if span.is_disabled() { outer } else { &span };
                let done = within.map(|within| match inner.is_disabled() {
                    true => in_no_span(within),
                    false => inner.in_scope(within),
                });
                (span, done)
            })
        });
        begun.unwrap_or_else(|_| (Span::none(), None))
    }

    fn span(&self, method: &Method, link: &Link) -> Span {
        if self.call.is_disabled() {
            return Span::none();
        }
        let (address, port) = place(link.peer().address());
        let name = printable(&method.name);
        span!(
            parent: &*self.call,
            "attempt",
            "otel.name" = format_args!("Attempt.{name}"),
            "otel.kind" = "client",
            "otel.status_code" = Empty,
            "otel.status_description" = Empty,
            "rpc.system.name" = "grpc",
            "rpc.method" = &*name,
            "rpc.status_code" = Empty,
            "error.type" = Empty,
            "network.peer.address" = &*address,
            "network.peer.port" = port,
            "previous-rpc-attempts" = i64::from(self.before),
            "transparent-retry" = self.transparent,
            "tonic_supervisor.incarnation" = number(link.incarnation().0),
        )
    }
}

/// A call that waited for a link, or for room, waits no more.
pub(super) fn pick_complete(call: &Span) {
    if call.is_disabled() {
        return;
    }
    let _ = caught(|| {
        told_to(call, || {
            tracing::debug!(
                target: "tonic_supervisor::call",
                parent: call,
                "Delayed LB pick complete"
            );
        });
    });
}

/// An attempt ends; nothing happens if it has no span.
pub(super) fn end_attempt(attempt: Span, code: Code, words: Option<&str>) {
    if attempt.is_disabled() {
        return;
    }
    let name = code_name(code);
    let description = words.map_or_else(|| name.into(), |words| format!("{name}, {words}"));
    let _ = caught(move || record_status(&attempt, code, &description));
}

/// Whoever begins an attempt is in fewer spans, or is left in the rest.
const MOST_LEFT: usize = 16;

const WAITS: [&str; 4] = [
    "tonic_supervisor.waits.link_ms",
    "tonic_supervisor.waits.room_ms",
    "tonic_supervisor.waits.credentials_ms",
    "tonic_supervisor.waits.retry_ms",
];

fn call_span(method: &Method) -> Span {
    span!(
        "call",
        "otel.name" = &*printable(&method.name),
        "otel.kind" = "client",
        "otel.status_code" = Empty,
        "otel.status_description" = Empty,
        "rpc.system.name" = "grpc",
        "rpc.method" = &*printable(&method.name),
        "rpc.status_code" = Empty,
        "error.type" = Empty,
        "server.address" = &*place(&method.server).0,
        "server.port" = place(&method.server).1,
        "network.peer.address" = Empty,
        "network.peer.port" = Empty,
        "tonic_supervisor.retries" = Empty,
        "tonic_supervisor.transparent_retries" = Empty,
        "tonic_supervisor.not_retried" = Empty,
        "tonic_supervisor.waits.link_ms" = Empty,
        "tonic_supervisor.waits.room_ms" = Empty,
        "tonic_supervisor.waits.credentials_ms" = Empty,
        "tonic_supervisor.waits.retry_ms" = Empty,
    )
}

/// To a client every code but OK is an error. A status that is well is left unset, as OpenTelemetry
/// has it.
fn record_status(span: &Span, code: Code, description: &str) {
    let name = code_name(code);
    span.record("rpc.status_code", name);
    if code != Code::Ok {
        span.record("error.type", name);
        span.record("otel.status_code", "ERROR");
        span.record("otel.status_description", description);
    }
}

/// Does `what` where this span's subscriber listens.
fn told_to<T>(span: &Span, what: impl FnOnce() -> T) -> T {
    let subscriber = span.with_subscriber(|(_, subscriber)| Dispatch::clone(subscriber));
    match subscriber {
        Some(subscriber) => with_default(&subscriber, what),
        None => what(),
    }
}

/// Does `what` where no span is current: those of the actor that happens to run it would be taken
/// for the call's.
fn in_no_span<T>(what: impl FnOnce() -> T) -> T {
    let current = || Some(Span::current()).filter(|span| !span.is_disabled());
    let mut left = Vec::new();
    // A subscriber may say that one is current that was left.
    while let Some(span) = current().filter(|_| left.len() < MOST_LEFT) {
        span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
        left.push(span);
    }
    let done = what();
    for span in left.iter().rev() {
        span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
    }
    done
}

/// An address as OpenTelemetry has it: a socket's is its path or its name, and it has no port.
fn place(address: &Address) -> (Cow<'_, str>, Option<i64>) {
    let host = address.host();
    let socket = host.strip_prefix("unix:").or_else(|| host.strip_prefix("unix-abstract:"));
    match socket {
        Some(socket) => (printable(socket), None),
        None => (printable(host), Some(address.port().into())),
    }
}

/// OpenTelemetry's numbers have a sign.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_no_port_and_an_address_has_one() {
        let placed = |host: &str, port| {
            let address = Address::new(host, port);
            let (host, port) = place(&address);
            (host.into_owned(), port)
        };
        assert_eq!(placed("10.0.0.7", 50_051), ("10.0.0.7".into(), Some(50_051)));
        assert_eq!(placed("::1", 1), ("::1".into(), Some(1)));
        assert_eq!(placed("unix:/run/queue.sock", 0), ("/run/queue.sock".into(), None));
        assert_eq!(placed("unix-abstract:queue", 0), ("queue".into(), None));
    }

    #[test]
    fn the_names_of_waits_are_those_of_their_reasons() {
        let names = Waits::default()
            .by_reason()
            .map(|(reason, _)| format!("tonic_supervisor.waits.{reason}_ms"));
        assert_eq!(names, WAITS);
    }

    #[test]
    fn numbers_without_an_end_are_cut() {
        assert_eq!((number(7), number(u64::MAX)), (7, i64::MAX));
        assert_eq!((millis(Duration::from_micros(1_999)), millis(Duration::MAX)), (1, i64::MAX));
    }
}
