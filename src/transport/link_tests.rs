//! Streams that cannot be opened: what that means for their link.

use super::{super::limits::size_of_head, *};
use crate::model::Address;
use std::sync::atomic::AtomicUsize;

/// How often it was reported that the link retired.
#[derive(Default)]
struct Retirements(AtomicUsize);

impl LinkListener for Retirements {
    fn on_event(&self, event: LinkEvent) {
        self.0.fetch_add(usize::from(matches!(event, LinkEvent::Retired)), Relaxed);
    }
}

fn request() -> http::Request<()> {
    http::Request::post("http://peer/pkg.Svc/Method")
        .version(http::Version::HTTP_2)
        .body(())
        .expect("valid")
}

/// Months of calls use up HTTP/2's stream ids: the link retires, and the call that found out was
/// certainly not sent.
#[tokio::test]
async fn a_link_whose_stream_ids_are_used_up_retires_and_loses_no_call() {
    let (near, _far) = tokio::io::duplex(1 << 16);
    let mut last_id = h2::client::Builder::new();
    last_id.initial_stream_id((1 << 31) - 1);
    let (sender, connection) =
        last_id.handshake::<_, Bytes>(near).await.expect("a client needs no answer");
    let driving = tokio::spawn(connection);
    let retired = Arc::new(Retirements::default());
    let tap = Arc::new(Tap::new());
    let link = Arc::new(Link::new(
        Incarnation(7),
        (EndpointId(1), Peer { listed: Address::new("peer", 1), found: None, known: None }),
        sender,
        tap,
        10,
        retired.clone(),
    ));
    let open = || link.reserve().expect("room").open(request(), Some(Bytes::new()), None);
    let last = open().expect("one id is left");
    let refused = open().err().expect("none is left");
    assert_eq!((refused.phase, retired.0.load(Relaxed)), (Phase::Unsent, 1));
    assert!(!link.is_accepting() && link.in_flight() == 1);
    assert_eq!(open().err().expect("still none").phase, Phase::Unsent);
    assert_eq!(retired.0.load(Relaxed), 1, "reported once");
    drop((last, driving));
}

/// Only the call is at fault: it ends, and the link goes on as if nothing had been.
#[tokio::test]
async fn a_request_that_http2_refuses_ends_alone_and_leaves_the_link_alone() {
    let (near, _far) = tokio::io::duplex(1 << 16);
    let (sender, connection) =
        h2::client::handshake::<_>(near).await.expect("a client needs no answer");
    let driving = tokio::spawn(connection);
    let retired = Arc::new(Retirements::default());
    let link = Arc::new(Link::new(
        Incarnation(7),
        (EndpointId(1), Peer { listed: Address::new("peer", 1), found: None, known: None }),
        sender,
        Arc::new(Tap::new()),
        10,
        retired.clone(),
    ));
    let mut odd = request();
    odd.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    let refused =
        link.reserve().expect("room").open(odd, Some(Bytes::new()), None).err().expect("refused");
    assert_eq!((refused.phase, refused.code), (Phase::Unsent, tonic::Code::Internal));
    assert!(matches!(refused.cause, crate::model::Cause::BadRequest(_)), "{refused:?}");
    assert!(link.is_accepting() && link.in_flight() == 0 && retired.0.load(Relaxed) == 0);
    link.reserve()
        .expect("room")
        .open(request(), Some(Bytes::new()), None)
        .map(drop)
        .expect("the next is sent");
    drop(driving);
}

/// RFC 9113, 6.5.2: name, value and 32 for each field.
#[test]
fn a_head_counts_as_the_peer_will_count_it() {
    let mut head = request();
    let bare = (7 + 4 + 32) + (7 + 4 + 32) + (10 + 4 + 32) + (5 + 15 + 32);
    assert_eq!(size_of_head(head.uri(), head.headers()), bare);
    head.headers_mut().insert("x-tenant", http::HeaderValue::from_static("abc"));
    assert_eq!(size_of_head(head.uri(), head.headers()), bare + 8 + 3 + 32);
    let bound = super::super::limits::bound_without_metadata(head.uri());
    assert!((bare + 300..1_024).contains(&bound), "it has room for gRPC's own fields: {bound}");
}
