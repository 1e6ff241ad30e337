//! All four kinds of calls cross the bridge, and are retried as their kind says.

use super::{
    Client, bridge,
    client::{Answer, framed, post},
    say,
};
use crate::support::{
    ADDRESS, LONG, Rig, SAY, codec, config, described, descriptors, ms, supervise, timed,
    with_tonic_server,
};
use futures::TryStreamExt as _;
use http::uri::PathAndQuery;
use tonic::{Code, Request, client::Grpc};
use tonic_supervisor::{
    Bridge, Config, MethodOptions, Supervisor,
    testing::{Answer as Scripted, MemoryNetwork, Script, ScriptedServer},
};

#[tokio::test]
async fn the_four_kinds_of_calls_cross_a_real_channel_of_tonic() {
    let (_server, supervisor) = with_tonic_server(Config::builder()).await;
    let channel = supervisor.tonic_channel();
    let mut grpc = Grpc::new(channel.clone());
    let texts = || futures::stream::iter(["a", "b", "c"].map(str::to_owned));
    for _ in 0..3 {
        assert_eq!(say(&channel, SAY).await.expect("answered").into_inner(), "hello");
        grpc.ready().await.expect("ready");
        let path = PathAndQuery::from_static("/test.Echo/Repeat");
        let request = Request::new("a b c".to_owned());
        let answer = grpc.server_streaming(request, path, codec()).await.expect("answered");
        let words: Vec<String> = answer.into_inner().try_collect().await.expect("whole");
        assert_eq!(words, ["a", "b", "c"]);
        grpc.ready().await.expect("ready");
        let path = PathAndQuery::from_static("/test.Echo/Join");
        let answer = grpc.client_streaming(Request::new(texts()), path, codec()).await;
        assert_eq!(answer.expect("answered").into_inner(), "a b c");
        grpc.ready().await.expect("ready");
        let path = PathAndQuery::from_static("/test.Echo/Chat");
        let answer = grpc.streaming(Request::new(texts()), path, codec()).await.expect("answered");
        let said: Vec<String> = answer.into_inner().try_collect().await.expect("whole");
        assert_eq!(said, ["a", "b", "c"]);
    }
    let unknown = say(&channel, "/test.Echo/Missing").await.expect_err("not there");
    assert_eq!((unknown.code(), unknown.message()), (Code::Unimplemented, "/test.Echo/Missing"));
}

#[tokio::test(start_paused = true)]
async fn a_call_of_an_undescribed_method_waits_out_an_outage_and_is_retried() {
    let rig = Rig::with_script(Script::fail_times(2, Code::Unavailable), config()).await;
    rig.server.kill().await;
    let channel = rig.supervisor.tonic_channel();
    let call = tokio::spawn(async move { say(&channel, SAY).await });
    tokio::time::sleep(ms(3_000)).await;
    assert!(!call.is_finished(), "it waits");
    rig.server.restart().await;
    assert_eq!(call.await.expect("no panic").expect("answered").into_inner(), "hello");
    assert_eq!(rig.previous_attempts(), [None, Some("1".into()), Some("2".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_after_its_head_is_still_a_unary_calls() {
    let rig = Rig::with_script(Script::fail_times(1, Code::Unavailable), config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let (response, mut body) = client.begin(post(SAY, &[])).await;
    tokio::time::sleep(ms(5)).await;
    let message = framed("hello");
    body.send_data(message.slice(..3), false).expect("sent");
    tokio::time::sleep(ms(2)).await;
    body.send_data(message.slice(3..), true).expect("sent");
    let answer = Answer::read(response).await.expect("an answer");
    assert_eq!((answer.code(), answer.messages.len()), (0, 1));
    assert_eq!(rig.previous_attempts(), [None, Some("1".into())]);
}

/// Whoever waits for an answer before it sends its message is held up for 10 ms, no longer.
#[tokio::test(start_paused = true)]
async fn a_request_that_stays_open_is_passed_on_after_ten_milliseconds() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().answer_at_headers(true).script(Scripted::echo_stream());
    let _server = server.on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(LONG).await.expect("Ready");
    let mut client = Client::of(&Bridge::new(supervisor.channel())).await;
    let (response, mut body) = client.begin(post(SAY, &[])).await;
    let (took, response) = timed(response).await;
    assert_eq!(response.expect("a head").status(), 200);
    assert!(took >= ms(10) && took <= ms(12), "{took:?}");
    body.send_data(framed("hello"), true).expect("sent");
}

/// A second message is seen to stream: from then on nothing is held up.
#[tokio::test(start_paused = true)]
async fn two_messages_in_one_request_show_that_a_method_streams() {
    let rig = Rig::with_script(Scripted::echo_stream(), config()).await.ready().await;
    let mut client = Client::of(&bridge(&rig)).await;
    for wait in [true, false] {
        let (response, mut body) = client.begin(post(SAY, &[])).await;
        body.send_data(framed("a"), false).expect("sent");
        body.send_data(framed("b"), false).expect("sent");
        let (took, head) = timed(response).await;
        assert!(head.is_ok() && took <= ms(1), "{took:?}, the first: {wait}");
        body.send_data(framed("c"), true).expect("sent");
    }
}

#[tokio::test(start_paused = true)]
async fn descriptors_and_methods_say_what_is_unary_and_then_whole_answers_are_retried() {
    let script = || {
        Script::sequence(vec![Scripted::headers_then_error(Code::Unavailable)], Scripted::echo())
    };
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().script(script()).on_memory(&network, ADDRESS).await;
    let mut config_of_method = config();
    for told in ["descriptors", "methods"] {
        server.script(script());
        let supervisor: Supervisor = match told {
            "descriptors" => described(&network, config(), &descriptors("test", false)),
            _ => {
                config_of_method =
                    config_of_method.method("test.Echo/*", MethodOptions::new().unary());
                supervise(&network, config_of_method.clone())
            }
        };
        let mut client = Client::of(&Bridge::new(supervisor.channel())).await;
        assert_eq!(client.call(SAY, &[]).await.code(), 0, "{told}");
    }
    // Of kind auto the answer had begun.
    server.script(script());
    let supervisor = supervise(&network, config());
    let mut client = Client::of(&Bridge::new(supervisor.channel())).await;
    assert_eq!(client.call(SAY, &[]).await.code(), Code::Unavailable as i32);
}
