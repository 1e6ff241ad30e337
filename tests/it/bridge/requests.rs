//! What is not gRPC is told so, in words that its sender can read.

use super::{
    Client, bridge,
    client::{Answer, post},
};
use crate::support::{Rig, SAY, bounded, config};
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

async fn spoken(rig: &Rig, bytes: &[u8]) -> String {
    let (mut near, far) = duplex(1 << 16);
    let bridge = bridge(rig);
    let served = tokio::spawn(async move { bridge.serve(far).await });
    near.write_all(bytes).await.expect("sent");
    let mut said = Vec::new();
    bounded("it is answered", near.read_to_end(&mut said)).await.expect("read");
    drop(near);
    bounded("it ends", served).await.expect("no panic").expect("no error");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(start_paused = true)]
async fn http_1_is_answered_with_415_and_a_sentence() {
    let rig = Rig::new(config()).await;
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /test.Echo/Say HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
        "PRI * HTTP/1.1\r\n\r\n",
    ] {
        let said = spoken(&rig, request.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 415 Unsupported Media Type\r\n"), "{said}");
        assert!(said.contains("this port speaks gRPC") && said.ends_with('\n'), "{said}");
    }
    let tls = spoken(&rig, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert_eq!(tls, "", "TLS is not answered in clear");
    assert_eq!(rig.server.handled(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_grpc_is_answered_with_415_or_405() {
    let rig = Rig::new(config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    for kind in ["application/grpc-web+proto", "application/json"] {
        let (response, _body) = client.begin(post(SAY, &[("content-type", kind)])).await;
        let answer = Answer::read(response).await.expect("an answer");
        assert_eq!((answer.http, answer.head.contains_key("grpc-status")), (415, false), "{kind}");
    }
    let get = Request::get("http://a/").header("content-type", "application/grpc").body(());
    let (response, _body) = client.begin(get.expect("a request")).await;
    assert_eq!(Answer::read(response).await.expect("an answer").http, 405);
    assert_eq!((client.call(SAY, &[]).await.code(), rig.server.handled()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_clients_own_attempts_are_counted_with_ours() {
    use tonic::Code;
    use tonic_supervisor::testing::Script;
    let rig = Rig::with_script(Script::fail_times(1, Code::Unavailable), config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    client.call(SAY, &[("grpc-previous-rpc-attempts", "2")]).await;
    client.call(SAY, &[("grpc-previous-rpc-attempts", "many")]).await;
    assert_eq!(rig.previous_attempts(), [Some("2".into()), Some("3".into()), None]);
}
