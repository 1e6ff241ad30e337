//! Each fault of the table, once directly and once over a bridge: the call ends with the same.

use crate::{
    faults::rows,
    support::{bounded, ms},
};
use http::uri::PathAndQuery;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    Config, MethodOptions, Supervisor,
    testing::{MemoryNetwork, Misbehaviour, RawLink, RawPeer},
};

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
    let (target, connector) = (peer.endpoint(), peer.connector());
    let struck = Arc::new(AtomicBool::new(false));
    let _peer = peer.play(move |link| serve(link, fault, struck.clone()));
    let mut config = Config::builder()
        .host(target.host())
        .port(target.port())
        .connect_timeout(ms(500))
        .initial_backoff(ms(20))
        .keepalive_floor(ms(500))
        .keepalive_time(ms(500))
        .keepalive_timeout(ms(500))
        .max_retry_attempts(1);
    let rule = MethodOptions::new().timeout(ms(5_000));
    config = match known {
        Known::Unary => config.method("table.Fault/*", rule.unary()),
        Known::Streaming => config.method("table.Fault/*", rule.streaming()),
        Known::Nothing => config.method("table.Fault/*", rule),
    };
    let config = config.build().expect("valid");
    let supervisor = Supervisor::builder(config).connector(connector).rng_seed(1).spawn();
    let mut request = Request::new("hello".to_owned());
    request.set_timeout(ms(5_000));
    let path = PathAndQuery::from_static(PATH);
    let codec = ProstCodec::<String, String>::default();
    let ended: Result<(), Status> = if bridged {
        let mut grpc = Grpc::new(supervisor.tonic_channel());
        grpc.ready().await.expect("the pipe is there");
        // tonic's own timer would race ours.
        let timeout = request.metadata_mut().remove("grpc-timeout").expect("set");
        request.metadata_mut().insert("x-timeout", timeout);
        all(grpc.server_streaming(request, path, codec).await).await
    } else {
        request.metadata_mut().remove("grpc-timeout");
        let mut grpc = Grpc::new(supervisor.channel());
        all(grpc.server_streaming(request, path, codec).await).await
    };
    match ended {
        Ok(()) => (Code::Ok, String::new()),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}

async fn all(
    answer: Result<tonic::Response<tonic::Streaming<String>>, Status>,
) -> Result<(), Status> {
    let mut messages = answer?.into_inner();
    while messages.message().await?.is_some() {}
    Ok(())
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
