//! One example of each fact, for tests of what is made of facts.

use super::{
    cause::ShedReason,
    endpoint::{Address, EndpointId},
    ends::LinkEnds,
    event::Fact,
    health::Health,
    ids::Incarnation,
    link::{DialFailure, DialStep, GoAway, LinkEnd},
    state::ConnectivityState,
    step_times::StepTimes,
};
use std::{sync::Arc, time::Duration};
use tonic::Code;

/// One example of each [`Fact`], to test a program's own handling of them: it cannot make facts
/// itself, since later versions may add fields.
pub fn every_fact() -> Vec<Fact> {
    let incarnation = Incarnation(3);
    let (endpoint, addresses) = (EndpointId(2), Arc::<str>::from("10.0.0.7:50051"));
    let method: Arc<str> = "pkg.Service/Method".into();
    let code = Code::Unavailable;
    let refused = "cannot connect to queue:50051: connection refused";
    vec![
        Fact::StateChanged {
            from: ConnectivityState::Ready,
            to: ConnectivityState::TransientFailure,
            cause: "the peer closed the connection".into(),
            incarnation,
        },
        Fact::SubchannelChanged {
            endpoint,
            addresses: addresses.clone(),
            from: ConnectivityState::Connecting,
            to: ConnectivityState::TransientFailure,
            cause: "no answer to a PING".into(),
        },
        Fact::EndpointAdded { endpoint, addresses: addresses.clone() },
        Fact::EndpointRemoved { endpoint, addresses: addresses.clone() },
        Fact::EndpointEjected {
            endpoint,
            addresses: addresses.clone(),
            method: method.clone(),
            ejected_for: Duration::from_millis(1_300),
        },
        Fact::EndpointReturned { endpoint, addresses },
        Fact::NameResolved { endpoints: 3, took: Duration::from_millis(2) },
        Fact::ResolveFailed {
            cause: "cannot resolve queue: timed out".into(),
            failures: 4,
            took: Duration::from_secs(5),
        },
        Fact::DialStarted { incarnation, endpoint, failures: 2 },
        Fact::DialFailed {
            incarnation,
            endpoint,
            failure: DialFailure {
                step: DialStep::Connect,
                reason: refused.into(),
                timed_out: false,
                refused: true,
            },
            steps: Box::new(StepTimes {
                resolve: Some(Duration::from_millis(2)),
                connect: Some(Duration::from_millis(1)),
                ..StepTimes::default()
            }),
        },
        Fact::TlsMaterialRejected {
            incarnation,
            cause: "ca.pem (grpc.tls.ca) has no certificate".into(),
        },
        Fact::LinkEstablished {
            incarnation,
            endpoint,
            took: Duration::from_millis(12),
            steps: Box::new(StepTimes {
                connect: Some(Duration::from_millis(9)),
                handshake: Some(Duration::from_millis(3)),
                ..StepTimes::default()
            }),
            max_concurrent_streams: Some(100),
            ends: LinkEnds::new(
                Some(Address::new("10.0.0.4", 51022)),
                Address::new("10.0.0.7", 50051),
                None,
            ),
        },
        Fact::BackoffReset { incarnation },
        Fact::HealthChanged {
            incarnation,
            endpoint,
            health: Health::NotServing,
            cause: "its health watch says NOT_SERVING".into(),
        },
        Fact::LinkSuspected { incarnation, endpoint },
        Fact::LinkCleared { incarnation, endpoint },
        Fact::GoAwayReceived {
            incarnation,
            endpoint,
            goaway: GoAway { last_stream_id: 7, code: 0, debug: "max_age".into() },
        },
        Fact::KeepaliveLost { incarnation, endpoint },
        Fact::KeepaliveBackedOff { keepalive_time: Duration::from_secs(60), while_idle: false },
        Fact::LinkLost {
            incarnation,
            endpoint,
            end: LinkEnd::KeepaliveTimeout,
            lived: Duration::from_secs(90),
            current: true,
        },
        Fact::BackoffStarted {
            endpoint,
            delay: Duration::from_millis(2_100),
            attempt: 1,
            calls_waiting: true,
        },
        Fact::ChildFailed { child: "request", error: "index out of bounds".into() },
        Fact::IntensityReached { failures: 6, period: Duration::from_secs(10) },
        Fact::CallShed { method: method.clone(), reason: ShedReason::TooManyCalls },
        Fact::RetryScheduled {
            method: method.clone(),
            endpoint,
            code,
            cause: "busy".into(),
            retry: 1,
            of: Some(3),
            delay: Duration::from_secs(1),
        },
        Fact::RetryThrottled { method, code },
        Fact::DrainStarted { grace: Some(Duration::from_secs(30)) },
        Fact::Closed { cause: None },
    ]
}
