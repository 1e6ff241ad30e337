//! The part of the table of keys that is about links that are up: whether their servers serve, and
//! when they are closed or replaced. The keys of `table` come before them.

use super::{
    Key,
    kind::{TEXT, TIME, times_from, whole},
    rows::keys,
};
use std::time::Duration;

keys! {
    LINK_KEYS, documented by link_key_doc, set by link_key_setters:
    "Health: servers are asked whether they serve" {
        /// The service whose health every server is asked for, on a stream beside the calls
        /// (`grpc.health.v1.Health/Watch`, gRPC A17); an empty text means the server as a whole,
        /// `none` does not ask. A server that says that it does not serve gets no new calls, those
        /// in flight go on, and it is back when it says so. A new link gets calls once the server
        /// has answered. One that does not know the health service counts as healthy. The question
        /// carries no credentials.
        health_service(impl Into<String> as String): "health.service", TEXT.or_none(),
            default "none",
            because "as in gRPC: many servers do not know the health service";
        /// The time from one probe to the next, on each link: a unary
        /// `grpc.health.v1.Health/Check`, by which a proxy is found out that answers keepalive
        /// PINGs for a server that is gone. Every answer counts, whatever it says; with
        /// UNIMPLEMENTED the probes end. `none` sends none. At least 1 s.
        health_probe_period(impl Into<Option<Duration>> as Option<Duration>):
            "health.probe_period", times_from(Duration::from_secs(1)).or_none(), default "none",
            because "each probe is a request, and without a proxy keepalive is enough";
        /// The time that a probe's answer may take; at most `health.probe_period`.
        health_probe_timeout(Duration): "health.probe_timeout", TIME, default "2",
            because "a server that serves answers within milliseconds";
        /// After so many probes in a row without an answer the server gets no new calls; where no
        /// other takes calls, its link is replaced.
        health_probe_failures(u32): "health.probe_failures", whole(1, 100, "probes"), default "3",
            because "one lost answer is no reason";
    }
    "Links that are not needed, or are old" {
        /// After this time without a call, open or waiting, all links are closed, and no name is
        /// looked up: the channel is IDLE. The next call dials, and waits for that. `none` keeps
        /// the links. At least 1 s.
        idle_timeout(impl Into<Option<Duration>> as Option<Duration>): "idle_timeout",
            times_from(Duration::from_secs(1)).or_none(), default "none",
            because "the first call after a pause shall not wait for a dial; gRPC has 30 minutes. \
                For programs that hold many channels";
        /// The age, a tenth more or less, at which a link is replaced: another is dialled beside
        /// it, and when that is up, the old one finishes its calls and closes. One at a time of
        /// each server. `none` replaces none. At least 1 s.
        max_connection_age(impl Into<Option<Duration>> as Option<Duration>): "max_connection_age",
            times_from(Duration::from_secs(1)).or_none(), default "none",
            because "most servers need no help; 30 minutes spread links behind a balancer of \
                connections anew";
    }
}
