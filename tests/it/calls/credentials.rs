//! Call credentials: anew for each attempt, never in clear unless asked for, and whatever the hook
//! does, the call gets an answer.

use crate::support::{ADDRESS, SECOND, call_empty, config};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::time::Instant;
use tonic::{Code, Request, Status, metadata::MetadataMap};
use tonic_supervisor::{
    Child, ConfigBuilder, Supervisor, SupervisorBuilder,
    testing::{MemoryNetwork, Script, ScriptedServer},
};

fn token(text: &str) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("authorization", text.parse().expect("a value"));
    metadata
}

/// A server, and builders of supervisors that may send it tokens in plaintext.
struct TokenRig {
    network: MemoryNetwork,
    server: ScriptedServer,
}

impl TokenRig {
    async fn new() -> Self {
        let network = MemoryNetwork::new();
        let server = ScriptedServer::on_memory(&network, ADDRESS).await;
        Self { network, server }
    }

    fn builder(&self, config: ConfigBuilder) -> SupervisorBuilder {
        Supervisor::builder(config.build().expect("valid"))
            .connector(self.network.connector())
            .allow_plaintext(true)
    }

    fn tokens(&self) -> Vec<String> {
        let arrivals = self.server.arrivals();
        let token = |metadata: &http::HeaderMap| {
            metadata["authorization"].to_str().expect("text").to_owned()
        };
        arrivals.iter().map(|arrival| token(&arrival.metadata)).collect()
    }
}

/// Asks a counter, and fails or grants as `answer` says.
fn counting(
    answer: impl Fn(u32) -> Result<MetadataMap, Status> + Send + Sync + 'static,
) -> (Arc<AtomicU32>, impl tonic_supervisor::CallCredentials) {
    let asked = Arc::new(AtomicU32::new(0));
    let answer = Arc::new(answer);
    let hook = {
        let asked = asked.clone();
        move |_| {
            let (number, answer) = (asked.fetch_add(1, SeqCst), answer.clone());
            async move { answer(number) }
        }
    };
    (asked, hook)
}

#[tokio::test(start_paused = true)]
async fn every_attempt_gets_its_own_token_and_the_hook_knows_what_for() {
    let rig = TokenRig::new().await;
    rig.server.script(Script::fail_times(2, Code::Unavailable));
    let supervisor = rig
        .builder(config())
        .call_credentials(|request: tonic_supervisor::CredentialsRequest| async move {
            assert_eq!(
                (&*request.method, &*request.service_url),
                ("test.Echo/Say", "http://server:50051/test.Echo")
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
            Ok(token(&format!("Bearer {}", request.attempt)))
        })
        .spawn();
    call_empty(&supervisor).await.expect("answered");
    assert_eq!(rig.tokens(), ["Bearer 0", "Bearer 1", "Bearer 2"]);
    assert_eq!(supervisor.snapshot().retries, 2);
}

#[tokio::test(start_paused = true)]
async fn over_plaintext_nothing_is_sent_and_nobody_is_asked_unless_it_is_allowed() {
    let rig = TokenRig::new().await;
    let (asked, hook) = counting(|_| Ok(token("secret")));
    let config = config().build().expect("valid");
    let supervisor = Supervisor::builder(config)
        .connector(rig.network.connector())
        .call_credentials(hook)
        .spawn();
    let status = call_empty(&supervisor).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("not sent over plaintext"), "{status}");
    assert_eq!((asked.load(SeqCst), rig.server.handled()), (0, 0));
}

/// A54, and the seed's waits: 1 + 2 + 4 s.
#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_ends_the_attempt_as_it_says_and_policy_decides() {
    for (code, surfaces_as, asked_times) in [
        (Code::Unavailable, Code::Unavailable, 4),
        (Code::Unauthenticated, Code::Unauthenticated, 1),
        (Code::PermissionDenied, Code::PermissionDenied, 1),
        (Code::NotFound, Code::Internal, 4),
        (Code::Ok, Code::Internal, 4),
    ] {
        let rig = TokenRig::new().await;
        let (asked, hook) = counting(move |_| Err(Status::new(code, "the issuer says no")));
        let supervisor = rig.builder(config()).call_credentials(hook).spawn();
        let start = Instant::now();
        let status = call_empty(&supervisor).await.expect_err("no credentials");
        assert_eq!(status.code(), surfaces_as, "{status}");
        assert!(status.message().contains("the issuer says no"), "{status}");
        assert_eq!(asked.load(SeqCst), asked_times, "{code:?}");
        let waited = if asked_times == 4 { 7 * SECOND } else { Duration::ZERO };
        assert!(
            start.elapsed() >= waited && start.elapsed() < waited + SECOND,
            "{code:?}: {:?}",
            start.elapsed()
        );
        assert_eq!(rig.server.handled(), 0);
        let report = std::error::Error::source(&status)
            .and_then(|source| source.downcast_ref::<tonic_supervisor::CallReport>());
        let report = report.expect("a report");
        assert_eq!((report.attempts_made, report.maybe_processed), (asked_times, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_is_cut_off_by_its_own_limit_or_by_the_calls_deadline() {
    let rig = TokenRig::new().await;
    let forever = |_| std::future::pending::<Result<MetadataMap, Status>>();
    let supervisor = rig.builder(config().max_retry_attempts(0)).call_credentials(forever).spawn();
    let start = Instant::now();
    let status = call_empty(&supervisor).await.expect_err("too long");
    assert_eq!((status.code(), start.elapsed().as_secs()), (Code::Unavailable, 10));
    assert!(status.message().contains("longer than credentials_timeout (10 s)"), "{status}");
    let mut request = Request::new(());
    request.set_timeout(2 * SECOND);
    let start = Instant::now();
    let ended = supervisor.channel().unary::<(), ()>("/test.Echo/Say", request).await;
    assert_eq!(
        (ended.expect_err("too long").code(), start.elapsed().as_secs()),
        (Code::DeadlineExceeded, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_caller_drops_the_hooks_future_and_gives_its_place_back() {
    struct Dropped(Arc<AtomicU32>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let rig = TokenRig::new().await;
    let (dropped, asked) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let hook = {
        let (dropped, asked) = (dropped.clone(), asked.clone());
        move |_| {
            let guard = Dropped(dropped.clone());
            let first = asked.fetch_add(1, SeqCst) == 0;
            async move {
                if first {
                    std::future::pending::<()>().await;
                }
                drop(guard);
                Ok(token("t"))
            }
        }
    };
    let supervisor = rig.builder(config().max_in_flight(1)).call_credentials(hook).spawn();
    assert!(tokio::time::timeout(SECOND, call_empty(&supervisor)).await.is_err(), "the hook hangs");
    call_empty(&supervisor).await.expect("the only place on the link is free again");
    assert_eq!((dropped.load(SeqCst), asked.load(SeqCst), rig.server.handled()), (2, 2, 1));
    assert_eq!(supervisor.snapshot().calls_open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_hook_is_an_error_of_that_attempt_alone() {
    let rig = TokenRig::new().await;
    let (asked, hook) =
        counting(|number| if number == 0 { panic!("no idea") } else { Ok(token("t")) });
    let supervisor = rig.builder(config()).call_credentials(hook).spawn();
    call_empty(&supervisor).await.expect("retried");
    assert_eq!((asked.load(SeqCst), supervisor.snapshot().retries), (2, 1));
    let (_, hook) = counting(|_| panic!("no idea"));
    let supervisor = rig.builder(config().max_retry_attempts(0)).call_credentials(hook).spawn();
    let status = call_empty(&supervisor).await.expect_err("panicked");
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("the hook panicked: no idea"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn the_request_actors_panic_loses_no_call_that_waits_for_its_token() {
    let rig = TokenRig::new().await;
    let (asked, hook) = counting(|_| Ok(token("t")));
    let supervisor = rig.builder(config()).call_credentials(hook).spawn();
    supervisor.wait_ready(SECOND).await.expect("Ready");
    for message in ["CredentialsFetched", "Submit", "RoomFreed"] {
        let before = rig.server.handled();
        supervisor.panics().arm(Child::Request, message, 1);
        let calls = (0..10).map(|_| call_empty(&supervisor));
        let answers = futures::future::join_all(calls).await;
        assert!(answers.iter().all(Result::is_ok), "{message}: {answers:?}");
        assert_eq!(rig.server.handled() - before, 10, "{message}");
        assert!(
            message == "RoomFreed"
                || supervisor.panics().injected().contains(&(Child::Request, message))
        );
        supervisor.panics().disarm();
    }
    assert!(asked.load(SeqCst) >= 30);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_asked_for_again_when_its_link_was_lost_meanwhile() {
    let rig = TokenRig::new().await;
    let hook = |_| async {
        tokio::time::sleep(SECOND).await;
        Ok(token("t"))
    };
    let supervisor = rig.builder(config()).call_credentials(hook).spawn();
    let calling = call_empty(&supervisor);
    let cutting = async {
        tokio::time::sleep(SECOND / 2).await;
        rig.network.cut_all();
    };
    let (answer, ()) = tokio::join!(calling, cutting);
    answer.expect("answered");
    assert_eq!((rig.server.handled(), supervisor.snapshot().links), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_calls_that_wait_for_their_token_at_once() {
    let rig = TokenRig::new().await;
    let forever = |_| std::future::pending::<Result<MetadataMap, Status>>();
    let supervisor = rig.builder(config()).call_credentials(forever).spawn();
    supervisor.wait_ready(SECOND).await.expect("Ready");
    let start = Instant::now();
    let ending = async {
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        supervisor.shutdown(5 * SECOND).await;
    };
    let (answer, ()) = tokio::join!(call_empty(&supervisor), ending);
    assert_eq!(answer.expect_err("ended").code(), Code::Cancelled);
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
}
