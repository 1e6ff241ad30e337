//! The table of keys: each key of the configuration is one row.
//!
//! A row has the key's meaning, its method on the builder with the type that it takes, its path
//! below `grpc:`, the values it may have (`kind`), its default and the reason for that. `also for
//! methods`: a method may set it for itself. All else that depends on the list of keys is made of
//! these rows, so that nothing about a key is written twice. The table knows no builder: builders
//! have their methods made where they stand (`builder`, `method`).
//!
//! A new key is a new row, a field where it is read (`settings`), and its reading (`check`); the
//! tests then ask for the generated pages to be written anew, with UPDATE=1.

use super::{
    Key,
    kind::{
        ADDRESSES, CODES, FACTOR, FILE, PERIOD, RETRIES, SHARE, SHUFFLE, SIZE, SWITCH, TEXT, TIME,
        TIME_OR_ZERO, numbers, one_of, sizes, times_from, whole,
    },
};

use super::rows::keys;
use std::time::Duration;

/// As many as anybody wants.
const MANY: u64 = u32::MAX as u64;

keys! {
    MOST_KEYS, documented by key_doc, set by key_setters:
    "Retries" {
        /// How often a failed call is tried again: 3 means at most 4 attempts, 0 turns
        /// retries off, `unlimited` means until `timeout`, which must then be set. Calls that the
        /// server certainly did not process are sent again without being counted.
        max_retry_attempts(impl Into<RetryLimit> as RetryLimit): "max_retry_attempts", RETRIES,
            default "3", also for methods,
            because "seed: three retries, four attempts. They cover 7 s of errors";
        /// The wait before the first retry. Retry n, counted from 0, waits `min(initial_backoff *
        /// backoff_multiplier^n, max_backoff)`.
        initial_backoff(Duration): "initial_backoff", TIME_OR_ZERO,
            default "1.0", also for methods,
            because "seed: waits of 1, 2, 4, 8, 10, 10 s";
        /// No wait between attempts is longer; at least `initial_backoff`.
        max_backoff(Duration): "max_backoff", TIME_OR_ZERO, default "10.0", also for methods,
            because "seed: waits of 1, 2, 4, 8, 10, 10 s";
        /// What each wait is multiplied by to give the next; at least 1.
        backoff_multiplier(f64): "backoff_multiplier", FACTOR, default "2.0", also for methods,
            because "seed: waits of 1, 2, 4, 8, 10, 10 s";
        /// The status codes after which a call is retried, by name in any case or by number; with
        /// an empty list nothing is retried.
        retryable_status_codes(impl Into<Vec<Code>> as Vec<Code>): "retryable_status_codes", CODES,
            default "UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, \
                UNKNOWN",
            also for methods,
            because "seed. INTERNAL and UNKNOWN may be final errors of some servers; then take \
                them out";
        /// The share by which a wait may vary to either side, 0 to 1. With 0 waits follow the
        /// formula exactly; 0.2 is better for many agents on one server.
        backoff_jitter(f64): "backoff_jitter", SHARE, default "0.0", also for methods,
            because "[exactly the seed's \
                formula](decisions/0009-retries-without-jitter-reconnects-with.md); 0.2 for many \
                agents on one server";
    }
    "Keepalive" {
        /// How long a link may be silent before a PING is sent; `none` or 0 turns keepalive off.
        /// Raised to `keepalive_floor` where it is below.
        keepalive_time(impl Into<Option<Duration>> as Option<Duration>):
            "keepalive_time", TIME_OR_ZERO.or_none(), default "30",
            because "seed: with `keepalive_timeout`, a dead link is known after 35 s. Servers of \
                grpc-go, grpc-java and C-core ask for 300 s and say so with a GOAWAY; the \
                time then doubles until they are content, up to 4 h";
        /// How long the peer may be silent after a PING before the link is closed as lost. Needs
        /// `keepalive_time`.
        keepalive_timeout(Duration): "keepalive_timeout", TIME, default "5",
            because "seed: with `keepalive_time`, a dead link is known after 35 s";
        /// Whether PINGs are sent on links without calls, too, so that a lost one is replaced
        /// before the next call. Needs `keepalive_time`.
        keepalive_permit_without_calls(bool): "keepalive_permit_without_calls", SWITCH,
            default "true",
            because "seed: a link that was lost while idle is replaced before the next call";
        /// No `keepalive_time` is shorter, because servers close links with too many PINGs. Lower
        /// it only for tests and demos.
        keepalive_floor(Duration): "keepalive_floor", TIME, default "10",
            because "gRPC A8's floor, against too many pings by mistake";
    }
    "Server" {
        /// The server's name or address, without scheme or port. An IPv6 address that needs a zone
        /// has it behind a percent sign: `fe80::1%eth0`.
        host(impl Into<String> as String): "host", TEXT, default "127.0.0.1",
            because "works on one machine at once";
        /// The server's port.
        port(u16): "port", whole(1, 65_535, "port"), default "50051",
            because "gRPC's usual port";
        /// The server in gRPC's way, in place of `host` and `port`: `host:port`,
        /// `dns:///host:port`, `ipv4:address:port`, `ipv6:[address]:port`, `unix:path`,
        /// `unix-abstract:name`, `http://host:port`, or `https://host:port`, which means TLS.
        /// `ipv4:` and `ipv6:` take several addresses with commas between. An IPv6 address may have
        /// a zone: `[fe80::1%eth0]:50051`. HTTP CONNECT proxies are not supported yet, and
        /// variables such as `HTTPS_PROXY` are not read.
        target(impl Into<String> as String): "target", TEXT.or_none(), default "none",
            because "`host` and `port` say it";
    }
    "Several servers" {
        /// The addresses of several servers, in place of `target`, `host` and `port`: `host:port`,
        /// `[IPv6 address]:port`, `unix:path` or `unix-abstract:name`, at most 10,000. Under
        /// `pick_first` they are tried in this order. Requests are addressed to the first; a
        /// server's certificate must be for its own address, or for `tls.server_name`.
        endpoints(list of impl Into<String>): "endpoints", ADDRESSES.or_none(), default "none",
            because "most channels have one server";
        /// Which server a call goes to. `pick_first`: all calls to one, the first address that can
        /// be connected to. `round_robin`: to all that are connected in turn. `least_request`: of a
        /// few that are drawn, to that with the fewest streams. `peak_ewma`: of a few that are
        /// drawn, to that whose answers take the least time, multiplied by its streams. A retry
        /// goes to another one, if one has room.
        balancing_policy(Balancing): "balancing.policy",
            one_of(&["pick_first", "round_robin", "least_request", "peak_ewma"]),
            default "pick_first",
            because "gRPC's default: the order of the addresses may mean something";
        /// How many servers `least_request` and `peak_ewma` draw for each call, each at most once.
        balancing_choices(usize): "balancing.choices", whole(2, 10, "servers"), default "3",
            because "[with two, two slow servers of five are often the only \
                choice](decisions/0076-distinct-samples-and-three-choices.md)";
        /// A header of calls, in lower case: all calls with the same value go to the same server,
        /// while it is connected and has room. Calls without it go where the policy says. Not with
        /// `pick_first`; not `grpc-...`, nor `...-bin`.
        balancing_sticky_header(impl Into<String> as String): "balancing.sticky_header",
            TEXT.or_none(), default "none",
            because "most servers are alike to every caller";
        /// Whether the order of addresses is random, under `pick_first`: `true`, `false`, or
        /// `auto`, which shuffles what a name gave and keeps what a person wrote.
        balancing_shuffle(impl Into<Shuffle> as Shuffle): "balancing.shuffle", SHUFFLE,
            default "auto",
            because "the system sorts a name's addresses: without it all clients would take the \
                same server";
        /// How many servers are used of all that a name or a list gives; `none`: all. Channels
        /// choose differently, and keep their choice. Not with `pick_first`.
        balancing_subset(impl Into<Option<usize>> as Option<usize>): "balancing.subset",
            whole(1, 10_000, "servers").or_none(), default "none",
            because "a subset spreads less evenly; above a few hundred servers it saves links";
        /// How many links each server shall have. Under `pick_first` each is dialled by itself, so
        /// with several addresses they may lead to several servers. More than one raises the
        /// throughput of one client, and the number of calls that may be under way.
        connections(usize): "connections", whole(1, 64, "links"), default "1",
            because "one link carries a thousand calls at once, and every further one costs the \
                server memory";
    }
    "Ejection: a server of several where call after call fails gets no calls for a while" {
        /// After so many failed attempts in a row a server is ejected; 0: never. An attempt counts
        /// whose status, sent by the server, is one of `ejection.codes`; so does an HTTP answer
        /// without one (502 or 503, say), and `attempt_timeout`. Any other answer ends the run.
        /// Never with `pick_first`, nor the only server that is connected.
        ejection_consecutive_failures(u32): "ejection.consecutive_failures",
            whole(0, 1_000, "failures"), default "7",
            because "[linkerd's: a server that answers nothing else is broken, and one that \
                restarts seldom fails so \
                often](decisions/0077-the-breaker-is-on-for-unavailable.md)";
        /// The status codes that count, by name in any case or by number; never OK or CANCELLED.
        ejection_codes(impl Into<Vec<Code>> as Vec<Code>): "ejection.codes", CODES,
            default "UNAVAILABLE",
            because "it means that another server may do better; other codes may be the call's own \
                fault";
        /// How long a server is ejected for the first time, half of that more or less; each time
        /// in a row twice as long. Then one call at a time goes there, until one is answered.
        ejection_base(Duration): "ejection.base", times_from(Duration::from_millis(100)),
            default "1",
            because "a server that was restarted is back soon";
        /// How long it is ejected at most; after so long without it starts over with
        /// `ejection.base`, which must not be above.
        ejection_max(Duration): "ejection.max", times_from(Duration::from_millis(100)),
            default "60",
            because "one call a minute asks whether it is back";
        /// The share of the servers that may be ejected at once, 0 to 1, rounded down.
        ejection_max_share(f64): "ejection.max_share", SHARE, default "0.5",
            because "where most servers fail it is not they that are at fault, and those that are \
                left would be overrun";
    }
    "Names: looked up at the start, now and then, and when a link is lost" {
        /// The time from one lookup to the next while all is well, a fifth more or less; `auto`: 30
        /// s where several servers share the calls, 300 s where one has them all; `none`: only when
        /// a link is lost or a dial fails. At least 1 s.
        resolve_period(impl Into<Period> as Period): "resolve.period", PERIOD, default "auto",
            because "new servers are found without a loss; a lookup costs a thread for a moment";
        /// The time from an answer to the next lookup that has a reason.
        resolve_min_interval(Duration): "resolve.min_interval",
            times_from(Duration::from_millis(100)), default "1",
            because "a server that has moved is found at once; an outage is one lookup a second";
        /// How many answers in a row must lack a server that is in use, before its link is given
        /// up. One that is not connected goes with the first.
        resolve_absent(u32): "resolve.absent", whole(1, 100, "answers"), default "2",
            because "one server of names that lags behind closes no link";
    }
    "TLS: on with `use_tls`, any key below `tls`, or an `https` target; the server is always \
        verified" {
        /// Whether links are encrypted, and the server proves who it is.
        use_tls(bool): "use_tls", SWITCH, default "false",
            because "plaintext works on one machine at once";
        /// A PEM file with the authorities that may have signed the server's certificate. Read anew
        /// at each dial, as all files here.
        tls_ca(impl Into<String> as String): "tls.ca", FILE.or_none(), default "none",
            because "the system's authorities";
        /// A PEM file with this side's certificate chain, for servers that demand one. Needs
        /// `tls.key`.
        tls_certificate(impl Into<String> as String): "tls.certificate", FILE.or_none(),
            default "none",
            because "most servers demand none";
        /// A PEM file with the private key of `tls.certificate`; only its owner should be able to
        /// read it.
        tls_key(impl Into<String> as String): "tls.key", FILE.or_none(), default "none",
            because "most servers demand none";
        /// The name that the server's certificate must have, where it is not the target's.
        tls_server_name(impl Into<String> as String): "tls.server_name", TEXT.or_none(),
            default "none",
            because "the target's name";
        /// Whom to trust: `platform`, the system's authorities; `webpki`, Mozilla's; `file`, only
        /// `tls.ca`. The first two trust `tls.ca` as well. `none` means `file` where there is a
        /// `tls.ca`, else `platform`.
        tls_roots(impl Into<String> as String):
            "tls.roots", one_of(&["platform", "webpki", "file"]).or_none(), default "none",
            because "as other programs of the system";
    }
    "Credentials" {
        /// A file with a bearer token, which every attempt sends as `authorization`: a regular file
        /// of at most 64 KiB, read again when it has changed, looked at once a second at most.
        /// While it cannot be used, the former token is. Needs TLS or a target on this machine;
        /// `Builder::call_credentials` overrides it.
        credentials_token_file(impl Into<String> as String): "credentials.token_file",
            FILE.or_none(), default "none",
            because "most servers ask for none";
    }
    "Time limits" {
        /// The deadline of a whole unary call: queue, dials, attempts and waits together; `none`:
        /// no deadline. Of a call of kind `auto`, and of a stream, it bounds all the time that the
        /// call is not on the wire. A call that states one (`CallOptions::timeout`, `grpc-timeout`)
        /// has its own instead. Keep it above `keepalive_time` + `keepalive_timeout`, so that a
        /// call caught on a dead link still has time.
        timeout(impl Into<Option<Duration>> as Option<Duration>): "timeout", TIME.or_none(),
            default "60", also for methods,
            because "above 35 s, so that a call caught on a dead link still has time on the next \
                one; above the 7 s of all retries";
        /// The time one attempt may take before it ends with DEADLINE_EXCEEDED and is retried;
        /// never beyond `timeout`. Of kind `auto`: up to the answer's head. Streams have no such
        /// limit.
        attempt_timeout(impl Into<Option<Duration>> as Option<Duration>):
            "attempt_timeout", TIME.or_none(), default "none", also for methods,
            because "off, as in gRPC: no general value is right. Set it where an answer is known \
                to come fast";
        /// The time one dial may take, from the name's lookup over the TLS handshake to the
        /// server's first SETTINGS.
        connect_timeout(Duration): "connect_timeout", TIME, default "20",
            because "gRPC's connection backoff";
        /// The time that call credentials may take for one attempt, within the call's deadline.
        credentials_timeout(Duration): "credentials_timeout", TIME, default "10",
            because "a token's renewal is one request";
    }
    "Calls" {
        /// `true`: calls wait for a link until their deadline. `false`: they fail with UNAVAILABLE
        /// while the channel is failing. Where nobody says either, calls wait, but not for a wrong
        /// peer: before the first link, two dials in a row that find a certificate of an unknown
        /// authority or for another name, no HTTP/2 by ALPN, or another protocol, at every address,
        /// end the calls that wait then with UNAVAILABLE, and so does each further one. Where
        /// `true` is written out, calls wait all the same.
        wait_for_ready(bool): "wait_for_ready", SWITCH, default "true", also for methods,
            because "a late call is better for an agent than a failed one; an outage longer than \
                all retries fails no call. By default calls do not wait for [a wrong peer before \
                the first link](decisions/0052-a-wrong-peer-before-the-first-link.md), since \
                waiting does not help; where the value is written out, they do";
        /// Whether a call of a method that nobody described is of kind `auto`: it is retried until
        /// its answer begins, and `timeout` bounds the time that it is not on the wire. A method
        /// that was seen to stream is streaming from then on. `false`: such calls are not retried.
        retry_undescribed(bool): "retry_undescribed", SWITCH, default "true",
            because "so that two lines are enough to get through a restart; [a \
                decision](decisions/0053-what-nobody-described-is-retried-until-its-answer-begins.md) \
                that deviates from the seed's letter, for methods of which nobody knows whether \
                they stream";
        /// Whether a call that waited is refused when it could begin, if less time is left until
        /// its deadline than the answers of its method take of late. It then ends with
        /// DEADLINE_EXCEEDED, unsent. Calls that never waited, streams, and calls with
        /// `CallOptions::long_poll` are never refused.
        refuse_late(bool): "refuse_late", SWITCH, default "true", also for methods,
            because "in an overload calls begin when their time is nearly over, and none finishes; \
                without them [the server does work that is \
                used](decisions/0090-a-call-that-cannot-finish-is-not-started.md)";
        /// A request up to this size is kept until its call ends, so that it can be sent again; a
        /// larger one is sent once.
        max_replay_bytes(usize): "max_replay_bytes", SIZE, default "4MiB",
            because "tonic's and gRPC's usual limit of a message";
        /// A unary call with a larger message is refused with OUT_OF_RANGE before anything is sent;
        /// `none` leaves it to the server.
        max_request_message_bytes(impl Into<Option<usize>> as Option<usize>):
            "max_request_message_bytes", SIZE.or_none(), default "none",
            because "gRPC: what a server takes is for the server to say";
        /// A larger answer to `SupervisedChannel::unary` or to a message for the mailbox ends its
        /// call with OUT_OF_RANGE. Generated clients have a limit of their own,
        /// `max_decoding_message_size`.
        max_response_message_bytes(impl Into<Option<usize>> as Option<usize>):
            "max_response_message_bytes", SIZE.or_none(), default "4MiB",
            because "gRPC's and tonic's limit of a received message";
        /// The largest head of an answer, and the largest trailers, as HTTP/2 counts them: each
        /// field's name and value, and 32 bytes. Above it this call alone ends with
        /// RESOURCE_EXHAUSTED, and is not sent again. From 1KiB to 8MiB.
        max_response_header_bytes(usize): "max_response_header_bytes", sizes(1 << 10, 8 << 20),
            default "16KiB",
            because "hyper's limit; metadata is for short values";
        /// How many calls may be under way on one link; the others wait in the queue. The server's
        /// own limit holds beside it.
        max_in_flight(usize): "max_in_flight", whole(1, MANY, "calls"), default "1024",
            because "measured: more only adds memory. It also limits how many calls one lost link \
                ends";
        /// How many links to a server may finish their calls beside those in use, after a GOAWAY;
        /// above it the oldest is ended, and its calls with it.
        max_draining_links(usize): "max_draining_links", whole(1, 100_000, "links"), default "16",
            because "a server that restarts often keeps two or three; each holds a socket and its \
                calls";
        /// How many actors share the calls. With one, calls start in the order of their arrival.
        request_actors(usize): "request_actors", whole(1, 1_024, "actors"), default "1",
            because "calls start in the order of their arrival";
    }
    "Queue: calls that wait for a link" {
        /// How many calls may be open, waiting or under way; one more is refused at once.
        queue_max_calls(usize): "queue.max_calls", whole(1, MANY, "calls"), default "100000",
            because "bounded, and above what an agent has open";
        /// How many bytes the requests of open calls may add up to; a call that would exceed it is
        /// refused at once. One that is larger by itself is refused with OUT_OF_RANGE.
        queue_max_bytes(usize): "queue.max_bytes", sizes(1, usize::MAX), default "64MiB",
            because "bounded memory, whatever the size of requests";
    }
    "Reconnect: waits between dials, apart from the waits between retries" {
        /// The wait after the first failed dial while no call waits.
        reconnect_initial_backoff(Duration): "reconnect.initial_backoff", TIME, default "1.0",
            because "gRPC's connection backoff";
        /// What each such wait is multiplied by to give the next; at least 1.
        reconnect_backoff_multiplier(f64): "reconnect.backoff_multiplier", FACTOR, default "1.6",
            because "gRPC's connection backoff";
        /// No such wait is longer; at least `reconnect.initial_backoff`.
        reconnect_max_backoff(Duration): "reconnect.max_backoff", TIME, default "10.0",
            because "the seed's longest wait: a dial every ten seconds is cheap, and gRPC's two \
                minutes of waiting are not";
        /// The wait after the first failed dial while calls wait; the first call to wait shortens a
        /// longer wait that is running.
        reconnect_waiting_initial_backoff(Duration): "reconnect.waiting_initial_backoff", TIME,
            default "0.05",
            because "calls wait";
        /// What each such wait is multiplied by to give the next; at least 1.
        reconnect_waiting_backoff_multiplier(f64): "reconnect.waiting_backoff_multiplier", FACTOR,
            default "2.0",
            because "calls wait";
        /// No such wait is longer; at least `reconnect.waiting_initial_backoff`.
        reconnect_waiting_max_backoff(Duration): "reconnect.waiting_max_backoff", TIME,
            default "1.0", because "calls wait: a server that is back is noticed within a second";
        /// While calls wait for a port that refuses, no wait is longer; 0.4 of it at most after the
        /// first 3 dials, 2.2 times it from the 12th dial on, and after the 27th it ends.
        reconnect_refused_max_backoff(Duration): "reconnect.refused_max_backoff", TIME,
            default "0.25", because "[its server may be about to \
                start](decisions/0094-a-port-that-refuses-is-asked-more-often.md)";
        /// The share by which every wait between dials varies to either side, 0 to 1.
        reconnect_jitter(f64): "reconnect.jitter", SHARE, default "0.2",
            because "gRPC's connection backoff";
        /// The first dial after losing a proven link is made at once, at a random moment within
        /// this time; raise it for many agents on one server.
        reconnect_spread(Duration): "reconnect.spread", TIME_OR_ZERO, default "20ms",
            because "the first redial comes at once, but not that of all agents at the same moment";
        /// A link is proven, and the waits start over, when it has answered a call or was up for
        /// this time.
        reconnect_stable_after(Duration): "reconnect.stable_after", TIME_OR_ZERO, default "10",
            because "for a server that accepts connections and closes them the waits must grow";
    }
    "Intensity: failures inside the supervisor itself, not of the network" {
        /// How many failures of the supervisor's actors within `intensity.period` are restarted at
        /// once; one more is reported, and restarts go on slowly.
        intensity_restarts(u32): "intensity.restarts", whole(0, 1_000_000, "failures"), default "5",
            because "OTP's idea: a bug that shows now and then is restarted at once, one that \
                shows always is reported soon; after it restarts go on slowly, since a \
                supervisor that gives up helps nobody";
        /// The time within which `intensity.restarts` counts.
        intensity_period(Duration): "intensity.period", TIME, default "10",
            because "as `intensity.restarts`";
    }
    "Retry throttle: keeps retries after statuses from the server a fraction of calls" {
        /// Whether retries are throttled at all. Lost links and failed dials never are.
        retry_throttle_enabled(bool): "retry_throttle.enabled", SWITCH, default "true",
            because "[a server in trouble gets a limited number of \
                retries](decisions/0005-the-retry-throttle-deviates-from-the-seed.md)";
        /// A retry is a debt of 1: how much of it each call repays.
        retry_throttle_ratio(f64): "retry_throttle.ratio", numbers(0.0, 1e6, "retries per call"),
            default "0.2",
            because "when all calls fail, there are about 1.25 requests per call";
        /// How much of that debt each second repays. Retries go while the debt is at most what five
        /// seconds repay; a call's first also while it is at most the number of open calls.
        retry_throttle_floor(f64): "retry_throttle.floor", numbers(0.0, 1e6, "retries per second"),
            default "10",
            because "a client with few calls keeps the seed's three retries";
        /// gRPC A6's token bucket in place of `ratio` and `floor`: its size, up to 1000. Needs
        /// `retry_throttle.token_ratio`.
        retry_throttle_max_tokens(f64):
            "retry_throttle.max_tokens", numbers(0.001, 1e3, "tokens").or_none(), default "none",
            because "gRPC A6";
        /// What each success gives back to the bucket, 0.001 or more. Needs
        /// `retry_throttle.max_tokens`.
        retry_throttle_token_ratio(f64):
            "retry_throttle.token_ratio", numbers(0.001, 1e3, "tokens").or_none(), default "none",
            because "gRPC A6";
    }
}
