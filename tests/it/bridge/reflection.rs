//! The server is asked what its methods are, in the background.

use super::{Client, bridge};
use crate::support::{Rig, SAY, config, descriptors, eventually, secs};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tonic_supervisor::testing::{Answer, Script};

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
}

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    descriptors: Vec<Vec<u8>>,
}

/// What a server answers that knows `test.Echo`, whose `Say` is unary.
fn knows() -> Answer {
    let set = FileDescriptorSet::decode(&*descriptors("test", false)).expect("a set");
    let descriptors = set.file.iter().map(Message::encode_to_vec).collect();
    Answer::message(Response { files: Some(Files { descriptors }) }.encode_to_vec())
}

/// An answer that a unary call retries and one of kind `auto` does not.
fn failing() -> Script {
    Script::sequence(vec![Answer::headers_then_error(Code::Unavailable)], Answer::echo())
}

fn asked(rig: &Rig, path: &str) -> usize {
    rig.server.arrivals().iter().filter(|arrival| arrival.path == path).count()
}

#[tokio::test(start_paused = true)]
async fn a_service_is_asked_about_once_and_then_its_unary_calls_are_known() {
    let rig = Rig::new(config()).await.ready().await;
    rig.server.on(V1, knows());
    let mut client = Client::of(&bridge(&rig).reflect(true)).await;
    client.call(SAY, &[]).await;
    eventually("it is asked", || asked(&rig, V1) == 1).await;
    tokio::time::sleep(secs(1)).await;
    let question =
        &rig.server.arrivals().into_iter().find(|it| it.path == V1).expect("asked").message;
    assert_eq!(&question[..], b"\x22\x09test.Echo");
    rig.server.script(failing());
    assert_eq!(client.call(SAY, &[]).await.code(), 0, "retried, as it is unary");
    assert_eq!((asked(&rig, V1), asked(&rig, V1ALPHA)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_older_servers_reflection_is_asked_too_and_one_without_is_not_asked_all_the_time() {
    let rig = Rig::new(config()).await.ready().await;
    rig.server.on(V1, Script::always(Code::Unimplemented));
    rig.server.on(V1ALPHA, Script::always(Code::Unimplemented));
    let mut client = Client::of(&bridge(&rig).reflect(true)).await;
    for _ in 0..10 {
        assert_eq!(client.call(SAY, &[]).await.code(), 0);
        tokio::time::sleep(secs(1)).await;
    }
    assert_eq!((asked(&rig, V1), asked(&rig, V1ALPHA)), (1, 1));
    tokio::time::sleep(secs(30)).await;
    rig.server.on(V1ALPHA, knows());
    client.call(SAY, &[]).await;
    eventually("it is asked again", || asked(&rig, V1ALPHA) == 2).await;
    tokio::time::sleep(secs(1)).await;
    rig.server.script(failing());
    assert_eq!(client.call(SAY, &[]).await.code(), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_what_is_described_or_where_nothing_is_to_be_asked() {
    let method = tonic_supervisor::MethodOptions::new().unary();
    let rig = Rig::new(config().method("test.Echo/*", method)).await.ready().await;
    let mut client = Client::of(&bridge(&rig).reflect(true)).await;
    client.call(SAY, &[]).await;
    let other = Rig::new(config()).await.ready().await;
    let mut unasked = Client::of(&bridge(&other)).await;
    unasked.call(SAY, &[]).await;
    tokio::time::sleep(secs(1)).await;
    assert_eq!((rig.server.arrivals().len(), other.server.arrivals().len()), (1, 1));
}
