//! What clients that others wrote see of each fault of the table over a bridge, beside what they
//! see of it directly: code, messages, metadata and trailers are the same, but for a table of
//! exceptions, each of which must show.
//!
//! Words are not compared: no fault of the table is a status that a server says, so each side has
//! its own for what it saw. Statuses of servers are compared, words and all, by `.ci/proxy-peers`.

use super::{
    callers::{Caller, Wanted},
    fault_table::{Fate, Link, Row, Then, rows},
};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};
use tokio::{net::TcpListener, task::JoinSet};
use tonic_supervisor::{
    Bridge, Config, MethodOptions, Supervisor,
    testing::{Misbehaviour, Moment, RawPeer},
};

const GRPCIO: &str = "grpcio";
const GRPC_JS: &str = "grpc-js";
const BOTH: &[&str] = &[GRPCIO, GRPC_JS];

/// What is compared.
const COMPARED: [&str; 4] = ["code", "messages", "head", "trailers"];
/// For calls that nothing else ends.
const SOON: Duration = Duration::from_millis(1_500);
/// For all others: nothing takes so long.
const LATE: Duration = Duration::from_secs(20);

/// What may differ in a row, for these clients, and the code that they see over the bridge.
struct Exception {
    row: &'static str,
    clients: &'static [&'static str],
    fields: &'static [&'static str],
    code: &'static str,
}

const fn differs(
    row: &'static str,
    clients: &'static [&'static str],
    fields: &'static [&'static str],
    code: &'static str,
) -> Exception {
    Exception { row, clients, fields, code }
}

/// Where the channel waits, sends again, or has a limit or a keepalive of its own.
const OURS: &[Exception] = &[
    // It waits for a link.
    differs("connection refused", BOTH, &["code"], "DEADLINE_EXCEEDED"),
    differs("accepts, then FIN", BOTH, &["code"], "DEADLINE_EXCEEDED"),
    differs("accepts, then RST", BOTH, &["code"], "DEADLINE_EXCEEDED"),
    differs("never sends SETTINGS", &[GRPC_JS], &["code"], "DEADLINE_EXCEEDED"),
    // It sends again what the server certainly did not see. grpcio does it, too, after a GOAWAY,
    // but may wait longer than the call has.
    differs("GOAWAY that excludes the call, any code", BOTH, &["code", "messages"], "OK"),
    differs("GOAWAY \"too_many_pings\" that excludes the call", BOTH, &["code", "messages"], "OK"),
    differs("RST_STREAM REFUSED_STREAM before the headers", &[GRPCIO], &["code", "messages"], "OK"),
    // Its keepalive, and its limits of frames and headers.
    differs("no answer, not even to PING", BOTH, &["code"], "UNAVAILABLE"),
    differs("a frame above the limit, in an answer", BOTH, &["code", "messages"], "UNAVAILABLE"),
    differs(
        "headers of 20 or 64 KiB, trailers of 64 KiB",
        &[GRPC_JS],
        &["code", "messages", "head", "trailers"],
        "RESOURCE_EXHAUSTED",
    ),
];

/// Where the client by itself makes something else of an answer that breaks the rules.
const THEIRS: &[Exception] = &[
    // It goes by GOAWAY's code, and sends again after REFUSED_STREAM, which was promised to be
    // served.
    differs(
        "GOAWAY that promises the call, any code, then FIN",
        &[GRPC_JS],
        &["code", "messages"],
        "UNAVAILABLE",
    ),
    // It waits for what cannot come any more, until its deadline.
    differs("a frame that breaks off, then FIN", &[GRPC_JS], &["code"], "UNAVAILABLE"),
    // grpcio says UNKNOWN for it at times.
    differs("an answer in HTTP/1", BOTH, &["code"], "UNAVAILABLE"),
    differs("garbage", BOTH, &["code"], "UNAVAILABLE"),
    // It takes a text for a message.
    differs("a content-type that is not gRPC's", &[GRPC_JS], &["code"], "UNKNOWN"),
    // It has an own code, or none, for an answer without a right status.
    differs("a grpc-status that is none", BOTH, &["code"], "UNKNOWN"),
    differs("a message that breaks off, status 0", BOTH, &["code"], "INTERNAL"),
    differs("no trailers", &[GRPC_JS], &["code"], "UNKNOWN"),
    // It shows trailers, or a status in the head, that are not gRPC's.
    differs("no grpc-status", BOTH, &["trailers"], "UNKNOWN"),
    differs(
        "a grpc-status in headers that do not end the stream, then an answer",
        &[GRPC_JS],
        &["head"],
        "OK",
    ),
];

/// As what the method is known, by `methods:`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    Unary,
    Nothing,
    Streaming,
}

impl Known {
    const ALL: [Self; 3] = [Self::Unary, Self::Nothing, Self::Streaming];

    fn method(self) -> &'static str {
        match self {
            Self::Unary => "/table.Fault/Unary",
            Self::Nothing => "/table.Fault/Nothing",
            Self::Streaming => "/table.Fault/Streaming",
        }
    }

    fn fate(self, row: &Row) -> Fate {
        match self {
            Self::Unary => row.generated,
            Self::Nothing => row.auto,
            Self::Streaming => row.streaming,
        }
    }
}

/// How a call meets its fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Directly,
    /// Over a bridge that presumes that calls may not run twice, or that they may.
    Bridged {
        idempotent: bool,
    },
}

/// One call of the matrix.
struct Case<'a> {
    row: &'a Row,
    fault: Misbehaviour,
    known: Known,
    client: &'static str,
    /// For what ends by its deadline where nothing else ends it.
    soon: Duration,
}

/// A bridge that listens; it ends when dropped.
struct Listening {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn bridge(peer: &RawPeer, fault: Misbehaviour, idempotent: bool) -> Listening {
    let target = peer.dial_address();
    let mut config = Config::builder()
        .host(target.host())
        .port(target.port())
        .connect_timeout(ms(300))
        .initial_backoff(ms(20))
        .method("table.Fault/Unary", MethodOptions::new().unary())
        .method("table.Fault/Streaming", MethodOptions::new().streaming());
    if fault == Misbehaviour::NoPingAck {
        config = config.keepalive_floor(ms(200)).keepalive_time(ms(200)).keepalive_timeout(ms(200));
    }
    if fault == Misbehaviour::NoAnswer {
        config = config.attempt_timeout(ms(300));
    }
    let supervisor = Supervisor::spawn(config.build().expect("valid"));
    let bridge = Bridge::new(supervisor.channel()).idempotent(idempotent);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut clients = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let bridge = bridge.clone();
            clients.spawn(async move { bridge.serve(client).await });
        }
    });
    Listening { address, _tasks: tasks }
}

impl Case<'_> {
    /// The call's deadline: soon, where nothing else ends it.
    fn timeout(&self, way: Way) -> Duration {
        use Misbehaviour::*;
        let never = self.row.link == Link::NeverUp
            || matches!(self.fault, Streams(0) | NoWindow | NoAnswer | NoPingAck | TwoMessages);
        let lost = matches!(self.fault, Garbage | Http1 | TruncatedFrame | OversizeFrame);
        if never || lost && way == Way::Directly { self.soon } else { LATE }
    }

    /// What the client sees.
    async fn seen(&self, caller: &Caller, way: Way) -> Value {
        let peer = RawPeer::on_tcp().await;
        let direct = peer.address();
        let mut fault = self.fault;
        let listening = match way {
            Way::Bridged { idempotent } => Some(bridge(&peer, fault, idempotent).await),
            Way::Directly => None,
        };
        if way == Way::Directly {
            // grpcio's process aborts at a GOAWAY with HTTP_1_1_REQUIRED (1.85).
            fault = match fault {
                Misbehaviour::GoAwayBelow(13) => Misbehaviour::GoAwayBelow(12),
                Misbehaviour::GoAwayThenClose(13) => Misbehaviour::GoAwayThenClose(12),
                fault => fault,
            };
        }
        let _peer = peer.misbehave(fault, if fault.affects_greeting() { usize::MAX } else { 1 });
        let address = listening.as_ref().map_or(direct, |it| it.address.to_string());
        let wanted = Wanted {
            address: &address,
            method: self.known.method(),
            streaming: self.known == Known::Streaming,
            timeout: self.timeout(way),
        };
        caller.call(wanted).await
    }

    /// What it sees directly, and over both bridges.
    async fn seen_each_way(&self, caller: &Caller) -> [Value; 3] {
        let bridged = |idempotent| self.seen(caller, Way::Bridged { idempotent });
        [self.seen(caller, Way::Directly).await, bridged(false).await, bridged(true).await]
    }

    /// The fields in which the two differ.
    fn differing(&self, one: &Value, other: &Value) -> BTreeSet<&'static str> {
        let mut differing: BTreeSet<_> =
            COMPARED.into_iter().filter(|field| one[*field] != other[*field]).collect();
        if matches!(self.fault, Misbehaviour::Reset(_, Moment::AfterMessage)) {
            // A reset may overtake the message before it, in the client, too.
            differing.remove("messages");
        }
        differing
    }

    fn exceptions(&self) -> impl Iterator<Item = &'static Exception> {
        let all = OURS.iter().chain(THEIRS);
        all.filter(|it| it.row == self.row.name && it.clients.contains(&self.client))
    }

    /// What is wrong with what was seen; the exceptions that it shows are noted.
    fn judge(
        &self,
        [direct, once, again]: &[Value; 3],
        shown: &mut BTreeSet<&'static str>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut differing = self.differing(direct, once);
        for exception in self.exceptions() {
            if differing.is_empty() {
                break;
            }
            if differing.iter().any(|field| exception.fields.contains(field)) {
                shown.insert(exception.row);
                if once["code"] != exception.code {
                    wrong.push(format!("not {}, but {once}", exception.code));
                }
            }
            differing.retain(|field| !exception.fields.contains(field));
        }
        if !differing.is_empty() {
            wrong.push(format!("{differing:?} differ: directly {direct}, but {once}"));
        }
        let silent = |seen: &Value| seen["words"].as_str().is_none_or(str::is_empty);
        if once["code"] != "OK" && silent(once) && !silent(direct) {
            wrong.push(format!("no words: {once}"));
        }
        if matches!(self.known.fate(self.row), Fate::Fails { then: Then::Retried, .. }) {
            if again["code"] != "OK" || again["messages"] != json!([HELLO]) {
                wrong.push(format!("is not retried where it may be: {again}"));
            }
        } else if !self.differing(once, again).is_empty() {
            wrong.push(format!("{once} becomes {again} where it may run twice"));
        }
        let place = |it| {
            let Self { row, fault, known, client, .. } = self;
            format!("{}, {fault:?}, {known:?}, {client}: {it}", row.name)
        };
        wrong.into_iter().map(place).collect()
    }
}

/// The message of each good answer, as hex.
const HELLO: &str = "0a0568656c6c6f";

#[tokio::test(flavor = "multi_thread")]
async fn foreign_clients_see_of_a_fault_over_a_bridge_what_they_see_directly() {
    let (python, node) = (Caller::python(), Caller::node());
    let rows = rows();
    let cases = rows.iter().flat_map(|row| {
        row.faults.iter().flat_map(move |fault| {
            Known::ALL.into_iter().flat_map(move |known| {
                BOTH.iter().map(move |client| Case {
                    row,
                    fault: *fault,
                    known,
                    client,
                    soon: SOON,
                })
            })
        })
    });
    let cases: Vec<_> = cases.collect();
    let seen: Vec<_> = stream::iter(&cases)
        .map(|case| {
            let caller = if case.client == GRPCIO { &python } else { &node };
            case.seen_each_way(caller)
        })
        .buffered(32)
        .collect()
        .await;
    let mut shown = BTreeSet::new();
    let mut wrong = Vec::new();
    for (case, seen) in cases.into_iter().zip(&seen) {
        if case.judge(seen, &mut shown).is_empty() {
            continue;
        }
        // Many were played at once: on a busy machine some were later than their deadline.
        let caller = if case.client == GRPCIO { &python } else { &node };
        let case = Case { soon: SOON * 4, ..case };
        let seen = case.seen_each_way(caller).await;
        wrong.extend(case.judge(&seen, &mut shown));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let idle = OURS.iter().chain(THEIRS).map(|it| it.row).filter(|row| !shown.contains(row));
    let idle: Vec<_> = idle.collect();
    assert!(idle.is_empty(), "these exceptions are not needed: {idle:?}");
}
