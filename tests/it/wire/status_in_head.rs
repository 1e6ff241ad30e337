//! Where an answer's status stands: only a head with END_STREAM is its own trailers. In any other
//! head a `grpc-status` says nothing, and what the trailers say counts.

use crate::support::{ADDRESS, SAY, config, generated_stream, say, supervise};
use http::uri::PathAndQuery;
use tonic::{Code, Request, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, SupervisedChannel,
    testing::{Frame, MemoryNetwork, PlayingPeer, RawPeer},
};

/// An answer, frame by frame.
#[derive(Clone, Copy, Debug)]
struct Answer {
    in_head: Option<&'static str>,
    head_ends: bool,
    messages: usize,
    trailers: Option<&'static str>,
}

const STATUSES: [Option<&str>; 3] = [None, Some("0"), Some("10")];

fn answers() -> Vec<Answer> {
    let mut all = Vec::new();
    for in_head in STATUSES {
        all.push(Answer { in_head, head_ends: true, messages: 0, trailers: None });
        for messages in 0..=2 {
            all.extend(STATUSES.map(|trailers| Answer {
                in_head,
                head_ends: false,
                messages,
                trailers,
            }));
        }
    }
    all
}

impl Answer {
    /// What the call's status is, as gRPC has it: the last headers say it, and without one it is
    /// UNKNOWN.
    fn code(self) -> Code {
        match if self.head_ends { self.in_head } else { self.trailers } {
            None => Code::Unknown,
            Some("0") => Code::Ok,
            Some(_) => Code::Aborted,
        }
    }

    async fn peer(self, network: &MemoryNetwork) -> PlayingPeer {
        let peer = RawPeer::on_memory(network, ADDRESS).await;
        peer.play(move |mut link| async move {
            link.send_settings(&[]).await;
            while let Some((stream, _)) = link.next_whole_request().await {
                let mut head = vec![(":status", "200"), ("content-type", "application/grpc")];
                head.extend(self.in_head.map(|status| ("grpc-status", status)));
                link.send(Frame::headers(stream, &head, self.head_ends)).await;
                for _ in 0..self.messages {
                    link.message(stream, b"\n\x05hello").await;
                }
                match self.trailers {
                    _ if self.head_ends => {}
                    None => link.send(Frame::data(stream, "", true)).await,
                    Some(status) => link.trailers(stream, &[("grpc-status", status)]).await,
                }
            }
        })
    }
}

/// A server-streaming call: its messages, and the status they end with.
async fn stream(channel: &SupervisedChannel) -> (usize, Code) {
    let mut answer = match generated_stream(channel, CallOptions::new()).await {
        Ok(answer) => answer,
        Err(status) => return (0, status.code()),
    };
    let mut messages = 0;
    loop {
        match answer.message().await {
            Ok(Some(_)) => messages += 1,
            Ok(None) => return (messages, Code::Ok),
            Err(status) => return (messages, status.code()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_message_and_no_status_is_lost_wherever_a_status_stands() {
    for answer in answers() {
        let network = MemoryNetwork::new();
        let _peer = answer.peer(&network).await;
        let supervisor = supervise(&network, config().max_retry_attempts(0));
        let channel = supervisor.channel();
        assert_eq!(stream(&channel).await, (answer.messages, answer.code()), "{answer:?}");
        let whole = match answer.code() {
            Code::Ok if answer.messages != 1 => Code::Internal,
            code => code,
        };
        let unary = say(&channel, "hello", CallOptions::new()).await;
        assert_eq!(unary.map_or_else(|status| status.code(), |_| Code::Ok), whole, "{answer:?}");
        assert_eq!(supervisor.snapshot().links, 1, "{answer:?}");
    }
}

/// The head's metadata goes up, but the status that it must not have does not.
#[tokio::test(start_paused = true)]
async fn a_status_in_a_head_that_ends_nothing_does_not_reach_the_metadata() {
    let network = MemoryNetwork::new();
    let answer = Answer { in_head: Some("10"), head_ends: false, messages: 1, trailers: Some("0") };
    let _peer = answer.peer(&network).await;
    let supervisor = supervise(&network, config());
    let mut grpc = Grpc::new(supervisor.channel());
    let codec = ProstCodec::<String, String>::default();
    let call = grpc
        .server_streaming(Request::new("hello".to_owned()), PathAndQuery::from_static(SAY), codec)
        .await;
    let answer = call.expect("a head with a status that does not count");
    assert!(!answer.metadata().contains_key("grpc-status"), "{:?}", answer.metadata());
}
