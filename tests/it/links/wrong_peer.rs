//! Before the first link, a wrong peer at every address: the second such dial in a row, and each
//! further one, ends the calls that wait, unless somebody said that they shall wait. Everything
//! else is waited for, and after the first link everything is.

use crate::support::*;
use http::uri::PathAndQuery;
use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, Cause, Child, ConfigBuilder, ConnectivityState, Fact, Phase, Supervisor,
    config::MethodOptions,
    testing::{MemoryNetwork, PlayingPeer, RawLink, RawPeer, ScriptedServer},
};

const HTTP1: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.6\r\n";
const TLS_ALERT: &[u8] = b"\x15\x03\x01\0\x02\x02\x46";
/// GOAWAY with NO_ERROR, in place of SETTINGS.
const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A peer that says `words` on every connection, and then neither speaks nor hangs up.
async fn says(network: &MemoryNetwork, address: &str, words: &'static [u8]) -> PlayingPeer {
    RawPeer::on_memory(network, address).await.play(move |mut link: RawLink| async move {
        link.send_bytes(words).await;
        std::future::pending::<()>().await;
        drop(link);
    })
}

/// When the dials failed, since the supervisor was spawned.
fn failures(log: &EventLog) -> Vec<Duration> {
    let failed = log.all(|fact| matches!(fact, Fact::DialFailed { .. }).then_some(()));
    failed.into_iter().map(|(at, ())| at).collect()
}

#[track_caller]
fn assert_wrong_peer(status: &Status, words: &str) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(report(status).outcome.phase, Phase::Unsent);
    assert!(matches!(cause(status), Cause::NotConnected(_)), "{status:?}");
    assert_eq!((report(status).attempts_made, report(status).maybe_processed), (0, false));
    assert!(status.message().contains(words), "{status:?}");
}

#[track_caller]
fn assert_waited(status: &Status) {
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(status.message().contains("while it waited for a link: "), "{status:?}");
}

/// A call that has 20 s, and what it ends with.
async fn called(supervisor: &Supervisor, options: CallOptions) -> (Duration, Status) {
    let (took, answer) = timed(say(&supervisor.channel(), "x", options.timeout(secs(20)))).await;
    (took, answer.expect_err("nobody could answer"))
}

#[tokio::test(start_paused = true)]
async fn the_second_dial_to_a_wrong_peer_ends_the_calls_that_wait_whatever_their_kind() {
    for (words, named) in [
        (HTTP1, "this looks like an HTTP/1 server"),
        (SSH, "this looks like an SSH server"),
        (TLS_ALERT, "this looks like a TLS server"),
        (b"what is it?", "its first bytes are"),
    ] {
        let network = MemoryNetwork::new();
        let _peer = says(&network, ADDRESS, words).await;
        let supervisor = supervise(&network, config());
        let log = EventLog::of(&supervisor);
        let posted = post(&supervisor.mailbox(), "x", CallOptions::new());
        let streams = async {
            let mut grpc = Grpc::new(supervisor.channel());
            grpc.ready().await.expect("always ready");
            let codec = ProstCodec::<String, String>::default();
            let path = PathAndQuery::from_static(SAY);
            grpc.server_streaming(Request::new("x".to_owned()), path, codec).await.map(drop)
        };
        let waits = called(&supervisor, CallOptions::new());
        let ((took, said), streamed) = tokio::join!(waits, streams);
        let posted = bounded("an answer", posted).await.expect("sent");
        let posted = posted.expect_err("nobody could answer");
        for status in [said, streamed.expect_err("nobody could answer"), posted] {
            assert_wrong_peer(&status, named);
        }
        settle().await;
        assert_eq!(failures(&log).len(), 2, "{named}: neither before the second nor after it");
        assert_time(took, failures(&log)[1]);
    }
}

#[tokio::test(start_paused = true)]
async fn each_further_dial_ends_the_calls_that_came_since_the_last_one() {
    let network = MemoryNetwork::new();
    let _peer = says(&network, ADDRESS, HTTP1).await;
    let supervisor = supervise(&network, config());
    let log = EventLog::of(&supervisor);
    for round in 2..6 {
        let (_, status) = called(&supervisor, CallOptions::new()).await;
        assert_wrong_peer(&status, "HTTP/1");
        settle().await;
        assert_eq!(failures(&log).len(), round);
    }
}

#[tokio::test(start_paused = true)]
async fn who_said_wait_for_ready_waits_for_a_wrong_peer_too_and_the_default_says_nothing() {
    let wait = |wait| MethodOptions::new().wait_for_ready(wait);
    let method = |says: MethodOptions| config().method("test.Echo/Say", says);
    let (nothing, told) = (CallOptions::new(), CallOptions::new().wait_for_ready(true));
    let builder = || config().wait_for_ready(true);
    let cases: [(&str, ConfigBuilder, CallOptions, bool); 8] = [
        ("nobody", config(), nothing, false),
        ("the method, another key", method(MethodOptions::new().unary()), nothing, false),
        ("the call", config(), told, true),
        ("the method", method(wait(true)), nothing, true),
        ("every method", config().method("*", wait(true)), nothing, true),
        ("the builder", builder(), nothing, true),
        ("the call, against the method", method(wait(false)), told, true),
        ("the method, against it", builder().method("*", wait(false)), nothing, false),
    ];
    for (who, config, options, waits) in cases {
        let network = MemoryNetwork::new();
        let _peer = says(&network, ADDRESS, HTTP1).await;
        let (took, status) = called(&supervise(&network, config), options).await;
        match waits {
            true => assert_waited(&status),
            false => assert_wrong_peer(&status, "HTTP/1"),
        }
        assert_eq!(took >= secs(20), waits, "{who}: {took:?}");
    }
}

#[cfg(feature = "yaml")]
#[tokio::test(start_paused = true)]
async fn a_file_that_says_wait_for_ready_is_waited_for_although_it_says_the_default() {
    for (said, waits) in [("wait_for_ready: true, host: server", true), ("host: server", false)] {
        let network = MemoryNetwork::new();
        let _peer = says(&network, ADDRESS, HTTP1).await;
        let config = tonic_supervisor::Config::builder().yaml(format!("grpc: {{{said}}}"));
        let (took, status) = called(&supervise(&network, config), CallOptions::new()).await;
        assert_eq!(took >= secs(20), waits, "{said}: {status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_down_or_speaks_http2_badly_is_waited_for() {
    for fault in ["refuses", "hangs up", "says GOAWAY first", "is mute"] {
        let network = MemoryNetwork::new();
        let _peer = match fault {
            "refuses" => None,
            "hangs up" => Some(RawPeer::on_memory(&network, ADDRESS).await.accept_then_close()),
            "is mute" => Some(says(&network, ADDRESS, b"").await),
            _ => Some(says(&network, ADDRESS, GOAWAY).await),
        };
        let supervisor = supervise(&network, config().connect_timeout(secs(2)));
        let log = EventLog::of(&supervisor);
        let (_, status) = called(&supervisor, CallOptions::new()).await;
        assert_waited(&status);
        assert!(failures(&log).len() > 2, "{fault}: {:?}", failures(&log));
    }
}

/// Turn by turn: the count starts over each time.
#[tokio::test(start_paused = true)]
async fn a_wrong_peer_in_turn_with_one_that_hangs_up_is_waited_for() {
    let network = MemoryNetwork::new();
    let turn = AtomicUsize::new(0);
    let peer = RawPeer::on_memory(&network, ADDRESS).await;
    let _peer = peer.play(move |mut link: RawLink| {
        let wrong = turn.fetch_add(1, Relaxed).is_multiple_of(2);
        async move {
            if wrong {
                link.send_bytes(HTTP1).await;
                tokio::time::sleep(secs(1)).await;
            }
            link.close().await;
        }
    });
    let (_, status) = called(&supervise(&network, config()), CallOptions::new()).await;
    assert_waited(&status);
}

#[tokio::test(start_paused = true)]
async fn every_address_must_have_a_wrong_peer() {
    for (second, waits) in [(Some(SSH), false), (None, true), (Some(GOAWAY), true)] {
        let network = MemoryNetwork::new();
        network.name(ADDRESS, &["10.0.0.1:50051", "10.0.0.2:50051"]);
        let _first = says(&network, "10.0.0.1:50051", HTTP1).await;
        let _second = match second {
            Some(words) => Some(says(&network, "10.0.0.2:50051", words).await),
            None => None,
        };
        let (took, status) = called(&supervise(&network, config()), CallOptions::new()).await;
        assert_eq!(took >= secs(20), waits, "{second:?}: {status:?}");
        if !waits {
            assert_wrong_peer(&status, "HTTP/1");
            assert_wrong_peer(&status, "SSH");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_first_link_calls_wait_for_a_wrong_peer_even_over_a_crash() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let turn = AtomicUsize::new(0);
    let peer = RawPeer::on_memory(&network, ADDRESS).await;
    let _peer = peer.play(move |mut link: RawLink| {
        let first = turn.fetch_add(1, Relaxed) == 0;
        async move {
            match first {
                true => link.send_settings(&[]).await,
                false => link.send_bytes(HTTP1).await,
            }
            tokio::time::sleep(secs(1)).await;
            link.close().await;
        }
    });
    let supervisor = supervise(&network, config());
    let log = EventLog::of(&supervisor);
    supervisor.wait_ready(LONG).await.expect("Ready");
    eventually("the link is lost", || supervisor.state() != ConnectivityState::Ready).await;
    supervisor.panics().arm(Child::Supervisor, "RedialDue", 1);
    let (_, status) = called(&supervisor, CallOptions::new()).await;
    assert_waited(&status);
    assert_eq!(supervisor.panics().injected().len(), 1);
    assert!(failures(&log).len() > 2, "{:?}", failures(&log));
}

/// The mistake is put right: the next call goes through, and the log has told it in two lines.
#[tokio::test(start_paused = true)]
async fn the_first_failure_is_one_warning_and_the_first_link_one_line() {
    let lines = LogLines::listen();
    let network = MemoryNetwork::new();
    let peer = says(&network, ADDRESS, HTTP1).await;
    let supervisor = supervise(&network, config());
    let (_, status) = called(&supervisor, CallOptions::new()).await;
    assert_wrong_peer(&status, "HTTP/1");
    let warned = lines.saying("not connected yet: ");
    let [warning] = &warned[..] else { panic!("{warned:?}") };
    assert_eq!(warning.level, tracing::Level::WARN);
    assert!(warning.field("message").contains("this looks like an HTTP/1 server"), "{warning:?}");
    assert!(lines.saying("connection lost").is_empty());
    peer.stop().await;
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let answer = say(&supervisor.channel(), "x", CallOptions::new()).await;
    assert_eq!(answer.expect("it is there now"), "x");
    server.kill().await;
    eventually("it is noticed", || supervisor.state() != ConnectivityState::Ready).await;
    server.restart().await;
    supervisor.wait_ready(LONG).await.expect("Ready");
    let levels = |text: &str| {
        let lines =
            lines.saying(text).into_iter().filter(|line| line.field("message").starts_with(text));
        lines.map(|line| line.level).collect::<Vec<_>>()
    };
    assert_eq!(levels("connected, after "), [tracing::Level::INFO]);
    assert_eq!(levels("connection lost"), [tracing::Level::WARN]);
    assert_eq!(levels("connected again"), [tracing::Level::INFO]);
    assert_eq!(lines.saying("not connected yet: ").len(), 1);
}
