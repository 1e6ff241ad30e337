//! Faults.md, table 1, as data: each way the transport can fail, and what a supervised call makes of it.
//!
//! Needs nothing of the peer but `tonic_supervisor::testing`, and nothing of tonic but its client, so that a package that builds
//! tonic without its server can run the same rows: what a failure is called must not depend on tonic's cargo features.

use futures::future::BoxFuture;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, CallReport, Cause, Config, Failure, Origin, Phase, Scope, SupervisedChannel, Supervisor,
    testing::{MemoryNetwork, PlayingPeer, RawLink, RawPeer},
    transport::Target,
};

/// The status that ends every second attempt: no list of codes has it, so the call ends with it.
const END: Code = Code::FailedPrecondition;
const PATH: &str = "/table.Fault/Strike";
const BACKOFF: Duration = Duration::from_millis(20);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(600);
const ATTEMPT_TIMEOUT_ROW: &str = "attempt_timeout";
const KEEPALIVE_ROW: &str = "no answer to a keepalive PING";
const KEEPALIVE: Duration = Duration::from_millis(300);

/// What follows the fault under the seed's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The call ends with it.
    Ends,
    /// A retry that counts; none where the call is not idempotent.
    Retry,
    /// A retry that costs nothing: the server certainly did not process the call.
    Resend,
}

/// One failure of the transport and what it must be called.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    fault: Fault,
    code: Code,
    origin: Origin,
    phase: Phase,
    scope: Scope,
    then: Then,
}

/// A fault, by when it strikes.
enum Fault {
    /// No link comes to be.
    Dial(fn(RawPeer) -> Option<PlayingPeer>),
    /// The first request, on this stream, meets it; the link comes back if it lives on.
    Request(fn(RawLink, u32) -> BoxFuture<'static, Option<RawLink>>),
}

/// Which way a call goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// `SupervisedChannel::unary`.
    Typed,
    /// A generated client.
    Tonic,
}

impl Row {
    fn dial(name: &'static str, play: fn(RawPeer) -> Option<PlayingPeer>) -> Self {
        let (code, origin) = (Code::Unavailable, Origin::Local);
        Self {
            name,
            fault: Fault::Dial(play),
            code,
            origin,
            phase: Phase::Unsent,
            scope: Scope::Link,
            then: Then::Ends,
        }
    }

    fn peer(name: &'static str, code: Code, then: Then, strike: Strike) -> Self {
        let (origin, phase, scope) = (Origin::Peer, Phase::MaybeProcessed, Scope::Stream);
        Self { name, fault: Fault::Request(strike), code, origin, phase, scope, then }
    }

    fn lost(name: &'static str, strike: Strike) -> Self {
        let (origin, scope) = (Origin::Local, Scope::Link);
        Self { origin, scope, ..Self::peer(name, Code::Unavailable, Then::Retry, strike) }
    }
}

type Strike = fn(RawLink, u32) -> BoxFuture<'static, Option<RawLink>>;

/// Makes a [`Strike`] of the frames that the peer sends on a link that lives on.
macro_rules! sends {
    (|$link:ident, $stream:ident| $send:expr) => {
        |mut $link, $stream| {
            Box::pin(async move {
                $send.await;
                Some($link)
            })
        }
    };
}

/// The table.
pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::dial("connection refused", |_| None),
        Row::dial("black hole", |peer| Some(peer.black_hole())),
        Row::dial("accepted, then FIN", |peer| Some(peer.accept_then_close())),
        Row::dial("accepted, then RST", |peer| Some(peer.accept_then_reset())),
        Row::dial("an HTTP/1 answer to the greeting", |peer| {
            Some(peer.play(|mut link| async move { link.answer_http1("400 Bad Request").await }))
        }),
        Row::lost("FIN under the request", |link, _| {
            Box::pin(async move {
                link.close().await;
                None
            })
        }),
        Row::lost("RST under the request", |link, _| {
            Box::pin(async move {
                link.reset();
                None
            })
        }),
        Row::lost("GOAWAY that promised the stream, then FIN", |mut link, stream| {
            Box::pin(async move {
                link.goaway(stream, 0, "").await;
                link.close().await;
                None
            })
        }),
        Row::lost("garbage", sends!(|link, _stream| link.send_bytes(&[0xff; 64]))),
        Row::lost("an HTTP/1 answer to the request", sends!(|link, _stream| link.answer_http1("502 Bad Gateway"))),
        Row::lost(KEEPALIVE_ROW, |mut link, _| {
            Box::pin(async move {
                link.acknowledge_pings(false);
                Some(link)
            })
        }),
        Row {
            phase: Phase::Unprocessed,
            scope: Scope::Link,
            ..Row::peer(
                "GOAWAY, stream above the last",
                Code::Unavailable,
                Then::Resend,
                sends!(|link, _stream| link.goaway(0, 0, "max_age")),
            )
        },
        Row {
            phase: Phase::Unprocessed,
            ..Row::peer(
                "RST_STREAM REFUSED_STREAM",
                Code::Unavailable,
                Then::Resend,
                sends!(|link, stream| link.reset_stream(stream, 7)),
            )
        },
        Row::peer(
            "RST_STREAM CANCEL",
            Code::Cancelled,
            Then::Ends,
            sends!(|link, stream| link.reset_stream(stream, 8)),
        ),
        Row::peer(
            "RST_STREAM INTERNAL_ERROR",
            Code::Internal,
            Then::Retry,
            sends!(|link, stream| link.reset_stream(stream, 2)),
        ),
        Row::peer(
            "RST_STREAM ENHANCE_YOUR_CALM",
            Code::ResourceExhausted,
            Then::Retry,
            sends!(|link, stream| link.reset_stream(stream, 11)),
        ),
        Row {
            origin: Origin::Local,
            ..Row::peer(ATTEMPT_TIMEOUT_ROW, Code::DeadlineExceeded, Then::Retry, |link, _| {
                Box::pin(async move { Some(link) })
            })
        },
        Row::peer(
            "HTTP 429",
            Code::Unavailable,
            Then::Retry,
            sends!(|link, stream| link.answer_http(stream, 429, "text/plain", "slow down")),
        ),
        Row::peer(
            "HTTP 502",
            Code::Unavailable,
            Then::Retry,
            sends!(|link, stream| link.answer_http(stream, 502, "text/html", "")),
        ),
        Row::peer(
            "HTTP 503",
            Code::Unavailable,
            Then::Retry,
            sends!(|link, stream| link.answer_http(stream, 503, "text/html", "busy")),
        ),
        Row::peer(
            "HTTP 404",
            Code::Unimplemented,
            Then::Ends,
            sends!(|link, stream| link.answer_http(stream, 404, "text/html", "nothing here")),
        ),
        Row::peer(
            "no grpc-status",
            Code::Unknown,
            Then::Retry,
            sends!(|link, stream| async {
                link.answer_head(stream).await;
                link.message(stream, b"\n\x05hello").await;
                link.trailers(stream, &[("x-status", "lost")]).await;
            }),
        ),
        Row::peer(
            "a content-type that is not gRPC",
            Code::Unknown,
            Then::Retry,
            sends!(|link, stream| link.answer_http(stream, 200, "text/html", "<html>")),
        ),
        Row::peer(
            "a message that breaks off",
            Code::Internal,
            Then::Retry,
            sends!(|link, stream| async {
                link.answer_head(stream).await;
                link.truncated_message(stream, b"\n\x05hello", 8, false).await;
                link.trailers(stream, &[("grpc-status", "0")]).await;
            }),
        ),
    ]
}

/// Lets the fault befall a call, and checks what becomes of it. `peer` gives a fresh peer each time it is asked.
pub(crate) async fn check<F: Future<Output = RawPeer>>(row: &Row, door: Door, peer: impl Fn() -> F) {
    match row.fault {
        Fault::Dial(play) => {
            check_dial(row, door, play, peer().await, true).await;
            check_dial(row, door, play, peer().await, false).await;
        }
        Fault::Request(strike) => {
            check_request(row, door, strike, peer().await, true).await;
            check_request(row, door, strike, peer().await, false).await;
        }
    }
}

/// No link comes to be: a fail-fast call hears why, one that waits hears it at its deadline.
async fn check_dial(row: &Row, door: Door, play: fn(RawPeer) -> Option<PlayingPeer>, peer: RawPeer, fail_fast: bool) {
    let (target, connector) = (peer.target(), peer.connector());
    let _peer = play(peer);
    let config = config(&target).connect_timeout(CONNECT_TIMEOUT).build().expect("valid");
    let supervisor = Supervisor::builder(config).connector(connector).seed(1).spawn();
    let options = match fail_fast {
        true => CallOptions::new().wait_for_ready(false).timeout(CONNECT_TIMEOUT * 20),
        false => CallOptions::new().timeout(CONNECT_TIMEOUT * 2),
    };
    let status = call(&supervisor.channel(), door, options).await.expect_err(row.name);
    let report = report(row, &status);
    let name = format!("{}, {door:?}, fail fast: {fail_fast}: {report}", row.name);
    assert!(report.attempts.is_empty() && report.certainly_unprocessed(), "{name}");
    let outcome = &report.outcome;
    if fail_fast {
        compare(row, outcome, &name);
        assert!(matches!(&outcome.cause, Cause::NotConnected(why) if !why.is_empty()), "{name}");
    } else {
        let whole = (outcome.code, outcome.origin, outcome.phase);
        assert_eq!(whole, (Code::DeadlineExceeded, Origin::Local, Phase::Unsent), "{name}");
        assert!(matches!(&outcome.cause, Cause::Deadline(Some(why)) if !why.is_empty()), "{name}");
    }
    assert_eq!((status.code(), supervisor.snapshot().links), (outcome.code, 0), "{name}");
}

/// The first attempt meets the fault; a second one is answered with [`END`], so that the report has both.
async fn check_request(row: &Row, door: Door, strike: Strike, peer: RawPeer, idempotent: bool) {
    let (target, connector) = (peer.target(), peer.connector());
    let struck = Arc::new(AtomicBool::new(false));
    let _peer = peer.play(move |link| serve(link, strike, struck.clone()));
    let config = match row.name {
        ATTEMPT_TIMEOUT_ROW => config(&target).attempt_timeout(ATTEMPT_TIMEOUT),
        KEEPALIVE_ROW => {
            let eager = config(&target).keepalive_floor(KEEPALIVE).keepalive_time(KEEPALIVE);
            eager.keepalive_timeout(KEEPALIVE)
        }
        _ => config(&target),
    };
    let config = config.build().expect("valid");
    let supervisor = Supervisor::builder(config).connector(connector).seed(1).spawn();
    let channel = supervisor.channel();
    let status = call(&channel, door, CallOptions::new().idempotent(idempotent)).await.expect_err(row.name);
    let report = report(row, &status);
    let name = format!("{}, {door:?}, idempotent: {idempotent}: {report}", row.name);
    let first = &report.attempts.first().unwrap_or_else(|| panic!("no attempt: {name}")).failure;
    compare(row, first, &name);

    let harmless = first.phase < Phase::MaybeProcessed;
    let then = if idempotent || harmless { row.then } else { Then::Ends };
    let counts = (report.attempts_made, report.retries, report.transparent_retries, report.attempts[0].transparent);
    let expected = match then {
        Then::Ends => (1, 0, 0, false),
        Then::Retry => (2, 1, 0, false),
        Then::Resend => (2, 0, 1, true),
    };
    assert_eq!(counts, expected, "{name}");
    assert_eq!(status.code(), if then == Then::Ends { row.code } else { END }, "{name}");
    assert!(report.maybe_processed, "{name}");

    let after = call(&channel, door, CallOptions::new()).await.expect_err("the peer answers everything so");
    assert_eq!(after.code(), END, "{name}");
    let links = if row.scope == Scope::Link { 2 } else { 1 };
    assert_eq!(supervisor.snapshot().links, links, "only what befalls a link takes it down: {name}");
}

fn compare(row: &Row, failure: &Failure, name: &str) {
    let Failure { code, origin, phase, scope, .. } = failure;
    let found = (*code, *origin, *phase, *scope);
    assert_eq!(found, (row.code, row.origin, row.phase, row.scope), "{name}");
    assert!(*code != Code::Unknown || *origin == Origin::Peer, "no fault of this side is UNKNOWN: {name}");
}

/// Speaks HTTP/2; the first request of all meets the fault.
async fn serve(mut link: RawLink, strike: Strike, struck: Arc<AtomicBool>) {
    link.send_settings(&[]).await;
    while let Some((stream, _)) = link.next_whole_request().await {
        if struck.swap(true, SeqCst) {
            link.answer_status(stream, END as u32, "the second attempt").await;
            continue;
        }
        match strike(link, stream).await {
            Some(whole) => link = whole,
            None => return,
        }
    }
}

fn config(target: &Target) -> tonic_supervisor::ConfigBuilder {
    Config::builder().host(&*target.host).port(target.port).initial_backoff(BACKOFF).max_retry_attempts(1)
}

async fn call(channel: &SupervisedChannel, door: Door, options: CallOptions) -> Result<(), Status> {
    let mut request = Request::new("hello".to_owned());
    request.extensions_mut().insert(options.unary());
    if door == Door::Typed {
        return channel.unary::<String, String>(PATH, request).await.map(drop);
    }
    let mut client = Grpc::new(channel.clone());
    client.ready().await?;
    let path = http::uri::PathAndQuery::from_static(PATH);
    client.unary(request, path, ProstCodec::<String, String>::default()).await.map(drop)
}

fn report<'a>(row: &Row, status: &'a Status) -> &'a CallReport {
    CallReport::of(status).unwrap_or_else(|| panic!("{}: no report in {status:?}", row.name))
}

/// CHECK 3: every row of the table, over exact links.
#[tokio::test(start_paused = true)]
async fn pain_03_wrong_codes_each_failure_has_its_own_name_in_memory() {
    for row in rows() {
        for door in [Door::Typed, Door::Tonic] {
            check(&row, door, async || RawPeer::on_memory(&MemoryNetwork::new(), "server:50051").await).await;
        }
    }
}

/// CHECK 3: every row of the table, over TCP.
#[tokio::test]
async fn pain_03_wrong_codes_each_failure_has_its_own_name_over_tcp() {
    let rows = rows();
    let checks = rows.iter().flat_map(|row| [Door::Typed, Door::Tonic].map(|door| (row, door)));
    futures::future::join_all(checks.map(|(row, door)| check(row, door, RawPeer::on_tcp))).await;
}
