//! Metadata crosses the bridge in both directions: repeated, binary, in order; heads stay heads,
//! trailers stay trailers.

use super::{Client, bridge, client::Answer as Seen, say};
use crate::support::{ADDRESS, Rig, SAY, config, described, descriptors};
use http::{HeaderMap, uri::PathAndQuery};
use tonic::{Code, Request, client::Grpc, metadata::MetadataValue};
use tonic_supervisor::{
    Bridge,
    testing::{Answer, MemoryNetwork, ScriptedServer},
};

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
}

#[tokio::test(start_paused = true)]
async fn binary_and_repeated_metadata_crosses_a_channel_of_tonic_in_order() {
    let answer = Answer::echo().header("x-in-head", "1").header("x-in-head", "2");
    let rig =
        Rig::with_script(answer.trailer("x-late-bin", "AAEC").trailer("x-late", "z"), config());
    let rig = rig.await;
    let mut request = Request::new("hello".to_owned());
    for value in ["b", "a", "c", "a"] {
        request.metadata_mut().append("x-many", value.parse().expect("a value"));
    }
    request.metadata_mut().insert_bin("x-some-bin", MetadataValue::from_bytes(&[0, 255, 10]));
    let mut grpc = Grpc::new(rig.supervisor.tonic_channel());
    grpc.ready().await.expect("ready");
    let path = PathAndQuery::from_static(SAY);
    let response = grpc.unary(request, path, crate::support::codec()).await.expect("answered");
    let sent = &rig.server.arrivals()[0].metadata;
    assert_eq!(values(sent, "x-many"), ["b", "a", "c", "a"]);
    assert_eq!(values(sent, "x-some-bin"), ["AP8K"]);
    let agent = values(sent, "user-agent").concat();
    assert!(agent.starts_with("tonic/") && agent.contains(" tonic-supervisor/"), "{agent}");
    let got = response.metadata();
    let heads: Vec<_> = got.get_all("x-in-head").iter().collect();
    assert_eq!(heads, ["1", "2"]);
    let late = got.get_bin("x-late-bin").expect("a trailer").to_bytes().expect("base64");
    assert_eq!(
        (&late[..], got.get("x-late").expect("a trailer").as_bytes()),
        (&[0, 1, 2][..], &b"z"[..])
    );
}

fn failing() -> Answer {
    Answer::headers_then_error(Code::NotFound)
        .header("x-in-head", "1")
        .text("not here")
        .trailer("x-late", "a")
        .trailer("x-late", "b")
        .trailer("grpc-status-details-bin", "CAUSAmhp")
}

fn check(answer: &Seen) {
    assert_eq!(values(&answer.head, "x-in-head"), ["1"], "{answer:?}");
    assert!(answer.head.get("grpc-status").is_none(), "{answer:?}");
    let trailers = answer.trailers.as_ref().expect("a head and trailers");
    assert_eq!((answer.code(), &*answer.words()), (5, "not here"));
    assert_eq!(values(trailers, "x-late"), ["a", "b"]);
    assert_eq!(values(trailers, "grpc-status-details-bin"), ["CAUSAmhp"]);
    assert!(trailers.get("x-in-head").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_has_its_metadata_where_the_server_wrote_it_whatever_its_kind() {
    let rig = Rig::with_script(failing(), config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    check(&client.call(SAY, &[]).await);
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::builder().script(failing()).on_memory(&network, ADDRESS).await;
    let supervisor = described(&network, config(), &descriptors("test", false));
    let mut client = Client::of(&Bridge::new(supervisor.channel())).await;
    check(&client.call(SAY, &[]).await);
}

#[tokio::test(start_paused = true)]
async fn status_details_cross_a_channel_of_tonic() {
    let rig = Rig::with_script(failing(), config()).await;
    let status = say(&rig.supervisor.tonic_channel(), SAY).await.expect_err("it fails");
    assert_eq!((status.code(), status.message()), (Code::NotFound, "not here"));
    assert_eq!(status.details(), [8, 5, 18, 2, b'h', b'i']);
}

#[tokio::test(start_paused = true)]
async fn no_field_of_ours_is_in_an_answer() {
    let rig = Rig::new(config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let answer = client.call(SAY, &[]).await;
    let names = |headers: &HeaderMap| headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&answer.head), ["content-type"]);
    assert_eq!(names(answer.trailers.as_ref().expect("trailers")), ["grpc-status"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_cannot_bring_fields_that_are_ours() {
    let rig = Rig::new(config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let fields =
        [("x-tonic-supervisor-origin", "peer"), ("host", "other.example"), ("x-kept", "2")];
    client.call(SAY, &fields).await;
    let sent = &rig.server.arrivals()[0].metadata;
    assert!(sent.keys().all(|name| !name.as_str().starts_with("x-tonic-supervisor")), "{sent:?}");
    assert!(sent.get("host").is_none(), "the target is who is meant: {sent:?}");
    assert_eq!(values(sent, "x-kept"), ["2"]);
}

/// A client would take the trailers for a broken protocol.
#[tokio::test(start_paused = true)]
async fn a_length_that_a_head_announced_is_not_promised_where_its_data_does_not_come() {
    let failing = Answer::message("1234").header("content-length", "9").then_status(Code::NotFound);
    let rig = Rig::with_script(failing.clone(), config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::builder().script(failing).on_memory(&network, ADDRESS).await;
    let supervisor = described(&network, config(), &descriptors("test", false));
    let mut described = Client::of(&Bridge::new(supervisor.channel())).await;
    for client in [&mut client, &mut described] {
        let answer = client.call(SAY, &[]).await;
        assert_eq!(answer.code(), Code::NotFound as i32, "{answer:?}");
        assert!(answer.head.get("content-length").is_none(), "{answer:?}");
    }
}
