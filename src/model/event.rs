//! What can happen to a supervised channel: the facts that it announces, each once and in order.
//!
//! What is said of each, its level, sentence and fields, stands in `facts`. The comments here are
//! the text of `docs/events.md`, too: a test makes the page from them.

use super::{
    cause::ShedReason,
    endpoint::EndpointId,
    ends::LinkEnds,
    health::Health,
    ids::Incarnation,
    link::{DialFailure, GoAway, LinkEnd},
    state::ConnectivityState,
    step_times::StepTimes,
    text::{clean, clean_shared},
};
use std::{sync::Arc, time::Duration, time::SystemTime};
use tonic::Code;

/// One announced fact.
#[derive(Clone, Debug)]
#[non_exhaustive]
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

/// What can happen to a supervised channel. `{}` prints it as a sentence; its level, sentence and
/// fields stand in one table, from which the log, `--json` and `docs/events.md` are made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fact {
    /// The connectivity state changed.
    #[non_exhaustive]
    StateChanged {
        /// The state before.
        from: ConnectivityState,
        /// The state now.
        to: ConnectivityState,
        /// Why, in a sentence.
        cause: Arc<str>,
        /// The link it is about; on the way to CONNECTING the former one, 0 where there is none.
        incarnation: Incarnation,
    },
    /// The state of one endpoint changed, where there are several.
    #[non_exhaustive]
    SubchannelChanged {
        /// Which endpoint.
        endpoint: EndpointId,
        /// Its addresses, with commas between.
        addresses: Arc<str>,
        /// The state before.
        from: ConnectivityState,
        /// The state now.
        to: ConnectivityState,
        /// Why, in a sentence.
        cause: Arc<str>,
    },
    /// An endpoint was listed: it is dialled. Or, under `pick_first`, the one endpoint has other
    /// addresses. An only endpoint that was there from the start is not announced.
    #[non_exhaustive]
    EndpointAdded {
        /// Its number.
        endpoint: EndpointId,
        /// Its addresses, with commas between.
        addresses: Arc<str>,
    },
    /// An endpoint is listed no more: it gets no new calls, and its links close when those they
    /// have are over.
    #[non_exhaustive]
    EndpointRemoved {
        /// Its number, which it has again if it comes back.
        endpoint: EndpointId,
        /// Its addresses, with commas between.
        addresses: Arc<str>,
    },
    /// An endpoint of several was ejected, because `ejection.consecutive_failures` attempts in a
    /// row failed there, or because the call of its probation failed: it gets no calls for a while.
    #[non_exhaustive]
    EndpointEjected {
        /// Its number.
        endpoint: EndpointId,
        /// Its addresses, with commas between.
        addresses: Arc<str>,
        /// The method of the last call that failed, `pkg.Service/Method`.
        method: Arc<str>,
        /// For how long. Then calls go there one at a time, until one is answered.
        ejected_for: Duration,
    },
    /// An ejected endpoint is in use again: a call there was answered, or its last link was lost,
    /// or there are now so few endpoints that it may not be ejected, or the actor that knew of it
    /// was restarted.
    #[non_exhaustive]
    EndpointReturned {
        /// Its number.
        endpoint: EndpointId,
        /// Its addresses, with commas between.
        addresses: Arc<str>,
    },
    /// A lookup of the channel's name gave the first answer, another list than the one before, or
    /// an answer after failures. One that says what is known already is not announced.
    #[non_exhaustive]
    NameResolved {
        /// How many endpoints there are.
        endpoints: u32,
        /// How long the lookup took.
        took: Duration,
    },
    /// A lookup of the channel's name failed, was empty or had no answer: the list of endpoints
    /// stays as it is. Where the name is dialled until it is known, as under `pick_first`, it is
    /// `DialFailed` that says so before the first answer.
    #[non_exhaustive]
    ResolveFailed {
        /// Why.
        cause: Arc<str>,
        /// How many in a row have failed.
        failures: u32,
        /// How long the lookup took.
        took: Duration,
    },
    /// A dial began: name lookup; connection, TLS and HTTP/2 handshake, at each address of the
    /// target until one gives a link.
    #[non_exhaustive]
    DialStarted {
        /// The link to be.
        incarnation: Incarnation,
        /// Which endpoint.
        endpoint: EndpointId,
        /// How many dials failed, or links were lost unproven, since a link was last proven.
        failures: u32,
    },
    /// A dial gave no link. `BackoffStarted` follows. Before the first `LinkEstablished`, the
    /// second dial in a row that found a wrong peer at every address, and each further one, also
    /// ends the calls that wait.
    #[non_exhaustive]
    DialFailed {
        /// The link that did not come to be.
        incarnation: Incarnation,
        /// Which endpoint.
        endpoint: EndpointId,
        /// The step that failed (the furthest, of several addresses), a sentence with each address,
        /// whether `connect_timeout` ran out, and whether every address refused: nobody listens.
        failure: DialFailure,
        /// How long that step took, and those before it; of several addresses, at the one that came
        /// furthest.
        steps: Box<StepTimes>,
    },
    /// The TLS files cannot be used as they are now (half-written, not PEM, certificate and key
    /// that do not belong together): the dial goes on with what was read before, and the next one
    /// reads again. Where there is nothing from before, the dial fails instead.
    #[non_exhaustive]
    TlsMaterialRejected {
        /// The link to be.
        incarnation: Incarnation,
        /// Which key, which file, and what is wrong with it.
        cause: Arc<str>,
    },
    /// The peer's SETTINGS were read: calls can start.
    #[non_exhaustive]
    LinkEstablished {
        /// The link.
        incarnation: Incarnation,
        /// Which endpoint.
        endpoint: EndpointId,
        /// From the start of the dial.
        took: Duration,
        /// How long each of its steps took, at the address that gave the link. A name whose
        /// addresses are known already is not looked up by the dial: `NameResolved` has that time.
        steps: Box<StepTimes>,
        /// The peer's MAX_CONCURRENT_STREAMS, if it set one; as many calls run on the link as the
        /// smaller of it and `max_in_flight` says.
        max_concurrent_streams: Option<u32>,
        /// Both addresses, and the TLS between them.
        ends: LinkEnds,
    },
    /// The link is proven: it answered a call, or lived for `reconnect.stable_after`. The waits
    /// between dials start over.
    #[non_exhaustive]
    BackoffReset {
        /// The link.
        incarnation: Incarnation,
    },
    /// What is known of the health of the server at a link's other end changed. `unknown` is not
    /// announced: a link begins with it where `health.service` is configured.
    #[non_exhaustive]
    HealthChanged {
        /// The link.
        incarnation: Incarnation,
        /// Which endpoint.
        endpoint: EndpointId,
        /// What is known now.
        health: Health,
        /// Where that comes from, in a sentence.
        cause: Arc<str>,
    },
    /// Half of `keepalive_timeout` has passed since a PING, and no byte came: new calls go to other
    /// links, if there are any. `LinkCleared` or `KeepaliveLost` follows.
    #[non_exhaustive]
    LinkSuspected {
        /// The link.
        incarnation: Incarnation,
        /// Which endpoint.
        endpoint: EndpointId,
    },
    /// A byte came on a link that was suspect.
    #[non_exhaustive]
    LinkCleared {
        /// The link.
        incarnation: Incarnation,
        /// Which endpoint.
        endpoint: EndpointId,
    },
    /// The peer said GOAWAY: no new calls on this link, those in flight may finish, a successor is
    /// dialled.
    #[non_exhaustive]
    GoAwayReceived {
        /// The link.
        incarnation: Incarnation,
        /// Which endpoint.
        endpoint: EndpointId,
        /// The last stream id, the HTTP/2 error code and the peer's debug text.
        goaway: GoAway,
    },
    /// No byte came within `keepalive_timeout` of a PING. `LinkLost` follows.
    #[non_exhaustive]
    KeepaliveLost {
        /// The link.
        incarnation: Incarnation,
        /// Which endpoint.
        endpoint: EndpointId,
    },
    /// The peer complained of too many pings (GOAWAY ENHANCE_YOUR_CALM, `too_many_pings`): they go
    /// out more rarely from now on (gRPC A8).
    #[non_exhaustive]
    KeepaliveBackedOff {
        /// The new keepalive time for this target.
        keepalive_time: Duration,
        /// Whether pings go on while no call is open.
        while_idle: bool,
    },
    /// A link ended, for whatever reason: lost, drained after a GOAWAY, or closed by this side
    /// (also because more than `max_draining_links` were finishing their calls).
    #[non_exhaustive]
    LinkLost {
        /// The link.
        incarnation: Incarnation,
        /// Which endpoint.
        endpoint: EndpointId,
        /// Why: a sentence, and the label of gRPC A94's `grpc.disconnect_error`.
        end: LinkEnd,
        /// How long it lived.
        lived: Duration,
        /// Whether the channel still used it; false for one already replaced after a GOAWAY.
        current: bool,
    },
    /// The next dial waits. Announced again when the first call to wait cuts a longer wait short.
    #[non_exhaustive]
    BackoffStarted {
        /// Which endpoint.
        endpoint: EndpointId,
        /// From now until the dial.
        delay: Duration,
        /// Which wait this is since a link was last proven, from 0.
        attempt: u32,
        /// Whether calls are waiting, which makes the schedule quick.
        calls_waiting: bool,
    },
    /// One of the actors panicked or returned an error: a bug, not the network. It is restarted,
    /// and no call is lost by it. A panic of your connector, its streams or a hook is none: it is
    /// `DialFailed`, `LinkLost` or a failed attempt. Nor is the end of the runtime.
    #[non_exhaustive]
    ChildFailed {
        /// `supervisor`, `connection` or `request`.
        child: &'static str,
        /// Its panic message or error.
        error: Arc<str>,
    },
    /// Actors failed more often than `intensity` allows. Announced once; restarts go on at the
    /// slowest pace. Under `spawn_linked` the supervisor ends here, and your actor gets a
    /// `SupervisionEvent`.
    #[non_exhaustive]
    IntensityReached {
        /// How many failures were counted.
        failures: u32,
        /// In which time.
        period: Duration,
    },
    /// A call was refused: at once with RESOURCE_EXHAUSTED, because the queue is full; or, when it
    /// had waited, with DEADLINE_EXCEEDED, because it would not finish within its deadline.
    #[non_exhaustive]
    CallShed {
        /// `pkg.Service/Method`.
        method: Arc<str>,
        /// Which bound: `queue.max_calls`, `queue.max_bytes`, or the call's deadline.
        reason: ShedReason,
    },
    /// An attempt failed and will be retried by policy.
    #[non_exhaustive]
    RetryScheduled {
        /// `pkg.Service/Method`.
        method: Arc<str>,
        /// The endpoint where the attempt failed; the retry goes to another one that has room, if
        /// there is one. 0: it never got a link.
        endpoint: EndpointId,
        /// The code the attempt failed with.
        code: Code,
        /// Why: the peer's own words, where it sent some.
        cause: Arc<str>,
        /// Retry n, from 1.
        retry: u32,
        /// Of at most this many; none: unlimited until the deadline.
        of: Option<u32>,
        /// From now until the retry.
        delay: Duration,
    },
    /// A retry was due by policy, but the retry throttle forbade it: too many are owed. The call
    /// ends with the attempt's status.
    #[non_exhaustive]
    RetryThrottled {
        /// `pkg.Service/Method`.
        method: Arc<str>,
        /// The code the attempt failed with.
        code: Code,
    },
    /// `shutdown` was called, or the last handle was dropped: nothing new is accepted, and what
    /// waits ends with CANCELLED.
    #[non_exhaustive]
    DrainStarted {
        /// How long calls in flight may take; none: as long as they need.
        grace: Option<Duration>,
    },
    /// The supervisor is gone, and every call is answered. The last event.
    #[non_exhaustive]
    Closed {
        /// Why, where nobody asked for it: under `spawn_linked`, say, the actor above ended.
        cause: Option<Arc<str>>,
    },
}

impl Fact {
    /// The same fact with all text from outside made printable, before anyone reads it.
    pub(crate) fn cleaned(mut self) -> Self {
        match &mut self {
            Self::EndpointAdded { addresses, .. }
            | Self::EndpointRemoved { addresses, .. }
            | Self::EndpointEjected { addresses, .. }
            | Self::EndpointReturned { addresses, .. } => clean_shared(addresses),
            Self::SubchannelChanged { addresses, cause, .. } => {
                clean_shared(addresses);
                clean_shared(cause);
            }
            Self::StateChanged { cause, .. }
            | Self::ResolveFailed { cause, .. }
            | Self::HealthChanged { cause, .. }
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
}
