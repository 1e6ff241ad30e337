//! A panic of any actor at any message costs no call its answer, and nobody has to come and help.

use crate::support::{
    ADDRESS, Ended, EventLog, assert_shut_down, bounded, cause, config, eventually,
    hide_injected_panics, ms, post, said, say, secs, start, supervise,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle, time::Instant};
use tonic::Code;
use tonic_supervisor::{
    Address, CallOptions, Cause, Child, ConnectivityState, Endpoint, Fact, Supervisor,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
    transport::{Resolution, Resolver},
};

/// No call takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// Echoes after 5 ms, but answers every tenth call with UNAVAILABLE first.
fn flaky() -> Script {
    Script::new(|call| match call.previous_attempts {
        None if call.stream % 20 == 1 => Answer::status(Code::Unavailable),
        _ => Answer::echo().after(ms(5)),
    })
}

/// 100 calls a second in tasks of their own, and as many as messages, until told to stop.
struct Traffic {
    made: Arc<Mutex<Vec<JoinHandle<Ended>>>>,
    source: JoinHandle<()>,
}

impl Traffic {
    fn of(supervisor: &Supervisor) -> Self {
        let (channel, mailbox) = (supervisor.channel(), supervisor.mailbox());
        let made: Arc<Mutex<Vec<_>>> = Arc::default();
        let calls = made.clone();
        let source = tokio::spawn(async move {
            let options = CallOptions::new().timeout(DEADLINE);
            for n in 0.. {
                let answer = post(&mailbox, "message", options);
                let posted = tokio::spawn(async move {
                    let began = Instant::now();
                    let answer =
                        said(answer.await.expect("a port gets its answer, whatever panics"));
                    (began.elapsed(), answer)
                });
                calls.lock().extend([start(&channel, "call", options), posted]);
                if n % 10 == 0 {
                    // Some give up: one while it waits or runs, one by dropping its port.
                    drop(post(&mailbox, "dropped", options));
                    let given_up = start(&channel, "given up", options);
                    tokio::spawn(
                        async move { tokio::time::timeout(ms(3), given_up).await.is_ok() },
                    );
                }
                tokio::time::sleep(ms(10)).await;
            }
        });
        Self { made, source }
    }

    /// Ends the traffic; how each of its calls ended.
    async fn stop(self) -> Vec<Ended> {
        self.source.abort();
        let calls = std::mem::take(&mut *self.made.lock());
        let ended = bounded("every call ends", futures::future::join_all(calls)).await;
        ended.into_iter().map(|call| call.expect("calls do not panic")).collect()
    }
}

/// The name of the one server.
struct OneServer;

impl Resolver for OneServer {
    fn resolve(&self) -> BoxFuture<'static, Result<Resolution, String>> {
        Box::pin(async { Ok(Resolution::new([address().into()])) })
    }
}

/// Where the server listens.
fn address() -> Address {
    ADDRESS.parse().expect("an address")
}

/// Traffic through a life in which every message comes up: a late server, GOAWAY, a lost link, an
/// outage, a shutdown in vain.
async fn survives(child: Child, message: &'static str) {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let config = config()
        .max_in_flight(3)
        .max_retry_attempts(10)
        .initial_backoff(ms(20))
        .reconnect_stable_after(ms(300))
        .retry_throttle_enabled(false);
    let before = Handle::current().metrics().num_alive_tasks();
    let list: Arc<[Endpoint]> = [address().into()].into();
    let (lists, given) = watch::channel(list.clone());
    let config = config.build().expect("a valid configuration");
    let builder = Supervisor::builder(config).connector(network.connector());
    let supervisor = match message {
        // These are about a name.
        "Resolved" | "LookupDue" => builder.resolver(OneServer),
        _ => builder.endpoints(given),
    };
    let supervisor = supervisor.spawn();
    let log = EventLog::of(&supervisor);
    let restarts_go_slow = message == "RestartDue";
    supervisor.panics().arm(child, message, 1);
    match message {
        // These follow a panic.
        "Adopt" => supervisor.panics().arm(Child::Request, "Submit", 1),
        "RestartDue" => supervisor.panics().arm(Child::Request, "Submit", 7),
        // What is there before the supervisor actor begins needs no message.
        "RequestActorWanted" => tokio::time::sleep(ms(1)).await,
        _ => {}
    }
    let traffic = Traffic::of(&supervisor);
    tokio::time::sleep(ms(200)).await;
    let server = ScriptedServer::builder().script(flaky()).on_memory(&network, ADDRESS).await;
    tokio::time::sleep(ms(600)).await;
    server.goaway().await;
    tokio::time::sleep(ms(200)).await;
    network.reset_all();
    tokio::time::sleep(ms(200)).await;
    server.kill().await;
    tokio::time::sleep(ms(200)).await;
    supervisor.reconnect_now();
    lists.send_replace(list);
    tokio::time::sleep(ms(200)).await;
    server.restart().await;
    tokio::time::sleep(ms(800)).await;
    supervisor.wait_ready(secs(5)).await.expect("Ready again by itself");
    let ended = traffic.stop().await;
    assert!(ended.len() >= 400, "{} calls", ended.len());
    for (took, answer) in ended {
        let text = answer.unwrap_or_else(|status| panic!("after {took:?}: {status:?}"));
        assert!(["call", "message"].contains(&&*text));
    }
    eventually("no call is left", || supervisor.snapshot().calls_open == 0).await;
    ends_with_calls_open(&network, &server, supervisor, &log).await;
    let struck = log.all(|fact| match fact {
        Fact::ChildFailed { child, error, .. } => Some((*child, error.to_string())),
        _ => None,
    });
    let expected = format!("injected by a test into {child:?} at {message}");
    assert!(
        struck.iter().any(|(_, (_, error))| error.contains(&expected)),
        "it never came to that: {struck:?}"
    );
    let expected = if restarts_go_slow { 1 } else { 0 };
    assert_eq!(log.count(|fact| matches!(fact, Fact::IntensityReached { .. })), expected);
    drop(server);
    eventually("no task is left", || Handle::current().metrics().num_alive_tasks() <= before).await;
}

/// Calls to a frozen server: one runs, many wait, one is asleep; then a shutdown whose grace is in
/// vain.
async fn ends_with_calls_open(
    network: &MemoryNetwork,
    server: &ScriptedServer,
    supervisor: Supervisor,
    log: &EventLog,
) {
    let options = CallOptions::new().timeout(DEADLINE);
    server.script(Script::always(Code::Unavailable));
    let asleep = post(&supervisor.mailbox(), "x", options);
    let already = log.count(|fact| matches!(fact, Fact::RetryScheduled { .. }));
    let mut calls = vec![asleep];
    log.until("one is asleep", already + 1, |fact| matches!(fact, Fact::RetryScheduled { .. }))
        .await;
    network.freeze_all();
    // More than the wire holds, so that the link cannot even say goodbye.
    calls.extend((0..3).map(|_| post(&supervisor.mailbox(), &"x".repeat(400_000), options)));
    calls.extend((0..10).map(|_| post(&supervisor.mailbox(), "x", options)));
    let called = start(&supervisor.channel(), "x", options);
    tokio::time::sleep(ms(1)).await;
    let asked = Instant::now();
    bounded("closed", supervisor.shutdown(ms(200))).await;
    assert!(asked.elapsed() <= ms(302), "closed after {:?}", asked.elapsed());
    let (_, answer) = bounded("the call ends", called).await.expect("no panic");
    let mut answers = vec![answer];
    for call in calls {
        answers.push(said(call.await.expect("a port gets its answer")));
    }
    for answer in answers {
        let status = answer.expect_err("ended");
        // What ran on a link that a panic took down ends as that.
        let lost = matches!(cause(&status), Cause::LinkLost(_));
        assert!(lost || matches!(cause(&status), Cause::Shutdown), "{status:?}");
    }
    log.until("closed", 1, |fact| matches!(fact, Fact::Closed { cause: None, .. })).await;
    assert_eq!(supervisor.state(), ConnectivityState::Shutdown);
}

async fn survives_each(child: Child, except: &[&str]) {
    for message in child.messages().iter().filter(|message| !except.contains(message)) {
        eprintln!("{child:?} panics at {message}");
        survives(child, message).await;
    }
}

/// A panic injected at any message of any actor under 200 calls/s.
#[tokio::test(start_paused = true)]
async fn scenario_16_a_panic_of_the_connection_actor_at_any_message_loses_no_call() {
    survives_each(Child::Connection, &[]).await;
}

/// All but `CredentialsFetched` and `WrongPeer`, which have tests of their own.
#[tokio::test(start_paused = true)]
async fn scenario_16_a_panic_of_the_request_actor_at_any_message_loses_no_call() {
    survives_each(Child::Request, &["CredentialsFetched", "WrongPeer"]).await;
}

/// All but `LinkRetired`, which comes after 2^30 calls on one link, `LinkWornOut`, for which a peer
/// has to misbehave, `LinkCheckDue`, for which a link's end has to go unreported, and those that
/// have tests of their own.
#[tokio::test(start_paused = true)]
async fn scenario_16_a_panic_of_the_supervisor_actor_at_any_message_loses_no_call() {
    let mut except = vec!["LinkRetired", "LinkWornOut", "LinkCheckDue"];
    except.extend(super::configured_news::MESSAGES);
    except.extend(super::configured_news::OF_EJECTIONS);
    survives_each(Child::Supervisor, &except).await;
}

/// Scenario 16: 20 panics in 10 s, at all the messages that a link's life brings.
#[tokio::test(start_paused = true)]
async fn scenario_16_twenty_panics_in_ten_seconds_leave_every_call_its_one_answer() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().script(flaky()).on_memory(&network, ADDRESS).await;
    let before = Handle::current().metrics().num_alive_tasks();
    let config = config().intensity_restarts(100).max_retry_attempts(10).initial_backoff(ms(20));
    let config = config.reconnect_stable_after(ms(100)).retry_throttle_enabled(false);
    let supervisor = supervise(&network, config);
    let log = EventLog::of(&supervisor);
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    let traffic = Traffic::of(&supervisor);
    for message in ["GoAwayReceived", "Ended", "Dialled", "StableDue"].into_iter().cycle().take(20)
    {
        supervisor.panics().arm(Child::Connection, message, 1);
        match message {
            "GoAwayReceived" => drop(server.goaway().await),
            _ => network.cut_all(),
        }
        tokio::time::sleep(ms(500)).await;
    }
    supervisor.wait_ready(secs(5)).await.expect("Ready");
    assert_eq!(supervisor.panics().injected().len(), 20);
    let ended = traffic.stop().await;
    assert!(ended.len() >= 1_900);
    for (took, answer) in ended {
        answer.unwrap_or_else(|status| panic!("after {took:?}: {status:?}"));
    }
    assert_eq!(
        say(&supervisor.channel(), "the handle works", CallOptions::new()).await.expect("Ready"),
        "the handle works"
    );
    let failed =
        log.all(|fact| matches!(fact, Fact::ChildFailed { child: "connection", .. }).then_some(()));
    let dialled = log.all(|fact| matches!(fact, Fact::DialStarted { .. }).then_some(()));
    assert_eq!(failed.len(), 20);
    for (at, ()) in failed {
        let next = dialled.iter().find(|(dial, ())| *dial >= at).expect("it is dialled again");
        // The quick schedule's first waits, or the spread after a proven link.
        assert!(next.0 - at <= ms(120), "restarted after {:?}", next.0 - at);
    }
    supervisor.shutdown(secs(1)).await;
    drop((supervisor, server));
    eventually("no task is left", || Handle::current().metrics().num_alive_tasks() < before).await;
}

/// A panic in the drain itself: calls asleep before their retry end at once, those in flight still
/// finish.
#[tokio::test(start_paused = true)]
async fn a_panic_while_draining_changes_nothing_about_the_drain() {
    hide_injected_panics();
    for (child, message) in [(Child::Request, "Drain"), (Child::Request, "Adopt")] {
        let network = MemoryNetwork::new();
        let server = ScriptedServer::on_memory(&network, ADDRESS).await;
        let supervisor = supervise(&network, config());
        let log = EventLog::of(&supervisor);
        server.script(Script::always(Code::Unavailable));
        let asleep = start(&supervisor.channel(), "asleep", CallOptions::new());
        log.until("it is asleep", 1, |fact| matches!(fact, Fact::RetryScheduled { .. })).await;
        server.script(Script::delay(ms(500)));
        let in_flight = start(&supervisor.channel(), "in flight", CallOptions::new());
        server.arrived(2).await;
        supervisor.panics().arm(Child::Request, "Drain", 1);
        supervisor.panics().arm(child, message, 1);
        let asked = Instant::now();
        let (_, answer) = tokio::join!(supervisor.shutdown(secs(5)), async {
            let (_, answer) = asleep.await.expect("no panic");
            assert!(asked.elapsed() <= ms(1), "ended after {:?}", asked.elapsed());
            answer
        });
        assert_shut_down(&answer);
        assert_eq!(in_flight.await.expect("no panic").1.expect("it had the grace"), "in flight");
        assert!(asked.elapsed() <= ms(502));
        assert!(supervisor.panics().injected().contains(&(child, message)));
    }
}

/// A request actor that keeps failing in the drain is paced like any other, and does not keep the
/// call in flight from its end.
#[tokio::test(start_paused = true)]
async fn a_request_actor_that_keeps_failing_while_draining_is_paced() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder()
        .script(Script::delay(ms(3_500)))
        .on_memory(&network, ADDRESS)
        .await;
    let supervisor = supervise(&network, config());
    let log = EventLog::of(&supervisor);
    let in_flight = start(&supervisor.channel(), "in flight", CallOptions::new());
    server.arrived(1).await;
    supervisor.panics().arm(Child::Request, "Drain", 1);
    supervisor.panics().arm(Child::Request, "Adopt", u32::MAX);
    bounded("the end", supervisor.shutdown(secs(10))).await;
    assert_eq!(in_flight.await.expect("no panic").1.expect("it had the grace"), "in flight");
    assert_eq!(log.count(|fact| matches!(fact, Fact::IntensityReached { .. })), 1);
    let failures = supervisor.panics().injected().len();
    assert!(
        (7..=10).contains(&failures),
        "{failures} failures in 3.5 s: six at once, then one a second"
    );
}
