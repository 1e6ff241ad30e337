//! What happens to the channel, counted: gRPC A94's names where they exist, ours under `tonic_supervisor.`.

use crate::model::{ConnectivityState, Fact};
use metrics::{counter, gauge};
use std::sync::Arc;

/// `security` is gRPC A94's `grpc.security_level`.
pub(super) fn record(fact: &Fact, target: &Arc<str>, security: &'static str) {
    let target = || metrics::SharedString::from(target.clone());
    match fact {
        Fact::StateChanged { to, .. } => {
            gauge!("tonic_supervisor.channel.state", "grpc.target" => target()).set(state_number(*to));
        }
        Fact::DialStarted { .. } => counter!("tonic_supervisor.dials", "grpc.target" => target()).increment(1),
        Fact::DialFailed { .. } => {
            counter!("grpc.subchannel.connection_attempts_failed", "grpc.target" => target()).increment(1);
        }
        Fact::LinkEstablished { .. } => {
            counter!("grpc.subchannel.connection_attempts_succeeded", "grpc.target" => target()).increment(1);
            gauge!("grpc.subchannel.open_connections", "grpc.target" => target(), "grpc.security_level" => security)
                .increment(1.0);
        }
        Fact::LinkLost { end, .. } => {
            counter!("grpc.subchannel.disconnections", "grpc.target" => target(), "grpc.disconnect_error" => end.label())
                .increment(1);
            gauge!("grpc.subchannel.open_connections", "grpc.target" => target(), "grpc.security_level" => security)
                .decrement(1.0);
        }
        Fact::KeepaliveLost { .. } => {
            counter!("tonic_supervisor.keepalive.lost", "grpc.target" => target()).increment(1);
        }
        Fact::KeepaliveBackedOff { .. } => {
            counter!("tonic_supervisor.keepalive.backed_off", "grpc.target" => target()).increment(1);
        }
        Fact::GoAwayReceived { goaway, .. } => {
            counter!("tonic_supervisor.goaways", "grpc.target" => target(), "code" => goaway.code_name()).increment(1);
        }
        Fact::TlsMaterialRejected { .. } => {
            counter!("tonic_supervisor.tls.material_rejected", "grpc.target" => target()).increment(1);
        }
        Fact::ChildFailed { child, .. } => {
            counter!("tonic_supervisor.child.failures", "grpc.target" => target(), "child" => *child).increment(1);
        }
        Fact::IntensityReached { .. } => {
            counter!("tonic_supervisor.intensity.reached", "grpc.target" => target()).increment(1);
        }
        Fact::CallShed { reason, .. } => {
            counter!("tonic_supervisor.calls.shed", "grpc.target" => target(), "reason" => reason.label()).increment(1);
        }
        Fact::RetryThrottled { .. } => {
            counter!("tonic_supervisor.retries.throttled", "grpc.target" => target()).increment(1);
        }
        Fact::BackoffStarted { .. }
        | Fact::BackoffReset { .. }
        | Fact::RetryScheduled { .. }
        | Fact::DrainStarted { .. }
        | Fact::Closed { .. } => {}
    }
}

/// A handler was slow.
pub(super) fn slow_handler(target: &Arc<str>, child: &'static str, message: &'static str) {
    let target = metrics::SharedString::from(target.clone());
    counter!("tonic_supervisor.handlers.slow", "grpc.target" => target, "child" => child, "message" => message)
        .increment(1);
}

/// How many calls wait for a link, or for room on it.
pub(super) fn waiting(target: &Arc<str>, calls: usize) {
    gauge!("tonic_supervisor.calls.waiting", "grpc.target" => metrics::SharedString::from(target.clone()))
        .set(calls as f64);
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
