//! What goes up to tonic is clean: whatever heads, bodies and trailers a peer sends, a generated
//! client gets one answer, and no panic in its own task.

use crate::support::{SAY, config, paused_runtime, post, say, secs};
use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture};
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, uri::PathAndQuery};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::{future::Future, sync::Arc, time::Duration};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, DialFailure, Fact, Supervisor,
    transport::{BoxedIo, ConnectRequest, Connector},
};

/// What a peer answers to every call.
#[derive(Clone, Debug, Default)]
struct Said {
    status: u16,
    head: HeaderMap,
    /// Whether the head is all.
    head_only: bool,
    body: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

/// Opens streams to a server in memory that knows one answer.
struct Peer(Arc<Said>);

impl Connector for Peer {
    fn connect(&self, _: &ConnectRequest) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(serve(far, self.0.clone()));
        Box::pin(async move { Ok(Box::new(near) as BoxedIo) })
    }
}

async fn serve(io: tokio::io::DuplexStream, said: Arc<Said>) {
    let Ok(mut connection) = h2::server::handshake(io).await else { return };
    while let Some(Ok((request, answer))) = connection.accept().await {
        let said = said.clone();
        tokio::spawn(async move {
            let _ = reply(request.into_body(), answer, &said).await;
        });
    }
}

async fn reply(
    mut body: h2::RecvStream,
    mut answer: SendResponse<Bytes>,
    said: &Said,
) -> Result<(), h2::Error> {
    while let Some(data) = body.data().await {
        let _ = body.flow_control().release_capacity(data?.len());
    }
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(said.status).expect("a status");
    *head.headers_mut() = said.head.clone();
    let mut stream = answer.send_response(head, said.head_only)?;
    if said.head_only {
        return Ok(());
    }
    for data in &said.body {
        stream.send_data(data.clone(), false)?;
    }
    match &said.trailers {
        Some(trailers) => stream.send_trailers(trailers.clone()),
        None => stream.send_data(Bytes::new(), true),
    }
}

// --- what is drawn ---

fn value() -> impl Strategy<Value = Vec<u8>> {
    let interesting: Vec<&[u8]> = vec![
        b"0",
        b"5",
        b"14",
        b"16",
        b"17",
        b"-1",
        b"",
        b"99999999999",
        b"00",
        b"0x0",
        b"aGk=",
        b"aGk",
        b"!!!",
        b"====",
        b"a=b=",
        b"%",
        b"%%",
        b"%zz",
        b"%ff%fe",
        b"a%20b",
        b"gzip",
        b"identity",
        b"zstd",
        b"application/grpc",
        b"application/grpc+json",
        b"text/html",
        b"\xff\xfe",
        "\u{fc}".as_bytes(),
        b"-5",
        b"1000",
        b"soon",
        b"a,b",
        b"deflate",
        b"IDENTITY",
        b"\t",
        b" 0",
    ];
    let printable = vec(prop_oneof![32..=126u8, 128..=255u8], 0..40);
    prop_oneof![4 => select(interesting).prop_map(<[u8]>::to_vec), 1 => printable]
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    let name = select(vec![
        "grpc-status",
        "grpc-status",
        "grpc-message",
        "grpc-message",
        "grpc-status-details-bin",
        "grpc-status-details-bin",
        "grpc-encoding",
        "grpc-accept-encoding",
        "content-type",
        "grpc-retry-pushback-ms",
        "retry-after",
        "x-trace-bin",
        "x-trace",
        "-bin",
        "bin",
    ]);
    vec((name, value()), 0..6).prop_map(|fields| {
        let value = |bytes: Vec<u8>| {
            HeaderValue::from_bytes(&bytes).unwrap_or(HeaderValue::from_static("x"))
        };
        let mut map = HeaderMap::new();
        for (name, bytes) in fields {
            map.append(HeaderName::from_static(name), value(bytes));
        }
        map
    })
}

fn body() -> impl Strategy<Value = Vec<Bytes>> {
    let pieces = select(vec![
        Bytes::from_static(b"\0\0\0\0\0"),
        Bytes::from_static(b"\0\0\0\0\x03\n\x01x"),
        Bytes::from_static(b"\x01\0\0\0\x03\n\x01x"),
        Bytes::from_static(b"\x07\0\0\0\0"),
        Bytes::from_static(b"\0\xff\xff\xff\xff"),
        Bytes::from_static(b"\0\0\0"),
        Bytes::from_static(b"\0\0\0\0\x02\xff\xff"),
        Bytes::new(),
    ]);
    vec(pieces, 0..3)
}

fn said() -> impl Strategy<Value = Said> {
    let others = select(vec![100u16, 204, 302, 400, 404, 429, 500, 503, 599]);
    let status = prop_oneof![6 => Just(200), 1 => others];
    let status = status.prop_map(|status| if status == 100 { 200 } else { status });
    (status, fields(), any::<bool>(), body(), option::weighted(0.9, fields()), any::<bool>())
        .prop_map(|(status, mut head, head_only, body, trailers, ok)| {
            let mut trailers = trailers;
            if ok {
                // As a rule it looks well.
                head.remove("grpc-status");
                if let Some(trailers) = &mut trailers {
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                }
            }
            Said { status, head, head_only, body, trailers }
        })
}

// --- what is asked ---

async fn answered<T: Send + 'static>(
    what: &str,
    call: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<Result<T, Status>, String> {
    let call = tokio::time::timeout(Duration::from_secs(100), tokio::spawn(call)).await;
    let call = call.map_err(|_| format!("{what} hangs"))?;
    call.map_err(|panic| format!("{what} panics in the caller's task: {panic}"))
}

/// Every way to call, against this peer: the codes they end with.
async fn ask(said: Said) -> Result<Vec<Code>, String> {
    let builder = Supervisor::builder(
        config().max_retry_attempts(1).timeout(secs(50)).build().expect("valid"),
    );
    let supervisor = builder.connector(Arc::new(Peer(Arc::new(said)))).rng_seed(1).spawn();
    let mut events = supervisor.events();
    let path = || PathAndQuery::from_static(SAY);
    let codec = ProstCodec::<String, String>::default;
    let request = |unary: bool| {
        let mut request = Request::new("x".to_owned());
        request.set_timeout(secs(50));
        if unary {
            request.extensions_mut().insert(CallOptions::new().unary());
        }
        request
    };
    let mut codes = Vec::new();
    for unary in [true, false] {
        let mut grpc = Grpc::new(supervisor.channel());
        let call = async move { grpc.unary(request(unary), path(), codec()).await };
        codes.push(
            answered("a unary call", call).await?.map_or_else(|status| status.code(), |_| Code::Ok),
        );
    }
    let mut grpc = Grpc::new(supervisor.channel());
    let streaming = async move {
        let mut heard = grpc.server_streaming(request(false), path(), codec()).await?.into_inner();
        while heard.message().await?.is_some() {}
        // As a curious client would.
        for field in
            heard.trailers().await?.into_iter().flat_map(|trailers| trailers.into_headers())
        {
            let _ = format!("{field:?}");
        }
        Ok(())
    };
    codes.push(
        answered("a stream", streaming).await?.map_or_else(|status| status.code(), |()| Code::Ok),
    );
    let mut grpc = Grpc::new(supervisor.channel());
    let both_ways = async move {
        let said = Request::new(futures::stream::iter(["x".to_owned()]));
        let mut heard = grpc.streaming(said, path(), codec()).await?.into_inner();
        while let Some(message) = heard.next().await {
            message?;
        }
        Ok(())
    };
    codes.push(
        answered("a stream both ways", both_ways)
            .await?
            .map_or_else(|status| status.code(), |()| Code::Ok),
    );
    let channel = supervisor.channel();
    let typed = async move { say(&channel, "x", CallOptions::new()).await };
    codes.push(
        answered("a typed call", typed).await?.map_or_else(|status| status.code(), |_| Code::Ok),
    );
    let port = post(&supervisor.mailbox(), "x", CallOptions::new());
    let posted = async move { port.await.expect("a port gets its answer") };
    codes.push(
        answered("a message", posted).await?.map_or_else(|status| status.code(), |_| Code::Ok),
    );
    let open = supervisor.snapshot().calls_open;
    if open > 0 {
        return Err(format!("{open} calls are open"));
    }
    drop(supervisor);
    while let Some(item) = events.next().await {
        if let tonic_supervisor::EventItem::Event(event) = item
            && let Fact::ChildFailed { error, .. } = event.fact
        {
            return Err(format!("an actor failed: {error}"));
        }
    }
    Ok(codes)
}

fn headers(fields: &[(&'static str, &[u8])]) -> HeaderMap {
    let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).expect("a value");
    fields.iter().map(|(name, bytes)| (HeaderName::from_static(name), value(bytes))).collect()
}

/// Details that are not base64, wherever they stand, with whatever code.
#[test]
fn details_that_are_not_base64_cost_no_answer_its_code_wherever_they_stand() {
    let message = vec![Bytes::from_static(b"\0\0\0\0\x03\n\x01x")];
    for (code, expected) in [(&b"0"[..], Code::Ok), (b"5", Code::NotFound)] {
        let end = headers(&[("grpc-status", code), ("grpc-status-details-bin", b"!!! not base64")]);
        for body in [message.clone(), Vec::new()] {
            let whole = Said {
                status: 200,
                body: body.clone(),
                trailers: Some(end.clone()),
                ..Said::default()
            };
            let ended = paused_runtime().block_on(ask(whole)).expect("no panic");
            if !body.is_empty() || expected != Code::Ok {
                assert_eq!(ended, [expected; 6], "in trailers, with {} messages", body.len());
            }
        }
        let only = Said { status: 200, head: end.clone(), head_only: true, ..Said::default() };
        let ended = paused_runtime().block_on(ask(only)).expect("no panic");
        if expected != Code::Ok {
            assert_eq!(ended, [expected; 6], "in a head that is all");
        }
    }
    let beside = headers(&[
        ("grpc-status-details-bin", b"!!!"),
        ("x-bin", b"!!!"),
        ("grpc-encoding", b"\xff"),
    ]);
    let end = Some(headers(&[("grpc-status", b"0")]));
    paused_runtime()
        .block_on(ask(Said {
            status: 200,
            head: beside,
            body: message,
            trailers: end,
            ..Said::default()
        }))
        .expect("no panic");
}

/// A message that is no text costs the answer nothing but what is no text in it.
#[test]
fn a_message_that_is_not_utf_8_keeps_the_code_of_every_kind_of_call() {
    for message in [&b"caf\xe9"[..], b"caf%E9", b"%ff%fe%fd"] {
        let end = headers(&[("grpc-status", b"9"), ("grpc-message", message)]);
        let said = Said { status: 200, trailers: Some(end), ..Said::default() };
        assert_eq!(
            paused_runtime().block_on(ask(said)).expect("no panic"),
            [Code::FailedPrecondition; 6]
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_peer_answers_a_client_gets_one_answer_and_no_panic(said in said()) {
        if let Err(problem) = paused_runtime().block_on(ask(said)) {
            prop_assert!(false, "{problem}");
        }
    }
}
