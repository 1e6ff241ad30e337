//! Plays the rows of the matrix: lets each fault befall a call, and checks what becomes of it.

use super::{Fate, Link, Row, Then, rows};
use futures::future::join_all;
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
    Address, CallKind, CallOptions, CallReport, Cause, Config, ConfigBuilder, ConnectivityState,
    EventItem, EventStream, Fact, Origin, Phase, Scope, SupervisedChannel, Supervisor,
    testing::{MemoryNetwork, Misbehaviour, RawLink, RawPeer},
};

/// The status that ends every second attempt: no list of codes has it, so the call ends with it.
const END: Code = Code::FailedPrecondition;
const PATH: &str = "/table.Fault/Strike";
const BACKOFF: Duration = Duration::from_millis(20);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a call, or an attempt, waits for a peer that will never answer.
const IMPATIENCE: Duration = Duration::from_millis(600);
/// Longer than anything that shall happen at all.
const PATIENCE: Duration = Duration::from_secs(100);
const KEEPALIVE: Duration = Duration::from_millis(500);

/// Which way a call goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// `SupervisedChannel::unary`.
    Typed,
    /// A generated client's unary method.
    Generated,
    /// The same, where nobody said that it is unary.
    Auto,
    /// A generated client's server-streaming method, known as such.
    Streaming,
}

impl Entry {
    const ALL: [Self; 4] = [Self::Typed, Self::Generated, Self::Auto, Self::Streaming];

    fn fate(self, row: &Row) -> Fate {
        match self {
            Self::Typed => row.unary,
            Self::Generated => row.generated,
            Self::Auto => row.auto,
            Self::Streaming => row.streaming,
        }
    }
}

/// Scenario 3: every row of the table, over exact links.
#[tokio::test(start_paused = true)]
async fn scenario_03_each_fault_has_its_own_code_and_cause_in_memory() {
    for row in rows() {
        for entry in Entry::ALL {
            check(&row, entry, async || {
                RawPeer::on_memory(&MemoryNetwork::new(), "server:50051").await
            })
            .await;
        }
    }
}

/// Scenario 3: every row of the table, over TCP.
#[tokio::test]
async fn scenario_03_each_fault_has_its_own_code_and_cause_over_tcp() {
    let rows = rows();
    for entry in Entry::ALL {
        join_all(rows.iter().map(|row| check(row, entry, RawPeer::on_tcp))).await;
    }
}

/// Lets each of the row's faults befall a call. `peer` gives a fresh peer each time it is asked.
async fn check<F: Future<Output = RawPeer>>(row: &Row, entry: Entry, peer: impl Fn() -> F) {
    for fault in &row.faults {
        for yes in [true, false] {
            match row.link {
                Link::NeverUp => check_dial(row, entry, *fault, peer().await, yes).await,
                _ => check_call(row, entry, *fault, peer().await, yes).await,
            }
        }
    }
}

/// No link comes to be: a fail-fast call hears why, one that waits hears it at its deadline.
async fn check_dial(row: &Row, entry: Entry, fault: Misbehaviour, peer: RawPeer, fail_fast: bool) {
    let (target, connector) = (peer.dial_address(), peer.connector());
    let _peer = peer.misbehave(fault, usize::MAX);
    let config = config(&target).connect_timeout(CONNECT_TIMEOUT).build().expect("valid");
    let supervisor = Supervisor::builder(config).connector(connector).rng_seed(1).spawn();
    let mut states = States::of(&supervisor);
    let options = match fail_fast {
        true => CallOptions::new().wait_for_ready(false).timeout(CONNECT_TIMEOUT * 20),
        // Said: for a wrong peer the default does not wait.
        false => CallOptions::new().wait_for_ready(true).timeout(CONNECT_TIMEOUT * 2),
    };
    let status = call(&supervisor.channel(), entry, options).await.expect_err(&row.name);
    let report =
        CallReport::of(&status).unwrap_or_else(|| panic!("{}: no report in {status:?}", row.name));
    let name = format!("{}, {fault:?}, {entry:?}, fail fast: {fail_fast}: {report}", row.name);
    assert!(report.attempts.is_empty() && report.certainly_unprocessed(), "{name}");
    let outcome = &report.outcome;
    if fail_fast {
        let found = Fate::Fails {
            code: outcome.code,
            origin: outcome.origin,
            phase: outcome.phase,
            then: Then::Ends,
        };
        assert_eq!(found, entry.fate(row), "{name}");
        assert!(matches!(&outcome.cause, Cause::NotConnected(why) if !why.is_empty()), "{name}");
    } else {
        let whole = (outcome.code, outcome.origin, outcome.phase);
        assert_eq!(whole, (Code::DeadlineExceeded, Origin::Local, Phase::Unsent), "{name}");
        assert!(matches!(&outcome.cause, Cause::Deadline(Some(why)) if !why.is_empty()), "{name}");
    }
    assert_eq!((status.code(), supervisor.snapshot().links), (outcome.code, 0), "{name}");
    assert_eq!(states.first(2).await, row.link.states(), "{name}");
}

/// The first attempt meets the fault; a second one is answered with [`END`], so that the report has
/// both.
async fn check_call(row: &Row, entry: Entry, fault: Misbehaviour, peer: RawPeer, idempotent: bool) {
    let (target, connector) = (peer.dial_address(), peer.connector());
    let struck = Arc::new(AtomicBool::new(false));
    let _peer = peer.play(move |link| serve(link, fault, struck.clone()));
    let supervisor = {
        let config = configured(config(&target), fault, entry).build().expect("valid");
        Supervisor::builder(config).connector(connector).rng_seed(1).spawn()
    };
    let mut states = States::of(&supervisor);
    let channel = supervisor.channel();
    let options =
        match waits_in_vain(fault) && (fault.affects_greeting() || entry == Entry::Streaming) {
            true => CallOptions::new().timeout(IMPATIENCE),
            false => CallOptions::new(),
        };
    if waits_in_vain(fault) {
        // The dial shall not use up the time that the call has, however busy the machine is.
        assert!(supervisor.wait_ready(PATIENCE).await.is_ok(), "{}: it dials", row.name);
    }
    let outcome = call(&channel, entry, options.idempotent(idempotent)).await;
    let name = format!("{}, {fault:?}, {entry:?}, idempotent: {idempotent}: {outcome:?}", row.name);
    match entry.fate(row) {
        Fate::Answered => assert!(outcome.is_ok(), "{name}"),
        fate => check_failure(row, fate, &outcome.expect_err(&name), idempotent, &name),
    }
    if fault.affects_greeting() && waits_in_vain(fault) {
        assert_eq!(
            (states.now(), supervisor.state()),
            (Vec::new(), ConnectivityState::Ready),
            "{name}"
        );
        return;
    }
    let after = call(&channel, entry, CallOptions::new().timeout(PATIENCE)).await;
    assert!(
        after.as_ref().err().is_none_or(|status| status.code() == END),
        "{name}, and then {after:?}"
    );
    let expected = row.link.states();
    assert_eq!(states.after_ready(expected.len()).await, expected, "{name}");
    let links = if row.link == Link::Kept { 1 } else { 2 };
    assert_eq!(
        supervisor.snapshot().links,
        links,
        "only what befalls a link takes it down: {name}"
    );
}

/// The first attempt's failure, and what followed it.
fn check_failure(row: &Row, fate: Fate, status: &Status, idempotent: bool, name: &str) {
    let Fate::Fails { code, phase, then, .. } = fate else { unreachable!("it fails") };
    let Some(report) = CallReport::of(status) else {
        // The peer's own trailers, or the codec's verdict on a whole answer: there is no more to
        // say than the code.
        assert_eq!(
            (status.code(), phase, then),
            (code, Phase::Processed, Then::Ends),
            "no report: {name}"
        );
        return;
    };
    let first = report.attempts.first().map_or(&report.outcome, |attempt| &attempt.failure);
    let found = Fate::Fails { code: first.code, origin: first.origin, phase: first.phase, then };
    assert_eq!(found, fate, "{name}, {report}");
    let scope = if row.link == Link::Kept { Scope::Stream } else { Scope::Link };
    assert_eq!(first.scope, scope, "{name}, {report}");
    assert!(
        first.code != Code::Unknown || first.origin == Origin::Peer,
        "no fault of this side is UNKNOWN: {name}"
    );

    let harmless = first.phase < Phase::MaybeProcessed;
    let then = if idempotent || harmless { then } else { Then::Ends };
    let counts = (report.retries, report.transparent_retries, status.code());
    let expected = match then {
        Then::Ends => (0, 0, code),
        Then::Retried => (1, 0, END),
        Then::Resent => (0, 1, END),
    };
    assert_eq!(counts, expected, "{name}, {report}");
    assert_eq!(
        report.maybe_processed,
        first.phase > Phase::Unprocessed || then == Then::Resent,
        "{name}, {report}"
    );
}

impl Link {
    /// The state events that show it: of a link that never comes to be the first, else those after
    /// the first READY.
    pub(crate) fn states(self) -> &'static [ConnectivityState] {
        use ConnectivityState::*;
        match self {
            Self::NeverUp => &[Connecting, TransientFailure],
            Self::Kept => &[],
            Self::Lost => &[TransientFailure, Connecting, Ready],
            Self::Replaced => &[Connecting, Ready],
        }
    }
}

fn waits_in_vain(fault: Misbehaviour) -> bool {
    matches!(fault, Misbehaviour::Streams(0) | Misbehaviour::NoWindow | Misbehaviour::NoAnswer)
}

fn config(target: &Address) -> ConfigBuilder {
    Config::builder()
        .host(target.host())
        .port(target.port())
        .initial_backoff(BACKOFF)
        .max_retry_attempts(1)
}

fn configured(config: ConfigBuilder, fault: Misbehaviour, entry: Entry) -> ConfigBuilder {
    match fault {
        Misbehaviour::NoAnswer if entry != Entry::Streaming => config.attempt_timeout(IMPATIENCE),
        Misbehaviour::NoPingAck => {
            config.keepalive_floor(KEEPALIVE).keepalive_time(KEEPALIVE).keepalive_timeout(KEEPALIVE)
        }
        _ => config,
    }
}

/// Speaks HTTP/2; the first link, or the first call of all, meets the fault.
async fn serve(link: RawLink, fault: Misbehaviour, struck: Arc<AtomicBool>) {
    let Some(mut link) = link.greet(fault).await else { return };
    while let Some((stream, body)) = link.next_whole_request().await {
        if fault.affects_greeting() {
            link.answer(stream, body.get(5..).unwrap_or_default()).await;
            continue;
        }
        if struck.swap(true, SeqCst) {
            link.answer_status(stream, END as u32, "the second attempt").await;
            continue;
        }
        match link.misbehave(fault, stream).await {
            Some(whole) => link = whole,
            None => return,
        }
    }
}

async fn call(
    channel: &SupervisedChannel,
    entry: Entry,
    options: CallOptions,
) -> Result<(), Status> {
    let mut request = Request::new("hello".to_owned());
    let path = http::uri::PathAndQuery::from_static(PATH);
    let codec = ProstCodec::<String, String>::default();
    if entry == Entry::Streaming {
        request.extensions_mut().insert(options.kind(CallKind::Streaming));
        let mut answer =
            Grpc::new(channel.clone()).server_streaming(request, path, codec).await?.into_inner();
        while answer.message().await?.is_some() {}
        return Ok(());
    }
    request.extensions_mut().insert(if entry == Entry::Auto { options } else { options.unary() });
    match entry {
        Entry::Typed => channel.unary::<String, String>(PATH, request).await.map(drop),
        _ => Grpc::new(channel.clone()).unary(request, path, codec).await.map(drop),
    }
}

/// The states that a supervisor announces.
struct States {
    events: EventStream,
    seen: Vec<ConnectivityState>,
}

impl States {
    fn of(supervisor: &Supervisor) -> Self {
        Self { events: supervisor.events(), seen: Vec::new() }
    }

    /// The first `count` of them, as soon as they were announced.
    async fn first(&mut self, count: usize) -> &[ConnectivityState] {
        while self.seen.len() < count {
            self.next().await;
        }
        &self.seen[..count]
    }

    /// All those after the first READY, at least `count`, as soon as they were announced.
    async fn after_ready(&mut self, count: usize) -> Vec<ConnectivityState> {
        while self.now().len() < count {
            self.next().await;
        }
        self.now()
    }

    /// Those after the first READY so far.
    fn now(&mut self) -> Vec<ConnectivityState> {
        while let Some(Some(item)) = futures::FutureExt::now_or_never(self.events.next()) {
            self.note(item);
        }
        let ready = self.seen.iter().position(|state| *state == ConnectivityState::Ready);
        ready.map_or_else(Vec::new, |ready| self.seen[ready + 1..].to_vec())
    }

    async fn next(&mut self) {
        let item = tokio::time::timeout(PATIENCE, self.events.next()).await;
        let seen = format!("{:?}", self.seen);
        self.note(
            item.unwrap_or_else(|_| panic!("no more states after {seen}")).expect("it lives"),
        );
    }

    fn note(&mut self, item: EventItem) {
        match item {
            EventItem::Event(event) => {
                if let Fact::StateChanged { to, .. } = event.fact {
                    self.seen.push(to);
                }
            }
            EventItem::Lagged(missed) => panic!("{missed} events missed"),
            _ => {}
        }
    }
}
