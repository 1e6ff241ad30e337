//! Panics of other people's code in the caller's own task: codecs, interceptors and bodies leave no
//! call open.

use super::user_code_panics::{INJECTED, PanicRig};
use crate::support::{bounded, cause, codec, config, eventually, ms, path, request, secs};
use futures::StreamExt as _;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use tonic_prost::ProstCodec;
use tonic_supervisor::{CallOptions, Cause, testing::Answer};

/// Panics while it encodes or decodes.
struct Wild {
    encoding: bool,
}

impl Codec for Wild {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self { encoding: self.encoding }
    }

    fn decoder(&mut self) -> Self {
        Self { encoding: self.encoding }
    }
}

impl Encoder for Wild {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        assert!(!self.encoding, "{INJECTED} into an encoder");
        prost::Message::encode(&text, into).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Wild {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, _: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        panic!("{INJECTED} into a decoder");
    }
}

fn kind(unary: bool) -> CallOptions {
    if unary { CallOptions::new().unary() } else { CallOptions::new() }
}

#[tokio::test(start_paused = true)]
async fn a_codec_that_panics_in_the_callers_task_leaves_no_call_open_and_the_link_alone() {
    let rig = PanicRig::new(config()).await;
    rig.says("first").await;
    for encoding in [true, false] {
        for unary in [true, false] {
            for streams in [false, true] {
                rig.server.script(if streams { Answer::echo_stream() } else { Answer::echo() });
                let channel = rig.supervisor.channel();
                let call = tokio::spawn(async move {
                    let mut grpc = Grpc::new(channel);
                    match streams {
                        false => drop(
                            grpc.unary(request("x", kind(unary)), path(), Wild { encoding }).await,
                        ),
                        true => {
                            let answer = grpc
                                .server_streaming(
                                    request("x", kind(unary)),
                                    path(),
                                    Wild { encoding },
                                )
                                .await;
                            drop(answer.expect("it begins").into_inner().message().await);
                        }
                    }
                });
                let ended = bounded("the caller's task ends", call).await;
                assert!(ended.expect_err("the caller's own panic").is_panic());
                eventually("no call is open", || rig.supervisor.snapshot().calls_open == 0).await;
                eventually("no stream is open", || rig.supervisor.snapshot().streams == 0).await;
            }
        }
    }
    rig.server.script(Answer::echo());
    rig.says("last").await;
    assert_eq!(
        (rig.server.connections(), rig.log.links_lost().len(), rig.children_failed()),
        (1, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn an_interceptor_that_panics_leaves_no_call_open() {
    let rig = PanicRig::new(config()).await;
    let refuse = |_: Request<()>| -> Result<Request<()>, Status> {
        panic!("{INJECTED} into an interceptor")
    };
    let channel =
        tonic::service::interceptor::InterceptedService::new(rig.supervisor.channel(), refuse);
    let call = tokio::spawn(async move {
        let mut grpc = Grpc::new(channel);
        grpc.unary(request("x", kind(true)), path(), codec()).await.map(drop)
    });
    assert!(call.await.expect_err("the caller's own panic").is_panic());
    rig.says("after").await;
}

/// Before the answer's head the caller's task polls the request; after it a task of ours does.
#[tokio::test(start_paused = true)]
async fn a_request_that_panics_ends_its_call_alone_before_and_after_the_answers_head() {
    let rig = PanicRig::new(config()).await;
    rig.says("first").await;
    rig.server.script(Answer::echo_stream());
    let channel = rig.supervisor.channel();
    let codec = ProstCodec::<String, String>::default;
    let broken = |wait| {
        futures::stream::iter(["a".to_owned()]).chain(futures::stream::once(async move {
            tokio::time::sleep(wait).await;
            panic!("{INJECTED} into a request")
        }))
    };
    let mut grpc = Grpc::new(channel.clone());
    let early = tokio::spawn(async move {
        grpc.streaming(Request::new(broken(ms(0))), path(), codec()).await.map(drop)
    });
    assert!(
        bounded("it ends", early).await.is_err_and(|ended| ended.is_panic()),
        "the caller's own panic"
    );
    eventually("no call is open", || rig.supervisor.snapshot().calls_open == 0).await;

    let mut grpc = Grpc::new(channel);
    let answer =
        grpc.streaming(Request::new(broken(secs(1))), path(), codec()).await.expect("it begins");
    let mut heard = answer.into_inner();
    assert_eq!(heard.message().await.expect("echoed"), Some("a".into()));
    let status =
        bounded("the caller hears", heard.message()).await.expect_err("the request panicked");
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains(INJECTED), "{status:?}");
    assert!(matches!(cause(&status), Cause::RequestBody(_)));
    drop(heard);

    // One that only fails after the head is told in its own words, too.
    let (speak, said) = tokio::sync::mpsc::unbounded_channel();
    speak.send("a".to_owned()).expect("open");
    let said = tokio_stream::wrappers::UnboundedReceiverStream::new(said);
    let mut grpc = Grpc::new(rig.supervisor.channel()).max_encoding_message_size(10);
    let mut heard =
        grpc.streaming(Request::new(said), path(), codec()).await.expect("it begins").into_inner();
    assert_eq!(heard.message().await.expect("echoed"), Some("a".into()));
    speak.send("far too long for this".to_owned()).expect("open");
    let status =
        bounded("the caller hears", heard.message()).await.expect_err("the request failed");
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    drop(heard);
    eventually("no stream is open", || rig.supervisor.snapshot().streams == 0).await;
    rig.server.script(Answer::echo());
    rig.says("last").await;
    assert_eq!((rig.server.connections(), rig.supervisor.snapshot().streams), (1, 0));
}
