//! The table: each way in which a peer can misbehave, and what it comes to.
//!
//! In a file of its own, without those who play it: the suite against foreign peers plays the same
//! rows over a bridge.

use std::time::Duration;
use tonic::Code::{self, *};
use tonic_supervisor::{
    Origin, Phase,
    testing::{
        Misbehaviour::{self, *},
        Moment,
    },
};

/// One row: faults that come to the same, and what they come to.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) faults: Vec<Misbehaviour>,
    /// `SupervisedChannel::unary` and the mailbox.
    pub(crate) unary: Fate,
    /// A generated client's unary call, where its own codec comes to another end.
    pub(crate) generated: Fate,
    /// The same call where nobody said that its method is unary: it is not retried once its answer
    /// has begun.
    pub(crate) auto: Fate,
    /// A call of a method that is known to stream.
    pub(crate) streaming: Fate,
    pub(crate) link: Link,
}

/// What becomes of the first attempt, and then of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is answered.
    Answered,
    /// It fails so.
    Fails { code: Code, origin: Origin, phase: Phase, then: Then },
}

/// What follows a failed attempt under the seed's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The call ends with it.
    Ends,
    /// A retry that counts; none where the call is not idempotent.
    Retried,
    /// A retry that costs nothing: the server certainly did not process the call.
    Resent,
}

/// What becomes of the link, as the state events show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// It never comes to be: CONNECTING, TRANSIENT_FAILURE.
    NeverUp,
    /// It goes on: no event.
    Kept,
    /// It is lost: TRANSIENT_FAILURE, CONNECTING, READY.
    Lost,
    /// It drains, a successor takes its place: CONNECTING, READY.
    Replaced,
}

fn peer(code: Code, then: Then) -> Fate {
    Fate::Fails { code, origin: Origin::Peer, phase: Phase::MaybeProcessed, then }
}

fn local(code: Code, phase: Phase, then: Then) -> Fate {
    Fate::Fails { code, origin: Origin::Local, phase, then }
}

/// The answer is there, but this side cannot use it.
fn unusable(code: Code) -> Fate {
    local(code, Phase::Processed, Then::Ends)
}

impl Fate {
    /// The same, but that it is not retried.
    fn ends(self) -> Self {
        match self {
            Self::Fails { code, origin, phase, then: Then::Retried } => {
                Self::Fails { code, origin, phase, then: Then::Ends }
            }
            fate => fate,
        }
    }
}

impl Row {
    /// A stream's fate is the same, but that it is not retried.
    fn new(
        name: impl Into<String>,
        faults: impl Into<Vec<Misbehaviour>>,
        unary: Fate,
        link: Link,
    ) -> Self {
        let (name, faults) = (name.into(), faults.into());
        Self { name, faults, unary, generated: unary, auto: unary, streaming: unary.ends(), link }
    }

    fn never_up(name: &str, fault: Misbehaviour) -> Self {
        Self::new(name, [fault], local(Unavailable, Phase::Unsent, Then::Ends), Link::NeverUp)
    }

    fn lost(name: &str, fault: Misbehaviour) -> Self {
        Self::new(
            name,
            [fault],
            local(Unavailable, Phase::MaybeProcessed, Then::Retried),
            Link::Lost,
        )
    }

    fn kept(name: impl Into<String>, faults: impl Into<Vec<Misbehaviour>>, fate: Fate) -> Self {
        Self::new(name, faults, fate, Link::Kept)
    }

    fn generated(self, generated: Fate) -> Self {
        Self { generated, auto: generated, ..self }
    }

    /// The fault comes when the answer has begun.
    fn begun(self) -> Self {
        Self { auto: self.auto.ends(), ..self }
    }

    fn streaming(self, streaming: Fate) -> Self {
        Self { streaming, ..self }
    }
}

const SOON: Duration = Duration::from_millis(100);

/// The table.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![
        Row::never_up("connection refused", Refuse),
        Row::never_up("accepts, then silence", BlackHole),
        Row::never_up("accepts, then FIN", AcceptThenClose),
        Row::never_up("accepts, then RST", AcceptThenReset),
        Row::never_up("greets in HTTP/1", Http1Greeting),
        Row::never_up("greets with garbage", GarbageGreeting),
        Row::never_up("never sends SETTINGS", NoSettings),
        Row::kept("sends SETTINGS late", [SlowSettings(SOON)], Fate::Answered),
        Row::kept(
            "MAX_CONCURRENT_STREAMS 0",
            [Streams(0)],
            local(DeadlineExceeded, Phase::Unsent, Then::Ends),
        ),
        Row::kept("MAX_CONCURRENT_STREAMS 1", [Streams(1)], Fate::Answered),
        Row::kept("MAX_CONCURRENT_STREAMS 0, then 1", [StreamsLater(SOON)], Fate::Answered),
        Row::kept(
            "a window of 0",
            [NoWindow],
            local(DeadlineExceeded, Phase::MaybeProcessed, Then::Ends),
        ),
        Row::kept(
            "no answer",
            [NoAnswer],
            local(DeadlineExceeded, Phase::MaybeProcessed, Then::Retried),
        ),
        Row::lost("no answer, not even to PING", NoPingAck),
        Row::kept("a flood of PINGs, then an answer", [PingFlood(1_000)], Fate::Answered),
        Row::lost("FIN", Close),
        Row::lost("FIN of one side", HalfClose),
        Row::lost("RST", Cut),
        Row::lost("garbage", Garbage),
        Row::lost("a frame that breaks off, then FIN", TruncatedFrame),
        Row::lost("a frame above the limit, in an answer", OversizeFrame).begun(),
        Row::lost("an answer in HTTP/1", Http1),
    ];
    rows.push(Row::kept(
        "50 DATA frames without a byte, then an answer",
        [EmptyData(50)],
        Fate::Answered,
    ));
    rows.extend(goaways());
    rows.extend(resets());
    rows.extend(answers());
    rows
}

/// GOAWAY in all forms.
fn goaways() -> Vec<Row> {
    let below = Fate::Fails {
        code: Unavailable,
        origin: Origin::Peer,
        phase: Phase::Unprocessed,
        then: Then::Resent,
    };
    let codes: Vec<u32> = (0..14).collect();
    let each =
        |fault: fn(u32) -> Misbehaviour| codes.iter().map(|code| fault(*code)).collect::<Vec<_>>();
    vec![
        Row::new(
            "GOAWAY that excludes the call, any code",
            each(GoAwayBelow),
            below,
            Link::Replaced,
        ),
        Row::new(
            "GOAWAY \"too_many_pings\" that excludes the call",
            [TooManyPings],
            below,
            Link::Replaced,
        ),
        Row::new(
            "GOAWAY in two steps, then an answer",
            [GoAwayTwice],
            Fate::Answered,
            Link::Replaced,
        ),
        Row {
            link: Link::Replaced,
            faults: each(GoAwayThenClose),
            ..Row::lost("GOAWAY that promises the call, any code, then FIN", Close)
        },
    ]
}

/// RST_STREAM with every code at every moment.
fn resets() -> Vec<Row> {
    let any_moment = |codes: &[u32]| {
        let codes = codes.iter();
        codes
            .flat_map(|code| Moment::ALL.iter().map(move |moment| Reset(*code, *moment)))
            .collect::<Vec<_>>()
    };
    const OTHERS: [u32; 10] = [0, 1, 2, 3, 4, 5, 6, 9, 10, 13];
    let began = [Moment::AfterHeaders, Moment::MidMessage, Moment::AfterMessage];
    let refused = Fate::Fails {
        code: Unavailable,
        origin: Origin::Peer,
        phase: Phase::Unprocessed,
        then: Then::Resent,
    };
    vec![
        Row::kept(
            "RST_STREAM REFUSED_STREAM before the headers",
            [Reset(7, Moment::BeforeHeaders)],
            refused,
        ),
        Row::kept(
            "RST_STREAM REFUSED_STREAM later",
            began.map(|moment| Reset(7, moment)),
            peer(Unavailable, Then::Retried),
        )
        .begun(),
        Row::kept(
            "RST_STREAM CANCEL, at any moment",
            any_moment(&[8]),
            peer(Cancelled, Then::Ends),
        ),
        Row::kept(
            "RST_STREAM ENHANCE_YOUR_CALM before the headers",
            [Reset(11, Moment::BeforeHeaders)],
            peer(ResourceExhausted, Then::Retried),
        ),
        Row::kept(
            "RST_STREAM ENHANCE_YOUR_CALM later",
            began.map(|moment| Reset(11, moment)),
            peer(ResourceExhausted, Then::Retried),
        )
        .begun(),
        Row::kept(
            "RST_STREAM INADEQUATE_SECURITY, at any moment",
            any_moment(&[12]),
            peer(PermissionDenied, Then::Ends),
        ),
        Row::kept(
            "RST_STREAM with any other code before the headers",
            OTHERS.map(|code| Reset(code, Moment::BeforeHeaders)),
            peer(Internal, Then::Retried),
        ),
        Row::kept(
            "RST_STREAM with any other code later",
            OTHERS
                .iter()
                .flat_map(|code| began.map(|moment| Reset(*code, moment)))
                .collect::<Vec<_>>(),
            peer(Internal, Then::Retried),
        )
        .begun(),
    ]
}

/// Answers that are not what gRPC asks for.
fn answers() -> Vec<Row> {
    let sent =
        |code, then| Fate::Fails { code, origin: Origin::Peer, phase: Phase::Processed, then };
    let http = |statuses: &[u16]| {
        let statuses = statuses.iter();
        statuses.flat_map(|status| [Http(*status, true), Http(*status, false)]).collect::<Vec<_>>()
    };
    vec![
        Row::kept("no trailers", [NoTrailers], peer(Unknown, Then::Retried)).begun(),
        Row::kept("no grpc-status", [NoStatus], peer(Unknown, Then::Retried)).begun(),
        Row::kept(
            "a grpc-status that is none",
            [BadStatus, UnknownStatus],
            sent(Unknown, Then::Retried),
        )
        .begun(),
        Row::kept(
            "a message that breaks off, status 0",
            [TruncatedMessage],
            peer(Internal, Then::Retried),
        )
        .begun(),
        Row::kept("no message, status 0", [NoMessage], unusable(Internal))
            .streaming(Fate::Answered),
        Row::kept("two messages, status 0", [TwoMessages], unusable(Internal))
            .generated(Fate::Answered)
            .streaming(Fate::Answered),
        Row::kept("a message with an unknown flag", [BadFlag], unusable(Internal)),
        Row::kept("a message compressed in no encoding", [CompressedFlag], unusable(Internal)),
        Row::kept("a message of 5 MiB", [OversizeMessage(5 << 20)], unusable(OutOfRange)),
        Row::kept(
            "headers of 20 or 64 KiB, trailers of 64 KiB",
            [OversizeHeaders(20 << 10), OversizeHeaders(64 << 10), OversizeTrailers(64 << 10)],
            unusable(ResourceExhausted),
        ),
        Row::kept(
            "a grpc-status in headers that do not end the stream, then an answer",
            [StatusInHead(0), StatusInHead(10)],
            Fate::Answered,
        ),
        Row::kept(
            "a content-type that is not gRPC's",
            [WrongContentType],
            peer(Unknown, Then::Retried),
        ),
        Row::kept("HTTP 400", http(&[400]), peer(Internal, Then::Ends)),
        Row::kept("HTTP 401", http(&[401]), peer(Unauthenticated, Then::Ends)),
        Row::kept("HTTP 403", http(&[403]), peer(PermissionDenied, Then::Ends)),
        Row::kept("HTTP 404", http(&[404]), peer(Unimplemented, Then::Ends)),
        Row::kept("HTTP 413, 414, 431", http(&[413, 414, 431]), peer(Unknown, Then::Ends)),
        Row::kept(
            "HTTP 429, 502, 503, 504",
            http(&[429, 502, 503, 504]),
            peer(Unavailable, Then::Retried),
        ),
        Row::kept("any other HTTP status", http(&[418, 500]), peer(Unknown, Then::Retried)),
    ]
}
