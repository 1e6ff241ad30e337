//! A method that somebody said to be unary, and that streams: its answer is passed on, and the
//! method is streaming from then on. Descriptors are no such word: they know.

use crate::support::{
    ADDRESS, HELLO, LogLines, codec, config, described, descriptors, generated_stream,
    generated_unary, ms, path, report, request, secs, supervise, timed,
};
use bytes::Bytes;
use prost::Message as _;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Request, client::Grpc};
use tonic_supervisor::{
    CallOptions, ConfigBuilder, MethodOptions, Supervisor,
    testing::{Answer, MemoryNetwork, PlayingPeer, RawPeer, Script, ScriptedServer},
};

/// What a peer does to answer.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Wait(Duration),
    Say(Bytes),
    End(&'static str),
}

pub(crate) fn hello() -> Act {
    Act::Say(Bytes::from_static(HELLO))
}

/// Answers every call so; how many came. An answer without an end stays open.
pub(crate) async fn peer(
    network: &MemoryNetwork,
    acts: Vec<Act>,
) -> (PlayingPeer, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let came = calls.clone();
    let peer = RawPeer::on_memory(network, ADDRESS).await.play(move |mut link| {
        let (acts, came) = (acts.clone(), came.clone());
        async move {
            link.send_settings(&[]).await;
            while let Some((stream, _)) = link.next_whole_request().await {
                came.fetch_add(1, Relaxed);
                link.answer_head(stream).await;
                for act in &acts {
                    match act {
                        // PINGs are answered meanwhile.
                        Act::Wait(wait) => {
                            drop(tokio::time::timeout(*wait, link.skip_to(|_| false)).await)
                        }
                        Act::Say(message) => link.message(stream, message).await,
                        Act::End(status) => link.trailers(stream, &[("grpc-status", status)]).await,
                    }
                }
            }
        }
    });
    (peer, calls)
}

fn configured() -> ConfigBuilder {
    config().method("test.Echo/Say", MethodOptions::new().unary())
}

const WARNING: &str = "is said to be unary, but its answer goes on";

/// The first call waits 1 s, to see whether the answer ends; the next ones do not.
#[tokio::test(start_paused = true)]
async fn an_answer_open_1_s_after_its_message_is_passed_on_and_the_next_one_at_once() {
    for (config, options) in
        [(configured(), CallOptions::new()), (config(), CallOptions::new().unary())]
    {
        let network = MemoryNetwork::new();
        let (_peer, calls) =
            peer(&network, vec![hello(), Act::Wait(secs(100)), hello(), Act::End("0")]).await;
        let supervisor = supervise(&network, config);
        let channel = supervisor.channel();
        supervisor.wait_ready(secs(10)).await.expect("Ready");
        let log = LogLines::listen();
        for (call, seconds) in [(1, 1), (2, 0), (3, 0)] {
            let (took, answer) = timed(generated_stream(&channel, options)).await;
            let mut answer = answer.expect("it begins");
            assert_eq!(took.as_secs(), seconds, "call {call}");
            let (took, first) = timed(answer.message()).await;
            assert_eq!(
                (took.as_millis(), first.expect("passed on").as_deref()),
                (0, Some("hello")),
                "call {call}"
            );
            // Past the configured timeout of 60 s.
            let (took, second) = timed(answer.message()).await;
            assert_eq!(took.as_secs(), 100 - seconds, "call {call}");
            assert_eq!(
                second.expect("its timeout is lifted").as_deref(),
                Some("hello"),
                "call {call}"
            );
            assert_eq!(answer.message().await.expect("OK"), None, "call {call}");
        }
        assert_eq!(log.saying(WARNING).len(), 1, "it is said once");
        assert_eq!((calls.load(Relaxed), supervisor.snapshot().calls_open), (3, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_message_is_passed_on_at_once() {
    let network = MemoryNetwork::new();
    let wait = Act::Wait(ms(300));
    let (_peer, _) =
        peer(&network, vec![hello(), wait, hello(), Act::Wait(secs(100)), Act::End("0")]).await;
    let supervisor = supervise(&network, configured());
    supervisor.wait_ready(secs(10)).await.expect("Ready");
    for expected in [300, 0] {
        let (took, answer) =
            timed(generated_stream(&supervisor.channel(), CallOptions::new())).await;
        assert_eq!(took.as_millis(), expected);
        let mut answer = answer.expect("it begins");
        for _ in 0..2 {
            assert_eq!(answer.message().await.expect("passed on").as_deref(), Some("hello"));
        }
        assert_eq!(answer.message().await.expect("its timeout is lifted"), None);
    }
}

/// Only what is configured for unary calls is lifted.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_the_call_states_stays() {
    let by_header = {
        let mut request = request("hello", CallOptions::new().unary());
        request.set_timeout(secs(7));
        request
    };
    for request in [request("hello", CallOptions::new().unary().timeout(secs(7))), by_header] {
        let network = MemoryNetwork::new();
        let (_peer, _) = peer(&network, vec![hello()]).await;
        let supervisor = supervise(&network, config());
        supervisor.wait_ready(secs(10)).await.expect("Ready");
        let (took, status) = timed(async {
            let answer =
                Grpc::new(supervisor.channel()).server_streaming(request, path(), codec()).await;
            let mut answer = answer.expect("it begins").into_inner();
            assert_eq!(answer.message().await.expect("passed on").as_deref(), Some("hello"));
            answer.message().await.expect_err("its time is over")
        })
        .await;
        assert_eq!((took.as_secs(), status.code()), (7, Code::DeadlineExceeded));
        assert!(report(&status).maybe_processed);
    }
}

/// A limit of one attempt below 1 s ends no answer that has its first message.
#[tokio::test(start_paused = true)]
async fn a_short_attempt_timeout_does_not_hide_a_stream() {
    let network = MemoryNetwork::new();
    let (_peer, calls) = peer(&network, vec![hello(), Act::Wait(secs(100)), Act::End("0")]).await;
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(secs(10)).await.expect("Ready");
    let (took, answer) = timed(generated_stream(
        &supervisor.channel(),
        CallOptions::new().unary().attempt_timeout(ms(400)),
    ))
    .await;
    assert_eq!((took.as_millis(), calls.load(Relaxed)), (400, 1));
    let mut answer = answer.expect("it begins");
    assert_eq!(answer.message().await.expect("passed on").as_deref(), Some("hello"));
    assert_eq!(answer.message().await.expect("OK"), None);
}

/// A large first message is passed on as it comes; the stream behind it is found out later.
#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_with_a_large_message_loses_its_timeout_too() {
    let large = "x".repeat(2 << 20).encode_to_vec();
    for second in [30, 100] {
        let network = MemoryNetwork::new();
        let acts = vec![
            Act::Say(large.clone().into()),
            Act::Wait(secs(second)),
            hello(),
            Act::Wait(secs(100)),
            Act::End("0"),
        ];
        let (_peer, _) = peer(&network, acts).await;
        let supervisor = supervise(&network, configured());
        let log = LogLines::listen();
        let mut answer =
            generated_stream(&supervisor.channel(), CallOptions::new()).await.expect("it begins");
        for _ in 0..2 {
            assert!(answer.message().await.expect("passed on").is_some());
        }
        assert_eq!(answer.message().await.expect("its timeout is lifted"), None);
        assert_eq!(log.saying(WARNING).len(), 1);
    }
}

/// A server may take its time between its message and its status.
#[tokio::test(start_paused = true)]
async fn a_unary_answer_whose_status_is_late_keeps_its_status() {
    for (status, code) in [("0", Code::Ok), ("10", Code::Aborted)] {
        let network = MemoryNetwork::new();
        let (_peer, _) = peer(&network, vec![hello(), Act::Wait(secs(3)), Act::End(status)]).await;
        let supervisor = supervise(&network, config().max_retry_attempts(0));
        for _ in 0..2 {
            let (took, answer) =
                timed(generated_unary(&supervisor.channel(), CallOptions::new().unary())).await;
            assert_eq!(took.as_secs(), 3);
            assert_eq!(answer.map_or_else(|status| status.code(), |_| Code::Ok), code);
        }
        assert_eq!(supervisor.snapshot().calls_open, 0);
    }
}

/// Quick answers are held to their end and retried, as ever.
#[tokio::test(start_paused = true)]
async fn an_answer_that_ends_within_1_s_is_retried() {
    let network = MemoryNetwork::new();
    let (_peer, calls) = peer(&network, vec![hello(), Act::Wait(ms(900)), Act::End("14")]).await;
    let supervisor = supervise(&network, configured());
    let status =
        generated_unary(&supervisor.channel(), CallOptions::new()).await.expect_err("unavailable");
    assert_eq!((status.code(), calls.load(Relaxed)), (Code::Unavailable, 4));
}

/// Descriptors are no guess: the answer is read to its end, and nothing is learned from it. Of two
/// sets that name the method the later one holds.
#[tokio::test(start_paused = true)]
async fn descriptors_win_over_what_an_answer_shows() {
    let (unary, streams) = (descriptors("test", false), descriptors("test", true));
    let other = descriptors("other", false);
    let cases = [
        (vec![], [1, 0]),
        (vec![&other], [1, 0]),
        (vec![&unary], [3, 3]),
        (vec![&unary, &streams], [0, 0]),
    ];
    for (sets, times) in cases {
        let network = MemoryNetwork::new();
        let (_peer, _) = peer(&network, vec![hello(), Act::Wait(secs(3)), Act::End("0")]).await;
        let config = config().build().expect("valid");
        let builder = Supervisor::builder(config).connector(network.connector()).rng_seed(1);
        let builder = sets.iter().try_fold(builder, |builder, set| builder.descriptor_set(set));
        let supervisor = builder.expect("descriptors").spawn();
        supervisor.wait_ready(secs(10)).await.expect("Ready");
        for expected in times {
            let (took, answer) =
                timed(generated_stream(&supervisor.channel(), CallOptions::new().unary())).await;
            let mut answer = answer.expect("it begins");
            while answer.message().await.expect("OK").is_some() {}
            assert_eq!(took.as_secs(), expected, "{} sets", sets.len());
        }
    }
}

/// The request's end comes a moment after its message: where descriptors say unary, it is waited
/// for, and the call is retried; where only somebody says so, the request goes on.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_request_is_waited_for_where_descriptors_say_unary() {
    for (known, attempts) in [(true, 4), (false, 1)] {
        let network = MemoryNetwork::new();
        let server = ScriptedServer::on_memory(&network, ADDRESS).await;
        server.script(Script::always(Code::Unavailable));
        let package = if known { "test" } else { "other" };
        let supervisor = described(&network, config(), &descriptors(package, false));
        let channel = supervisor.channel();
        let (speak, spoken) = mpsc::unbounded_channel();
        let mut request = Request::new(UnboundedReceiverStream::new(spoken));
        request.extensions_mut().insert(CallOptions::new().unary());
        speak.send("hello".to_owned()).expect("open");
        tokio::spawn(async move {
            tokio::time::sleep(ms(50)).await;
            drop(speak);
        });
        let status = Grpc::new(channel)
            .client_streaming(request, path(), codec())
            .await
            .expect_err("unavailable");
        assert_eq!(
            (status.code(), server.arrivals().len()),
            (Code::Unavailable, attempts),
            "described: {known}"
        );
    }
}

/// Wrong descriptors: a request that goes on is passed through, and has its deadline otherwise.
#[tokio::test(start_paused = true)]
async fn a_described_unary_request_that_goes_on_is_passed_through() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Answer::echo_stream());
    let supervisor = described(&network, config(), &descriptors("test", false));
    let channel = supervisor.channel();
    let (speak, spoken) = mpsc::unbounded_channel();
    speak.send("0".to_owned()).expect("open");
    let says_more = tokio::spawn(async move {
        tokio::time::sleep(ms(50)).await;
        speak.send("1".to_owned()).expect("open");
        speak
    });
    let request = Request::new(UnboundedReceiverStream::new(spoken));
    let answer = Grpc::new(channel.clone()).streaming(request, path(), codec()).await;
    let mut answer = answer.expect("it begins").into_inner();
    for n in 0..2 {
        assert_eq!(answer.message().await.expect("echoed"), Some(n.to_string()));
    }
    drop((answer, says_more));

    let (speak, spoken) = mpsc::unbounded_channel();
    speak.send("0".to_owned()).expect("open");
    let request = Request::new(UnboundedReceiverStream::new(spoken));
    let (took, status) = timed(Grpc::new(channel).client_streaming(request, path(), codec())).await;
    let status = status.expect_err("it never ends");
    assert_eq!((took.as_secs(), status.code()), (60, Code::DeadlineExceeded));
    assert!(report(&status).certainly_unprocessed());
}
