//! `--explain` of methods that stream, word for word.

use super::explain_tests::{QUEUE, Said, assert_explained, call};
use std::time::Duration;
use tonic::Code;
use tonic_supervisor::testing::{Answer, MemoryNetwork, ScriptedServer};

const WATCH: &str = "agent_queue.v1.AgentQueue/WatchQueue";

/// What is explained of a call of WatchQueue that is answered so.
async fn watched(answer: Answer) -> Said {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, QUEUE).await;
    server.script(answer);
    call(&network, &[WATCH, "--explain"], true).await
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_well_tells_where_its_time_went() {
    let messages = [Vec::new(), Vec::new()];
    let late = Answer::stream(messages, Code::Ok).after(Duration::from_secs(2));
    let said = watched(late).await;
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.000  connect    queue:50051 in 0.0 ms
  0.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  0.000  connected  link #1 in 0.0 ms
  0.000  call       agent_queue.v1.AgentQueue/WatchQueue is a server stream: 0 bytes, no deadline
  2.000  answer     0 bytes
  2.000  answer     0 bytes
  2.000  ended      OK after 2.000 s, 2 answers
                    its answer began after 2.000 s
                    total 2.000 s: wire 2.000; 1 attempt, 0 retries
"#,
    );
    assert_eq!(said.end(), (0, ""));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_tells_its_attempt_and_why_there_is_no_other() {
    let messages = [Vec::new(), Vec::new()];
    let answer = Answer::stream(messages, Code::DataLoss).every(Duration::from_millis(400));
    let said = watched(answer.text("gone")).await;
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.000  connect    queue:50051 in 0.0 ms
  0.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  0.000  connected  link #1 in 0.0 ms
  0.000  call       agent_queue.v1.AgentQueue/WatchQueue is a server stream: 0 bytes, no deadline
  0.400  answer     0 bytes
  0.800  answer     0 bytes
  0.800  ended      DATA_LOSS after 0.800 s: gone
                    attempt 1 ended at 0.800: DATA_LOSS, the server's own answer
                    not retried: the method streams
                    its answer began after 0.000 s
                    total 0.800 s: wire 0.800; 1 attempt, 0 retries
"#,
    );
    assert_eq!(said.end().0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_refused_before_its_answer_tells_the_same() {
    let said = watched(Answer::status(Code::Unavailable).text("busy")).await;
    assert_explained(
        &said,
        r#"
  0.000  schema     1 file of queue.bin
  0.000  dial       queue:50051, link #1
  0.000  connect    queue:50051 in 0.0 ms
  0.000  http/2     SETTINGS in 0.0 ms: no limit of streams
  0.000  connected  link #1 in 0.0 ms
  0.000  call       agent_queue.v1.AgentQueue/WatchQueue is a server stream: 0 bytes, no deadline
  0.000  ended      UNAVAILABLE after 0.000 s: busy
                    attempt 1 ended at 0.000: UNAVAILABLE, the server's own answer
                    not retried: the method streams
                    total 0.000 s: wire 0.000; 1 attempt, 0 retries
"#,
    );
    assert_eq!(said.end().0, 1);
}
