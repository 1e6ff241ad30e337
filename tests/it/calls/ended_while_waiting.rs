//! What a call is told that was ended while it waited: what for, and, where an attempt of it had
//! failed, how. A deadline's words are the same whoever notices it first: the request actor (a call
//! that came as a message), the caller's own future, or the watch while the request actor is dead.

use crate::support::*;
use std::time::Duration;
use tonic::{Code, Status, metadata::MetadataMap};
use tonic_supervisor::{
    CallOptions, Cause, Child, ConfigBuilder, NotRetried, Phase, Supervisor,
    testing::{Answer, MemoryNetwork, RawPeer, Script, ScriptedServer},
};

/// The call that is looked at has this long, and a little more than the retry's wait.
const TIMEOUT: Duration = Duration::from_millis(1_500);

/// Why a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// The dial under way is the first, and takes long.
    FirstDial,
    /// Nobody listens.
    Refused,
    /// The peer said GOAWAY, and the next dial takes long.
    GoAway,
    /// The peer lets two streams in.
    PeersRoom,
    /// The peer let two streams in, and lets none in any more.
    FewerRoom,
    /// The peer lets no stream in.
    NoRoom,
    /// `max_in_flight` lets two streams in.
    OwnRoom,
    /// The hook does not answer.
    Credentials,
    /// An attempt failed, and the server was gone when the retry was due.
    AfterRetry,
}

use Reason::*;

const NO_LINK: [Reason; 3] = [FirstDial, Refused, GoAway];
const NO_ROOM: [Reason; 4] = [PeersRoom, FewerRoom, NoRoom, OwnRoom];
const OTHER: [Reason; 2] = [Credentials, AfterRetry];

fn all() -> impl Iterator<Item = Reason> {
    NO_LINK.into_iter().chain(NO_ROOM).chain(OTHER)
}

impl Reason {
    fn words(self) -> &'static [&'static str] {
        match self {
            FirstDial => &["for a link: connecting, and no dial has failed yet"],
            Refused => &["for a link: cannot connect to server:50051: ", "refused"],
            GoAway => &[
                "for a link: the peer sent GOAWAY ENHANCE_YOUR_CALM (last stream 0): \"slower\"",
                "; its last attempt failed with UNAVAILABLE: the peer sent GOAWAY ENHANCE_YOUR",
            ],
            PeersRoom => &["for room: 2 of 2 streams are open (the peer's MAX_CONCURRENT_STREAMS)"],
            FewerRoom => &["for room: 2 streams are open, and 1 may be (the peer's MAX_"],
            NoRoom => &["for room: the peer allows no calls on this link (its MAX_"],
            OwnRoom => &["for room: 2 of 2 streams are open (max_in_flight)"],
            Credentials => &[
                "for its credentials: the CallCredentials hook (Builder::call_credentials) was ",
                "was asked 1.5 s before, and has not answered",
            ],
            AfterRetry => &["for a link: ", "; it was to be retry 1 of 3; its last attempt "],
        }
    }

    /// The settings that the raw peer sends.
    fn settings(self) -> &'static [(u16, u32)] {
        match self {
            PeersRoom | FewerRoom => &[(3, 2)],
            NoRoom => &[(3, 0)],
            _ => &[],
        }
    }

    /// A supervisor whose next call waits for this reason, and what has to live as long.
    async fn set_up(self) -> (Supervisor, Vec<Box<dyn std::any::Any>>) {
        let (network, mut kept) = (MemoryNetwork::new(), Vec::<Box<dyn std::any::Any>>::new());
        let limit = if self == OwnRoom { 2 } else { 1_000 };
        let config = config().max_in_flight(limit).initial_backoff(ms(1_000));
        if self == FirstDial {
            network.black_hole(true);
        }
        if matches!(self, FirstDial | Refused) {
            let supervisor = supervise(&network, config);
            settle().await;
            return (supervisor, kept);
        }
        if matches!(self, Credentials | AfterRetry) {
            let answer = Answer::status(Code::Unavailable).text("too busy");
            let server = ScriptedServer::builder().script(Script::new(move |_| answer.clone()));
            let server = server.on_memory(&network, ADDRESS).await;
            let supervisor = match self {
                Credentials => waits_for_ever(&network, config),
                _ => supervise(&network, config),
            };
            supervisor.wait_ready(LONG).await.expect("Ready");
            if self == AfterRetry {
                tokio::spawn(async move {
                    server.arrived(1).await;
                    tokio::time::sleep(ms(500)).await;
                    server.kill().await;
                });
            } else {
                kept.push(Box::new(server));
            }
            return (supervisor, kept);
        }
        let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
        let supervisor = supervise(&network, config);
        let mut link = peer.accept().await;
        link.send_settings(self.settings()).await;
        let settings = self;
        let (told, full) = tokio::sync::oneshot::channel();
        let playing = tokio::spawn(async move {
            if settings == GoAway {
                network.black_hole(true);
                let _ = told.send(());
                link.next_whole_request().await;
                link.goaway(0, 11, "slower").await;
            } else {
                for _ in 0..if settings == NoRoom { 0 } else { 2 } {
                    link.next_request().await;
                }
                if settings == FewerRoom {
                    link.send_settings(&[(3, 1)]).await;
                }
                let _ = told.send(());
            }
            let _kept = peer;
            while let Ok(Some(_)) = link.next_frame().await {}
        });
        supervisor.wait_ready(LONG).await.expect("Ready");
        if matches!(self, PeersRoom | FewerRoom | OwnRoom) {
            for _ in 0..2 {
                kept.push(Box::new(start(&supervisor.channel(), "fills", CallOptions::new())));
            }
        }
        bounded(&format!("the peer is ready, {self:?}"), full).await.expect("told");
        settle().await;
        kept.push(Box::new(playing));
        (supervisor, kept)
    }
}

fn waits_for_ever(network: &MemoryNetwork, config: ConfigBuilder) -> Supervisor {
    let config = config.build().expect("valid");
    let builder = Supervisor::builder(config).connector(network.connector());
    let hook = |_| std::future::pending::<Result<MetadataMap, Status>>();
    builder.rng_seed(1).allow_plaintext(true).call_credentials(hook).spawn()
}

fn limited() -> CallOptions {
    CallOptions::new().timeout(TIMEOUT)
}

#[track_caller]
fn assert_named(reason: Reason, status: &Status) {
    for words in reason.words() {
        assert!(status.message().contains(words), "{reason:?}: {}", status.message());
    }
    let printed = report(status).to_string();
    assert!(printed.contains(reason.words()[0]), "{reason:?}: {printed}");
    assert_eq!(printed.matches(reason.words()[0]).count(), 1, "said once: {printed}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_names_what_the_call_waited_for_to_its_future_and_to_a_port_alike() {
    for reason in all() {
        let mut heard = Vec::new();
        for as_message in [false, true] {
            let (supervisor, _kept) = reason.set_up().await;
            let (took, answer) = timed(async {
                if !as_message {
                    return say(&supervisor.channel(), "x", limited()).await.map(drop);
                }
                let answer = post(&supervisor.mailbox(), "x", limited());
                bounded("an answer", answer).await.expect("sent").map(drop)
            })
            .await;
            let status = answer.expect_err("it waits for ever");
            assert_time(took, TIMEOUT);
            assert_eq!(status.code(), Code::DeadlineExceeded);
            assert_eq!(report(&status).outcome.phase, Phase::Unsent);
            assert!(matches!(cause(&status), Cause::Deadline(Some(_))), "{reason:?}");
            let waiting = report(&status).waiting.as_deref().expect("it waited");
            assert!(waiting.starts_with("for "), "{waiting}");
            assert_named(reason, &status);
            heard.push((status.message().to_owned(), report(&status).attempts_made));
        }
        assert_eq!(heard[0], heard[1], "{reason:?}");
    }
}

/// The hook sees the call's deadline too; whichever ends first, no attempt has failed.
#[tokio::test(start_paused = true)]
async fn a_hook_that_is_too_late_for_the_call_is_no_failed_attempt() {
    let (supervisor, _kept) = Credentials.set_up().await;
    let answer = post(&supervisor.mailbox(), "x", limited());
    let status = bounded("an answer", answer).await.expect("sent").expect_err("the hook hangs");
    let report = report(&status);
    assert_eq!((report.attempts_made, report.attempts.len()), (0, 0), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_named_also_while_the_request_actor_is_dead() {
    hide_injected_panics();
    let (supervisor, _kept) = Refused.set_up().await;
    supervisor.panics().arm(Child::Request, "Submit", 1);
    supervisor.panics().arm(Child::Request, "Adopt", u32::MAX);
    let answer = post(&supervisor.mailbox(), "x", limited());
    let status = bounded("an answer", answer).await.expect("sent").expect_err("nobody serves it");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_named(Refused, &status);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_names_what_the_calls_that_it_ends_were_waiting_for() {
    for reason in NO_LINK.into_iter().chain(NO_ROOM) {
        let (supervisor, _kept) = reason.set_up().await;
        let answer = post(&supervisor.mailbox(), "x", CallOptions::new());
        tokio::time::sleep(secs(1)).await;
        supervisor.shutdown(Duration::ZERO).await;
        let status = bounded("an answer", answer).await.expect("sent").expect_err("shut down");
        assert_eq!((status.code(), cause(&status)), (Code::Cancelled, &Cause::Shutdown));
        let begins = "the supervisor was shut down; the call was waiting for ";
        assert!(status.message().starts_with(begins), "{status:?}");
        assert_named(reason, &status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_names_the_hook_or_the_retry_that_a_call_was_waiting_for() {
    let failed = "its last attempt failed with UNAVAILABLE: too busy";
    let retry = format!("for retry 1 of 3, which was due in 0.6 s; {failed}");
    let hook = "(Builder::call_credentials) was asked 0.4 s before, and has not answered";
    let cases = [(Credentials, hook), (AfterRetry, &retry)];
    for (reason, words) in cases {
        let (supervisor, _kept) = reason.set_up().await;
        let answer = post(&supervisor.mailbox(), "x", CallOptions::new());
        tokio::time::sleep(ms(400)).await;
        supervisor.shutdown(Duration::ZERO).await;
        let status = bounded("an answer", answer).await.expect("sent").expect_err("shut down");
        assert!(status.message().contains(words), "{reason:?}: {status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_says_why_no_retry_followed_and_keeps_its_last_status() {
    let busy = || Answer::status(Code::Unavailable).text("too busy");
    let options = CallOptions::new;
    let (four, once) = (options().timeout(secs(4)), options().idempotent(false));
    let harm = "the server may have processed the call, which is not idempotent: running it twice \
                could do harm";
    let cases = [
        (busy(), four, 2, "a wait of 4 s would outlive the deadline"),
        (busy().pushback("7500"), four, 0, "a wait of 7.5 s would outlive the deadline"),
        (busy().pushback("-1"), options(), 0, "the server said that the call must not be retried"),
        (busy(), options(), 3, "all 3 retries were made (max_retry_attempts)"),
        (busy(), options().retry(false), 0, "retries are turned off for the call"),
        (busy(), once, 0, harm),
    ];
    for (answer, options, retries, words) in cases {
        let network = MemoryNetwork::new();
        let script = Script::new(move |_| answer.clone());
        let _server = ScriptedServer::builder().script(script).on_memory(&network, ADDRESS).await;
        let supervisor = supervise(&network, config().retry_throttle_enabled(false));
        let status = say(&supervisor.channel(), "x", options).await.expect_err("busy");
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "too busy"), "{words}");
        let report = report(&status);
        assert_eq!(report.retries, retries, "{words}");
        assert!(report.not_retried.is_some_and(|reason| reason.to_string() == words), "{report:?}");
        assert!(report.to_string().contains(&format!("; no retry followed: {words}")), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_retry_is_named_and_so_is_a_code_that_is_not_retried() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Script::always(Code::NotFound));
    let config = config().retry_throttle_floor(0.0).retry_throttle_ratio(0.0);
    let supervisor = supervise(&network, config);
    let status = say(&supervisor.channel(), "x", CallOptions::new()).await.expect_err("not found");
    let unlisted = Some(NotRetried::CodeNotListed(Code::NotFound));
    assert_eq!(report(&status).not_retried, unlisted);
    server.script(Script::always(Code::Unavailable));
    let mut reasons = Vec::new();
    for _ in 0..60 {
        let status = say(&supervisor.channel(), "x", CallOptions::new()).await.expect_err("busy");
        reasons.extend(report(&status).not_retried);
    }
    assert!(reasons.contains(&NotRetried::Throttled), "{reasons:?}");
}

/// It would not fit into an empty queue either.
#[tokio::test(start_paused = true)]
async fn a_request_larger_than_the_whole_queue_is_too_large_and_not_refused_as_full() {
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config().queue_max_bytes(100));
    let log = EventLog::of(&supervisor);
    let large = "x".repeat(200);
    let said = say(&supervisor.channel(), &large, CallOptions::new()).await.expect_err("too large");
    let answer = post(&supervisor.mailbox(), &large, CallOptions::new());
    let posted = bounded("an answer", answer).await.expect("sent").expect_err("too large");
    for status in [said, posted] {
        assert_eq!(status.code(), Code::OutOfRange);
        assert_eq!(report(&status).outcome.phase, Phase::Unsent);
        assert!(matches!(cause(&status), Cause::TooLarge(_)), "{status:?}");
        assert!(status.message().contains("is larger than queue.max_bytes, 100"), "{status:?}");
    }
    settle().await;
    assert_eq!(log.count(|fact| fact.name() == "CallShed"), 0);
    // Two halves fit, one after the other.
    assert!(say(&supervisor.channel(), &"x".repeat(80), CallOptions::new()).await.is_ok());
}
