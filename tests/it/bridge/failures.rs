//! What fails ends with a status in trailers, in the server's words or in ours, and says whether
//! the client may try again.

use super::{
    Client, bridge,
    client::{Answer as Seen, framed, post},
};
use crate::support::{LogLines, Rig, SAY, config, eventually, secs};
use tonic::Code;
use tonic_supervisor::testing::{Answer, Script};

const PUSHBACK: &str = "grpc-retry-pushback-ms";

#[tokio::test(start_paused = true)]
async fn a_stream_whose_server_dies_ends_with_unavailable_in_trailers() {
    let endless = Answer::stream(["a", "b"], Code::Ok).then_hang();
    let rig = Rig::with_script(endless, config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let (response, mut body) = client.begin(post(SAY, &[])).await;
    body.send_data(framed("hello"), true).expect("sent");
    let reading = tokio::spawn(Seen::read(response));
    rig.server.arrived(1).await;
    tokio::time::sleep(secs(1)).await;
    rig.server.kill().await;
    let answer = reading.await.expect("no panic").expect("trailers, and no reset");
    assert_eq!((answer.code(), answer.messages.len()), (Code::Unavailable as i32, 2));
    assert!(answer.trailers.is_some() && !answer.words().is_empty(), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn refusals_of_ours_are_trailers_only_and_of_the_requests_content_type() {
    let rig = Rig::new(config().wait_for_ready(false).max_request_message_bytes(2)).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let proto = [("content-type", "application/grpc+proto")];
    let large = client.call(SAY, &proto).await;
    assert_eq!((large.http, large.code()), (200, Code::OutOfRange as i32));
    assert!(large.trailers.is_none() && large.messages.is_empty(), "{large:?}");
    assert_eq!(large.field("content-type"), ["application/grpc+proto"]);
    rig.server.kill().await;
    eventually("it fails", || rig.supervisor.snapshot().last_error.is_some()).await;
    let (response, mut body) = client.begin(post(SAY, &[])).await;
    body.send_data(bytes::Bytes::from_static(&[0; 5]), true).expect("sent");
    let down = Seen::read(response).await.expect("an answer");
    assert!(down.trailers.is_none(), "{down:?}");
    assert_eq!(down.code(), Code::Unavailable as i32);
    assert_eq!(down.field("content-type"), ["application/grpc"]);
}

#[tokio::test(start_paused = true)]
async fn trailers_only_stays_trailers_only_with_its_metadata() {
    let answer = Answer::status(Code::NotFound).text("not here").header("x-why", "1");
    let rig = Rig::with_script(answer.trailer("x-late", "2"), config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let answer = client.call(SAY, &[]).await;
    assert!(answer.trailers.is_none(), "{answer:?}");
    assert_eq!((answer.code(), answer.words()), (5, "not here".into()));
    assert_eq!((answer.field("x-why"), answer.field("x-late")), (vec!["1"], vec!["2"]));
    assert_eq!(answer.field("content-type"), ["application/grpc"]);
    assert_eq!(answer.head.len(), 5, "and nothing else: {:?}", answer.head);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_retries_are_used_up_forbids_the_clients_own() {
    let rig = Rig::with_script(Script::pushback(Code::Unavailable, "5"), config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let answer = client.call(SAY, &[]).await;
    assert_eq!((answer.code(), rig.server.handled()), (14, 4));
    assert_eq!(answer.field(PUSHBACK), ["-1"], "in place of the server's");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_not_retried_here_forbids_nothing() {
    for (name, rig, answer) in [
        ("final", config(), Script::always(Code::NotFound)),
        ("turned off", config().max_retry_attempts(0), Script::always(Code::Unavailable)),
        ("said to be a stream", config(), Script::always(Code::Unavailable)),
    ] {
        let streaming = tonic_supervisor::MethodOptions::new().streaming();
        let method = if name == "said to be a stream" { SAY } else { "/test.Echo/Other" };
        let rig =
            Rig::with_script(answer, rig.method(method.trim_start_matches('/'), streaming)).await;
        let mut client = Client::of(&bridge(&rig)).await;
        let answer = client.call(SAY, &[]).await;
        assert_eq!((answer.field(PUSHBACK), rig.server.handled()), (vec![], 1), "{name}");
    }
    let rig = Rig::with_script(Script::pushback(Code::Unavailable, "700"), config()).await;
    let mut client = Client::of(&bridge(&rig).idempotent(false)).await;
    let answer = client.call(SAY, &[]).await;
    assert_eq!((answer.field(PUSHBACK), rig.server.handled()), (vec!["700"], 1), "the server's");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_forbids_the_clients_retries() {
    let config = config().retry_throttle_ratio(0.0).retry_throttle_floor(0.0);
    let rig = Rig::with_script(Script::always(Code::Unavailable), config).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let mut throttled = false;
    for _ in 0..40 {
        let before = rig.server.handled();
        let answer = client.call(SAY, &[]).await;
        assert_eq!(answer.field(PUSHBACK), ["-1"]);
        throttled |= rig.server.handled() - before < 4;
    }
    assert!(throttled);
}

/// Of nobody who said so.
#[tokio::test(start_paused = true)]
async fn what_the_server_may_have_acted_on_is_not_repeated_for_clients_that_never_said_so() {
    let lines = LogLines::listen();
    let rig = Rig::with_script(Answer::cut_after_processing(), config()).await;
    let mut client = Client::of(&bridge(&rig).idempotent(false)).await;
    for calls in 1..=3 {
        let answer = client.call(SAY, &[]).await;
        assert_eq!((answer.code(), rig.server.handled()), (14, calls));
    }
    let cost = lines.saying("may run twice").into_iter();
    let methods: Vec<_> = cost.map(|line| line.field("method").to_owned()).collect();
    assert_eq!(methods, ["test.Echo/Say"], "once for each method");
    // What certainly was not acted on is repeated all the same.
    rig.server.script(Script::sequence(vec![Answer::reset(7)], Answer::echo()));
    assert_eq!(client.call(SAY, &[]).await.code(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_configuration_says_what_may_run_twice() {
    let again = tonic_supervisor::MethodOptions::new().idempotent(true);
    let script = Script::sequence(vec![Answer::cut_after_processing()], Answer::echo());
    let rig = Rig::with_script(script, config().method("test.Echo/*", again)).await;
    let mut client = Client::of(&bridge(&rig).idempotent(false)).await;
    assert_eq!((client.call(SAY, &[]).await.code(), rig.server.handled()), (0, 2));
}
