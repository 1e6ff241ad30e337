//! One call's fault stays with that call: it is answered, and neither its link nor any other call
//! suffers for it.

use crate::support::{
    ADDRESS, EventLog, SAY, TonicServer, bounded, cause, config, config_for, join, ms, post,
    report, say, secs, start, supervise, supervise_tcp, with_tonic_server,
};
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};
use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    metadata::{AsciiMetadataKey, MetadataMap},
};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallKind, CallOptions, Cause, Config, ConnectivityState, CredentialsRequest, Fact, Phase,
    SupervisedChannel, Supervisor, UnaryCall,
    testing::{Answer, Frame, MemoryNetwork, PlayingPeer, RawLink, RawPeer, ScriptedServer},
};

/// A method that the real server does not have.
const MISSING: &str = "/test.Echo/Missing";

fn metadata(fields: &[(&'static str, &str)]) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for (name, value) in fields {
        metadata.append(AsciiMetadataKey::from_static(name), value.parse().expect("a value"));
    }
    metadata
}

async fn with_metadata(
    channel: &SupervisedChannel,
    path: &str,
    metadata: MetadataMap,
) -> Result<String, Status> {
    let mut request = Request::new("x".to_owned());
    *request.metadata_mut() = metadata;
    channel.unary::<String, String>(path, request).await.map(tonic::Response::into_inner)
}

/// The same through a generated client, of kind `auto`.
async fn generated(
    channel: &SupervisedChannel,
    path: &'static str,
    metadata: MetadataMap,
) -> Result<String, Status> {
    let mut request = Request::new("x".to_owned());
    *request.metadata_mut() = metadata;
    let codec = ProstCodec::<String, String>::default();
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.unary(request, PathAndQuery::from_static(path), codec)
        .await
        .map(tonic::Response::into_inner)
}

// --- what HTTP/2 would refuse
// -------------------------------------------------------------------------------

const HOPS: &[(&str, &str)] = &[
    ("connection", "keep-alive, x-hop"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "close"),
    ("transfer-encoding", "chunked"),
    ("upgrade", "h2c"),
];

#[tokio::test]
async fn fields_of_the_connection_are_left_out_and_the_call_goes_on() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let channel = supervisor.channel();
    for (name, value) in HOPS {
        let odd = metadata(&[(name, value), ("te", "gzip"), ("x-hop", "1"), ("x-kept", "2")]);
        with_metadata(&channel, SAY, odd.clone())
            .await
            .unwrap_or_else(|status| panic!("{name}: {status}"));
        generated(&channel, SAY, odd.clone())
            .await
            .unwrap_or_else(|status| panic!("{name}: {status}"));
        let (reply, answer) = tokio::sync::oneshot::channel();
        let call = UnaryCall::new(SAY, &"x".to_owned(), reply.into()).with_metadata(odd);
        supervisor.mailbox().send_message(call).expect("a mailbox takes every message");
        answer.await.expect("an answer").unwrap_or_else(|status| panic!("{name}: {status}"));
    }
    for arrival in server.arrivals() {
        assert!(
            HOPS.iter().all(|(name, _)| !arrival.metadata.contains_key(*name)),
            "{:?}",
            arrival.metadata
        );
        assert_eq!(arrival.metadata["x-kept"], "2");
        assert_eq!(arrival.metadata["te"], "trailers");
    }
    assert_eq!((server.arrivals().len(), server.connections()), (3 * HOPS.len(), 1));
    assert_eq!(supervisor.snapshot().transparent_retries, 0);
}

#[tokio::test]
async fn fields_of_the_connection_are_left_out_of_what_credentials_give() {
    async fn odd(_: CredentialsRequest) -> Result<MetadataMap, Status> {
        Ok([metadata(HOPS), metadata(&[("authorization", "Bearer x")])].into_iter().fold(
            MetadataMap::new(),
            |mut all, more| {
                all.as_mut().extend(more.into_headers());
                all
            },
        ))
    }
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let builder =
        Supervisor::builder(config().build().expect("valid")).connector(network.connector());
    let supervisor = builder.call_credentials(odd).allow_plaintext(true).spawn();
    say(&supervisor.channel(), "x", CallOptions::new()).await.expect("answered");
    let arrival = &server.arrivals()[0];
    assert!(
        arrival.metadata.contains_key("authorization")
            && !arrival.metadata.contains_key("connection")
    );
}

/// More metadata than a map of headers holds would be a panic of whoever adds one more field.
#[tokio::test(start_paused = true)]
async fn a_call_with_too_many_fields_of_metadata_ends_alone_and_unsent() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let names: Vec<AsciiMetadataKey> = (0..24_500)
        .map(|n| AsciiMetadataKey::from_bytes(format!("x-{n}").as_bytes()).expect("a name"))
        .collect();
    let mut many = MetadataMap::new();
    names.into_iter().for_each(|name| drop(many.insert(name, "1".parse().expect("a value"))));
    let status = with_metadata(&supervisor.channel(), SAY, many).await.expect_err("refused");
    assert!(matches!(cause(&status), Cause::BadRequest(_)), "{status:?}");
    assert_eq!((status.code(), report(&status).attempts_made), (Code::Internal, 0));
    assert!(status.message().contains("24500 fields"), "{}", status.message());
    say(&supervisor.channel(), "x", CallOptions::new()).await.expect("the next is answered");
    assert_eq!((server.arrivals().len(), server.connections()), (1, 1));
}

// --- what the peer cannot take
// -------------------------------------------------------------------------------

/// tonic's server announces that it takes 16 KiB, and ends the connection of whoever sends more.
#[tokio::test]
async fn a_head_above_the_peers_limit_ends_unsent_and_costs_no_other_call() {
    let (_server, supervisor) = with_tonic_server(config()).await;
    let channel = supervisor.channel();
    supervisor.wait_ready(secs(10)).await.expect("Ready");
    let others: Vec<_> = (0..4)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    with_metadata(&channel, "/test.Echo/Say", MetadataMap::new())
                        .await
                        .expect("answered");
                }
            })
        })
        .collect();
    for size in [20_000, 100_000, 300_000] {
        let large = metadata(&[("x-large", &"y".repeat(size))]);
        let status =
            with_metadata(&channel, "/test.Echo/Say", large.clone()).await.expect_err("too large");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(
            (report(&status).outcome.phase, report(&status).retries),
            (Phase::Unsent, 0),
            "{status:?}"
        );
        assert!(
            status.message().contains("MAX_HEADER_LIST_SIZE") && status.message().contains("16384")
        );
        let status = generated(&channel, "/test.Echo/Say", large).await.expect_err("too large");
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
    join(others).await;
    assert_eq!(supervisor.snapshot().links, 1);
    let fits = metadata(&[("x-large", &"y".repeat(15_000))]);
    with_metadata(&channel, "/test.Echo/Say", fits).await.expect("below the limit");
}

/// A peer that ends its connection whenever it reads "poison", and answers everything else.
async fn allergic(network: &MemoryNetwork, poisoned: Arc<AtomicUsize>) -> PlayingPeer {
    RawPeer::on_memory(network, ADDRESS).await.play(move |mut link| {
        let poisoned = poisoned.clone();
        async move {
            link.send_settings(&[]).await;
            while let Some((stream, message)) = link.next_whole_request().await {
                if message.ends_with(b"poison") {
                    poisoned.fetch_add(1, SeqCst);
                    return link.close().await;
                }
                link.answer(stream, &message[5..]).await;
            }
        }
    })
}

/// Time line: others begin a call every 10 ms for 20 s; the poisoned call begins at 1.005 s, its
/// retries wait 1, 2 and 4 s.
#[tokio::test(start_paused = true)]
async fn a_call_that_ends_its_link_costs_the_others_no_more_than_its_attempts() {
    let (network, poisoned) = (MemoryNetwork::new(), Arc::new(AtomicUsize::new(0)));
    let _peer = allergic(&network, poisoned.clone()).await;
    let supervisor = supervise(&network, config());
    let channel = supervisor.channel();
    let poison = tokio::spawn({
        let channel = channel.clone();
        async move {
            tokio::time::sleep(ms(1_005)).await;
            say(&channel, "poison", CallOptions::new()).await
        }
    });
    let mut calls = Vec::new();
    for _ in 0..2_000 {
        calls.push(start(&channel, "good", CallOptions::new()));
        tokio::time::sleep(ms(10)).await;
    }
    for (took, answer) in join(calls).await {
        assert_eq!(answer.expect("answered"), "good");
        assert!(took < secs(2), "{took:?}");
    }
    let status = poison.await.expect("no panic").expect_err("never answered");
    assert_eq!(
        (status.code(), report(&status).retries, poisoned.load(SeqCst)),
        (Code::Unavailable, 3, 4)
    );
    assert_eq!(supervisor.snapshot().links, 5, "one more than it ended");
}

// --- what the peer excludes
// -------------------------------------------------------------------------------

/// A peer that plays `part` at the first call of each connection.
async fn at_each_call<F: Future<Output = RawLink> + Send>(
    network: &MemoryNetwork,
    part: impl Fn(RawLink, u32) -> F + Clone + Send + 'static,
) -> PlayingPeer {
    RawPeer::on_memory(network, ADDRESS).await.play(move |mut link| {
        let part = part.clone();
        async move {
            link.send_settings(&[]).await;
            let Some((stream, _)) = link.next_whole_request().await else { return };
            let mut link = part(link, stream).await;
            while link.next_frame().await.is_ok_and(|frame| frame.is_some()) {}
        }
    })
}

async fn excluding(network: &MemoryNetwork, code: u32) -> PlayingPeer {
    at_each_call(network, move |mut link, _| async move {
        link.goaway(0, code, "go elsewhere").await;
        link
    })
    .await
}

/// Time line: 0 s sent, sent again at once; then after 1, 2 and 4 s.
#[tokio::test(start_paused = true)]
async fn a_call_that_every_link_excludes_ends_by_policy_with_the_goaways_words() {
    for (code, name) in [(0, "NO_ERROR"), (11, "ENHANCE_YOUR_CALM"), (2, "INTERNAL_ERROR")] {
        for options in
            [CallOptions::new(), CallOptions::new().wait_for_ready(false).idempotent(false)]
        {
            let network = MemoryNetwork::new();
            let peer = excluding(&network, code).await;
            let supervisor = supervise(&network, config());
            supervisor.wait_ready(secs(1)).await.expect("Ready");
            let began = Instant::now();
            let status =
                say(&supervisor.channel(), "x", options).await.expect_err("excluded each time");
            let report = report(&status);
            assert_eq!((status.code(), report.attempts_made), (Code::Unavailable, 5), "{report}");
            assert_eq!((report.transparent_retries, report.retries), (1, 3), "{report}");
            assert!(!report.maybe_processed && began.elapsed() < secs(10), "{report}");
            let words = status.message();
            assert!(
                words.contains("GOAWAY") && words.contains(name) && words.contains("go elsewhere"),
                "{words}"
            );
            assert!(peer.accepts().len() <= 7, "{:?}", peer.accepts());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_every_link_excludes_ends_after_its_second_attempt() {
    let network = MemoryNetwork::new();
    let _peer = excluding(&network, 0).await;
    let supervisor = supervise(&network, config());
    let mut grpc = tonic::client::Grpc::new(supervisor.channel());
    let (path, codec) = (PathAndQuery::from_static(SAY), ProstCodec::<String, String>::default());
    let mut request = Request::new("x".to_owned());
    request.extensions_mut().insert(CallOptions::new().kind(CallKind::Streaming));
    let status = grpc.server_streaming(request, path, codec).await.expect_err("excluded");
    assert_eq!((status.code(), report(&status).attempts_made), (Code::Unavailable, 2));
    assert!(status.message().contains("go elsewhere"), "{}", status.message());
}

/// The answer has begun, so the peer may have acted on the call: what it says afterwards is not
/// free.
#[tokio::test(start_paused = true)]
async fn a_peer_that_begins_each_answer_and_says_goaway_is_not_asked_without_end() {
    let network = MemoryNetwork::new();
    let peer = at_each_call(&network, |mut link, stream| async move {
        link.answer_head(stream).await;
        link.goaway(0, 0, "").await;
        link
    })
    .await;
    let supervisor = supervise(&network, config());
    let calls: Vec<_> =
        (0..20).map(|_| start(&supervisor.channel(), "x", CallOptions::new())).collect();
    for (_, answer) in join(calls).await {
        let status = answer.expect_err("never answered");
        assert!(report(&status).attempts_made <= 6, "{}", report(&status));
    }
    assert!(supervisor.snapshot().transparent_retries <= 40, "{:?}", supervisor.snapshot());
    assert!(peer.accepts().len() <= 60, "{} dials", peer.accepts().len());
}

/// Twenty calls wait; the first call kills each link. It shall not be the first on every link.
#[tokio::test(start_paused = true)]
async fn an_excluded_call_goes_behind_those_that_wait() {
    let network = MemoryNetwork::new();
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let seen = arrived.clone();
    // One stream at a time, so that order shows.
    let _peer = RawPeer::on_memory(&network, ADDRESS).await.play(move |mut link| {
        let seen = seen.clone();
        async move {
            link.send_settings(&[(3, 1)]).await;
            while let Some((stream, message)) = link.next_whole_request().await {
                seen.lock().push(message.ends_with(b"poison"));
                if message.ends_with(b"poison") {
                    link.goaway(stream - 1, 11, "not you").await;
                    return;
                }
                link.answer(stream, &message[5..]).await;
            }
        }
    });
    let supervisor = supervise(&network, config());
    let channel = supervisor.channel();
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    let poison = start(&channel, "poison", CallOptions::new());
    let good: Vec<_> = (0..20).map(|_| start(&channel, "good", CallOptions::new())).collect();
    for (_, answer) in join(good).await {
        assert_eq!(answer.expect("answered"), "good");
    }
    let status = poison.await.expect("no panic").1.expect_err("excluded each time");
    assert_eq!(status.code(), Code::Unavailable);
    let order: Vec<_> = [vec![true], vec![false; 20], vec![true; 4]].concat();
    assert_eq!(*arrived.lock(), order, "the good calls came before the bad one came again");
}

// --- answers that come early
// -------------------------------------------------------------------------------

/// A missing method: the server answers at the headers and resets the stream, often before the
/// message is queued.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_before_the_request_is_sent_is_the_answer() {
    let server = TonicServer::start().await;
    for _ in 0..40 {
        let supervisor = supervise_tcp(Config::builder().port(server.port));
        let status = with_metadata(&supervisor.channel(), MISSING, MetadataMap::new())
            .await
            .expect_err("missing");
        assert_eq!(
            (status.code(), report(&status).attempts_made),
            (Code::Unimplemented, 1),
            "{}",
            report(&status)
        );
        assert_eq!(supervisor.snapshot().transparent_retries, 0);
    }
    let supervisor = supervise_tcp(Config::builder().port(server.port));
    let callers = (0..8).map(|_| {
        let channel = supervisor.channel();
        tokio::spawn(async move {
            for _ in 0..250 {
                let status = with_metadata(&channel, MISSING, MetadataMap::new())
                    .await
                    .expect_err("missing");
                assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
            }
        })
    });
    join(callers.collect()).await;
    let now = supervisor.snapshot();
    assert_eq!((now.links, now.transparent_retries, now.retries), (1, 0, 0));
}

/// The same, frame by frame: the head is answered with a status and RST_STREAM before the message
/// can be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_answers_and_resets_at_the_headers_costs_no_link() {
    let peer = RawPeer::on_tcp().await;
    let config = config_for(&peer.endpoint());
    let peer = peer.play(|mut link| async move {
        link.send_settings(&[]).await;
        while let Some(Frame { stream, .. }) = link.next_request().await {
            link.answer_status(stream, 16, "who are you").await;
            link.reset_stream(stream, 0).await;
        }
    });
    let supervisor = supervise_tcp(config);
    let callers = (0..8).map(|_| {
        let channel = supervisor.channel();
        tokio::spawn(async move {
            for _ in 0..500 {
                let status = say(&channel, "x", CallOptions::new()).await.expect_err("refused");
                assert_eq!(status.code(), Code::Unauthenticated, "{}", report(&status));
            }
        })
    });
    join(callers.collect()).await;
    let now = supervisor.snapshot();
    assert_eq!((peer.accepts().len(), now.transparent_retries, now.retries), (1, 0, 0));
}

// --- what proves a link
// -------------------------------------------------------------------------------

fn whole_answer(stream: u32) -> Vec<u8> {
    let head = [(":status", "200"), ("content-type", "application/grpc")];
    let frames = [
        Frame::headers(stream, &head, false),
        Frame::data(stream, b"\0\0\0\0\x03\n\x01x".to_vec(), false),
        Frame::headers(stream, &[("grpc-status", "0")], true),
    ];
    frames.iter().flat_map(|frame| frame.to_bytes()).collect()
}

/// Each connection answers one call; answer, GOAWAY and FIN come in one write.
#[tokio::test(start_paused = true)]
async fn an_answer_proves_the_link_although_its_end_comes_with_it() {
    for goaway in [true, false] {
        let network = MemoryNetwork::new();
        let peer = RawPeer::on_memory(&network, ADDRESS).await.play(move |mut link| async move {
            link.send_settings(&[]).await;
            let Some((stream, _)) = link.next_whole_request().await else { return };
            let mut bytes = whole_answer(stream);
            if goaway {
                bytes.extend_from_slice(&Frame::goaway(stream, 0, b"").to_bytes());
            }
            link.send_bytes(&bytes).await;
            link.close().await;
        });
        let supervisor = supervise(&network, config());
        let began = Instant::now();
        for n in 0..50 {
            assert_eq!(
                say(&supervisor.channel(), "x", CallOptions::new()).await.expect("answered"),
                "x",
                "call {n}"
            );
        }
        assert!(began.elapsed() < ms(50 * 25), "{:?} for 50 calls", began.elapsed());
        assert!((50..=51).contains(&peer.accepts().len()));
    }
}

/// A head alone is no answer: the waits between dials grow.
#[tokio::test(start_paused = true)]
async fn a_link_that_only_began_an_answer_is_not_proven() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await.play(|mut link| async move {
        link.send_settings(&[]).await;
        let Some((stream, _)) = link.next_whole_request().await else { return };
        link.answer_head(stream).await;
        link.send(Frame::data(stream, b"\0\0\0".to_vec(), false)).await;
        link.close().await;
    });
    let supervisor = supervise(&network, config());
    let log = EventLog::of(&supervisor);
    let calls: Vec<_> =
        (0..50).map(|_| post(&supervisor.mailbox(), "x", CallOptions::new())).collect();
    for answer in calls {
        bounded("an answer", answer).await.expect("an answer").expect_err("never answered");
    }
    assert_eq!(log.count(|fact| matches!(fact, Fact::BackoffReset { .. })), 0);
    assert!(peer.accepts().len() <= 20, "{:?}", peer.accepts());
    assert_ne!(supervisor.state(), ConnectivityState::Idle);
}

/// A stream's first message is proof, long before the stream ends.
#[tokio::test(start_paused = true)]
async fn a_whole_message_proves_the_link_before_its_stream_ends() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Answer::message("\n\u{5}hello").then_hang());
    let supervisor = supervise(&network, config());
    let log = EventLog::of(&supervisor);
    let mut grpc = tonic::client::Grpc::new(supervisor.channel());
    let (path, codec) = (PathAndQuery::from_static(SAY), ProstCodec::<String, String>::default());
    let stream =
        grpc.server_streaming(Request::new("x".to_owned()), path, codec).await.expect("it begins");
    log.until("the proof", 1, |fact| matches!(fact, Fact::BackoffReset { .. })).await;
    drop(stream);
}
