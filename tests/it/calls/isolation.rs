//! One call's fault stays with that call: it is answered, and neither its link nor any other call
//! suffers for it.

use super::metadata::{MISSING, with_metadata};
use crate::support::{
    ADDRESS, SAY, TonicServer, config, config_for, join, ms, report, say, secs, start, supervise,
    supervise_tcp,
};
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};
use tokio::time::Instant;
use tonic::{Code, Request, metadata::MetadataMap};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallKind, CallOptions, Config,
    testing::{Frame, MemoryNetwork, PlayingPeer, RawLink, RawPeer},
};

// --- what the peer cannot take ---

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

// --- what the peer excludes ---

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

// --- answers that come early ---

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
    let config = config_for(&peer.dial_address());
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
