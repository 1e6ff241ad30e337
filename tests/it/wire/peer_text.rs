//! What others say is text: whatever it holds, it stands on one line of bounded length in reports,
//! events and the log. The status that the caller gets is the peer's own, unchanged.

use crate::support::{
    ADDRESS, EventLog, LogLine, LogLines, config, ms, report, say, secs, start, supervise,
};
use futures::future::BoxFuture;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::Code;
use tonic_supervisor::{
    CallOptions, DialFailure, DialStep, Fact, Supervisor,
    testing::{Frame, MemoryNetwork, RawPeer, Script, ScriptedServer},
    transport::{BoxedIo, ConnectRequest, Connector},
};

/// A title for the terminal, a new line, a change of direction, and a control character above DEL.
const RUDE: &str = "\u{1b}]0;owned\u{7}\nERROR all is lost \u{202e}\u{9b}31m";

#[track_caller]
fn assert_harmless(text: &str) {
    let harmful = |c: char| c.is_control() || c == '\u{202e}';
    assert!(!text.contains(harmful) && text.len() <= 4_096, "{text:?}");
}

/// The lines of this crate that contain `text`; h2 writes some of its own.
fn ours(lines: &LogLines, text: &str) -> Vec<LogLine> {
    let lines = lines.saying(text);
    lines.into_iter().filter(|line| !line.field("target").is_empty()).collect()
}

/// Those of them that are shown by default: the others repeat the words at DEBUG.
fn shown(lines: &LogLines, text: &str) -> Vec<LogLine> {
    let shown = |line: &LogLine| line.level <= tracing::Level::INFO;
    ours(lines, text).into_iter().filter(shown).collect()
}

/// All that was announced and logged.
#[track_caller]
fn assert_all_harmless(events: &EventLog, lines: &LogLines) {
    let facts = events.all(|fact| match fact {
        Fact::StateChanged { cause, .. } | Fact::RetryScheduled { cause, .. } => {
            Some(cause.to_string())
        }
        Fact::ChildFailed { error, .. } => Some(error.to_string()),
        Fact::DialFailed { failure, .. } => Some(format!("{}{failure}", failure.reason)),
        Fact::GoAwayReceived { goaway, .. } => Some(format!("{}{goaway}", goaway.debug)),
        Fact::LinkLost { end, .. } => Some(end.to_string()),
        _ => None,
    });
    facts.iter().for_each(|(_, text)| assert_harmless(text));
    ours(lines, "")
        .iter()
        .flat_map(|line| line.fields.values())
        .for_each(|text| assert_harmless(text));
}

#[tokio::test(start_paused = true)]
async fn a_peers_words_reach_reports_events_and_log_as_one_harmless_line() {
    let (network, lines) = (MemoryNetwork::new(), LogLines::listen());
    let peer = RawPeer::on_memory(&network, ADDRESS).await;
    let _peer = peer.play(|mut link| async move {
        link.send_settings(&[]).await;
        let message = "%1B]0;owned%07%0AERROR all is lost %E2%80%AE%C2%9B31m";
        for _ in 0..2 {
            let Some((stream, _)) = link.next_whole_request().await else { return };
            link.answer_status(stream, 14, message).await;
        }
        let Some((stream, _)) = link.next_whole_request().await else { return };
        link.send(Frame::headers(
            stream,
            &[(":status", "200"), ("content-type", "text/\u{202e}html")],
            true,
        ))
        .await;
        let Some((stream, _)) = link.next_whole_request().await else { return };
        link.goaway(stream, 11, &RUDE.repeat(10)).await;
        link.close().await;
    });
    let supervisor = supervise(&network, config().max_retry_attempts(1).initial_backoff(ms(10)));
    let (channel, events) = (supervisor.channel(), EventLog::of(&supervisor));

    let status = say(&channel, "hello", CallOptions::new()).await.expect_err("UNAVAILABLE");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, RUDE),
        "the caller's own is not touched"
    );
    assert_harmless(&report(&status).to_string());
    let status =
        say(&channel, "hello", CallOptions::new().retry(false)).await.expect_err("not gRPC");
    assert!(status.message().contains("content-type"), "{status:?}");
    assert_harmless(status.message());
    let status = say(&channel, "hello", CallOptions::new().retry(false)).await.expect_err("lost");
    assert!(status.message().contains("owned"), "the words are there: {status:?}");
    assert_harmless(status.message());
    assert_harmless(&report(&status).to_string());
    events.until("the GOAWAY", 1, |fact| matches!(fact, Fact::GoAwayReceived { .. })).await;
    assert_eq!(
        (shown(&lines, "the peer sent GOAWAY").len(), shown(&lines, "retry scheduled").len()),
        (1, 1)
    );
    assert_all_harmless(&events, &lines);
}

/// tonic prints a status's source by its `Debug`, and so does `main` that returns the error.
#[tokio::test(start_paused = true)]
async fn a_printed_status_ends_with_its_report_in_words() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Script::always(Code::Unavailable));
    let supervisor = supervise(&network, config().max_retry_attempts(1));
    let status =
        say(&supervisor.channel(), "hello", CallOptions::new()).await.expect_err("UNAVAILABLE");
    let story = report(&status).to_string();
    assert!(story.starts_with("test.Echo/Say ended after 2 attempts in 1.0"), "{story}");
    for printed in [format!("{status}"), format!("{status:?}")] {
        assert!(printed.contains(&story), "{printed}");
        assert!(!printed.contains("CallReport"), "{printed}");
    }
}

/// Fails with whatever it was given, before a link or on it.
struct Rude(DialStep);

impl Connector for Rude {
    fn connect(&self, _: &ConnectRequest) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        let step = self.0;
        Box::pin(async move {
            if step == DialStep::Connect {
                return Err(DialFailure::new(step, RUDE.repeat(1_000)));
            }
            Ok(Box::new(RudeStream) as BoxedIo)
        })
    }
}

/// A byte stream that takes all and then fails.
struct RudeStream;

impl AsyncRead for RudeStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other(RUDE.repeat(1_000))))
    }
}

impl AsyncWrite for RudeStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_connectors_words_reach_calls_events_and_log_as_one_harmless_line() {
    for step in [DialStep::Connect, DialStep::Handshake] {
        let lines = LogLines::listen();
        let config = config().build().expect("valid");
        let supervisor =
            Supervisor::builder(config).connector(Arc::new(Rude(step))).rng_seed(1).spawn();
        let (channel, events) = (supervisor.channel(), EventLog::of(&supervisor));
        tokio::time::sleep(secs(1)).await;
        for options in
            [CallOptions::new().wait_for_ready(false), CallOptions::new().timeout(secs(3))]
        {
            let status = say(&channel, "hello", options).await.expect_err("never connected");
            assert!(status.message().contains("owned"), "the words are there: {status:?}");
            assert_harmless(status.message());
            assert_harmless(&report(&status).to_string());
        }
        assert_all_harmless(&events, &lines);
    }
}

/// ractor runs each actor in a span `Actor{id=..}`, which says nothing to users; and what they
/// filter by is the crate's name, not the file that a line stands in.
#[tokio::test(start_paused = true)]
async fn log_lines_have_one_target_and_stand_in_no_actors_span() {
    let (network, lines) = (MemoryNetwork::new(), LogLines::listen());
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(
        &network,
        config().queue_max_calls(1).retry_throttle_floor(0.1).retry_throttle_ratio(0.0),
    );
    let channel = supervisor.channel();
    say(&channel, "hello", CallOptions::new()).await.expect("an echo");
    server.script(Script::always(Code::Unavailable));
    say(&channel, "hello", CallOptions::new()).await.expect_err("one retry, then the throttle");
    server.kill().await;
    tokio::time::sleep(secs(30)).await;
    server.restart().await;
    supervisor.wait_ready(secs(100)).await.expect("Ready");
    server.goaway().await;
    server.script(Script::hang());
    let open = start(&channel, "hello", CallOptions::new());
    server.arrived(4).await;
    say(&channel, "hello", CallOptions::new()).await.expect_err("no room");
    supervisor.shutdown(secs(0)).await;
    open.await.expect("no panic").1.expect_err("shut down");
    for text in [
        "connected",
        "retry scheduled",
        "retry throttled",
        "connection lost",
        "still not connected",
    ]
    .into_iter()
    .chain(["connected again", "the peer sent GOAWAY", "call refused", "draining", "closed"])
    {
        assert!(!lines.saying(text).is_empty(), "{text}");
    }
    // Spans and their events have a target of their own.
    let elsewhere = ["ractor", "h2", "tonic", "tokio", "mio", "tonic_supervisor"];
    let ours = lines
        .saying("")
        .into_iter()
        .filter(|line| !elsewhere.iter().any(|name| line.target.starts_with(&format!("{name}::"))));
    for line in ours {
        assert_eq!(
            (line.target.as_str(), line.spans.as_slice()),
            ("tonic_supervisor", &[][..]),
            "{line:?}"
        );
    }
}

/// What refuses a call is a warning: the queue is full. A caller that goes on asking is one line,
/// two, four...
#[tokio::test(start_paused = true)]
async fn a_flood_of_refused_calls_is_a_few_warnings() {
    let (network, lines) = (MemoryNetwork::new(), LogLines::listen());
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Script::hang());
    let supervisor = supervise(&network, config().queue_max_calls(1));
    let channel = supervisor.channel();
    let _open = start(&channel, "hello", CallOptions::new());
    server.arrived(1).await;
    for _ in 0..1_000 {
        say(&channel, "hello", CallOptions::new()).await.expect_err("no room");
    }
    let refused = shown(&lines, "call refused: the queue is full: queue.max_calls calls are open");
    let told: Vec<_> =
        refused.iter().map(|line| (line.level, line.field("times").to_owned())).collect();
    let expected = (0..10).map(|n| (tracing::Level::WARN, (1_u64 << n).to_string()));
    assert_eq!(told, expected.collect::<Vec<_>>());
}

/// Hundreds of GOAWAYs and of throttled retries are as many events, and a few lines.
#[tokio::test(start_paused = true)]
async fn a_flood_of_goaways_or_of_throttled_retries_is_a_few_lines() {
    for (text, goaway) in [("the peer sent GOAWAY", true), ("retry throttled", false)] {
        let (network, lines) = (MemoryNetwork::new(), LogLines::listen());
        let peer = RawPeer::on_memory(&network, ADDRESS).await;
        let _peer = peer.play(move |mut link| async move {
            link.send_settings(&[]).await;
            while let Some((stream, body)) = link.next_whole_request().await {
                if goaway {
                    link.answer(stream, &body[5..]).await;
                    link.goaway(stream, 0, "").await;
                } else {
                    link.answer_status(stream, 14, "busy").await;
                }
            }
        });
        let supervisor = supervise(&network, config().initial_backoff(ms(1)).backoff_jitter(0.0));
        let (channel, events) = (supervisor.channel(), EventLog::of(&supervisor));
        for _ in 0..200 {
            let _ = say(&channel, "hello", CallOptions::new()).await;
        }
        let times = events.count(|fact| match fact {
            Fact::GoAwayReceived { .. } => goaway,
            Fact::RetryThrottled { .. } => !goaway,
            _ => false,
        });
        assert!(times >= 100, "{text}, {times} times");
        let lines = shown(&lines, text);
        let expected = times.ilog2() as usize + 1;
        assert_eq!(lines.len(), expected, "{text}, {times} times");
        assert_eq!(
            lines.last().expect("a line").field("times"),
            (1u64 << (expected - 1)).to_string()
        );
    }
}
