//! The list of metrics: unit and meaning of each, as recorders get them with every spawn.
//!
//! All series whose labels are known beforehand begin at 0 there, so that a first failure is a rise
//! and not a series that was not there.

use super::metrics::{CONSECUTIVE, METHOD, OVERFLOW, REASON};
use crate::model::{GoAway, Health, LinkEnd, ShedReason};
use metrics::{
    SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
};
use std::sync::Arc;

/// Counters without a label but the target's.
const PLAIN: [&str; 9] = [
    "tonic_supervisor.dials",
    "grpc.subchannel.connection_attempts_succeeded",
    "grpc.subchannel.connection_attempts_failed",
    "tonic_supervisor.keepalive.lost",
    "tonic_supervisor.keepalive.suspected",
    "tonic_supervisor.keepalive.backed_off",
    "tonic_supervisor.tls.material_rejected",
    "tonic_supervisor.intensity.reached",
    "tonic_supervisor.retries.throttled",
];

/// What a server's health can become.
const HEALTH: [Health; 5] = [
    Health::Serving,
    Health::NotServing,
    Health::Unsupported,
    Health::WatchBroken,
    Health::Unanswered,
];

/// The actors that can fail or be slow.
const CHILDREN: [&str; 3] = ["supervisor", "connection", "request"];

/// The messages that can come late.
const LATE: [&str; 6] =
    ["CallsWaiting", "LinkUp", "LinkProven", "GoAwayReceived", "HealthHeard", "LinkSuspect"];

/// Describes everything, and begins the series of a new supervisor. Others may have the same
/// target: what they counted stays.
pub(super) fn begin(target: &Arc<str>, security: &'static str) {
    calls();
    links();
    supervisor();
    let target = || ("grpc.target", SharedString::from(target.clone()));
    let zero = |name: &'static str| counter!(name, &[target()]).increment(0);
    let zeros = |name: &'static str, label: &'static str, value: SharedString| {
        counter!(name, &[target(), (label, value)]).increment(0);
    };
    PLAIN.into_iter().for_each(zero);
    for end in LinkEnd::labels() {
        zeros("grpc.subchannel.disconnections", "grpc.disconnect_error", end.into());
    }
    for code in GoAway::code_names() {
        zeros("tonic_supervisor.goaways", "code", code.into());
    }
    for reason in ShedReason::ALL {
        zeros("tonic_supervisor.calls.shed", "reason", reason.label().into());
    }
    for health in HEALTH {
        zeros("tonic_supervisor.health.changes", "health", health.as_str().into());
    }
    for child in CHILDREN {
        zeros("tonic_supervisor.child.failures", "child", child.into());
        zeros("tonic_supervisor.handlers.slow", "child", child.into());
    }
    let rule = || (METHOD, SharedString::from(CONSECUTIVE));
    let enforced = "grpc.lb.outlier_detection.ejections_enforced";
    counter!(enforced, &[target(), rule()]).increment(0);
    let (unenforced, reason) =
        ("grpc.lb.outlier_detection.ejections_unenforced", (REASON, SharedString::from(OVERFLOW)));
    counter!(unenforced, &[target(), rule(), reason]).increment(0);
    for message in LATE {
        zeros("tonic_supervisor.messages.stale", "message", message.into());
    }
    let level = ("grpc.security_level", SharedString::from(security));
    gauge!("grpc.subchannel.open_connections", &[target(), level]).increment(0.0);
    gauge!("tonic_supervisor.channel.state", &[target()]).increment(0.0);
    gauge!("tonic_supervisor.calls.waiting", &[target()]).increment(0.0);
    gauge!("tonic_supervisor.calls.open", &[target()]).increment(0.0);
}

fn calls() {
    describe_counter!(
        "grpc.client.attempt.started",
        Unit::Count,
        "Attempts begun, retries and transparent retries included (gRPC A66)."
    );
    describe_histogram!(
        "grpc.client.attempt.duration",
        Unit::Seconds,
        "From an attempt's start to its end (gRPC A66)."
    );
    describe_histogram!(
        "grpc.client.attempt.sent_total_compressed_message_size",
        Unit::Bytes,
        "The messages of an attempt's request, without framing (gRPC A66)."
    );
    describe_histogram!(
        "grpc.client.attempt.rcvd_total_compressed_message_size",
        Unit::Bytes,
        "The messages of an attempt's answer, without framing (gRPC A66)."
    );
    describe_histogram!(
        "grpc.client.call.duration",
        Unit::Seconds,
        "From a call's submission to its end, all waits included (gRPC A66)."
    );
    describe_histogram!(
        "grpc.client.call.retries",
        Unit::Count,
        "Policy retries of a call; zeroes are not recorded (gRPC A96)."
    );
    describe_histogram!(
        "grpc.client.call.transparent_retries",
        Unit::Count,
        "Transparent retries of a call; zeroes are not recorded (gRPC A96)."
    );
    describe_histogram!(
        "grpc.client.call.retry_delay",
        Unit::Seconds,
        "The waits between a call's attempts, added up; zeroes are not recorded (gRPC A96)."
    );
    describe_histogram!(
        "tonic_supervisor.call.wait",
        Unit::Seconds,
        "What a call waited for, by reason, added up; zeroes are not recorded."
    );
}

fn links() {
    describe_counter!("tonic_supervisor.dials", Unit::Count, "Dials begun.");
    describe_counter!(
        "grpc.subchannel.connection_attempts_succeeded",
        Unit::Count,
        "Links established (gRPC A94)."
    );
    describe_counter!(
        "grpc.subchannel.connection_attempts_failed",
        Unit::Count,
        "Dials that gave no link (gRPC A94)."
    );
    describe_gauge!(
        "grpc.subchannel.open_connections",
        Unit::Count,
        "Links open, those that drain included (gRPC A94)."
    );
    describe_counter!(
        "grpc.subchannel.disconnections",
        Unit::Count,
        "Links that ended, by reason (gRPC A94)."
    );
    describe_counter!(
        "grpc.lb.outlier_detection.ejections_enforced",
        Unit::Count,
        "Endpoints ejected because calls there kept failing (gRPC A91)."
    );
    describe_counter!(
        "grpc.lb.outlier_detection.ejections_unenforced",
        Unit::Count,
        "Endpoints that stayed in use because too many were ejected, or none was left (gRPC A91)."
    );
    describe_counter!(
        "tonic_supervisor.goaways",
        Unit::Count,
        "GOAWAY frames received, by HTTP/2 error code."
    );
    describe_counter!(
        "tonic_supervisor.keepalive.lost",
        Unit::Count,
        "Links given up because no answer came to a PING."
    );
    describe_counter!(
        "tonic_supervisor.keepalive.suspected",
        Unit::Count,
        "Links whose peer has owed the answer to a PING for half of keepalive_timeout."
    );
    describe_counter!(
        "tonic_supervisor.health.changes",
        Unit::Count,
        "Changes of what is known of a server's health, by what it became."
    );
    describe_counter!(
        "tonic_supervisor.keepalive.backed_off",
        Unit::Count,
        "How often the peer asked for fewer pings."
    );
    describe_gauge!(
        "tonic_supervisor.tls.certificate.not_after",
        Unit::Seconds,
        "Until when the certificate that a server showed last is valid, since 1970."
    );
    describe_counter!(
        "tonic_supervisor.tls.material_rejected",
        Unit::Count,
        "Dials that went on with the former TLS files because the present ones cannot be used."
    );
}

fn supervisor() {
    describe_gauge!(
        "tonic_supervisor.channel.state",
        Unit::Count,
        "0 IDLE, 1 CONNECTING, 2 READY, 3 TRANSIENT_FAILURE, 4 SHUTDOWN."
    );
    describe_gauge!(
        "tonic_supervisor.calls.waiting",
        Unit::Count,
        "Calls that wait for a link, or for room on it."
    );
    describe_gauge!(
        "tonic_supervisor.calls.open",
        Unit::Count,
        "Calls accepted and not answered, those that wait included."
    );
    describe_gauge!(
        "tonic_supervisor.retries.allowance",
        Unit::Count,
        "What the throttle has left: retries, or a bucket's tokens (gRPC A6)."
    );
    describe_gauge!(
        "tonic_supervisor.retries.allowance_limit",
        Unit::Count,
        "How much the throttle has left at most."
    );
    describe_counter!(
        "tonic_supervisor.calls.shed",
        Unit::Count,
        "Calls refused: the queue was full, or they would not have finished."
    );
    describe_counter!(
        "tonic_supervisor.retries.throttled",
        Unit::Count,
        "Retries that the throttle forbade."
    );
    describe_counter!(
        "tonic_supervisor.handlers.slow",
        Unit::Count,
        "Messages that an actor took more than 50 ms to handle."
    );
    describe_counter!(
        "tonic_supervisor.messages.stale",
        Unit::Count,
        "Messages about a link no longer in use, which change nothing."
    );
    describe_counter!(
        "tonic_supervisor.child.failures",
        Unit::Count,
        "Actors that panicked or returned an error."
    );
    describe_counter!(
        "tonic_supervisor.intensity.reached",
        Unit::Count,
        "How often the restart intensity was reached."
    );
}
