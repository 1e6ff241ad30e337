//! The mailbox: unary calls as messages, from any actor, each answered exactly once.

use crate::support::{
    ADDRESS, EventLog, LONG, Rig, SAY, config, echo, millis, report, supervise, timed,
};
use ractor::{
    Actor, ActorProcessingErr, ActorRef, RactorErr, RpcReplyPort, call, call_t, cast, forward,
};
use std::time::Duration;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tonic::{Code, metadata::MetadataMap};
use tonic_supervisor::{
    CallOptions, Cause, Fact, Mailbox, ShedReason, UnaryCall, UnaryResult,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};

/// An agent that makes its calls through a mailbox, each way that ractor has.
struct Agent;

struct Notes {
    mailbox: Mailbox,
    heard: mpsc::UnboundedSender<UnaryResult>,
}

enum Do {
    Call(String),
    CallWithin(String, u64),
    Cast(String),
    Forward(String),
    Hear(UnaryResult),
}

#[cfg(feature = "ractor-cluster")]
impl ractor::Message for Do {}

impl Actor for Agent {
    type Msg = Do;
    type State = Notes;
    type Arguments = Notes;

    async fn pre_start(&self, _: ActorRef<Do>, notes: Notes) -> Result<Notes, ActorProcessingErr> {
        Ok(notes)
    }

    async fn handle(
        &self,
        me: ActorRef<Do>,
        message: Do,
        notes: &mut Notes,
    ) -> Result<(), ActorProcessingErr> {
        let mailbox = &notes.mailbox;
        match message {
            Do::Call(text) => notes.heard.send(call!(mailbox, UnaryCall::new, SAY, &text)?)?,
            Do::CallWithin(text, ms) => {
                notes.heard.send(call_t!(mailbox, UnaryCall::new, ms, SAY, &text)?)?
            }
            Do::Cast(text) => cast!(mailbox, UnaryCall::one_way(SAY, &text))?,
            Do::Forward(text) => {
                forward!(mailbox, |port| UnaryCall::new(SAY, &text, port), me, Do::Hear)?
            }
            Do::Hear(result) => notes.heard.send(result)?,
        }
        Ok(())
    }
}

/// Sends a call; its answer comes to the receiver.
fn send(mailbox: &Mailbox, text: &str, options: CallOptions) -> oneshot::Receiver<UnaryResult> {
    let (port, answer) = oneshot::channel();
    let call =
        UnaryCall::new(SAY, &text.to_owned(), RpcReplyPort::from(port)).with_options(options);
    mailbox.send_message(call).expect("what cannot be sent is answered");
    answer
}

fn text(result: UnaryResult) -> String {
    result.expect("answered with OK").decode().expect("a string")
}

fn decode(message: &[u8]) -> String {
    prost::Message::decode(message).expect("a string")
}

fn texts(server: &ScriptedServer) -> Vec<String> {
    server.arrivals().iter().map(|arrival| decode(&arrival.message)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_actor_calls_casts_and_forwards_through_it_with_ractors_own_macros() {
    let rig = Rig::new(config()).await;
    let (heard, mut answers) = mpsc::unbounded_channel();
    let notes = Notes { mailbox: rig.supervisor.mailbox(), heard };
    let (agent, ended) = Actor::spawn(None, Agent, notes).await.expect("the agent starts");
    for ask in [
        Do::Call("a".into()),
        Do::CallWithin("b".into(), 500),
        Do::Cast("c".into()),
        Do::Forward("d".into()),
    ] {
        agent.cast(ask).expect("the agent lives");
    }
    for expected in ["a", "b", "d"] {
        assert_eq!(text(answers.recv().await.expect("an answer")), expected);
    }
    assert_eq!(texts(&rig.server), ["a", "b", "c", "d"]);
    agent.stop(None);
    ended.await.expect("the agent never failed");
    assert!(answers.recv().await.is_none(), "a second answer");
}

#[tokio::test(start_paused = true)]
async fn a_message_carries_metadata_and_options_and_its_answer_metadata_and_trailers() {
    let rig = Rig::new(config()).await;
    rig.server.script(Answer::echo().header("x-from", "head").trailer("x-cost", "7"));
    let mut metadata = MetadataMap::new();
    metadata.insert("x-tenant", "blue".parse().expect("ascii"));
    let options = CallOptions::new().timeout(Duration::from_secs(7));
    let ask = |port| {
        UnaryCall::new(SAY, &"a".to_owned(), port).with_metadata(metadata).with_options(options)
    };
    let reply = call!(rig.supervisor.mailbox(), ask).expect("an answer").expect("answered with OK");
    assert_eq!(reply.decode::<String>().expect("a string"), "a");
    let answered = reply.metadata().clone().into_headers();
    assert_eq!(
        (answered["x-from"].as_bytes(), answered["x-cost"].as_bytes()),
        (&b"head"[..], &b"7"[..])
    );
    let arrival = rig.server.arrivals().remove(0);
    assert_eq!(arrival.metadata["x-tenant"], "blue");
    assert_eq!(arrival.grpc_timeout.as_deref(), Some("7000m"));
}

/// The seed's policy holds for messages as for channel calls.
#[tokio::test(start_paused = true)]
async fn a_message_is_retried_like_any_unary_call() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::always(Code::Unavailable));
    let (took, answer) = timed(send(&rig.supervisor.mailbox(), "a", CallOptions::new())).await;
    let status = answer.expect("an answer").expect_err("the server fails every call");
    assert_eq!(
        (status.code(), took, report(&status).retries),
        (Code::Unavailable, Duration::from_secs(7), 3)
    );
}

/// Through deaths and restarts of the server, with calls in every rig.
#[tokio::test(start_paused = true)]
async fn each_message_gets_exactly_one_answer_whatever_the_server_does() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::delay(Duration::from_millis(70)));
    let mailbox = rig.supervisor.mailbox();
    let mut answers = Vec::new();
    for n in 0..300 {
        answers.push(send(&mailbox, &n.to_string(), CallOptions::new()));
        tokio::time::sleep(Duration::from_millis(5)).await;
        match n % 100 {
            30 => rig.server.restart().await,
            60 => rig.network.reset_all(),
            90 => drop(rig.server.goaway().await),
            _ => {}
        }
    }
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(text(answer.await.expect("an answer")), n.to_string());
    }
    let snapshot = rig.supervisor.snapshot();
    assert_eq!((snapshot.calls_open, snapshot.calls_waiting), (0, 0));
    assert!(snapshot.retries > 0 && rig.server.connections() > 6, "{snapshot:?}");
}

// --- admission ---

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once_and_says_why() {
    let small = config().queue_max_calls(3).queue_max_bytes(100);
    let supervisor = supervise(&MemoryNetwork::new(), small);
    let (mailbox, events) = (supervisor.mailbox(), EventLog::of(&supervisor));
    let large = "x".repeat(60);
    let waiting = send(&mailbox, &large, CallOptions::new());
    refused(send(&mailbox, &large, CallOptions::new()), ShedReason::TooManyBytes);
    let more = [send(&mailbox, "2", CallOptions::new()), send(&mailbox, "3", CallOptions::new())];
    refused(send(&mailbox, "4", CallOptions::new()), ShedReason::TooManyCalls);
    let reason = |fact: &Fact| match fact {
        Fact::CallShed { reason, .. } => Some(*reason),
        _ => None,
    };
    assert_eq!(events.facts(reason).await, [ShedReason::TooManyBytes, ShedReason::TooManyCalls]);
    assert_eq!(supervisor.snapshot().calls_open, 3);

    // A channel's calls stand in the same queue.
    let (took, outcome) = timed(echo(&supervisor.channel(), "5")).await;
    let status = outcome.expect_err("refused");
    assert_eq!((took, status.code()), (Duration::ZERO, Code::ResourceExhausted));
    assert_eq!(report(&status).outcome.cause, Cause::Shed(ShedReason::TooManyCalls));
    drop((waiting, more));
}

/// It is answered before anything else can have happened.
fn refused(mut answer: oneshot::Receiver<UnaryResult>, reason: ShedReason) {
    let status = answer.try_recv().expect("answered at once").expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let report = report(&status);
    assert_eq!((&report.outcome.cause, report.attempts_made), (&Cause::Shed(reason), 0));
    assert!(report.certainly_unprocessed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_makes_room_in_the_queue() {
    let rig = Rig::new(config().queue_max_calls(1)).await;
    let mailbox = rig.supervisor.mailbox();
    let first = send(&mailbox, "1", CallOptions::new());
    refused(send(&mailbox, "2", CallOptions::new()), ShedReason::TooManyCalls);
    assert_eq!(text(first.await.expect("an answer")), "1");
    assert_eq!(text(send(&mailbox, "3", CallOptions::new()).await.expect("an answer")), "3");
}

// --- giving up ---

/// How long after now the server hears that the only call on it was given up.
async fn reset_after(rig: &Rig) -> Duration {
    let dropped = Instant::now();
    rig.server.given_up(1).await;
    millis(dropped.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_dropped_reply_port_is_noticed_within_100_ms_and_the_servers_stream_is_reset() {
    // Dropped at any time between two looks.
    for after in [0, 1, 20, 79, 80, 81, 1_000] {
        let rig = Rig::new(config()).await;
        rig.server.script(Script::hang());
        let answer = send(&rig.supervisor.mailbox(), "a", CallOptions::new());
        rig.server.arrived(1).await;
        tokio::time::sleep(Duration::from_millis(after)).await;
        drop(answer);
        let took = reset_after(&rig).await;
        assert!(
            took <= Duration::from_millis(100),
            "dropped after {after} ms, heard {took:?} later"
        );
        assert_eq!(rig.supervisor.snapshot().calls_open, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_reply_port_frees_the_place_of_a_call_that_waits() {
    let supervisor = supervise(&MemoryNetwork::new(), config().queue_max_calls(2));
    let answers = [(); 2].map(|()| send(&supervisor.mailbox(), "a", CallOptions::new()));
    tokio::time::sleep(Duration::from_millis(33)).await;
    drop(answers);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((supervisor.snapshot().calls_open, supervisor.snapshot().calls_waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn call_t_gives_up_at_its_time_and_so_does_the_call() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::hang());
    let mailbox = rig.supervisor.mailbox();
    let (took, outcome) =
        timed(async { call_t!(mailbox, UnaryCall::new, 500, SAY, &"a".to_owned()) }).await;
    assert!(matches!(outcome, Err(RactorErr::Timeout)), "{outcome:?}");
    assert_eq!(took, Duration::from_millis(500));
    assert!(reset_after(&rig).await <= Duration::from_millis(100));
}

// --- the end ---

fn shut_down(result: UnaryResult) {
    let status = result.expect_err("the supervisor is shut down");
    assert_eq!(
        (status.code(), &report(&status).outcome.cause),
        (Code::Cancelled, &Cause::Shutdown)
    );
}

#[tokio::test(start_paused = true)]
async fn after_shutdown_it_answers_cancelled_and_calls_it_had_are_answered_too() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::hang());
    let mailbox = rig.supervisor.mailbox();
    let running = send(&mailbox, "a", CallOptions::new());
    rig.server.arrived(1).await;
    let grace = Duration::from_secs(2);
    let (took, ()) = timed(rig.supervisor.shutdown(grace)).await;
    assert!((grace..=grace + Duration::from_millis(200)).contains(&took), "{took:?}");
    shut_down(running.await.expect("an answer"));
    shut_down(send(&mailbox, "b", CallOptions::new()).try_recv().expect("answered at once"));
    assert_eq!(texts(&rig.server), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn it_does_not_keep_the_supervisor_alive_and_answers_when_that_is_gone() {
    let Rig { server, supervisor, .. } = Rig::new(config()).await;
    let (mailbox, events) = (supervisor.mailbox(), EventLog::of(&supervisor));
    supervisor.wait_ready(LONG).await.expect("Ready");
    drop(supervisor);
    events.first(|fact| matches!(fact, Fact::Closed { cause: None, .. })).await;
    shut_down(call!(mailbox, UnaryCall::new, SAY, &"a".to_owned()).expect("an answer"));
    assert_eq!(server.handled(), 0);
}

// --- order ---

/// Calls that come while older ones are still parked go behind them.
#[tokio::test(start_paused = true)]
async fn the_order_of_arrival_is_kept_over_parking() {
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config().max_in_flight(7));
    let mailbox = supervisor.mailbox();
    let send = |n: usize| send(&mailbox, &n.to_string(), CallOptions::new());
    let mut answers: Vec<_> = (0..500).map(send).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Script::delay(Duration::from_millis(10)));
    server.arrived(100).await;
    answers.extend((500..600).map(send));
    for answer in answers {
        answer.await.expect("an answer").expect("answered with OK");
    }
    let expected: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    assert_eq!(texts(&server), expected);
}

/// A call that comes just when an answer makes room does not take that room from an older one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_order_of_arrival_is_kept_while_calls_come_and_go_at_once() {
    let rig = Rig::new(config().max_in_flight(3)).await;
    let mailbox = rig.supervisor.mailbox();
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
    let mut answers = Vec::new();
    for n in 0..5_000 {
        answers.push(send(&mailbox, &n.to_string(), CallOptions::new()));
        tokio::task::yield_now().await;
    }
    for answer in answers {
        answer.await.expect("an answer").expect("answered with OK");
    }
    // Streams are numbered in the order they were opened in.
    let mut arrivals = rig.server.arrivals();
    arrivals.sort_by_key(|arrival| arrival.stream);
    let started: Vec<String> = arrivals.iter().map(|arrival| decode(&arrival.message)).collect();
    let expected: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
    assert!(started == expected, "started out of order");
}
