//! What carries a trace to the server: a hook of the user's puts it into each attempt's headers.
//!
//! This crate knows no format of it. The hook is asked while the attempt's span is current, so that
//! the server's span hangs below the attempt that really reached it. It runs on the thread of
//! whoever begins the attempt: the caller's, or its request actor's. What it does wrong costs its
//! headers, and no call.

use super::head::{belongs_to_grpc, leave_out_connection_fields};
use crate::{
    model::{EndpointId, Incarnation},
    unwind::caught,
};
use http::HeaderMap;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Puts the current trace into the headers of each attempt of each call; see
/// [`SupervisorBuilder::propagation`](crate::SupervisorBuilder::propagation).
///
/// Asked right before an attempt is sent, while the attempt's `tracing` span is current: whatever
/// the server makes of the headers hangs below the attempt that reached it. Where nobody wants that
/// span, the call's is current, or else the one that the caller was in when it made the call.
///
/// It must return at once: it runs on the caller's thread, or on an actor's, for which other calls
/// wait. If it makes calls of its own on the same channel, it is asked for those as well, before it
/// has returned: it has to know them. It is asked for attempts only, not for the
/// health checks and probes of this crate. A panic costs the hook's headers, not the call; so do
/// more than 64 fields. Names that belong to gRPC itself (`grpc-...` but for `grpc-trace-bin` and
/// `grpc-tags-bin`, `te`, `content-type`, `user-agent`, `host`) and fields about the connection are
/// left out. The log tells of either once.
///
/// Any `Fn(&AttemptInfo, &mut HeaderMap)` is one.
pub trait Propagation: Send + Sync + 'static {
    /// Adds the fields that carry the trace. `headers` is empty; each name that is put there takes
    /// the place of what the caller gave under it, such as a `traceparent`.
    fn inject(&self, attempt: &AttemptInfo, headers: &mut HeaderMap);
}

impl<F: Fn(&AttemptInfo, &mut HeaderMap) + Send + Sync + 'static> Propagation for F {
    fn inject(&self, attempt: &AttemptInfo, headers: &mut HeaderMap) {
        self(attempt, headers);
    }
}

/// The attempt that headers are for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AttemptInfo {
    /// `pkg.Service/Method`.
    pub method: Arc<str>,
    /// Which attempt of the call it is, from 0.
    pub attempt: u32,
    /// How many attempts were made before, without transparent ones: the header
    /// `grpc-previous-rpc-attempts`.
    pub previous_attempts: u32,
    /// Whether it is sent again because the server never saw the last one.
    pub is_transparent: bool,
    /// Which endpoint it goes to.
    pub endpoint: EndpointId,
    /// On which link.
    pub incarnation: Incarnation,
}

/// More fields than this carry no trace. With the caller's and the credentials', they must fit a
/// map of headers.
const MOST_FIELDS: usize = 64;

/// Names below `grpc-` that were made to carry traces (gRPC A72).
const OF_TRACES: [&str; 2] = ["grpc-trace-bin", "grpc-tags-bin"];

/// The hook, and what the log was told of it.
pub(crate) struct Propagator {
    hook: Arc<dyn Propagation>,
    told_of_panic: AtomicBool,
    told_of_names: AtomicBool,
}

impl Propagator {
    pub(crate) fn new(hook: Arc<dyn Propagation>) -> Self {
        Self { hook, told_of_panic: AtomicBool::new(false), told_of_names: AtomicBool::new(false) }
    }

    /// What the hook adds to this attempt's headers.
    pub(super) fn headers(&self, attempt: &AttemptInfo) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Err(words) = caught(|| self.hook.inject(attempt, &mut headers)) {
            self.told_of_panic.tell(format_args!("it panicked: {words}"));
            return HeaderMap::new();
        }
        leave_out_connection_fields(&mut headers);
        let is_own = |name: &str| belongs_to_grpc(name) && !OF_TRACES.contains(&name);
        let own: Vec<_> = headers.keys().filter(|name| is_own(name.as_str())).cloned().collect();
        for name in own {
            headers.remove(&name);
            self.told_of_names.tell(format_args!("it may not set {name}, which belongs to gRPC"));
        }
        if headers.len() > MOST_FIELDS {
            let fields = headers.len();
            self.told_of_names
                .tell(format_args!("it set {fields} fields, and {MOST_FIELDS} are the most"));
            return HeaderMap::new();
        }
        headers
    }
}

/// Says once what was left out.
trait Tell {
    fn tell(&self, what: fmt::Arguments<'_>);
}

impl Tell for AtomicBool {
    fn tell(&self, what: fmt::Arguments<'_>) {
        if !self.swap(true, Relaxed) {
            log_line!(
                warn,
                "headers of the Propagation hook (SupervisorBuilder::propagation) are left out: \
                 {what}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn attempt() -> AttemptInfo {
        AttemptInfo {
            method: "pkg.Service/Method".into(),
            attempt: 0,
            previous_attempts: 0,
            is_transparent: false,
            endpoint: EndpointId(1),
            incarnation: Incarnation(1),
        }
    }

    fn asked(hook: impl Propagation) -> Vec<String> {
        let headers = Propagator::new(Arc::new(hook)).headers(&attempt());
        let mut names: Vec<_> = headers.keys().map(HeaderName::to_string).collect();
        names.sort();
        names
    }

    fn setting(names: &'static [&'static str]) -> impl Propagation {
        move |_: &AttemptInfo, headers: &mut HeaderMap| {
            for name in names {
                headers.insert(*name, HeaderValue::from_static("1"));
            }
        }
    }

    #[test]
    fn names_of_grpc_and_of_the_connection_are_left_out_and_the_others_stay() {
        let own = &["grpc-timeout", "grpc-encoding", "te", "content-type", "user-agent", "host"];
        assert!(asked(setting(own)).is_empty());
        assert!(asked(setting(&["connection", "keep-alive", "transfer-encoding"])).is_empty());
        let names = &["traceparent", "te", "tracestate", "baggage", "grpc-trace-bin"];
        assert_eq!(
            asked(setting(names)),
            ["baggage", "grpc-trace-bin", "traceparent", "tracestate"]
        );
    }

    #[test]
    fn a_panic_or_too_many_fields_cost_all_of_them() {
        assert!(
            asked(|_: &AttemptInfo, headers: &mut HeaderMap| {
                headers.insert("traceparent", HeaderValue::from_static("1"));
                std::panic::resume_unwind(Box::new("no context"));
            })
            .is_empty()
        );
        let many = |most: usize| {
            asked(move |_: &AttemptInfo, headers: &mut HeaderMap| {
                for n in 0..most {
                    headers.append("x-trace", HeaderValue::from(n));
                }
            })
        };
        assert_eq!((many(MOST_FIELDS).len(), many(MOST_FIELDS + 1).len()), (1, 0));
        assert!(many(100_000).is_empty(), "more than a map of headers holds");
    }
}
