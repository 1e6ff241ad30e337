//! Panics of other people's code in tasks of the supervisor: a connector, its streams, a
//! credentials hook, a recorder. None takes the channel down, and each is told in its own words.

use crate::support::{
    ADDRESS, EventLog, bounded, cause, config, eventually, hide_injected_panics, ms, post, said,
    say, secs, start,
};
use std::sync::Arc;
use tokio::{runtime::Handle, time::Instant};
use tonic::Code;
use tonic_supervisor::{
    CallOptions, Cause, ConfigBuilder, CredentialsRequest, DialFailure, DialStep, Fact, LinkEnd,
    Supervisor,
    testing::{MemoryNetwork, PanicSpot, PanickingConnector, Script, ScriptedServer},
    transport::{BoxedIo, ConnectRequest, Connector},
};

pub(super) const INJECTED: &str = "injected by a test";

pub(super) struct PanicRig {
    pub(super) network: MemoryNetwork,
    pub(super) server: ScriptedServer,
    pub(super) connector: PanickingConnector,
    pub(super) supervisor: Supervisor,
    pub(super) log: EventLog,
}

impl PanicRig {
    pub(super) async fn new(config: ConfigBuilder) -> Self {
        Self::armed(config, &[]).await
    }

    /// With these panics from the first dial on.
    pub(super) async fn armed(config: ConfigBuilder, armed: &[(PanicSpot, u32)]) -> Self {
        hide_injected_panics();
        let network = MemoryNetwork::new();
        let server = ScriptedServer::on_memory(&network, ADDRESS).await;
        let connector = PanickingConnector::new(network.connector());
        armed.iter().for_each(|(spot, times)| connector.arm(*spot, *times));
        let builder = Supervisor::builder(config.build().expect("valid"))
            .connector(Arc::new(connector.clone()));
        let supervisor = builder.rng_seed(1).spawn();
        let log = EventLog::of(&supervisor);
        Self { network, server, connector, supervisor, log }
    }

    pub(super) fn children_failed(&self) -> usize {
        self.log.count(|fact| matches!(fact, Fact::ChildFailed { .. }))
    }

    pub(super) async fn says(&self, text: &str) {
        let channel = self.supervisor.channel();
        let call = say(&channel, text, CallOptions::new());
        assert_eq!(bounded("a call is answered", call).await.expect("answered"), text);
        assert_eq!(self.supervisor.snapshot().calls_open, 0);
    }
}

// --- in tasks of the supervisor's ---

/// It was CONNECTING for ever once.
#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_is_a_dial_that_failed_with_its_words_and_backoff() {
    for spot in [PanicSpot::Connect, PanicSpot::Dialling] {
        let rig = PanicRig::armed(config(), &[(spot, 3)]).await;
        rig.says("after three panics").await;
        let failed = rig.log.dials_failed();
        assert_eq!((failed.len(), rig.children_failed()), (3, 0), "{spot:?}");
        for failure in failed {
            let words =
                format!("the connector panicked: {INJECTED} into the connector at {spot:?}");
            assert!(failure.reason.contains(&words), "{}", failure.reason);
            assert!(failure.step == DialStep::Connect && !failure.timed_out);
        }
        assert!(rig.log.count(|fact| matches!(fact, Fact::BackoffStarted { .. })) >= 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_progress_that_panics_is_part_of_the_words_of_the_dial_that_timed_out() {
    let rig = PanicRig::new(config().connect_timeout(secs(1))).await;
    rig.says("first").await;
    rig.network.black_hole(true);
    rig.connector.arm(PanicSpot::Progress, 1);
    rig.network.reset_all();
    eventually("the dial is cut off", || !rig.log.dials_failed().is_empty()).await;
    let failure = rig.log.dials_failed().remove(0);
    assert!(failure.timed_out && failure.reason.contains(INJECTED), "{failure:?}");
    rig.network.black_hole(false);
    rig.says("again").await;
}

/// It was READY for ever on a dead link once. h2 writes under a lock: calls in flight must not meet
/// it poisoned.
#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_is_a_link_lost_with_its_words_and_its_calls_are_repeated() {
    for spot in [PanicSpot::Read, PanicSpot::Write, PanicSpot::Flush] {
        let rig = PanicRig::new(config().initial_backoff(ms(20))).await;
        rig.says("first").await;
        rig.server.script(Script::delay(ms(300)));
        let mut calls: Vec<_> = (0..10)
            .map(|_| start(&rig.supervisor.channel(), "in flight", CallOptions::new()))
            .collect();
        let posted = post(&rig.supervisor.mailbox(), "posted", CallOptions::new());
        rig.server.arrived(12).await;
        rig.connector.arm(spot, 1);
        calls.push(start(&rig.supervisor.channel(), "in flight", CallOptions::new()));
        for call in calls {
            let (_, answer) =
                bounded("it is repeated", call).await.expect("no panic in the caller's task");
            assert_eq!(answer.expect("answered"), "in flight", "{spot:?}");
        }
        assert_eq!(said(posted.await.expect("answered")).expect("well"), "posted");
        assert_eq!((rig.connector.panics(), rig.children_failed()), (vec![spot], 0));
        let lost = rig.log.links_lost();
        let words = format!("the byte stream panicked: {INJECTED} into the connector at {spot:?}");
        assert!(matches!(&lost[..], [LinkEnd::Io { text, .. }] if *text == words), "{lost:?}");
        assert_eq!(rig.supervisor.snapshot().calls_open, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_in_the_handshake_is_a_dial_that_failed() {
    for spot in [PanicSpot::Read, PanicSpot::Write, PanicSpot::Flush] {
        let rig = PanicRig::armed(config(), &[(spot, 2)]).await;
        rig.says("after two panics").await;
        let failed = rig.log.dials_failed();
        assert!(
            failed.len() == 2 && failed.iter().all(|failure| failure.reason.contains(INJECTED)),
            "{failed:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_at_its_end_holds_up_no_end() {
    for spot in [PanicSpot::Shutdown, PanicSpot::Drop] {
        let before = Handle::current().metrics().num_alive_tasks();
        let rig = PanicRig::new(config()).await;
        rig.says("first").await;
        rig.connector.arm(spot, u32::MAX);
        rig.server.goaway().await;
        rig.says("second").await;
        rig.network.reset_all();
        rig.says("third").await;
        bounded("it is closed", rig.supervisor.shutdown(secs(1))).await;
        assert!(!rig.connector.panics().is_empty() && rig.children_failed() == 0, "{spot:?}");
        drop(rig);
        eventually("no task is left", || Handle::current().metrics().num_alive_tasks() <= before)
            .await;
    }
}

/// Every spot for ever, one after another: whatever panics, calls end by their deadline, and dials
/// keep their distance.
#[tokio::test(start_paused = true)]
async fn a_connector_that_never_ceases_to_panic_costs_calls_their_deadline_and_no_more() {
    for spot in PanicSpot::all() {
        let rig = PanicRig::new(config()).await;
        rig.says("first").await;
        rig.connector.arm(*spot, u32::MAX);
        rig.network.reset_all();
        let began = Instant::now();
        let ended = say(&rig.supervisor.channel(), "x", CallOptions::new().timeout(secs(30))).await;
        assert!(began.elapsed() <= secs(30) + ms(2), "{spot:?}: {:?}", began.elapsed());
        let dials = rig.log.count(|fact| matches!(fact, Fact::DialStarted { .. }));
        assert!(dials <= 60, "{spot:?}: {dials} dials in 30 s");
        if let Err(status) = ended {
            assert!(status.message().contains(INJECTED), "{spot:?}: {status:?}");
        }
        rig.connector.disarm();
        rig.says("mended").await;
    }
}

/// Nonsense from a stream is as bad as a panic: h2 would take a count that cannot be true for its
/// own bug.
#[tokio::test(start_paused = true)]
async fn a_stream_that_says_it_wrote_more_than_it_was_given_is_a_link_lost() {
    struct Boasts(Arc<dyn Connector>);
    struct Boaster(BoxedIo);
    impl Connector for Boasts {
        fn connect(
            &self,
            request: &ConnectRequest,
        ) -> futures::future::BoxFuture<'static, Result<BoxedIo, DialFailure>> {
            let dialling = self.0.connect(request);
            Box::pin(async move { Ok(Box::new(Boaster(dialling.await?)) as BoxedIo) })
        }
    }
    use std::{io, pin::Pin, task::*};
    impl tokio::io::AsyncRead for Boaster {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            into: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, into)
        }
    }
    impl tokio::io::AsyncWrite for Boaster {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len() + 1))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let builder = Supervisor::builder(config().build().expect("valid"));
    let supervisor = builder.connector(Arc::new(Boasts(network.connector()))).spawn();
    let options = CallOptions::new().timeout(secs(5));
    let status = say(&supervisor.channel(), "x", options).await.expect_err("it cannot work");
    assert!(status.message().contains("the byte stream says that it wrote"), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_credentials_hook_that_panics_anywhere_fails_its_attempt_with_its_words() {
    hide_injected_panics();
    struct Thorn;
    impl Drop for Thorn {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("{INJECTED} into a hook's drop");
            }
        }
    }
    for place in ["call", "future", "drop"] {
        let hook = move |_: CredentialsRequest| {
            assert!(place != "call", "{INJECTED} into a hook's call");
            async move {
                assert!(place != "future", "{INJECTED} into a hook's future");
                let _thorn = (place == "drop").then_some(Thorn);
                std::future::pending::<()>().await;
                Ok(tonic::metadata::MetadataMap::new())
            }
        };
        let network = MemoryNetwork::new();
        let server = ScriptedServer::on_memory(&network, ADDRESS).await;
        let config =
            config().max_retry_attempts(0).credentials_timeout(secs(1)).build().expect("valid");
        let builder =
            Supervisor::builder(config).connector(network.connector()).call_credentials(hook);
        let supervisor = builder.allow_plaintext(true).spawn();
        for _ in 0..3 {
            let options = CallOptions::new().timeout(secs(5));
            let ended = bounded("it ends", start(&supervisor.channel(), "x", options))
                .await
                .expect("no panic here");
            let status = ended.1.expect_err("no credentials");
            assert!(matches!(cause(&status), Cause::Credentials(_)), "{place}: {status:?}");
            assert!(ended.0 <= secs(1) + ms(2), "{place}: after {:?}", ended.0);
            assert_eq!(status.code(), Code::Internal, "{place}: {status:?}");
        }
        let seen = supervisor.snapshot();
        assert_eq!(
            (seen.calls_open, seen.streams, server.handled()),
            (0, 0, 0),
            "the places are given back"
        );
    }
}

/// A subscriber that panics at every line: whoever announces is not to blame.
#[tokio::test(start_paused = true)]
async fn a_log_subscriber_that_panics_at_every_line_takes_nothing_down() {
    use tracing::{Event, Metadata, Subscriber, span};
    struct Furious;
    impl Subscriber for Furious {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().starts_with("tonic_supervisor::telemetry")
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &Event<'_>) {
            panic!("{INJECTED} into a subscriber");
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }
    hide_injected_panics();
    let _listening = tracing::subscriber::set_default(Furious);
    let rig = PanicRig::new(config().initial_backoff(ms(20))).await;
    rig.says("first").await;
    rig.network.reset_all();
    rig.says("second").await;
    assert_eq!(rig.children_failed(), 0);
    bounded("it is closed", rig.supervisor.shutdown(secs(1))).await;
    rig.log.until("closed", 1, |fact| matches!(fact, Fact::Closed { .. })).await;
}
