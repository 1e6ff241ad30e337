//! gRPC's standard interop cases against grpcio (C-core), restarts and connections of short life
//! under load.

use super::{
    Foreign,
    load::Load,
    wire::{client_streaming, config, facts, server_streaming, spawn, streaming, unary},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message;
use std::{env, path::Path, process::Command, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_supervisor::{CallOptions, Fact, Supervisor};

const EMPTY: &str = "/grpc.testing.TestService/EmptyCall";
const UNARY: &str = "/grpc.testing.TestService/UnaryCall";
const OUTPUT: &str = "/grpc.testing.TestService/StreamingOutputCall";
const INPUT: &str = "/grpc.testing.TestService/StreamingInputCall";
pub(crate) const DUPLEX: &str = "/grpc.testing.TestService/FullDuplexCall";

const REQUESTS: [usize; 4] = [27_182, 8, 1_828, 45_904];
const RESPONSES: [usize; 4] = [31_415, 9, 2_653, 58_979];
const SPECIAL: &str =
    "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n";

#[derive(Clone, PartialEq, Message)]
struct Payload {
    #[prost(bytes = "vec", tag = "2")]
    body: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct EchoStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct SimpleRequest {
    #[prost(int32, tag = "2")]
    response_size: i32,
    #[prost(message, optional, tag = "3")]
    payload: Option<Payload>,
    #[prost(message, optional, tag = "7")]
    response_status: Option<EchoStatus>,
}

/// Of a unary call, of a stream's answers, and of a stream's requests.
#[derive(Clone, PartialEq, Message)]
struct Carrier {
    #[prost(message, optional, tag = "1")]
    payload: Option<Payload>,
}

#[derive(Clone, PartialEq, Message)]
struct Aggregated {
    #[prost(int32, tag = "1")]
    payload_size: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Parameters {
    #[prost(int32, tag = "1")]
    size: i32,
    #[prost(int32, tag = "2")]
    interval_us: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OutputRequest {
    #[prost(message, repeated, tag = "2")]
    parameters: Vec<Parameters>,
    #[prost(message, optional, tag = "3")]
    payload: Option<Payload>,
    #[prost(message, optional, tag = "7")]
    response_status: Option<EchoStatus>,
}

/// How many streams of requests the server has begun to read, and how many of them are over: where
/// nobody ended them, because the client left.
#[derive(Clone, PartialEq, Message)]
struct Counts {
    #[prost(int32, tag = "1")]
    begun: i32,
    #[prost(int32, tag = "2")]
    over: i32,
}

/// grpcio with the test service; its options are C-core's.
pub(crate) fn serve(port: &str, options: &[&str]) -> Foreign {
    let python = env::var_os("PEERS_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/interop_server.py"))
        .arg(port)
        .args(options);
    Foreign::start(command, |line| Some(line.trim().to_owned()))
}

fn payload(size: usize) -> Option<Payload> {
    Some(Payload { body: vec![0; size] })
}

fn wanting(size: usize) -> Vec<Parameters> {
    vec![Parameters { size: size as i32, interval_us: 0 }]
}

fn size(carrier: &Carrier) -> usize {
    carrier.payload.as_ref().map_or(0, |payload| payload.body.len())
}

fn status(code: Code, message: &str) -> Option<EchoStatus> {
    Some(EchoStatus { code: code as i32, message: message.into() })
}

/// Its codes may be in the retry list.
fn once<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(CallOptions::new().retry(false));
    request
}

fn with_metadata<T>(mut request: Request<T>) -> Request<T> {
    let bytes = MetadataValue::from_bytes(&[0xab, 0xab, 0xab]);
    request.metadata_mut().insert(
        "x-grpc-test-echo-initial",
        MetadataValue::from_static("test_initial_metadata_value"),
    );
    request.metadata_mut().insert_bin("x-grpc-test-echo-trailing-bin", bytes);
    request
}

fn initial(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("x-grpc-test-echo-initial").and_then(|value| value.to_str().ok())
}

fn trailing(metadata: &MetadataMap) -> Option<Vec<u8>> {
    metadata
        .get_bin("x-grpc-test-echo-trailing-bin")
        .and_then(|value| value.to_bytes().ok())
        .map(|bytes| bytes.to_vec())
}

async fn empty(supervisor: &Supervisor, options: CallOptions) -> Result<(), tonic::Status> {
    let mut request = Request::new(());
    request.extensions_mut().insert(options);
    unary::<(), ()>(supervisor, EMPTY, request).await.map(drop)
}

#[tokio::test]
async fn empty_unary_and_large_unary() {
    let server = serve("0", &[]);
    let supervisor = spawn(config(&server.said));
    empty(&supervisor, CallOptions::new()).await.expect("empty_unary");
    let large =
        SimpleRequest { response_size: 314_159, payload: payload(271_828), response_status: None };
    let answer: Carrier =
        unary(&supervisor, UNARY, Request::new(large)).await.expect("large_unary").into_inner();
    assert_eq!(size(&answer), 314_159);
}

#[tokio::test]
async fn client_streaming_server_streaming_ping_pong_and_empty_stream() {
    let server = serve("0", &[]);
    let supervisor = spawn(config(&server.said));
    let requests = REQUESTS.map(|size| Carrier { payload: payload(size) });
    let sum: Aggregated = client_streaming(&supervisor, INPUT, stream::iter(requests))
        .await
        .expect("client_streaming");
    assert_eq!(sum.payload_size, 74_922);

    let request =
        OutputRequest { parameters: RESPONSES.map(wanting).concat(), ..OutputRequest::default() };
    let answers = server_streaming(&supervisor, OUTPUT, request).await.expect("server_streaming");
    let sizes: Vec<_> =
        answers.map_ok(|answer| size(&answer)).try_collect().await.expect("server_streaming");
    assert_eq!(sizes, RESPONSES);

    let (say, requests) = mpsc::channel(1);
    let mut pings = REQUESTS.into_iter().zip(RESPONSES).map(|(asked, wanted)| OutputRequest {
        parameters: wanting(wanted),
        payload: payload(asked),
        response_status: None,
    });
    // C-core sends the head with the first answer.
    say.send(pings.next().expect("a first")).await.expect("room");
    let pong = streaming(&supervisor, DUPLEX, Request::new(ReceiverStream::new(requests)))
        .await
        .expect("ping_pong");
    let mut pong = pong.into_inner();
    for wanted in RESPONSES {
        let answer: Carrier = pong.message().await.expect("ping_pong").expect("an answer to each");
        assert_eq!(size(&answer), wanted);
        if let Some(ping) = pings.next() {
            say.send(ping).await.expect("the stream is open");
        }
    }
    drop(say);
    assert_eq!(pong.message().await.expect("ends well"), None);

    let nothing = Request::new(stream::empty::<OutputRequest>());
    let mut answers = streaming::<_, Carrier>(&supervisor, DUPLEX, nothing)
        .await
        .expect("empty_stream")
        .into_inner();
    assert_eq!(answers.message().await.expect("ends well"), None);
}

#[tokio::test]
async fn custom_metadata_comes_back_with_the_head_and_behind_the_answer() {
    let server = serve("0", &[]);
    let supervisor = spawn(config(&server.said));
    let small = SimpleRequest { response_size: 1, payload: payload(1), response_status: None };
    let answer = unary::<_, Carrier>(&supervisor, UNARY, with_metadata(Request::new(small)))
        .await
        .expect("answered");
    assert_eq!(initial(answer.metadata()), Some("test_initial_metadata_value"));
    assert_eq!(trailing(answer.metadata()), Some(vec![0xab; 3]));

    let one = OutputRequest { parameters: wanting(1), ..OutputRequest::default() };
    let requests = with_metadata(Request::new(stream::iter([one])));
    let answer = streaming::<_, Carrier>(&supervisor, DUPLEX, requests).await.expect("answered");
    assert_eq!(initial(answer.metadata()), Some("test_initial_metadata_value"));
    let mut answers = answer.into_inner();
    assert_eq!(size(&answers.message().await.expect("well").expect("one")), 1);
    let trailers = answers.trailers().await.expect("ends well").expect("with trailers");
    assert_eq!(trailing(&trailers), Some(vec![0xab; 3]));
}

#[tokio::test]
async fn status_code_and_message_and_special_status_message() {
    let server = serve("0", &[]);
    let supervisor = spawn(config(&server.said));
    for message in ["test status message", SPECIAL] {
        let refused = SimpleRequest {
            response_status: status(Code::Unknown, message),
            ..SimpleRequest::default()
        };
        let error =
            unary::<_, Carrier>(&supervisor, UNARY, once(refused)).await.expect_err("refused");
        assert_eq!((error.code(), error.message()), (Code::Unknown, message));

        let refused = OutputRequest {
            response_status: status(Code::Unknown, message),
            ..OutputRequest::default()
        };
        let requests = Request::new(stream::iter([refused]));
        let mut answers = match streaming::<_, Carrier>(&supervisor, DUPLEX, requests).await {
            Ok(answer) => answer.into_inner().boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        };
        let error = answers.next().await.expect("an end").expect_err("refused");
        assert_eq!((error.code(), error.message()), (Code::Unknown, message));
    }
}

#[tokio::test]
async fn unimplemented_methods_and_services_are_told_apart_and_not_retried() {
    let server = serve("0", &[]);
    let supervisor = spawn(config(&server.said));
    for method in [
        "/grpc.testing.TestService/UnimplementedCall",
        "/grpc.testing.UnimplementedService/UnimplementedCall",
    ] {
        let error = unary::<(), ()>(&supervisor, method, Request::new(()))
            .await
            .expect_err("nobody serves it");
        assert_eq!(error.code(), Code::Unimplemented, "{error}");
    }
    assert_eq!((supervisor.snapshot().retries, supervisor.snapshot().links), (0, 1));
}

#[tokio::test]
async fn timeouts_and_cancellation_before_and_during_a_stream_reach_the_server() {
    let server = serve("0", &[]);
    let supervisor = spawn(config(&server.said));

    // cancel_after_begin: the stream is open, nothing was sent.
    let (say, requests) = mpsc::channel::<Carrier>(1);
    let call = client_streaming::<_, Aggregated>(&supervisor, INPUT, ReceiverStream::new(requests));
    tokio::select! {
        answer = call => panic!("nothing was sent, and it answered: {answer:?}"),
        () = until(&supervisor, |counts| counts.begun == 1) => {}
    }
    assert!(say.is_closed(), "a dropped call lets go of its requests");
    until(&supervisor, |counts| counts.over == 1).await;

    // cancel_after_first_response.
    let (say, requests) = mpsc::channel(1);
    let ping = OutputRequest {
        parameters: wanting(31_415),
        payload: payload(27_182),
        response_status: None,
    };
    say.send(ping).await.expect("room");
    let answers = streaming(&supervisor, DUPLEX, Request::new(ReceiverStream::new(requests)))
        .await
        .expect("open");
    let mut answers = answers.into_inner();
    let first: Carrier = answers.message().await.expect("well").expect("a first");
    assert_eq!(size(&first), 31_415);
    drop(answers);
    say.closed().await;
    until(&supervisor, |counts| counts.over == 2).await;

    // timeout_on_sleeping_server: the deadline is the caller's, and ends the call on the server,
    // too.
    let (say, requests) = mpsc::channel::<OutputRequest>(1);
    let mut requests = Request::new(ReceiverStream::new(requests));
    requests.set_timeout(Duration::from_secs(2));
    let error = match streaming::<_, Carrier>(&supervisor, DUPLEX, requests).await {
        Ok(answer) => answer.into_inner().message().await.expect_err("nobody answers"),
        Err(error) => error,
    };
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    drop(say);
    until(&supervisor, |counts| counts.over == 3).await;

    // cancel before it begins: a call that was never polled was never sent.
    drop(empty(&supervisor, CallOptions::new()));
    assert_eq!((supervisor.snapshot().calls_open, supervisor.snapshot().links), (0, 1));
}

/// Waits until the server's counts are as `wanted`.
async fn until(supervisor: &Supervisor, wanted: impl Fn(&Counts) -> bool) {
    let waiting = async {
        loop {
            let counts = unary::<(), Counts>(supervisor, "/test.Counts/Streams", Request::new(()))
                .await
                .expect("counted");
            if wanted(counts.get_ref()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the server hears of it");
}

fn load(supervisor: &Supervisor, options: CallOptions) -> Load {
    let supervisor = supervisor.clone();
    Load::start(8, move || {
        let supervisor = supervisor.clone();
        async move { empty(&supervisor, options).await }
    })
}

/// grpcio leaves some calls that come while it stops without an answer, and ends them with
/// CANCELLED when its grace is over. That is the peer's word, and CANCELLED is not in the seed's
/// list: who restarts such a server adds it.
#[tokio::test]
async fn five_restarts_under_load_cost_no_call_where_cancelled_is_retried() {
    const RETRYABLE: [Code; 7] = [
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::ResourceExhausted,
        Code::Aborted,
        Code::Internal,
        Code::Unknown,
        Code::Cancelled,
    ];
    let mut server = serve("0", &[]);
    let port = server.said.clone();
    let supervisor = spawn(config(&port).retryable_status_codes(RETRYABLE));
    let load = load(&supervisor, CallOptions::new());
    for _ in 0..5 {
        load.worked(200).await;
        server.terminate();
        server = serve(&port, &[]);
    }
    load.worked(200).await;
    let (ok, failed) = load.stop().await;
    assert_eq!(failed.len(), 0, "of {ok}: {:?}", failed.first());
    let seen = supervisor.snapshot();
    assert!(seen.links >= 6, "{seen:?}");
    println!(
        "5 restarts, {ok} calls, 0 failed, {} retries, {} resent",
        seen.retries, seen.transparent_retries
    );
}

#[tokio::test]
async fn connections_that_live_for_300_ms_cost_no_call() {
    let options = ["grpc.max_connection_age_ms=300", "grpc.max_connection_age_grace_ms=5000"];
    let server = serve("0", &options);
    let supervisor = spawn(config(&server.said));
    let mut events = supervisor.events();
    // The calls must not run twice: an old age gives no reason to.
    let load = load(&supervisor, CallOptions::new().idempotent(false));
    let goaway = |fact: &Fact| match fact {
        Fact::GoAwayReceived { incarnation, .. } => Some(*incarnation),
        _ => None,
    };
    let mut told = facts(&mut events, Duration::from_secs(5), goaway).await;
    let (ok, failed) = load.stop().await;
    assert_eq!(failed.len(), 0, "of {ok}: {:?}", failed.first());
    // Two-phase: two GOAWAYs for one link.
    told.dedup();
    assert!(told.len() >= 5, "{told:?}");
    assert_eq!(supervisor.snapshot().retries, 0);
    println!(
        "{} connections aged out, {ok} calls, 0 failed, {} resent",
        told.len(),
        supervisor.snapshot().transparent_retries
    );
}
