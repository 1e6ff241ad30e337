//! What is sent again and what never is: idempotency, and how much of a call was processed.

use crate::support::{ADDRESS, Rig, SAY, SECOND, config, echo, report, say, supervise, timed};
use bytes::{Buf, BufMut, Bytes};
use futures::future::join_all;
use http::uri::PathAndQuery;
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::sleep;
use tonic::{Code, Request, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions,
    testing::{Answer, Arrival, MemoryNetwork, Script, ScriptedServer},
};

fn once() -> CallOptions {
    CallOptions::new().idempotent(false)
}

// --- 5: retry cannot be added ---

/// Bytes that know how often they were encoded.
#[derive(Debug, Default)]
struct Counted {
    bytes: Vec<u8>,
    encoded: Arc<AtomicUsize>,
}

impl Message for Counted {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.encoded.fetch_add(1, Relaxed);
        self.bytes.encode_raw(buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        self.bytes.merge_field(tag, wire_type, buf, context)
    }

    fn encoded_len(&self) -> usize {
        self.bytes.encoded_len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// Scenario 5: unary call of 1 MiB failing twice: encode count 1, payload bytes identical on 3
/// attempts, metadata on each, previous-attempts header absent, 1, 2.
#[tokio::test(start_paused = true)]
async fn scenario_05_a_call_of_1_mib_is_encoded_once_and_sent_three_times_alike() {
    for generated in [false, true] {
        let rig = Rig::new(config()).await;
        let twice = vec![Answer::status(Code::Unavailable); 2];
        rig.server.script(Script::sequence(twice, Answer::message(Bytes::new())));
        let encoded = Arc::default();
        let bytes: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[n as usize % 3]).collect();
        let mut request =
            Request::new(Counted { bytes: bytes.clone(), encoded: Arc::clone(&encoded) });
        request.metadata_mut().insert("x-tenant", "blue".parse().expect("ascii"));
        let channel = rig.supervisor.channel();
        if generated {
            request.extensions_mut().insert(CallOptions::new().unary());
            let codec = ProstCodec::<Counted, String>::default();
            let mut client = Grpc::new(channel);
            client
                .unary(request, PathAndQuery::from_static(SAY), codec)
                .await
                .expect("the third attempt");
        } else {
            channel.unary::<_, String>(SAY, request).await.expect("the third attempt");
        }
        assert_eq!(encoded.load(Relaxed), 1, "generated client: {generated}");
        let header = |n: &str| Some(n.to_owned());
        assert_eq!(rig.previous_attempts(), [None, header("1"), header("2")]);
        for arrival in rig.server.arrivals() {
            assert!(arrival.message == bytes.encode_to_vec(), "the payload differs");
            assert_eq!(arrival.metadata["x-tenant"], "blue");
        }
    }
}

// --- 7: writes executed twice ---

/// Scenario 7: the server executes, then cuts the connection before it replies.
#[tokio::test(start_paused = true)]
async fn scenario_07_calls_that_must_not_repeat_run_once_and_their_errors_say_maybe() {
    let rig = Rig::new(config()).await;
    rig.server.script(Answer::cut_after_processing());
    let channel = rig.supervisor.channel();
    for _ in 0..200 {
        let status = say(&channel, "pay", once()).await.expect_err("the reply is cut off");
        let report = report(&status);
        assert_eq!(
            (status.code(), report.attempts_made, report.retries),
            (Code::Unavailable, 1, 0)
        );
        assert!(report.maybe_processed && !report.certainly_unprocessed(), "{report}");
    }
    assert_eq!((rig.server.handled(), rig.supervisor.snapshot().retries), (200, 0));
}

/// The same with many calls at once on each link that is cut: whatever was on it is not sent again.
#[tokio::test(start_paused = true)]
async fn scenario_07_many_callers_on_one_link_execute_no_call_twice_either() {
    let rig = Rig::new(config()).await;
    rig.server.script(Answer::cut_after_processing());
    let channel = rig.supervisor.channel();
    let calls = (0..200).map(|n| {
        let channel = channel.clone();
        async move { say(&channel, &format!("pay {n}"), once()).await }
    });
    for outcome in join_all(calls).await {
        let status = outcome.expect_err("the reply is cut off");
        assert!(report(&status).maybe_processed, "{status:?}");
    }
    let mut executed: Vec<_> =
        rig.server.arrivals().into_iter().map(|arrival| arrival.message).collect();
    let all = executed.len();
    executed.sort_unstable();
    executed.dedup();
    assert_eq!(executed.len(), all, "none arrived twice");
}

/// Scenario 7: idempotent calls are repeated until they are answered.
#[tokio::test(start_paused = true)]
async fn scenario_07_idempotent_calls_are_repeated_when_the_reply_is_cut_off() {
    let rig = Rig::new(config()).await;
    rig.server.script(|call: &Arrival| match call.previous_attempts {
        None => Answer::cut_after_processing(),
        Some(_) => Answer::echo(),
    });
    let channel = rig.supervisor.channel();
    for n in 0..200 {
        let text = format!("pay {n}");
        assert_eq!(echo(&channel, &text).await.expect("repeated"), text);
    }
    assert_eq!(rig.server.handled(), 400);
}

/// Scenario 7: what was never sent is always repeated.
#[tokio::test(start_paused = true)]
async fn scenario_07_a_call_that_must_run_once_is_repeated_while_the_port_is_refused() {
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config());
    let channel = supervisor.channel();
    let call = tokio::spawn(async move { timed(say(&channel, "pay", once())).await });
    sleep(5 * SECOND).await;
    assert!(network.dials().len() > 3 && !call.is_finished());
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let (took, outcome) = call.await.expect("no panic");
    assert_eq!(outcome.expect("sent when the port was open"), "pay");
    assert!(took < Duration::from_millis(6_300), "{took:?}");
    assert_eq!((server.handled(), supervisor.snapshot().retries), (1, 0));
}
