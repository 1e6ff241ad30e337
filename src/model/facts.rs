//! The table of facts: the level, the sentence and the fields of each, written down once.
//!
//! Log lines, [`EventLines`](crate::EventLines), `--json` and `docs/events.md` are made from it.
//! A row is: the fact with all its fields, its level, and its sentence as `format!` takes it. A
//! variant without a row does not compile.

use super::{
    cause::RUNTIME_ENDED,
    code::code_name,
    event::Fact,
    field::{AsFields, Field, Names},
    health::Health,
    level::Level::{self, Debug, Error, Info, Warn},
    link::GoAway,
    step_times::StepTimes,
    text::readable,
};
use std::{fmt, sync::Arc, time::Duration};

macro_rules! facts {
    ($($name:ident { $($field:ident),+ } $level:expr, $($sentence:expr),+;)+) => {
        impl Fact {
            /// The variant's name, as it stands in log lines and in JSON.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => stringify!($name),)+
                }
            }

            /// How much it matters. Facts that a peer or a caller can cause at will are written
            /// at this level only now and then, and at DEBUG otherwise.
            #[allow(unused_variables, reason = "few levels depend on the fields")]
            pub fn level(&self) -> Level {
                match self {
                    $(Self::$name { $($field),+ } => $level,)+
                }
            }

            /// Its fields, always the same names in the same order for each kind of fact.
            ///
            /// ```
            /// # use tonic_supervisor::{Fact, FieldValue};
            /// fn print(fact: &Fact) {
            ///     print!("{}", fact.name());
            ///     for field in fact.fields() {
            ///         print!(" {}={}", field.name(), field.value());
            ///     }
            /// }
            /// ```
            pub fn fields(&self) -> Vec<Field<'_>> {
                let mut all = Vec::new();
                match self {
                    $(Self::$name { $($field),+ } => {$(
                        let names = Names {
                            plain: stringify!($field),
                            ms: concat!(stringify!($field), "_ms"),
                        };
                        $field.put(names, &mut all);
                    )+})+
                }
                all
            }

            /// The names of all facts.
            #[cfg(test)]
            pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),+];
        }

        impl fmt::Display for Fact {
            #[allow(unused_variables, reason = "few sentences have all fields")]
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name { $($field),+ } => write!(f, $($sentence),+),)+
                }
            }
        }
    };
}

facts! {
    StateChanged { from, to, cause, incarnation }
        Debug, "{from} -> {to}: {cause}";
    SubchannelChanged { endpoint, addresses, from, to, cause }
        Debug, "endpoint {addresses}: {from} -> {to}: {cause}";
    EndpointAdded { endpoint, addresses }
        Info, "endpoint {endpoint} is listed: {addresses}";
    EndpointRemoved { endpoint, addresses }
        Info, "endpoint {endpoint} is listed no more: {addresses}";
    EndpointEjected { endpoint, addresses, method, ejected_for }
        Warn, "endpoint {addresses} is ejected for {}, its calls keep failing: {method}",
        readable(*ejected_for);
    EndpointReturned { endpoint, addresses }
        Info, "endpoint {addresses} is in use again";
    NameResolved { endpoints, took }
        Debug, "the name was looked up in {}: {}", readable(*took), several(*endpoints);
    ResolveFailed { cause, failures, took }
        Warn, "no new addresses, and those known before stay in use: {cause}";
    DialStarted { incarnation, endpoint, failures }
        Debug, "dials, link {incarnation}";
    DialFailed { incarnation, endpoint, failure, steps }
        Debug, "{failure}{}", times(steps);
    TlsMaterialRejected { incarnation, cause }
        Warn, "TLS files rejected, the former ones stay in use: {cause}";
    LinkEstablished { incarnation, endpoint, took, steps, max_concurrent_streams, ends }
        Debug, "link {incarnation} is up after {}{}", readable(*took), times(steps);
    BackoffReset { incarnation }
        Debug, "link {incarnation} is proven: the waits between dials start over";
    HealthChanged { incarnation, endpoint, health, cause }
        health_level(*health), "{}: {cause}", health_words(*health);
    LinkSuspected { incarnation, endpoint }
        Debug, "link {incarnation} is suspect: a keepalive ping was not answered in half the time";
    LinkCleared { incarnation, endpoint }
        Debug, "link {incarnation} is not suspect any more: its peer has been heard";
    GoAwayReceived { incarnation, endpoint, goaway }
        if goaway.code == GoAway::NO_ERROR { Info } else { Warn }, "{goaway}";
    KeepaliveLost { incarnation, endpoint }
        Debug, "link {incarnation} is given up: no answer to a keepalive ping";
    KeepaliveBackedOff { keepalive_time, while_idle }
        Warn, "the peer wants fewer keepalive pings: keepalive_time is {} from now on",
        readable(*keepalive_time);
    LinkLost { incarnation, endpoint, end, lived, current }
        Debug, "link {incarnation} ended after {}: {end}", readable(*lived);
    BackoffStarted { endpoint, delay, attempt, calls_waiting }
        Debug, "dials again in {}", readable(*delay);
    ChildFailed { child, error }
        Error, "an actor failed and is restarted ({child}): {error}";
    IntensityReached { failures, period }
        Error, "actors keep failing, {failures} times in {}: restarts go on at the slowest pace",
        readable(*period);
    CallShed { method, reason }
        Warn, "call refused: {reason}: {method}";
    RetryScheduled { method, endpoint, code, cause, retry, of, delay }
        Info, "retry scheduled, {} in {}: {method}, {}: {cause}",
        numbered(*retry, *of), readable(*delay), code_name(*code);
    RetryThrottled { method, code }
        Warn, "retry throttled, retries are at their share of calls: {method}, {}",
        code_name(*code);
    DrainStarted { grace }
        Info, "draining: {}", allowed(*grace);
    Closed { cause }
        closed_level(cause.as_deref()), "closed{}", because(cause);
}

fn health_level(health: Health) -> Level {
    match health {
        Health::Unknown => Debug,
        Health::Serving => Info,
        Health::NotServing | Health::WatchBroken | Health::Unanswered => Warn,
        Health::Unsupported => Error,
    }
}

fn health_words(health: Health) -> &'static str {
    match health {
        Health::Unknown => "the server's health is asked for",
        Health::Serving => "the server is healthy",
        Health::NotServing => "the server does not serve",
        Health::Unsupported => "the server's health cannot be asked for, and counts as good",
        Health::WatchBroken => "the watch of the server's health is broken",
        Health::Unanswered => "the server does not answer",
    }
}

/// `1 of 3`; alone where there is no limit.
fn numbered(retry: u32, of: Option<u32>) -> String {
    of.map_or_else(|| retry.to_string(), |of| format!("{retry} of {of}"))
}

/// Of each step that was taken.
fn times(steps: &StepTimes) -> String {
    match steps.to_string().as_str() {
        "" => String::new(),
        steps => format!(" ({steps})"),
    }
}

fn several(endpoints: u32) -> String {
    format!("{endpoints} endpoint{}", if endpoints == 1 { "" } else { "s" })
}

fn allowed(grace: Option<Duration>) -> String {
    match grace {
        Some(grace) => format!("what runs may take {} more", readable(grace)),
        None => "what runs may finish".to_owned(),
    }
}

fn because(cause: &Option<Arc<str>>) -> String {
    cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"))
}

/// A program that returns from `main` drops its runtime: that is no failure.
fn closed_level(cause: Option<&str>) -> Level {
    if cause.is_none_or(|cause| cause == RUNTIME_ENDED) { Info } else { Error }
}
