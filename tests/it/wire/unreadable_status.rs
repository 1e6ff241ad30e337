//! What cannot be read never changes what could: a status keeps its code beside words that are no
//! text, a code that is none is UNKNOWN and named, and an HTTP error is not hidden by it.

use crate::support::{ADDRESS, SAY, config, ms, post, report, said, say, supervise, timed};
use http::uri::PathAndQuery;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallKind, CallOptions, SupervisedChannel,
    testing::{Frame, MemoryNetwork, PlayingPeer, RawPeer},
};

type Fields = Vec<(&'static str, &'static str)>;

/// Where a status stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// In a head that is all there is, of this HTTP status.
    Alone(&'static str),
    /// In trailers behind a head.
    Trailers,
    /// In trailers behind a message.
    AfterMessage,
}

const PLACES: [Place; 3] = [Place::Alone("200"), Place::Trailers, Place::AfterMessage];

/// A peer that ends every call with these fields, and how many came.
async fn peer(
    network: &MemoryNetwork,
    place: Place,
    fields: Fields,
) -> (PlayingPeer, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let peer = RawPeer::on_memory(network, ADDRESS).await.play(move |mut link| {
        let (fields, counted) = (fields.clone(), counted.clone());
        async move {
            link.send_settings(&[]).await;
            while let Some((stream, _)) = link.next_whole_request().await {
                counted.fetch_add(1, Relaxed);
                if let Place::Alone(http) = place {
                    let mut head = vec![(":status", http), ("content-type", "application/grpc")];
                    head.extend(&fields);
                    link.send(Frame::headers(stream, &head, true)).await;
                    continue;
                }
                link.answer_head(stream).await;
                if place == Place::AfterMessage {
                    link.message(stream, b"\n\x05hello").await;
                }
                link.trailers(stream, &fields).await;
            }
        }
    });
    (peer, calls)
}

/// Every way to call.
#[derive(Clone, Copy, Debug)]
enum Way {
    Typed,
    Message,
    Generated,
    Stream,
}

const WAYS: [Way; 4] = [Way::Typed, Way::Message, Way::Generated, Way::Stream];

async fn call(supervisor: &tonic_supervisor::Supervisor, way: Way) -> Status {
    let channel: SupervisedChannel = supervisor.channel();
    let (path, codec) = (PathAndQuery::from_static(SAY), ProstCodec::<String, String>::default());
    let mut request = Request::new("hello".to_owned());
    let outcome = match way {
        Way::Typed => say(&channel, "hello", CallOptions::new()).await,
        Way::Message => {
            let answer = post(&supervisor.mailbox(), "hello", CallOptions::new());
            said(answer.await.expect("a port gets its answer"))
        }
        Way::Generated => {
            request.extensions_mut().insert(CallOptions::new().unary());
            Grpc::new(channel).unary(request, path, codec).await.map(tonic::Response::into_inner)
        }
        Way::Stream => {
            request.extensions_mut().insert(CallOptions::new().kind(CallKind::Streaming));
            match Grpc::new(channel).server_streaming(request, path, codec).await {
                Err(status) => Err(status),
                Ok(answer) => {
                    let mut answer = answer.into_inner();
                    loop {
                        match answer.message().await {
                            Ok(Some(_)) => {}
                            Ok(None) => break Ok(String::new()),
                            Err(status) => break Err(status),
                        }
                    }
                }
            }
        }
    };
    outcome.expect_err("the peer says that it failed")
}

/// One call in a world of its own: its status, and how many attempts reached the peer.
async fn one(way: Way, place: Place, fields: &Fields) -> (Status, usize) {
    let network = MemoryNetwork::new();
    let (_peer, calls) = peer(&network, place, fields.clone()).await;
    let supervisor = supervise(&network, config());
    let status = call(&supervisor, way).await;
    (status, calls.load(Relaxed))
}

/// The codes that are not retried by default stay so, whatever stands beside them.
#[tokio::test(start_paused = true)]
async fn a_code_stands_beside_words_and_details_that_cannot_be_read() {
    for beside in [
        vec![("grpc-message", "caf%E9")],
        vec![("grpc-message", "%ff%fe%")],
        vec![("grpc-status-details-bin", "!!! not base64")],
        vec![("grpc-message", "caf%E9"), ("grpc-status-details-bin", "====")],
        vec![("grpc-message", "one"), ("grpc-message", "%ff")],
        vec![("retry-after", "soon"), ("grpc-encoding", "%00")],
    ] {
        for (code, known) in [
            ("7", Code::PermissionDenied),
            ("007", Code::PermissionDenied),
            ("16", Code::Unauthenticated),
        ] {
            for (place, way) in PLACES.into_iter().flat_map(|place| WAYS.map(|way| (place, way))) {
                let mut fields = vec![("grpc-status", code)];
                fields.extend(&beside);
                let (status, attempts) = one(way, place, &fields).await;
                assert_eq!(
                    (status.code(), attempts),
                    (known, 1),
                    "{fields:?} {place:?} {way:?}: {status:?}"
                );
            }
        }
    }
}

/// UNKNOWN is worth another try by default; words of the peer's own are kept.
#[tokio::test(start_paused = true)]
async fn a_code_that_is_none_is_unknown_and_named() {
    for (codes, named) in [
        (&["abc"][..], "\"abc\""),
        (&["99"], "\"99\""),
        (&[""], "\"\""),
        (&["-1"], "\"-1\""),
        (&["0", "7"], "\"0\", \"7\""),
        (&["7", "0"], "\"7\", \"0\""),
        (&["0,7"], "\"0,7\""),
    ] {
        for (place, way) in PLACES.into_iter().flat_map(|place| WAYS.map(|way| (place, way))) {
            let mut fields: Fields = codes.iter().map(|code| ("grpc-status", *code)).collect();
            let (status, attempts) = one(way, place, &fields).await;
            assert_eq!(status.code(), Code::Unknown, "{codes:?} {place:?} {way:?}: {status:?}");
            assert!(status.message().ends_with(named), "{codes:?} {place:?} {way:?}: {status:?}");
            assert_eq!(
                attempts,
                if matches!(way, Way::Stream) { 1 } else { 4 },
                "{codes:?} {place:?} {way:?}"
            );
            fields.push(("grpc-message", "its%20own words"));
            let (status, _) = one(way, place, &fields).await;
            assert_eq!(
                (status.code(), status.message()),
                (Code::Unknown, "its own words"),
                "{codes:?} {way:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_that_cannot_be_read_does_not_hide_an_http_error() {
    for code in ["abc", "99", ""] {
        let (status, attempts) =
            one(Way::Typed, Place::Alone("403"), &vec![("grpc-status", code)]).await;
        assert_eq!((status.code(), attempts), (Code::PermissionDenied, 1), "{code:?}: {status:?}");
    }
    let (status, _) = one(Way::Typed, Place::Alone("403"), &vec![("grpc-status", "5")]).await;
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
}

/// As in grpc-go: two values are no value, and no value forbids the retry.
#[tokio::test(start_paused = true)]
async fn two_values_of_the_pushback_forbid_the_retry() {
    const PUSHBACK: &str = "grpc-retry-pushback-ms";
    for (values, attempts) in [
        (&["700", "700"][..], 1),
        (&["700", "900"], 1),
        (&["700, 900"], 1),
        (&["-1", "700"], 1),
        (&["700"], 4),
    ] {
        for (place, way) in
            PLACES.into_iter().flat_map(|place| [(place, Way::Typed), (place, Way::Generated)])
        {
            let mut fields = vec![("grpc-status", "14")];
            fields.extend(values.iter().map(|value| (PUSHBACK, *value)));
            let (took, (status, came)) = timed(one(way, place, &fields)).await;
            assert_eq!(
                (status.code(), came),
                (Code::Unavailable, attempts),
                "{values:?} {place:?} {way:?}"
            );
            assert_eq!(report(&status).attempts.len(), attempts);
            assert_eq!(took >= ms(2_100), attempts == 4, "{values:?} {place:?} {way:?}: {took:?}");
        }
    }
}
