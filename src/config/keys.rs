//! The table of keys: each with its place in the file, its builder method, default, unit, reason and meaning, said once.
//!
//! File, environment, builder, `config/grpc.yaml` and `docs/configuration.md` all follow from this table; what a value may
//! be is said where it is read, in `check.rs`.

use super::{builder::ConfigBuilder, value::Value};
use crate::policy::RetryLimit;
use std::time::Duration;
use tonic::Code;

/// One key below `grpc:`. What explains it is read by the tests that write the pages about it.
#[allow(dead_code)]
pub(super) struct Key {
    /// Its path below `grpc:`, such as `max_backoff` or `queue.max_calls`.
    pub(super) path: &'static str,
    /// Under which heading it is explained.
    pub(super) group: &'static str,
    /// What holds when nobody says anything, as a user would write it.
    pub(super) default: &'static str,
    /// What kind of value it takes.
    pub(super) unit: &'static str,
    /// Where the default comes from.
    pub(super) reason: &'static str,
    /// What it means.
    pub(super) doc: &'static str,
}

/// The key at `path`.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The name of the environment variable for `path`.
pub(super) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())
}

/// What every environment variable of ours begins with.
pub(super) const PREFIX: &str = "TONIC_SUPERVISOR_GRPC_";

/// The keys that a method may set for itself; all but the first two override the key of the same name.
pub(super) const METHOD_KEYS: [(&str, &str); 11] = [
    (
        "kind",
        "`unary` or `streaming`: only calls known to be unary are retried. Default: what the caller or the descriptors say.",
    ),
    (
        "idempotent",
        "Whether running the call twice does no harm; `false`: it is repeated only when the server certainly did not process it. Default true.",
    ),
    ("timeout", "Overrides `timeout` for this method."),
    ("attempt_timeout", "Overrides `attempt_timeout` for this method."),
    ("wait_for_ready", "Overrides `wait_for_ready` for this method."),
    ("max_retry_attempts", "Overrides `max_retry_attempts` for this method."),
    ("initial_backoff", "Overrides `initial_backoff` for this method."),
    ("max_backoff", "Overrides `max_backoff` for this method."),
    ("backoff_multiplier", "Overrides `backoff_multiplier` for this method."),
    ("backoff_jitter", "Overrides `backoff_jitter` for this method."),
    ("retryable_status_codes", "Overrides `retryable_status_codes` for this method."),
];

macro_rules! keys {
    ($($group:literal { $(
        $(#[doc = $doc:literal])+
        $path:literal $method:ident($type:ty $(as $target:ty)?) = $default:literal, $unit:literal, $reason:literal;
    )+ })+) => {
        /// All keys, the seed's first.
        pub(super) const KEYS: &[Key] = &[$($(Key {
            path: $path,
            group: $group,
            default: $default,
            unit: $unit,
            reason: $reason,
            doc: concat!($($doc),+),
        }),+),+];

        /// One method per key. None of them fails: what is wrong with a value is said by [`build`](ConfigBuilder::build).
        impl ConfigBuilder {
            $($(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nKey `grpc.", $path, "`, ", $unit, "; default `", $default, "`.")]
                pub fn $method(self, value: $type) -> Self {
                    $(let value: $target = value.into();)?
                    self.set($path, stringify!($method), Value::from(value))
                }
            )+)+
        }
    };
}

keys! {
    "Retries" {
        /// How often a failed unary call is tried again: 3 means at most 4 attempts, 0 turns retries off, `unlimited` means
        /// until `timeout`, which must then be set. Calls that the server never processed are sent again without counting.
        "max_retry_attempts" max_retry_attempts(impl Into<RetryLimit> as RetryLimit) = "3", "retries, or `unlimited`", "seed";
        /// The wait before the first retry. Retry n, counted from 0, waits
        /// `min(initial_backoff * backoff_multiplier^n, max_backoff)`.
        "initial_backoff" initial_backoff(Duration) = "1.0", "seconds", "seed";
        /// No wait between attempts is longer; at least `initial_backoff`.
        "max_backoff" max_backoff(Duration) = "10.0", "seconds", "seed";
        /// What each wait is multiplied by to give the next; at least 1.
        "backoff_multiplier" backoff_multiplier(f64) = "2.0", "factor", "seed";
        /// The status codes worth another try, by name in any case or by number; an empty list retries nothing.
        "retryable_status_codes" retryable_status_codes(impl Into<Vec<Code>> as Vec<Code>)
            = "UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNKNOWN", "status codes", "seed";
        /// The share by which a wait may vary to either side, 0 to 1. 0 is the formula to the letter; 0.2 is better for fleets.
        "backoff_jitter" backoff_jitter(f64) = "0.0", "share", "seed: the formula is exact";
    }
    "Keepalive" {
        /// How long a link may be silent before it is asked for a sign of life with a PING; `none` or 0 turns keepalive off.
        /// Raised to `keepalive_floor` where it is below.
        "keepalive_time" keepalive_time(impl Into<Option<Duration>> as Option<Duration>) = "30", "seconds, or `none`", "seed";
        /// How long to wait for the sign of life before the link is taken for dead. Needs `keepalive_time`.
        "keepalive_timeout" keepalive_timeout(Duration) = "5", "seconds", "seed";
        /// Whether links without calls are asked too, so that a dead one is replaced before the next call. Needs `keepalive_time`.
        "keepalive_permit_without_calls" keepalive_permit_without_calls(bool) = "true", "true or false", "seed";
        /// No `keepalive_time` is shorter: servers close links that ask too often. Lower it only for tests and demos.
        "keepalive_floor" keepalive_floor(Duration) = "10", "seconds", "gRPC A8";
    }
    "Server" {
        /// The server's name or address, without scheme or port. An IPv6 address that needs a zone
        /// has it behind a percent sign: `fe80::1%eth0`.
        "host" host(impl Into<String> as String) = "127.0.0.1", "text", "works on one machine at once";
        /// The server's port.
        "port" port(u16) = "50051", "1 to 65535", "gRPC's usual port";
        /// The server in gRPC's way, in place of `host` and `port`: `host:port`, `dns:///host:port`,
        /// `ipv4:address:port`, `ipv6:[address]:port`, `unix:path`, `unix-abstract:name`,
        /// `http://host:port`, or `https://host:port`, which means TLS. `ipv4:` and `ipv6:` take
        /// several addresses with commas between. An IPv6 address may have a zone:
        /// `[fe80::1%eth0]:50051`. HTTP CONNECT proxies are not supported yet, and variables such as
        /// `HTTPS_PROXY` are not read.
        "target" target(impl Into<String> as String) = "none", "text, or `none`", "`host` and `port` say it";
    }
    "TLS: on with `use_tls`, any key below `tls`, or an `https` target; the server is always verified" {
        /// Whether links are encrypted, and the server proves who it is.
        "use_tls" use_tls(bool) = "false", "true or false", "plaintext works on one machine at once";
        /// A PEM file with the authorities that may have signed the server's certificate. Read anew at each dial, as all files here.
        "tls.ca" tls_ca(impl Into<String> as String) = "none", "path, or `none`", "the system's authorities";
        /// A PEM file with this side's certificate chain, for servers that demand one. Needs `tls.key`.
        "tls.certificate" tls_certificate(impl Into<String> as String) = "none", "path, or `none`", "most servers demand none";
        /// A PEM file with the private key of `tls.certificate`; only its owner should be able to read it.
        "tls.key" tls_key(impl Into<String> as String) = "none", "path, or `none`", "most servers demand none";
        /// The name that the server's certificate must have, where it is not the target's.
        "tls.server_name" tls_server_name(impl Into<String> as String) = "none", "text, or `none`", "the target's name";
        /// Whom to trust: `platform`, the system's authorities; `webpki`, Mozilla's; `file`, only `tls.ca`. The first two trust
        /// `tls.ca` as well. `none` means `file` where there is a `tls.ca`, else `platform`.
        "tls.roots" tls_roots(impl Into<String> as String) = "none", "`platform`, `webpki`, `file`, or `none`", "as other programs of the system";
    }
    "Credentials" {
        /// A file with a bearer token, which every attempt sends as `authorization`: a regular file
        /// of at most 64 KiB, read again when it has changed, looked at once a second at most.
        /// While it cannot be used the former token is. Needs TLS or a target on this machine;
        /// `Builder::call_credentials` goes before it.
        "credentials.token_file" credentials_token_file(impl Into<String> as String) = "none", "path, or `none`", "most servers ask for none";
    }
    "Time limits" {
        /// The deadline of a whole unary call: queue, dials, attempts and waits together; `none`:
        /// no deadline. A call that states one (`CallOptions::timeout`, `grpc-timeout`) has its own
        /// instead. Keep it above `keepalive_time` + `keepalive_timeout`, so that a call caught on
        /// a dead link still has time.
        "timeout" timeout(impl Into<Option<Duration>> as Option<Duration>) = "60", "seconds, or `none`", "above keepalive and all waits of the seed";
        /// The time one attempt may take before it ends with DEADLINE_EXCEEDED and is retried; never beyond `timeout`.
        "attempt_timeout" attempt_timeout(impl Into<Option<Duration>> as Option<Duration>) = "none", "seconds, or `none`", "off, as in gRPC";
        /// The time one dial may take, from the name's lookup over the TLS handshake to the server's first SETTINGS.
        "connect_timeout" connect_timeout(Duration) = "20", "seconds", "gRPC connection backoff";
        /// The time that call credentials may take for one attempt, within the call's deadline.
        "credentials_timeout" credentials_timeout(Duration) = "10", "seconds", "a token's renewal is one request";
    }
    "Calls" {
        /// `true`: calls wait for a link until their deadline. `false`: they fail with
        /// UNAVAILABLE while the channel is failing. Where nobody says either, calls wait, but
        /// not for a wrong peer: before the first link, two dials in a row that find a
        /// certificate of an unknown authority or for another name, no HTTP/2 by ALPN, or another
        /// protocol, at every address, end the calls that wait then with UNAVAILABLE, and so does
        /// each further one. To say `true` is to wait for that, too.
        "wait_for_ready" wait_for_ready(bool) = "true", "true or false", "an outage longer than all retries costs no call";
        /// A request up to this size is kept until its call ends, so that it can be sent again; a larger one is sent once.
        "max_replay_bytes" max_replay_bytes(usize) = "4MiB", "bytes", "gRPC's usual message limit";
        /// A unary call with a larger message is refused with OUT_OF_RANGE before anything is sent; `none` leaves it to the server.
        "max_request_message_bytes" max_request_message_bytes(impl Into<Option<usize>> as Option<usize>) = "none", "bytes, or `none`", "gRPC";
        /// A larger answer to `SupervisedChannel::unary` or to a message for the mailbox ends its call with OUT_OF_RANGE. Generated
        /// clients have a limit of their own, `max_decoding_message_size`.
        "max_response_message_bytes" max_response_message_bytes(impl Into<Option<usize>> as Option<usize>) = "4MiB", "bytes, or `none`", "gRPC";
        /// The largest head of an answer, and the largest trailers, as HTTP/2 counts them: each
        /// field's name and value, and 32 bytes. Above it this call alone ends with
        /// RESOURCE_EXHAUSTED, and is not sent again. From 1KiB to 8MiB.
        "max_response_header_bytes" max_response_header_bytes(usize) = "16KiB", "bytes", "hyper's limit; metadata is for short values";
        /// How many calls may be under way on one link; the others wait in the queue. The server's own limit holds beside it.
        "max_in_flight" max_in_flight(usize) = "1024", "calls", "measured: more only adds memory";
        /// How many links may finish their calls beside the one in use, after a GOAWAY; above it
        /// the oldest is ended, and its calls with it.
        "max_draining_links" max_draining_links(usize) = "16", "links", "a server that restarts often keeps two or three";
        /// How many actors share the calls. With one, calls start in the order of their arrival.
        "request_actors" request_actors(usize) = "1", "actors", "order of arrival";
    }
    "Queue: calls that wait for a link" {
        /// How many calls may be open, waiting or under way; one more is refused at once.
        "queue.max_calls" queue_max_calls(usize) = "100000", "calls", "bounded memory";
        /// How many bytes the requests of open calls may add up to; a call that would exceed it
        /// is refused at once. One that is larger by itself is too large: OUT_OF_RANGE.
        "queue.max_bytes" queue_max_bytes(usize) = "64MiB", "bytes", "bounded memory";
    }
    "Reconnect: waits between dials, apart from the waits between retries" {
        /// The wait after the first failed dial while no call waits.
        "reconnect.initial_backoff" reconnect_initial_backoff(Duration) = "1.0", "seconds", "gRPC connection backoff";
        /// What each such wait is multiplied by to give the next; at least 1.
        "reconnect.backoff_multiplier" reconnect_backoff_multiplier(f64) = "1.6", "factor", "gRPC connection backoff";
        /// No such wait is longer; at least `reconnect.initial_backoff`.
        "reconnect.max_backoff" reconnect_max_backoff(Duration) = "10.0", "seconds", "the seed's longest wait";
        /// The wait after the first failed dial while calls wait; the first call to wait cuts a longer running wait short.
        "reconnect.waiting_initial_backoff" reconnect_waiting_initial_backoff(Duration) = "0.05", "seconds", "calls are waiting";
        /// What each such wait is multiplied by to give the next; at least 1.
        "reconnect.waiting_backoff_multiplier" reconnect_waiting_backoff_multiplier(f64) = "2.0", "factor", "calls are waiting";
        /// No such wait is longer; at least `reconnect.waiting_initial_backoff`.
        "reconnect.waiting_max_backoff" reconnect_waiting_max_backoff(Duration) = "1.0", "seconds", "calls are waiting";
        /// The share by which every wait between dials varies to either side, 0 to 1.
        "reconnect.jitter" reconnect_jitter(f64) = "0.2", "share", "gRPC connection backoff";
        /// The first dial after losing a proven link is made at once, at a random moment within this time; raise it for fleets.
        "reconnect.spread" reconnect_spread(Duration) = "20ms", "seconds", "agents that lost one server do not all dial at once";
        /// A link is proven, and the waits start over, when it has answered a call or lived this long.
        "reconnect.stable_after" reconnect_stable_after(Duration) = "10", "seconds", "a server that greets and hangs up sees growing waits";
    }
    "Intensity: failures inside the supervisor itself, not of the network" {
        /// How many failures of its actors within `intensity.period` are restarted at once; after one more it says so and goes on slowly.
        "intensity.restarts" intensity_restarts(u32) = "5", "failures", "OTP";
        /// The time within which `intensity.restarts` counts.
        "intensity.period" intensity_period(Duration) = "10", "seconds", "OTP";
    }
    "Retry throttle: keeps retries after statuses from the server a fraction of calls" {
        /// Whether retries are throttled at all. Lost links and failed dials never are.
        "retry_throttle.enabled" retry_throttle_enabled(bool) = "true", "true or false", "a struggling server is not buried";
        /// A retry is a debt of 1: how much of it each call repays.
        "retry_throttle.ratio" retry_throttle_ratio(f64) = "0.2", "retries per call", "a storm stays near 1.25 requests per call";
        /// How much of that debt each second repays. Retries go while the debt is at most what five
        /// seconds repay; a call's first also while it is at most the number of open calls.
        "retry_throttle.floor" retry_throttle_floor(f64) = "10", "retries per second", "a quiet client keeps the seed's three retries";
        /// gRPC A6's token bucket in place of `ratio` and `floor`: its size, up to 1000. Needs `retry_throttle.token_ratio`.
        "retry_throttle.max_tokens" retry_throttle_max_tokens(f64) = "none", "tokens, or `none`", "gRPC A6";
        /// What each success gives back to the bucket, 0.001 or more. Needs `retry_throttle.max_tokens`.
        "retry_throttle.token_ratio" retry_throttle_token_ratio(f64) = "none", "tokens, or `none`", "gRPC A6";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_listed_twice_and_method_keys_override_keys_that_exist() {
        for (n, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..n].iter().all(|other| other.path != key.path), "{}", key.path);
            assert!(!key.doc.is_empty() && !key.unit.is_empty() && !key.reason.is_empty(), "{}", key.path);
        }
        assert!(METHOD_KEYS[2..].iter().all(|(name, _)| find(name).is_some()));
    }

    #[test]
    fn variables_are_named_after_paths() {
        assert_eq!(variable("max_backoff"), "TONIC_SUPERVISOR_GRPC_MAX_BACKOFF");
        assert_eq!(variable("reconnect.max_backoff"), "TONIC_SUPERVISOR_GRPC_RECONNECT__MAX_BACKOFF");
    }
}
