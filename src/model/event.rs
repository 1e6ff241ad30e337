//! What the supervisor announces: facts in the past tense, each once, in order.

use super::{
    code::code_name,
    failure::ShedReason,
    ids::Incarnation,
    link::{DialFailure, GoAway, LinkEnd},
    state::ConnectivityState,
    text::{clean, clean_shared, spelled},
};
use std::{fmt, sync::Arc, time::Duration, time::SystemTime};
use tonic::Code;

/// One announced fact.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the supervisor's history, from 1, without gaps.
    pub seq: u64,
    /// When it happened.
    pub at: SystemTime,
    /// Since the supervisor was spawned.
    pub since_spawn: Duration,
    /// What happened.
    pub fact: Fact,
}

/// What can happen to a supervised channel. `{}` prints it as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fact {
    /// The channel's connectivity state changed; `cause` says why in a sentence.
    StateChanged {
        /// The state before.
        from: ConnectivityState,
        /// The state now.
        to: ConnectivityState,
        /// Why.
        cause: Arc<str>,
        /// The link it is about.
        incarnation: Incarnation,
    },
    /// A dial began.
    DialStarted {
        /// The link to be.
        incarnation: Incarnation,
        /// How many dials failed, or links were lost unproven, since a link was last proven.
        failures: u32,
    },
    /// A dial failed.
    DialFailed {
        /// The link that did not come to be.
        incarnation: Incarnation,
        /// Why.
        failure: DialFailure,
    },
    /// The TLS files cannot be used as they are now: the dial goes on with what was read before,
    /// and the next one reads again.
    TlsMaterialRejected {
        /// The link to be.
        incarnation: Incarnation,
        /// Which file, and what is wrong with it.
        cause: Arc<str>,
    },
    /// A link is up: the peer's SETTINGS were read.
    LinkEstablished {
        /// The link.
        incarnation: Incarnation,
        /// From the start of the dial.
        took: Duration,
        /// The peer's MAX_CONCURRENT_STREAMS, if it set one.
        max_concurrent_streams: Option<u32>,
    },
    /// The link answered a call, or lived for `reconnect.stable_after`: the backoff starts over.
    BackoffReset {
        /// The link.
        incarnation: Incarnation,
    },
    /// The peer said GOAWAY: no new calls on this link, those in flight may finish.
    GoAwayReceived {
        /// The link.
        incarnation: Incarnation,
        /// The frame.
        goaway: GoAway,
    },
    /// No answer to a keepalive PING in time; the link is given up.
    KeepaliveLost {
        /// The link.
        incarnation: Incarnation,
    },
    /// The peer complained of too many pings: they go out more rarely from now on (gRPC A8).
    KeepaliveBackedOff {
        /// The new keepalive time for this target.
        keepalive_time: Duration,
        /// Whether pings go on while no call is open.
        while_idle: bool,
    },
    /// A link ended.
    LinkLost {
        /// The link.
        incarnation: Incarnation,
        /// Why.
        end: LinkEnd,
        /// How long it lived.
        lived: Duration,
        /// Whether it was the channel's current link (not one already replaced after a GOAWAY).
        current: bool,
    },
    /// The next dial waits.
    BackoffStarted {
        /// From now until the dial.
        delay: Duration,
        /// Which wait this is since a link was last proven, from 0.
        attempt: u32,
        /// Whether calls are waiting, which makes the schedule quick.
        calls_waiting: bool,
    },
    /// A child actor panicked or returned an error.
    ChildFailed {
        /// `supervisor`, `connection` or `request`.
        child: &'static str,
        /// What it said.
        error: Arc<str>,
    },
    /// Children failed more than `intensity.restarts` times in `intensity.period`: restarts go on
    /// at the slowest pace.
    IntensityReached {
        /// How many failures were counted.
        failures: u32,
        /// In which period.
        period: Duration,
    },
    /// A call was refused because the waiting room is full.
    CallShed {
        /// `pkg.Service/Method`.
        method: Arc<str>,
        /// Which bound.
        reason: ShedReason,
    },
    /// A failed attempt will be retried by policy.
    RetryScheduled {
        /// `pkg.Service/Method`.
        method: Arc<str>,
        /// The code the attempt failed with.
        code: Code,
        /// Why it failed.
        cause: Arc<str>,
        /// Retry n, from 1.
        retry: u32,
        /// Of at most this many; none: unlimited until the deadline.
        of: Option<u32>,
        /// From now until the retry.
        delay: Duration,
    },
    /// A retry was due by policy, but the retry throttle forbade it: too many are owed.
    RetryThrottled {
        /// `pkg.Service/Method`.
        method: Arc<str>,
        /// The code the attempt failed with.
        code: Code,
    },
    /// Draining began: nothing new is accepted, what runs may finish.
    DrainStarted {
        /// How long calls in flight may take; none: as long as they need.
        grace: Option<Duration>,
    },
    /// The supervisor is gone: the last event.
    Closed {
        /// Why, where it was not asked for.
        cause: Option<Arc<str>>,
    },
}

impl Fact {
    /// With all text from outside made printable: before it is told to anyone.
    pub(crate) fn cleaned(mut self) -> Self {
        match &mut self {
            Self::StateChanged { cause, .. }
            | Self::TlsMaterialRejected { cause, .. }
            | Self::RetryScheduled { cause, .. }
            | Self::ChildFailed { error: cause, .. }
            | Self::Closed { cause: Some(cause) } => clean_shared(cause),
            Self::DialFailed { failure, .. } => clean(&mut failure.reason),
            Self::GoAwayReceived { goaway, .. }
            | Self::LinkLost { end: LinkEnd::GoAway(goaway), .. } => {
                clean(&mut goaway.debug);
            }
            Self::LinkLost { end: LinkEnd::Io { text, .. }, .. }
            | Self::LinkLost {
                end: LinkEnd::Protocol(text) | LinkEnd::ActorFailed(text), ..
            } => clean(text),
            _ => {}
        }
        self
    }

    /// The variant's name, as it stands in logs and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StateChanged { .. } => "StateChanged",
            Self::DialStarted { .. } => "DialStarted",
            Self::DialFailed { .. } => "DialFailed",
            Self::TlsMaterialRejected { .. } => "TlsMaterialRejected",
            Self::LinkEstablished { .. } => "LinkEstablished",
            Self::BackoffReset { .. } => "BackoffReset",
            Self::GoAwayReceived { .. } => "GoAwayReceived",
            Self::KeepaliveLost { .. } => "KeepaliveLost",
            Self::KeepaliveBackedOff { .. } => "KeepaliveBackedOff",
            Self::LinkLost { .. } => "LinkLost",
            Self::BackoffStarted { .. } => "BackoffStarted",
            Self::ChildFailed { .. } => "ChildFailed",
            Self::IntensityReached { .. } => "IntensityReached",
            Self::CallShed { .. } => "CallShed",
            Self::RetryScheduled { .. } => "RetryScheduled",
            Self::RetryThrottled { .. } => "RetryThrottled",
            Self::DrainStarted { .. } => "DrainStarted",
            Self::Closed { .. } => "Closed",
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateChanged { from, to, cause, .. } => write!(f, "{from} -> {to}: {cause}"),
            Self::DialStarted { incarnation, .. } => write!(f, "dials, link {incarnation}"),
            Self::DialFailed { failure, .. } => failure.fmt(f),
            Self::TlsMaterialRejected { cause, .. } => {
                write!(f, "TLS files rejected, the former ones stay in use: {cause}")
            }
            Self::LinkEstablished { incarnation, took, .. } => {
                write!(f, "link {incarnation} is up after {}", spelled(*took))
            }
            Self::BackoffReset { incarnation } => {
                write!(f, "link {incarnation} is proven: the waits between dials start over")
            }
            Self::GoAwayReceived { goaway, .. } => goaway.fmt(f),
            Self::KeepaliveLost { incarnation } => {
                write!(f, "link {incarnation} is given up: no answer to a keepalive ping")
            }
            Self::KeepaliveBackedOff { keepalive_time, .. } => {
                let time = spelled(*keepalive_time);
                write!(
                    f,
                    "the peer wants fewer keepalive pings: keepalive_time is {time} from now on"
                )
            }
            Self::LinkLost { incarnation, end, lived, .. } => {
                write!(f, "link {incarnation} ended after {}: {end}", spelled(*lived))
            }
            Self::BackoffStarted { delay, .. } => write!(f, "dials again in {}", spelled(*delay)),
            Self::ChildFailed { child, error } => {
                write!(f, "an actor ({child}) failed and is restarted: {error}")
            }
            Self::IntensityReached { failures, period } => {
                let period = spelled(*period);
                write!(
                    f,
                    "actors failed {failures} times in {period}: restarts go on at the slowest pace"
                )
            }
            Self::CallShed { method, reason } => write!(f, "{method} was refused: {reason}"),
            Self::RetryScheduled { method, code, cause, retry, of, delay } => {
                let (code, delay) = (code_name(*code), spelled(*delay));
                match of {
                    Some(of) => {
                        write!(f, "{method}: {code}, retry {retry} of {of} in {delay}: {cause}")
                    }
                    None => write!(f, "{method}: {code}, retry {retry} in {delay}: {cause}"),
                }
            }
            Self::RetryThrottled { method, code } => {
                let code = code_name(*code);
                write!(f, "{method}: {code}, and no retry: retries are at their share of calls")
            }
            Self::DrainStarted { grace: Some(grace) } => {
                write!(f, "draining: what runs may take {} more", spelled(*grace))
            }
            Self::DrainStarted { grace: None } => f.write_str("draining: what runs may finish"),
            Self::Closed { cause: Some(cause) } => write!(f, "closed: {cause}"),
            Self::Closed { cause: None } => f.write_str("closed"),
        }
    }
}
