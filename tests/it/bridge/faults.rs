//! Each fault of the table, once directly and once over a bridge: the call ends with the same.

use super::client::{Client, framed, post};
use crate::{
    faults::rows,
    support::{bounded, ms},
};
use http_body::Body as _;
use http_body_util::Full;
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};
use tonic::{Code, Status, body::Body};
use tonic_supervisor::{
    Bridge, Config, MethodOptions, SupervisedChannel, Supervisor,
    testing::{MemoryNetwork, Misbehaviour, RawLink, RawPeer},
};
use tower::Service as _;

/// The client's deadline, for faults that nothing else ends.
const TIMEOUT: &str = "5S";
const PATH: &str = "/table.Fault/Strike";

/// As what the method is known, by `methods:`: the only way over a bridge.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    Unary,
    Nothing,
    Streaming,
}

/// Code and words of a call that meets the fault, and whether it was retried.
async fn outcome(fault: Misbehaviour, known: Known, bridged: bool) -> (Code, String) {
    let peer = RawPeer::on_memory(&MemoryNetwork::new(), "server:50051").await;
    let (target, connector) = (peer.dial_address(), peer.connector());
    let struck = Arc::new(AtomicBool::new(false));
    let _peer = match fault {
        Misbehaviour::Refuse => peer.refuse(),
        _ => peer.play(move |link| serve(link, fault, struck.clone())),
    };
    let mut config = Config::builder()
        .host(target.host())
        .port(target.port())
        .connect_timeout(ms(500))
        .initial_backoff(ms(20))
        .keepalive_floor(ms(500))
        .keepalive_time(ms(500))
        .keepalive_timeout(ms(500))
        .max_retry_attempts(1);
    let rule = MethodOptions::new();
    config = match known {
        Known::Unary => config.method("table.Fault/*", rule.unary()),
        Known::Streaming => config.method("table.Fault/*", rule.streaming()),
        Known::Nothing => config,
    };
    let config = config.build().expect("valid");
    let supervisor = Supervisor::builder(config).connector(connector).rng_seed(1).spawn();
    let outcome = if bridged {
        let mut client = Client::of(&Bridge::new(supervisor.channel())).await;
        let answer = client.call(PATH, &[("grpc-timeout", TIMEOUT)]).await;
        Status::from_header_map(answer.last()).expect("a status")
    } else {
        direct(supervisor.channel()).await
    };
    (outcome.code(), outcome.message().to_owned())
}

/// What a client of this process is handed, before it decodes any message.
async fn direct(mut channel: SupervisedChannel) -> Status {
    let mut request = post(PATH, &[("grpc-timeout", TIMEOUT)]);
    *request.uri_mut() = PATH.parse().expect("a path");
    let body = Body::new(Full::new(framed("hello")));
    let mut answer = match channel.call(request.map(|()| body)).await {
        Ok(answer) => answer.into_parts(),
        Err(status) => return status,
    };
    let mut last = answer.0.headers;
    loop {
        match poll_fn(|cx| Pin::new(&mut answer.1).poll_frame(cx)).await {
            None => return Status::from_header_map(&last).expect("a status"),
            Some(Err(status)) => return status,
            Some(Ok(frame)) => {
                if let Ok(trailers) = frame.into_trailers() {
                    last = trailers;
                }
            }
        }
    }
}

/// The first call meets the fault; what comes after it is answered.
async fn serve(link: RawLink, fault: Misbehaviour, struck: Arc<AtomicBool>) {
    let Some(mut link) = link.greet(fault).await else { return };
    while let Some((stream, body)) = link.next_whole_request().await {
        if fault.affects_greeting() || struck.swap(true, SeqCst) {
            link.answer(stream, body.get(5..).unwrap_or_default()).await;
            continue;
        }
        match link.misbehave(fault, stream).await {
            Some(whole) => link = whole,
            None => return,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_over_a_bridge_ends_as_it_does_without_one_whatever_the_fault() {
    let mut differ = Vec::new();
    for row in rows() {
        for fault in row.faults {
            for known in [Known::Unary, Known::Nothing, Known::Streaming] {
                let direct = bounded("a call ends", outcome(fault, known, false)).await;
                let bridged = bounded("a call ends", outcome(fault, known, true)).await;
                if direct != bridged {
                    differ.push(format!(
                        "{}, {fault:?}, {known:?}: {direct:?}, but {bridged:?}",
                        row.name
                    ));
                }
            }
        }
    }
    assert!(differ.is_empty(), "\n{}", differ.join("\n"));
}
