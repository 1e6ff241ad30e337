//! The scripted server against a plain HTTP/2 client.

use super::*;
use crate::{
    testing::Answer,
    transport::{ConnectRequest, frame, take_message},
};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use tokio::time::Instant;
use tonic::Code;

/// What came back: HTTP headers, messages, trailers.
struct Reply {
    messages: Vec<Bytes>,
    trailers: HeaderMap,
}

impl Reply {
    fn code(&self) -> i32 {
        self.trailers["grpc-status"].to_str().unwrap().parse().unwrap()
    }
}

struct Client {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

async fn dial(server: &ScriptedServer) -> Client {
    let io = server.connector().connect(&ConnectRequest::new(server.dial_address())).await.unwrap();
    let (send, connection) = h2::client::Builder::new().handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    Client { send: send.ready().await.unwrap(), connection }
}

impl Client {
    async fn open(
        &mut self,
        headers: &[(&str, &str)],
    ) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        let mut request = Request::post("http://queue/svc/Method");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send = self.send.clone().ready().await?;
        self.send.send_request(request.body(()).unwrap(), false)
    }

    async fn call_with(
        &mut self,
        message: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<Reply, h2::Error> {
        let (response, mut body) = self.open(headers).await?;
        body.send_data(frame(message), true)?;
        collect(response.await?).await
    }

    async fn call(&mut self, message: &[u8]) -> Result<Reply, h2::Error> {
        self.call_with(message, &[]).await
    }
}

async fn collect(response: Response<h2::RecvStream>) -> Result<Reply, h2::Error> {
    let (head, mut body) = response.into_parts();
    assert_eq!(head.headers["content-type"], "application/grpc");
    let (mut buffer, mut messages) = (BytesMut::new(), Vec::new());
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        buffer.extend_from_slice(&chunk);
        messages.extend(std::iter::from_fn(|| take_message(&mut buffer)));
    }
    let trailers = body.trailers().await?.unwrap_or(head.headers);
    Ok(Reply { messages, trailers })
}

async fn in_memory(builder: ScriptedServerBuilder) -> (MemoryNetwork, ScriptedServer) {
    let network = MemoryNetwork::new();
    let server = builder.on_memory(&network, "queue:1").await;
    (network, server)
}

#[tokio::test]
async fn it_echoes_over_tcp_and_over_memory() {
    let (_network, memory) = in_memory(ScriptedServer::builder()).await;
    for server in [ScriptedServer::on_tcp().await, memory] {
        let reply = dial(&server).await.call(b"hello").await.unwrap();
        assert_eq!((reply.code(), &reply.messages[..]), (0, &[Bytes::from("hello")][..]));
    }
}

#[tokio::test(start_paused = true)]
async fn it_fails_as_often_as_its_script_has_it_and_records_each_call() {
    let (_network, server) = in_memory(ScriptedServer::builder()).await;
    server.script(Script::fail_times(2, Code::Unavailable));
    let mut client = dial(&server).await;
    for (n, code) in [14, 14, 0].into_iter().enumerate() {
        tokio::time::advance(Duration::from_secs(1)).await;
        let attempts = n.to_string();
        let headers = [
            ("grpc-previous-rpc-attempts", attempts.as_str()),
            ("grpc-timeout", "5S"),
            ("x-a", "b"),
        ];
        assert_eq!(client.call_with(b"x", &headers).await.unwrap().code(), code);
    }
    let arrivals = server.arrivals();
    assert_eq!(arrivals.iter().map(|arrival| arrival.at.as_secs()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(arrivals.iter().map(|arrival| arrival.stream).collect::<Vec<_>>(), [1, 3, 5]);
    let last = arrivals.last().unwrap();
    assert_eq!(
        (last.previous_attempts.as_deref(), last.grpc_timeout.as_deref()),
        (Some("2"), Some("5S"))
    );
    assert_eq!(
        (last.path.as_str(), &last.metadata["x-a"], last.connection),
        ("/svc/Method", &"b".parse().unwrap(), 1)
    );
    assert_eq!((server.handled(), server.refused(), &last.message[..]), (3, 0, &b"x"[..]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_exactly_its_time() {
    let (_network, server) =
        in_memory(ScriptedServer::builder().script(Script::delay(Duration::from_secs(3)))).await;
    let mut client = dial(&server).await;
    let began = Instant::now();
    client.call(b"x").await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_path_can_have_a_script_of_its_own() {
    let (_network, server) =
        in_memory(ScriptedServer::builder().script(Script::always(Code::Internal))).await;
    server.on("/svc/Method", |call: &Arrival| Answer::message(call.path.clone().into_bytes()));
    assert_eq!(
        dial(&server).await.call(b"x").await.unwrap().messages,
        [Bytes::from("/svc/Method")]
    );
}

#[tokio::test(start_paused = true)]
async fn pushback_and_text_are_in_the_trailers_of_a_trailers_only_answer_too() {
    let (_network, server) = in_memory(ScriptedServer::builder()).await;
    let mut client = dial(&server).await;
    for answer in [
        Answer::status(Code::ResourceExhausted),
        Answer::headers_then_error(Code::ResourceExhausted),
    ] {
        server.script(answer.pushback("700").text("quota"));
        let reply = client.call(b"x").await.unwrap();
        assert_eq!((reply.code(), reply.messages.len()), (8, 0));
        assert_eq!(
            (&reply.trailers["grpc-retry-pushback-ms"], &reply.trailers["grpc-message"]),
            (&"700".parse().unwrap(), &"quota".parse().unwrap())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_is_reset_and_not_counted_as_handled() {
    let (_network, server) = in_memory(ScriptedServer::builder()).await;
    server.script(Answer::reset(7));
    let mut client = dial(&server).await;
    let error = client.call(b"x").await.err().unwrap();
    assert_eq!((error.reason(), error.is_remote()), (Some(h2::Reason::REFUSED_STREAM), true));
    assert_eq!((server.handled(), server.refused(), server.arrivals().len()), (0, 1, 1));
    server.script(Script::echo());
    assert_eq!(client.call(b"x").await.unwrap().code(), 0, "a reset takes one stream only");
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_reset_after_its_headers_and_after_a_message() {
    let (_network, server) = in_memory(ScriptedServer::builder()).await;
    let mut client = dial(&server).await;
    for messages in [vec![], vec!["one"]] {
        server.script(Answer::stream(messages.clone(), Code::Ok).then_reset(8));
        let (response, mut body) = client.open(&[]).await.unwrap();
        body.send_data(frame(b"x"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        if !messages.is_empty() {
            assert_eq!(body.data().await.unwrap().unwrap(), frame(b"one"));
        }
        let error = body.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    }
    assert_eq!(server.handled(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_can_be_processed_and_the_connection_cut_before_the_reply() {
    let (_network, server) = in_memory(ScriptedServer::builder()).await;
    server.script(Answer::cut_after_processing());
    let mut client = dial(&server).await;
    let error = client.call(b"x").await.err().unwrap();
    assert!(error.is_io(), "{error:?}");
    assert_eq!((server.handled(), server.open_connections()), (1, 0));
    server.script(Answer::message("late").then_cut());
    let mut client = dial(&server).await;
    let (response, mut body) = client.open(&[]).await.unwrap();
    body.send_data(frame(b"x"), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), frame(b"late"));
    assert!(body.data().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_noticed_when_the_client_gives_it_up() {
    let (_network, server) = in_memory(ScriptedServer::builder().script(Script::hang())).await;
    let mut client = dial(&server).await;
    assert!(tokio::time::timeout(Duration::from_secs(60), client.call(b"x")).await.is_err());
    server.given_up(1).await;
    assert_eq!((server.handled(), server.cancelled()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn big_answers_and_ten_thousand_small_calls_pass() {
    let (_network, server) =
        in_memory(ScriptedServer::builder().script(Answer::big(5 << 20))).await;
    let mut client = dial(&server).await;
    assert_eq!(client.call(b"x").await.unwrap().messages[0].len(), 5 << 20);
    server.script(Script::echo());
    for _ in 0..10_000 {
        assert_eq!(client.call(b"x").await.unwrap().code(), 0);
    }
    assert_eq!((server.handled(), server.connections()), (10_001, 1));
}

#[tokio::test(start_paused = true)]
async fn streams_are_echoed_message_by_message_and_scripted_streams_keep_their_pace() {
    let (_network, server) =
        in_memory(ScriptedServer::builder().script(Answer::echo_stream()).answer_at_headers(true))
            .await;
    let mut client = dial(&server).await;
    let (response, mut request) = client.open(&[]).await.unwrap();
    let mut body = response.await.unwrap().into_body();
    for message in ["a", "b"] {
        request.send_data(frame(message.as_bytes()), false).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), frame(message.as_bytes()));
    }
    request.send_data(Bytes::new(), true).unwrap();
    assert!(body.data().await.is_none());
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    server.script(Answer::stream(["a", "b", "c"], Code::Aborted).every(Duration::from_secs(1)));
    let began = Instant::now();
    let reply = client.call(b"x").await.unwrap();
    assert_eq!(
        (reply.messages.len(), reply.code(), began.elapsed()),
        (3, 10, Duration::from_secs(3))
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_stream_is_echoed_as_one_message() {
    let (_network, server) = in_memory(ScriptedServer::builder()).await;
    let mut client = dial(&server).await;
    let (response, mut request) = client.open(&[]).await.unwrap();
    request.send_data(frame(b"a"), false).unwrap();
    server.arrived(1).await;
    request.send_data(frame(b"b"), true).unwrap();
    let reply = collect(response.await.unwrap()).await.unwrap();
    assert_eq!(reply.messages, [Bytes::from("ab")]);
}

#[tokio::test(start_paused = true)]
async fn a_goaway_lets_running_calls_end_and_then_closes() {
    let (_network, server) =
        in_memory(ScriptedServer::builder().script(Script::delay(Duration::from_secs(5)))).await;
    let mut client = dial(&server).await;
    let (response, mut body) = client.open(&[]).await.unwrap();
    body.send_data(frame(b"x"), true).unwrap();
    server.arrived(1).await;
    assert_eq!(server.goaway().await, 1);
    assert_eq!(collect(response.await.unwrap()).await.unwrap().code(), 0);
    drop(body);
    let Client { send, connection } = client;
    assert!(connection.await.unwrap().is_ok(), "GOAWAY NO_ERROR is a clean end");
    drop(send);
    assert_eq!(server.goaway().await, 0);
}

#[tokio::test(start_paused = true)]
async fn connections_are_sent_away_at_their_age_and_after_their_calls() {
    let (_network, server) =
        in_memory(ScriptedServer::builder().goaway_every(Duration::from_secs(20))).await;
    let began = Instant::now();
    dial(&server).await.connection.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(20));
    let (_network, server) = in_memory(ScriptedServer::builder().goaway_after_calls(2)).await;
    let mut client = dial(&server).await;
    client.call(b"x").await.unwrap();
    client.call(b"x").await.unwrap();
    client.connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_killed_server_refuses_and_a_restarted_one_answers_at_the_same_address() {
    let (_network, memory) = in_memory(ScriptedServer::builder()).await;
    for server in [ScriptedServer::on_tcp().await, memory] {
        let mut client = dial(&server).await;
        client.call(b"x").await.unwrap();
        server.kill().await;
        assert_eq!(server.open_connections(), 0);
        assert!(client.call(b"x").await.is_err());
        assert!(
            server.connector().connect(&ConnectRequest::new(server.dial_address())).await.is_err()
        );
        server.restart().await;
        assert_eq!(dial(&server).await.call(b"x").await.unwrap().code(), 0);
        assert_eq!(
            server.arrivals().iter().map(|arrival| arrival.connection).collect::<Vec<_>>(),
            [1, 2]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_stream_limit_is_announced() {
    let (_network, server) =
        in_memory(ScriptedServer::builder().max_concurrent_streams(3).script(Script::hang())).await;
    let mut client = dial(&server).await;
    let mut running = Vec::new();
    for _ in 0..4 {
        let (response, mut body) = client.open(&[]).await.unwrap();
        body.send_data(frame(b"x"), true).unwrap();
        running.push((response, body));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client.send.current_max_send_streams(), 3);
    assert!(tokio::time::timeout(Duration::from_secs(60), server.arrived(4)).await.is_err());
    assert_eq!(server.handled(), 3);
}

#[tokio::test]
async fn a_server_that_goes_away_all_the_time_answers_exactly_what_it_handled() {
    let server = ScriptedServer::builder().goaway_every(Duration::from_millis(5)).on_tcp().await;
    let mut answered = 0;
    while server.connections() < 20 {
        let mut client = dial(&server).await;
        while client.call(b"x").await.is_ok() {
            answered += 1;
        }
    }
    assert_eq!((server.handled(), server.cancelled()), (answered, 0));
}
