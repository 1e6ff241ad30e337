//! `--explain` of six faults, word for word: in a network in memory and paused time, so that all
//! times are exact.

use super::{CallArguments, Plan, journal::Output, session};
use crate::CliError;
use clap::Parser;
use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};
use tokio::time::sleep;
use tonic::Code;
use tonic_supervisor::{
    Config,
    agent_queue::DESCRIPTORS,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
    transport::Connector,
};

pub(super) const QUEUE: &str = "queue:50051";
pub(super) const HEALTH: &str = "agent_queue.v1.AgentQueue/HealthCheck";

/// The arguments of `call`, as a command of their own.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    call: CallArguments,
}

/// What a run said.
pub(super) struct Said {
    pub(super) explained: Vec<String>,
    pub(super) answered: Vec<String>,
    pub(super) ended: Result<(), CliError>,
}

impl Said {
    /// The code and the sentence that the command ends with.
    pub(super) fn end(&self) -> (u8, &str) {
        match &self.ended {
            Ok(()) => (0, ""),
            Err(CliError::Failed(text)) => (1, text),
            Err(CliError::Usage(text)) => (2, text),
            Err(CliError::Config(text)) => (3, text),
            Err(CliError::Exit(code, text)) => (*code, text),
            Err(CliError::Interrupted) => (130, ""),
            Err(other) => panic!("{other:?} is another command's"),
        }
    }
}

/// Runs `call queue:50051 ARGUMENTS` in `network`; waits between dials are not random there.
pub(super) async fn call(network: &MemoryNetwork, arguments: &[&str], known: bool) -> Said {
    call_until(network, arguments, known, std::future::pending()).await
}

/// The same, with somebody who presses Ctrl-C.
pub(super) async fn call_until(
    network: &MemoryNetwork,
    arguments: &[&str],
    known: bool,
    interrupted: impl Future<Output = ()>,
) -> Said {
    call_over(network.connector(), arguments, known, interrupted).await
}

pub(super) async fn call_over(
    connector: Arc<dyn Connector>,
    arguments: &[&str],
    known: bool,
    interrupted: impl Future<Output = ()>,
) -> Said {
    let json = arguments.contains(&"--json");
    let own = arguments.iter().filter(|argument| **argument != "--json");
    let line = Line::try_parse_from(["call", QUEUE].iter().chain(own)).expect("arguments");
    let mut plan = Plan::of(line.call, json).unwrap_or_else(|error| panic!("{error:?}"));
    if known {
        plan.descriptors = Some(("queue.bin".into(), DESCRIPTORS.to_vec()));
    }
    let config = Config::builder().target(QUEUE).reconnect_jitter(0.0);
    let config = config.reconnect_spread(Duration::ZERO).build().expect("valid");
    let kept = Rc::new(RefCell::default());
    let (output, connector) = (Output::Kept(kept.clone()), Some(connector));
    let ended = session::run(config, &plan, output, connector, interrupted).await;
    let (explained, answered) = kept.take();
    Said { explained, answered, ended }
}

/// What is explained of a call of HealthCheck.
pub(super) async fn explained(network: &MemoryNetwork, more: &[&str]) -> Said {
    call(network, &[&[HEALTH, "--explain"], more].concat(), true).await
}

#[track_caller]
pub(super) fn assert_explained(said: &Said, golden: &str) {
    // A line that does not fit goes on in the next one, after its first blanks.
    let mut pieces = golden.trim_matches('\n').split("\\\n");
    let first = pieces.next().unwrap_or_default().to_owned();
    let golden = pieces.fold(first, |whole, piece| whole + piece.trim_start());
    let golden: Vec<_> = golden.lines().collect();
    assert_eq!(said.explained, golden, "\n{}\n", said.explained.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_up_late_is_waited_for() {
    let network = MemoryNetwork::new();
    let later = async {
        sleep(Duration::from_secs(2)).await;
        ScriptedServer::builder().max_concurrent_streams(200).on_memory(&network, QUEUE).await
    };
    let (said, _server) = tokio::join!(explained(&network, &["--wait"]), later);
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.000  connect    cannot connect to queue:50051: connection refused, after 0.0 ms
  0.000  wait       1.000 s until the next dial
  1.000  dial       queue:50051, link #2
  1.000  connect    cannot connect to queue:50051: connection refused, after 0.0 ms
  1.000  wait       1.600 s until the next dial
  2.600  dial       queue:50051, link #3
  2.600  connect    queue:50051 in 0.0 ms
  2.600  http/2     SETTINGS in 0.0 ms: at most 200 streams at once
  2.600  connected  link #3 in 0.0 ms
  2.600  call       agent_queue.v1.AgentQueue/HealthCheck is unary: 0 bytes, 60.000 s left
  2.600  answer     0 bytes
  2.600  ended      OK after 0.000 s, 1 answer
                    total 0.000 s: wire 0.000; 1 attempt, 0 retries
"#,
    );
    assert_eq!((said.end(), &*said.answered), ((0, ""), &["{}".to_owned()][..]));
}

#[tokio::test(start_paused = true)]
async fn one_answer_of_unavailable_is_retried() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, QUEUE).await;
    let busy = Answer::status(Code::Unavailable).text("the store is busy");
    server.script(Script::sequence(vec![busy], Answer::echo()));
    let said = explained(&network, &[]).await;
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.000  connect    queue:50051 in 0.0 ms
  0.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  0.000  connected  link #1 in 0.0 ms
  0.000  call       agent_queue.v1.AgentQueue/HealthCheck is unary: 0 bytes, 60.000 s left
  0.000  retry      1 of 3 in 1.000 s, after UNAVAILABLE: the store is busy
  1.000  answer     0 bytes
  1.000  ended      OK after 1.000 s, 1 answer
                    attempt 1 ended at 0.000: UNAVAILABLE, the server's own answer
                    total 1.000 s: retry 1.000, wire 0.000; 2 attempts, 1 retry
"#,
    );
    assert_eq!(said.end(), (0, ""));
}

#[tokio::test(start_paused = true)]
async fn retries_come_to_an_end() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, QUEUE).await;
    server.script(Script::always(Code::Unavailable));
    let said = explained(&network, &["--exit-code", "grpc"]).await;
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.000  connect    queue:50051 in 0.0 ms
  0.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  0.000  connected  link #1 in 0.0 ms
  0.000  call       agent_queue.v1.AgentQueue/HealthCheck is unary: 0 bytes, 60.000 s left
  0.000  retry      1 of 3 in 1.000 s, after UNAVAILABLE: the peer answered with this status
  1.000  retry      2 of 3 in 2.000 s, after UNAVAILABLE: the peer answered with this status
  3.000  retry      3 of 3 in 4.000 s, after UNAVAILABLE: the peer answered with this status
  7.000  ended      UNAVAILABLE after 7.000 s
                    attempt 1 ended at 0.000: UNAVAILABLE, the server's own answer
                    attempt 2 ended at 1.000: UNAVAILABLE, the server's own answer
                    attempt 3 ended at 3.000: UNAVAILABLE, the server's own answer
                    attempt 4 ended at 7.000: UNAVAILABLE, the server's own answer
                    not retried: all 3 retries were made (max_retry_attempts)
                    total 7.000 s: retry 7.000, wire 0.000; 4 attempts, 3 retries
"#,
    );
    assert_eq!(said.end(), (78, "agent_queue.v1.AgentQueue/HealthCheck: UNAVAILABLE"));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_not_asked_for_again() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, QUEUE).await;
    server.script(Answer::status(Code::NotFound).text("no such queue"));
    let said = explained(&network, &[]).await;
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.000  connect    queue:50051 in 0.0 ms
  0.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  0.000  connected  link #1 in 0.0 ms
  0.000  call       agent_queue.v1.AgentQueue/HealthCheck is unary: 0 bytes, 60.000 s left
  0.000  ended      NOT_FOUND after 0.000 s: no such queue
                    attempt 1 ended at 0.000: NOT_FOUND, the server's own answer
                    not retried: NOT_FOUND is not one of retryable_status_codes
                    total 0.000 s: wire 0.000; 1 attempt, 0 retries
"#,
    );
    let words = "agent_queue.v1.AgentQueue/HealthCheck: NOT_FOUND: no such queue";
    assert_eq!(said.end(), (1, words));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, QUEUE).await;
    server.script(Answer::hang());
    let said = explained(&network, &["--timeout", "2.5"]).await;
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.000  connect    queue:50051 in 0.0 ms
  0.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  0.000  connected  link #1 in 0.0 ms
  0.000  call       agent_queue.v1.AgentQueue/HealthCheck is unary: 0 bytes, 2.500 s left
  2.500  ended      DEADLINE_EXCEEDED after 2.500 s: the call's deadline passed
                    attempt 1 ended at 2.500: DEADLINE_EXCEEDED, the call's deadline passed
                    the server may have acted on it
                    total 2.500 s: wire 2.500; 1 attempt, 0 retries
"#,
    );
    assert_eq!(said.end().0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_lost_in_the_middle_is_replaced() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, QUEUE).await;
    server.script(Script::sequence(vec![Answer::cut_after_processing()], Answer::echo()));
    let said = explained(&network, &[]).await;
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.000  connect    queue:50051 in 0.0 ms
  0.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  0.000  connected  link #1 in 0.0 ms
  0.000  call       agent_queue.v1.AgentQueue/HealthCheck is unary: 0 bytes, 60.000 s left
  0.000  lost       link #1 ended after 0 ms: the peer closed the connection
  0.000  wait       1.000 s until the next dial
  0.000  retry      1 of 3 in 1.000 s, after UNAVAILABLE: the peer closed the connection
  1.000  dial       queue:50051, link #2
  1.000  connect    queue:50051 in 0.0 ms
  1.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  1.000  connected  link #2 in 0.0 ms
  1.000  answer     0 bytes
  1.000  ended      OK after 1.000 s, 1 answer
                    attempt 1 ended at 0.000: UNAVAILABLE, the peer closed the connection
                    total 1.000 s: retry 1.000, wire 0.000; 2 attempts, 1 retry
"#,
    );
    assert_eq!(said.end(), (0, ""));
}

#[tokio::test(start_paused = true)]
async fn what_must_not_run_twice_is_not_repeated() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, QUEUE).await;
    server.script(Script::sequence(vec![Answer::cut_after_processing()], Answer::echo()));
    let said = explained(&network, &["--idempotent", "false"]).await;
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.000  connect    queue:50051 in 0.0 ms
  0.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  0.000  connected  link #1 in 0.0 ms
  0.000  call       agent_queue.v1.AgentQueue/HealthCheck is unary: 0 bytes, 60.000 s left
  0.000  lost       link #1 ended after 0 ms: the peer closed the connection
  0.000  wait       1.000 s until the next dial
  0.000  ended      UNAVAILABLE after 0.000 s: the peer closed the connection
                    attempt 1 ended at 0.000: UNAVAILABLE, the peer closed the connection
                    not retried: it is not idempotent, and the server may have acted on it
                    total 0.000 s: wire 0.000; 1 attempt, 0 retries
"#,
    );
    assert_eq!((said.end().0, server.handled()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_goaway_lets_the_call_finish() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, QUEUE).await;
    server.script(Answer::echo().after(Duration::from_secs(3)));
    let goaway = async {
        server.arrived(1).await;
        sleep(Duration::from_secs(1)).await;
        server.goaway().await;
    };
    let (said, _) = tokio::join!(explained(&network, &[]), goaway);
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.000  connect    queue:50051 in 0.0 ms
  0.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  0.000  connected  link #1 in 0.0 ms
  0.000  call       agent_queue.v1.AgentQueue/HealthCheck is unary: 0 bytes, 60.000 s left
  1.000  goaway     the peer sent GOAWAY NO_ERROR (last stream 2147483647)
  1.000  wait       0.000 s until the next dial
  1.000  goaway     the peer sent GOAWAY NO_ERROR (last stream 1)
  1.000  dial       queue:50051, link #2
  1.000  connect    queue:50051 in 0.0 ms
  1.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  1.000  connected  link #2 in 0.0 ms
  3.000  lost       link #1 ended after 3.0 s: the peer sent GOAWAY NO_ERROR (last stream 1)
  3.000  answer     0 bytes
  3.000  ended      OK after 3.000 s, 1 answer
                    total 3.000 s: wire 3.000; 1 attempt, 0 retries
"#,
    );
    assert_eq!((said.end(), server.handled()), ((0, ""), 1));
}

#[tokio::test(start_paused = true)]
async fn what_the_server_refused_is_sent_again_at_once() {
    const REFUSED_STREAM: u32 = 7;
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, QUEUE).await;
    server.script(Answer::reset(REFUSED_STREAM));
    let said = explained(&network, &["--no-retry"]).await;
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.000  connect    queue:50051 in 0.0 ms
  0.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  0.000  connected  link #1 in 0.0 ms
  0.000  call       agent_queue.v1.AgentQueue/HealthCheck is unary: 0 bytes, 60.000 s left
  0.000  ended      UNAVAILABLE after 0.000 s: the peer reset the stream: REFUSED_STREAM
                    attempt 1 ended at 0.000: UNAVAILABLE, the peer reset the stream: \
                    REFUSED_STREAM; sent again at once
                    attempt 2 ended at 0.000: UNAVAILABLE, the peer reset the stream: REFUSED_STREAM
                    not retried: retries are off
                    the server certainly did not act on it
                    total 0.000 s: wire 0.000; 2 attempts, 0 retries, 1 resent at once
"#,
    );
    assert_eq!((said.end().0, server.refused()), (1, 2));
}
