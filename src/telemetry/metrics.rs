//! What happens to the channel, counted: gRPC A94's names where they exist, ours under
//! `tonic_supervisor.`.

use crate::model::{ConnectivityState, Fact};
use metrics::{counter, gauge};
use std::sync::Arc;

/// `security` is gRPC A94's `grpc.security_level`.
pub(super) fn record(fact: &Fact, target: &Arc<str>, security: &'static str) {
    let target = || metrics::SharedString::from(target.clone());
    match fact {
        Fact::StateChanged { to, .. } => {
            gauge!("tonic_supervisor.channel.state", "grpc.target" => target())
                .set(state_number(*to));
        }
        Fact::DialStarted { .. } => {
            counter!("tonic_supervisor.dials", "grpc.target" => target()).increment(1)
        }
        Fact::DialFailed { .. } => {
            counter!("grpc.subchannel.connection_attempts_failed", "grpc.target" => target())
                .increment(1);
        }
        Fact::LinkEstablished { ends, .. } => {
            if let Some(until) = ends.tls.as_ref().and_then(|tls| tls.certificate_until_unix()) {
                gauge!("tonic_supervisor.tls.certificate.not_after", "grpc.target" => target())
                    .set(until as f64);
            }
            counter!("grpc.subchannel.connection_attempts_succeeded", "grpc.target" => target())
                .increment(1);
            gauge!(
                "grpc.subchannel.open_connections",
                "grpc.target" => target(), "grpc.security_level" => security
            )
            .increment(1.0);
        }
        Fact::LinkLost { end, .. } => {
            counter!(
                "grpc.subchannel.disconnections",
                "grpc.target" => target(), "grpc.disconnect_error" => end.label()
            )
            .increment(1);
            gauge!(
                "grpc.subchannel.open_connections",
                "grpc.target" => target(), "grpc.security_level" => security
            )
            .decrement(1.0);
        }
        Fact::KeepaliveLost { .. } => {
            counter!("tonic_supervisor.keepalive.lost", "grpc.target" => target()).increment(1);
        }
        Fact::HealthChanged { health, .. } => {
            counter!(
                "tonic_supervisor.health.changes",
                "grpc.target" => target(), "health" => health.as_str()
            )
            .increment(1);
        }
        Fact::LinkSuspected { .. } => {
            counter!("tonic_supervisor.keepalive.suspected", "grpc.target" => target())
                .increment(1);
        }
        Fact::KeepaliveBackedOff { .. } => {
            counter!("tonic_supervisor.keepalive.backed_off", "grpc.target" => target())
                .increment(1);
        }
        Fact::GoAwayReceived { goaway, .. } => {
            counter!(
                "tonic_supervisor.goaways",
                "grpc.target" => target(), "code" => goaway.code_name()
            )
            .increment(1);
        }
        Fact::TlsMaterialRejected { .. } => {
            counter!("tonic_supervisor.tls.material_rejected", "grpc.target" => target())
                .increment(1);
        }
        Fact::ChildFailed { child, .. } => {
            counter!(
                "tonic_supervisor.child.failures",
                "grpc.target" => target(), "child" => *child
            )
            .increment(1);
        }
        Fact::IntensityReached { .. } => {
            counter!("tonic_supervisor.intensity.reached", "grpc.target" => target()).increment(1);
        }
        Fact::CallShed { reason, .. } => {
            counter!(
                "tonic_supervisor.calls.shed",
                "grpc.target" => target(), "reason" => reason.label()
            )
            .increment(1);
        }
        Fact::RetryThrottled { .. } => {
            counter!("tonic_supervisor.retries.throttled", "grpc.target" => target()).increment(1);
        }
        Fact::EndpointEjected { .. } => {
            counter!(
                "grpc.lb.outlier_detection.ejections_enforced",
                "grpc.target" => target(), METHOD => CONSECUTIVE
            )
            .increment(1);
        }
        Fact::SubchannelChanged { .. }
        | Fact::EndpointReturned { .. }
        | Fact::EndpointAdded { .. }
        | Fact::EndpointRemoved { .. }
        | Fact::ResolveFailed { .. }
        | Fact::BackoffStarted { .. }
        | Fact::BackoffReset { .. }
        | Fact::LinkCleared { .. }
        | Fact::RetryScheduled { .. }
        | Fact::DrainStarted { .. }
        | Fact::NameResolved { .. }
        | Fact::Closed { .. } => {}
    }
}

/// The label of gRPC A91 for the rule that ejects.
pub(super) const METHOD: &str = "grpc.lb.outlier_detection.detection_method";

/// The only rule that there is; A91 has others.
pub(super) const CONSECUTIVE: &str = "consecutive_failures";

/// The label of gRPC A91 for what kept an endpoint in use.
pub(super) const REASON: &str = "grpc.lb.outlier_detection.unenforced_reason";

/// As many are ejected as may be.
pub(super) const OVERFLOW: &str = "max_ejection_overflow";

/// An endpoint was to be ejected, and was not.
pub(super) fn ejection_unenforced(target: &Arc<str>) {
    let target = metrics::SharedString::from(target.clone());
    counter!(
        "grpc.lb.outlier_detection.ejections_unenforced",
        "grpc.target" => target, METHOD => CONSECUTIVE, REASON => OVERFLOW
    )
    .increment(1);
}

/// A handler was slow.
pub(super) fn slow_handler(target: &Arc<str>, child: &'static str) {
    let target = metrics::SharedString::from(target.clone());
    counter!("tonic_supervisor.handlers.slow", "grpc.target" => target, "child" => child)
        .increment(1);
}

/// A message was about a link that is no longer in use.
pub(super) fn stale(target: &Arc<str>, message: &'static str) {
    let target = metrics::SharedString::from(target.clone());
    counter!("tonic_supervisor.messages.stale", "grpc.target" => target, "message" => message)
        .increment(1);
}

/// How many calls wait for a link, or for room on it: by how many it changed, since several actors
/// and supervisors have one target.
pub(super) fn waiting_changed(target: &Arc<str>, before: usize, now: usize) {
    let target = metrics::SharedString::from(target.clone());
    let waiting = gauge!("tonic_supervisor.calls.waiting", "grpc.target" => target);
    match now.checked_sub(before) {
        Some(more) => waiting.increment(more as f64),
        None => waiting.decrement((before - now) as f64),
    }
}

/// The gauge's value: grpc-go's numbers for the states.
fn state_number(state: ConnectivityState) -> f64 {
    match state {
        ConnectivityState::Idle => 0.0,
        ConnectivityState::Connecting => 1.0,
        ConnectivityState::Ready => 2.0,
        ConnectivityState::TransientFailure => 3.0,
        ConnectivityState::Shutdown => 4.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Address, DialFailure, DialStep, EndpointId, GoAway, Incarnation, LinkEnd, LinkEnds,
        ShedReason,
    };
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    use std::time::Duration;

    /// Scenario 29: each fact that is counted raises its own counter by one, and no other.
    #[test]
    fn scenario_29_every_counter_counts_its_fact() {
        let (incarnation, endpoint) = (Incarnation(1), EndpointId(1));
        let second = Duration::from_secs(1);
        let failure = DialFailure::new(DialStep::Connect, "refused");
        let goaway = GoAway { last_stream_id: 0, code: 0, debug: String::new() };
        let lost = Fact::LinkLost {
            incarnation,
            endpoint,
            end: LinkEnd::HungUp,
            lived: second,
            current: true,
        };
        let method: Arc<str> = "pkg.Svc/Method".into();
        let ejected = Fact::EndpointEjected {
            endpoint,
            addresses: "10.0.0.7:50051".into(),
            method: method.clone(),
            ejected_for: second,
        };
        let counted: [(Fact, &str); 13] = [
            (ejected, "grpc.lb.outlier_detection.ejections_enforced"),
            (Fact::DialStarted { incarnation, endpoint, failures: 0 }, "tonic_supervisor.dials"),
            (
                Fact::DialFailed { incarnation, endpoint, failure, steps: Box::default() },
                "grpc.subchannel.connection_attempts_failed",
            ),
            (
                Fact::LinkEstablished {
                    incarnation,
                    endpoint,
                    took: second,
                    steps: Box::default(),
                    max_concurrent_streams: None,
                    ends: LinkEnds::new(None, Address::new("queue", 1), None),
                },
                "grpc.subchannel.connection_attempts_succeeded",
            ),
            (lost, "grpc.subchannel.disconnections"),
            (Fact::KeepaliveLost { incarnation, endpoint }, "tonic_supervisor.keepalive.lost"),
            (
                Fact::KeepaliveBackedOff { keepalive_time: second, while_idle: true },
                "tonic_supervisor.keepalive.backed_off",
            ),
            (Fact::GoAwayReceived { incarnation, endpoint, goaway }, "tonic_supervisor.goaways"),
            (
                Fact::TlsMaterialRejected { incarnation, cause: "not PEM".into() },
                "tonic_supervisor.tls.material_rejected",
            ),
            (
                Fact::ChildFailed { child: "request", error: "a bug".into() },
                "tonic_supervisor.child.failures",
            ),
            (
                Fact::IntensityReached { failures: 6, period: second },
                "tonic_supervisor.intensity.reached",
            ),
            (
                Fact::CallShed { method: method.clone(), reason: ShedReason::TooManyCalls },
                "tonic_supervisor.calls.shed",
            ),
            (
                Fact::RetryThrottled { method, code: tonic::Code::Unavailable },
                "tonic_supervisor.retries.throttled",
            ),
        ];
        for (fact, name) in counted {
            let recorder = DebuggingRecorder::new();
            ::metrics::with_local_recorder(&recorder, || {
                record(&fact, &"queue:50051".into(), "none")
            });
            let recorded = recorder.snapshotter().snapshot().into_vec();
            let raised = recorded.iter().filter_map(|(key, _, _, value)| match value {
                DebugValue::Counter(count) => Some((key.key().name(), *count)),
                _ => None,
            });
            assert_eq!(raised.collect::<Vec<_>>(), [(name, 1)], "{}", fact.name());
        }
    }
}
