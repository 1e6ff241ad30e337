//! Calls at the edges of what a client may do: large ones, ones whose sides end at different times,
//! ones that are not what they were said to be.

use crate::support::{
    Rig, SAY, TonicServer, codec, config, echo, path, report, request, say, timed,
};
use prost::Message;
use ractor::call;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Request, Status, client::Grpc};
use tonic_supervisor::{
    CallOptions, Config, SupervisedChannel, Supervisor, UnaryCall,
    testing::{Answer, Script},
};

const MIB: usize = 1 << 20;

async fn generated(channel: SupervisedChannel, request: Request<String>) -> Result<String, Status> {
    Grpc::new(channel).unary(request, path(), codec()).await.map(tonic::Response::into_inner)
}

/// A call whose request goes on until the sender is dropped.
fn endless(said: mpsc::UnboundedReceiver<String>) -> Request<UnboundedReceiverStream<String>> {
    Request::new(UnboundedReceiverStream::new(said))
}

// --- large calls ---

/// Over tonic's own server and its windows of 64 KiB, with what is kept for a retry (4 MiB) and
/// what is not passed on before its end (1 MiB) between the sizes.
#[tokio::test]
async fn large_messages_go_both_ways() {
    let server = TonicServer::start().await;
    let supervisor = Supervisor::spawn(
        Config::builder().port(server.port).build().expect("a valid configuration"),
    );
    for size in [64 << 10, MIB - 100, MIB, 4 * MIB - 100] {
        let text = "x".repeat(size);
        for request in [request(&text, CallOptions::new().unary()), Request::new(text.clone())] {
            assert!(
                generated(supervisor.channel(), request).await.expect("echoed") == text,
                "{size}"
            );
        }
        assert!(echo(&supervisor.channel(), &text).await.expect("echoed") == text, "{size}");
        let reply = call!(supervisor.mailbox(), UnaryCall::new, SAY, &text)
            .expect("an answer")
            .expect("echoed");
        assert!(reply.decode::<String>().expect("a string") == text, "{size}");
    }
    let status =
        generated(supervisor.channel(), request(&"x".repeat(5 * MIB), CallOptions::new().unary()))
            .await
            .expect_err("above the server's limit");
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
}

/// Scenario 14: a call above the client's own limit: no attempt, an error that names the sizes.
#[tokio::test(start_paused = true)]
async fn scenario_14_a_message_above_the_clients_own_limit_never_leaves() {
    let rig = Rig::new(config()).await;
    for request in [
        request(&"x".repeat(5 * MIB), CallOptions::new().unary()),
        Request::new("x".repeat(5 * MIB)),
    ] {
        let mut grpc = Grpc::new(rig.supervisor.channel()).max_encoding_message_size(4 * MIB);
        let (took, outcome) =
            timed(grpc.unary::<String, String, _>(request, path(), codec())).await;
        let status = outcome.expect_err("too large");
        assert_eq!((status.code(), took), (Code::OutOfRange, Duration::ZERO));
        assert!(
            status.message().contains("5242885") && status.message().contains("4194304"),
            "{}",
            status.message()
        );
    }
    assert_eq!((rig.server.arrivals().len(), rig.supervisor.snapshot().calls_open), (0, 0));
}

/// An answer above 4 MiB, as in tonic's decoder; it is no reason for another attempt.
#[tokio::test(start_paused = true)]
async fn an_answer_above_the_limit_is_out_of_range_after_one_attempt() {
    let rig = Rig::new(config()).await;
    rig.server.script(Answer::big(5 * MIB));
    let typed = echo(&rig.supervisor.channel(), "x").await;
    let message =
        call!(rig.supervisor.mailbox(), UnaryCall::new, SAY, &"x".to_owned()).expect("an answer");
    let by_generated =
        generated(rig.supervisor.channel(), request("x", CallOptions::new().unary())).await;
    for outcome in [typed.map(drop), message.map(drop), by_generated.map(drop)] {
        assert_eq!(outcome.expect_err("too large").code(), Code::OutOfRange);
    }
    assert_eq!((rig.server.handled(), rig.supervisor.snapshot().retries), (3, 0));
    assert_eq!(rig.supervisor.snapshot().calls_open, 0);
}

// --- sides that end at different times ---

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_a_stream_early_is_heard_while_the_request_goes_on() {
    for (early, code) in [
        (Answer::status(Code::Unavailable), Code::Unavailable),
        (Answer::message("").then_status(Code::Aborted), Code::Aborted),
    ] {
        let rig = Rig::new(config()).await;
        rig.server.script(early.early(true));
        let (speak, said) = mpsc::unbounded_channel();
        speak.send("a".to_owned()).expect("open");
        let mut grpc = Grpc::new(rig.supervisor.channel());
        let status =
            grpc.client_streaming(endless(said), path(), codec()).await.expect_err("ended early");
        assert_eq!((status.code(), rig.server.arrivals().len()), (code, 1));
        assert_eq!(rig.supervisor.snapshot().calls_open, 0);
        drop(speak);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_on_after_the_answers_head_and_ends_the_call_when_dropped() {
    let rig = Rig::new(config()).await;
    rig.server.script(Answer::echo_stream());
    let (speak, said) = mpsc::unbounded_channel();
    speak.send("0".to_owned()).expect("open");
    let mut grpc = Grpc::new(rig.supervisor.channel());
    let mut heard =
        grpc.streaming(endless(said), path(), codec()).await.expect("it begins").into_inner();
    for n in 0..1_000 {
        assert_eq!(heard.message().await.expect("echoed"), Some(n.to_string()));
        speak.send((n + 1).to_string()).expect("open");
        if n % 100 == 0 {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    }
    drop(heard);
    rig.server.given_up(1).await;
    speak.closed().await;
    assert_eq!((rig.supervisor.snapshot().calls_open, rig.server.connections()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_by_itself_ends_its_call_and_nothing_else() {
    let rig = Rig::new(config()).await;
    let mut grpc = Grpc::new(rig.supervisor.channel()).max_encoding_message_size(10);
    let (speak, said) = mpsc::unbounded_channel();
    speak.send("a".to_owned()).expect("open");
    let call =
        tokio::spawn(async move { grpc.client_streaming(endless(said), path(), codec()).await });
    rig.server.arrived(1).await;
    speak.send("far too long for this".to_owned()).expect("open");
    let status = call.await.expect("no panic").expect_err("the request failed");
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    rig.server.given_up(1).await;
    assert_eq!((rig.server.connections(), report(&status).retries), (1, 0));
}

// --- not what they were said to be ---

/// An interceptor may mark every call as unary. One that streams is passed through, whatever was
/// said of it.
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_said_to_be_unary_still_works_and_is_not_retried() {
    let unary = |mut request: Request<UnboundedReceiverStream<String>>| {
        request.extensions_mut().insert(CallOptions::new().unary());
        request
    };
    let rig = Rig::new(config()).await;
    rig.server.script(Answer::echo_stream());
    let (speak, said) = mpsc::unbounded_channel();
    speak.send("0".to_owned()).expect("open");
    let mut grpc = Grpc::new(rig.supervisor.channel());
    let begun = grpc.streaming(unary(endless(said)), path(), codec());
    let begun =
        tokio::time::timeout(Duration::from_secs(3_600), begun).await.expect("it does not hang");
    let mut heard = begun.expect("it begins").into_inner();
    for n in 0..10 {
        assert_eq!(heard.message().await.expect("echoed"), Some(n.to_string()));
        speak.send((n + 1).to_string()).expect("open");
    }
    drop(heard);

    rig.server.script(Script::always(Code::Unavailable));
    for messages in [0, 2] {
        let (speak, said) = mpsc::unbounded_channel();
        (0..messages).for_each(|n: u32| speak.send(n.to_string()).expect("open"));
        drop(speak);
        let before = rig.server.arrivals().len();
        let mut grpc = Grpc::new(rig.supervisor.channel());
        let status = grpc
            .client_streaming(unary(endless(said)), path(), codec())
            .await
            .expect_err("unavailable");
        assert_eq!(
            (status.code(), attempts_since(&rig, before)),
            (Code::Unavailable, 1),
            "{messages} messages"
        );
    }
}

/// It waits for its own first message no longer than it would for an answer: its deadline and a
/// shutdown are heard meanwhile.
#[tokio::test(start_paused = true)]
async fn a_unary_call_whose_message_never_comes_ends_at_its_deadline_or_with_a_shutdown() {
    let rig = Rig::new(config()).await;
    let silent = |options: CallOptions| {
        let mut request = Request::new(futures::stream::pending::<String>());
        request.extensions_mut().insert(options.unary());
        let mut grpc = Grpc::new(rig.supervisor.channel());
        async move {
            let call = grpc.streaming::<_, String, String, _>(request, path(), codec());
            call.await.map(drop)
        }
    };
    for (options, expected) in
        [(CallOptions::new().timeout(Duration::from_secs(7)), 7), (CallOptions::new(), 60)]
    {
        let (took, outcome) = timed(silent(options)).await;
        let status = outcome.expect_err("it never began");
        assert_eq!((status.code(), took.as_secs()), (Code::DeadlineExceeded, expected));
        assert!(report(&status).certainly_unprocessed());
    }
    // What the caller has waited is part of the call's time.
    let (speak, said) = mpsc::unbounded_channel();
    let mut late = endless(said);
    late.extensions_mut().insert(CallOptions::new().unary().timeout(Duration::from_secs(10)));
    rig.server.script(Script::hang());
    let mut grpc = Grpc::new(rig.supervisor.channel());
    let begun =
        timed(async { grpc.client_streaming::<_, String, String, _>(late, path(), codec()).await });
    let ((took, outcome), ()) = tokio::join!(begun, async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        speak.send("late".to_owned()).expect("open");
        drop(speak);
    });
    assert_eq!(
        (outcome.expect_err("no answer").code(), took.as_secs()),
        (Code::DeadlineExceeded, 10)
    );
    assert_eq!(rig.server.arrivals()[0].grpc_timeout.as_deref(), Some("6000m"));

    let call = silent(CallOptions::new());
    let (outcome, ()) = tokio::join!(timed(call), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        rig.supervisor.shutdown(Duration::from_secs(60)).await;
    });
    assert_eq!(
        (outcome.0.as_secs(), outcome.1.expect_err("shut down").code()),
        (3, Code::Cancelled)
    );
}

fn attempts_since(rig: &Rig, before: usize) -> usize {
    rig.server.arrivals().len() - before
}

/// gRPC A6: the header is ours to send. And the application's own user agent goes before ours, as
/// tonic has it.
#[tokio::test(start_paused = true)]
async fn a_forged_attempt_count_is_not_passed_on_and_a_user_agent_is() {
    let rig = Rig::new(config()).await;
    let mut request = request("x", CallOptions::new().unary());
    request.metadata_mut().insert("grpc-previous-rpc-attempts", "7".parse().expect("ascii"));
    request.metadata_mut().insert("user-agent", "agent_001/2.0".parse().expect("ascii"));
    generated(rig.supervisor.channel(), request).await.expect("echoed");
    assert_eq!(rig.previous_attempts(), [None]);
    let agent = rig.server.arrivals()[0].metadata["user-agent"].to_str().expect("ascii").to_owned();
    assert!(agent.starts_with("agent_001/2.0 tonic-supervisor/"), "{agent}");
    assert_eq!(rig.server.arrivals()[0].message, "x".to_owned().encode_to_vec());
}

/// The longest times there are mean for ever, and break nothing.
#[tokio::test(start_paused = true)]
async fn timeouts_and_a_grace_beyond_the_clocks_end_are_none() {
    let rig = Rig::new(config().timeout(None)).await;
    let channel = rig.supervisor.channel();
    let options = CallOptions::new().timeout(Duration::MAX).attempt_timeout(Duration::MAX);
    assert_eq!(say(&channel, "for ever", options).await.expect("OK"), "for ever");
    assert!(rig.server.arrivals()[0].grpc_timeout.is_none());
    rig.supervisor.shutdown(Duration::MAX).await;
}
