//! Stories of calls that stream: those that failed, waited, were slow or were sent again have one
//! as unary calls have; of others nobody needs to hear.

use crate::support::{LONG, Rig, config, generated_stream, ms, path, request, secs, settle};
use futures::stream;
use prost::Message as _;
use std::{sync::Arc, time::Duration};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_supervisor::{
    CallKind, CallOptions, CallReport, KeepHistory, NotRetried, Story, StreamStory,
    testing::{Answer, Script},
};

/// An answer of two messages, which ends so.
fn two(code: Code) -> Answer {
    Answer::stream(["a", "b"].map(|text| text.to_owned().encode_to_vec()), code)
}

/// Reads a stream to its end.
async fn read(rig: &Rig, options: CallOptions) -> Result<usize, Status> {
    let mut stream = generated_stream(&rig.channel(), options).await?;
    let mut count = 0;
    while stream.message().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn streaming() -> CallOptions {
    CallOptions::new().kind(CallKind::Streaming)
}

fn stories(rig: &Rig) -> Vec<Arc<Story>> {
    rig.supervisor.observer().stories()
}

async fn rig(answer: Answer) -> Rig {
    Rig::with_script(answer, config()).await.ready().await
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_has_a_story_with_its_attempt_and_the_reason() {
    let _keeping = KeepHistory::begin();
    let rig = rig(two(Code::DataLoss).text("the disk is gone").every(ms(400))).await;
    assert_eq!(read(&rig, streaming()).await.expect_err("it breaks").code(), Code::DataLoss);
    let [story] = &stories(&rig)[..] else { panic!("one") };
    assert_eq!((story.code, story.words.as_deref()), (Code::DataLoss, Some("the disk is gone")));
    let [attempt] = &story.attempts[..] else { panic!("{story}") };
    assert_eq!(attempt.said.as_deref(), Some("the disk is gone"));
    assert_eq!((attempt.code(), attempt.elapsed), (Code::DataLoss, story.elapsed));
    assert_eq!((story.attempts_made, story.not_retried), (1, Some(NotRetried::Streaming)));
    assert_eq!(story.endpoint.0, 1);
    assert_eq!((story.head, story.on_wire), (Some(Duration::ZERO), story.elapsed));
}

/// What breaks the link under it is told in its story and in the report of its error alike.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_link_is_lost_tells_the_same_in_its_report() {
    let _keeping = KeepHistory::begin();
    let rig = rig(Answer::message("\n\u{1}a").then_cut()).await;
    let status = read(&rig, streaming()).await.expect_err("it breaks");
    let report = CallReport::of(&status).expect("a report");
    let [story] = &stories(&rig)[..] else { panic!("one") };
    assert_eq!((&story.attempts, story.not_retried), (&report.attempts, report.not_retried));
    assert_eq!((story.attempts.len(), story.maybe_processed), (1, true));
    assert_eq!(report.not_retried, Some(NotRetried::Streaming));
    assert_eq!(story.attempts[0].said, None, "the peer said nothing");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_passed_on_is_not_retried_and_the_story_says_so() {
    let _keeping = KeepHistory::begin();
    let rig = rig(two(Code::Unavailable)).await;
    read(&rig, CallOptions::new()).await.expect_err("it breaks");
    let [story] = &stories(&rig)[..] else { panic!("one") };
    assert_eq!(story.not_retried, Some(NotRetried::AnswerBegan), "nobody said that it streams");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waited_for_its_link_or_was_sent_again_has_a_story() {
    let _keeping = KeepHistory::begin();
    let rig = Rig::with_script(two(Code::Ok), config()).await.ready().await;
    rig.network.black_hole(true);
    rig.network.cut_all();
    settle().await;
    let channel = rig.channel();
    let waiting = tokio::spawn(async move { generated_stream(&channel, streaming()).await });
    tokio::time::sleep(secs(1)).await;
    rig.network.black_hole(false);
    rig.supervisor.reconnect_now();
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
    let mut stream = waiting.await.expect("no panic").expect("it begins");
    while stream.message().await.expect("whole").is_some() {}
    let [waited] = &stories(&rig)[..] else { panic!("one") };
    assert!(waited.code == Code::Ok && waited.waits.link >= secs(1), "{waited}");

    const REFUSED_STREAM: u32 = 7;
    rig.server.script(Script::sequence(vec![Answer::reset(REFUSED_STREAM)], two(Code::Ok)));
    assert_eq!(read(&rig, streaming()).await.expect("whole"), 2);
    let [_, resent] = &stories(&rig)[..] else { panic!("two") };
    assert_eq!((resent.transparent_retries, resent.attempts.len()), (1, 1));
    assert!(resent.attempts[0].transparent);
}

/// How long a stream lives says nothing of its server; how long its answer takes to begin does.
#[tokio::test(start_paused = true)]
async fn a_stream_is_slow_if_its_answer_began_late() {
    let _keeping = KeepHistory::begin();
    let rig = rig(two(Code::Ok).every(secs(60))).await;
    assert_eq!(read(&rig, streaming()).await.expect("whole"), 2);
    assert!(stories(&rig).is_empty(), "it lived for long, and began at once");
    rig.server.script(two(Code::Ok).after(ms(1_001)));
    assert_eq!(read(&rig, streaming()).await.expect("whole"), 2);
    let [slow] = &stories(&rig)[..] else { panic!("one") };
    assert_eq!((slow.code, slow.head), (Code::Ok, Some(ms(1_001))));
    let words = "OK after 1.0 s, answered after 1.0 s (wire 1.0 s)";
    assert!(slow.to_string().ends_with(words), "{slow}");
}

/// Letting go of a stream is how a reader ends it.
#[tokio::test(start_paused = true)]
async fn a_stream_that_its_reader_lets_go_of_has_not_failed() {
    let _keeping = KeepHistory::begin();
    let rig = rig(two(Code::Ok).every(secs(1)).then_hang()).await;
    let mut stream = generated_stream(&rig.channel(), streaming()).await.expect("it begins");
    stream.message().await.expect("a message");
    drop(stream);
    settle().await;
    assert!(stories(&rig).is_empty());
    rig.server.script(Answer::hang());
    let channel = rig.channel();
    let begun = tokio::time::timeout(secs(1), generated_stream(&channel, streaming()));
    assert!(begun.await.is_err(), "it never begins");
    settle().await;
    let [story] = &stories(&rig)[..] else { panic!("one") };
    assert_eq!(story.code, Code::Cancelled, "who waited in vain is told of");
}

/// Requests that stream, too: one message that fails, and both at once.
#[tokio::test(start_paused = true)]
async fn calls_of_every_streaming_kind_have_stories() {
    let _keeping = KeepHistory::begin();
    let rig = rig(Answer::status(Code::NotFound).text("no such topic")).await;
    let messages = || {
        let mut request = Request::new(stream::iter(["a".to_owned(), "b".to_owned()]));
        request.extensions_mut().insert(streaming());
        request
    };
    let mut grpc = Grpc::new(rig.channel());
    let codec = crate::support::codec;
    grpc.client_streaming(messages(), path(), codec()).await.expect_err("not found");
    grpc.streaming(messages(), path(), codec()).await.map(drop).expect_err("not found");
    grpc.server_streaming(request("a", streaming()), path(), codec())
        .await
        .map(drop)
        .expect_err("not found");
    let told = stories(&rig);
    assert_eq!(told.len(), 3);
    for story in told {
        assert_eq!((story.attempts.len(), story.code), (1, Code::NotFound));
        assert_eq!(story.not_retried, Some(NotRetried::Streaming));
    }
}

/// A stream's story is asked for as a unary call's, and comes when the stream has ended.
#[tokio::test(start_paused = true)]
async fn a_stream_tells_its_story_in_the_end_where_the_call_asks_for_it() {
    let rig = rig(two(Code::Ok).every(secs(1))).await;
    let mut grpc = Grpc::new(rig.channel());
    for code in [Code::Ok, Code::DataLoss] {
        rig.server.script(two(code).every(secs(1)));
        let asked = request("hello", streaming().story());
        let answer = grpc.server_streaming(asked, path(), crate::support::codec()).await;
        let answer = answer.map(tonic::Response::into_parts).expect("it begins");
        let (_, mut stream, extensions) = answer;
        let stream_story: &StreamStory = extensions.get().expect("it was asked for");
        stream.message().await.expect("a message");
        assert!(stream_story.get().is_none(), "it goes on");
        let _ = stream.message().await;
        let _ = stream.message().await;
        let story: &Story = stream_story.get().expect("it is over");
        assert_eq!((story.code, story.attempts_made), (code, 1));
        assert!(stories(&rig).is_empty(), "nobody looks");
    }
    let plain = request("hello", streaming());
    let answer = grpc.server_streaming(plain, path(), crate::support::codec()).await;
    assert!(answer.expect("it begins").extensions().get::<StreamStory>().is_none());
}

/// A shutdown ends it elsewhere, and it is told all the same.
#[tokio::test(start_paused = true)]
async fn a_stream_that_a_shutdown_ends_has_a_story_without_a_failed_attempt() {
    let _keeping = KeepHistory::begin();
    let rig = rig(two(Code::Ok).then_hang()).await;
    let mut grpc = Grpc::new(rig.channel());
    let asked = request("hello", streaming().story());
    let answer = grpc.server_streaming(asked, path(), crate::support::codec()).await;
    let (_, stream, extensions) = answer.map(tonic::Response::into_parts).expect("it begins");
    rig.supervisor.shutdown(Duration::ZERO).await;
    let story = extensions.get::<StreamStory>().and_then(StreamStory::get).expect("it is over");
    assert_eq!((story.code, story.attempts.len()), (Code::Cancelled, 0));
    assert_eq!((story.attempts_made, story.not_retried), (1, None));
    assert_eq!(stories(&rig).len(), 1);
    drop(stream);
}
