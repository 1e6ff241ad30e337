//! Asks for the server's health and that of its services (`grpc.health.v1`).

use prost::Message;
use std::time::Duration;
use tonic::{Request, metadata::MetadataMap};
use tonic_supervisor::{CallOptions, SupervisedChannel};

/// How many services are asked for: each is a call.
const SERVICES: usize = 32;

#[derive(Clone, PartialEq, Message)]
struct Check {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Checked {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// What the server says of each of `services`, in their order: none where it does not say. The
/// server as a whole has the name of nothing.
pub(super) async fn of(
    channel: &SupervisedChannel,
    metadata: &MetadataMap,
    timeout: Duration,
    services: &[String],
) -> Vec<Option<&'static str>> {
    let mut all = vec![None; services.len()];
    for (service, known) in services.iter().zip(&mut all).take(SERVICES) {
        let mut request = Request::new(Check { service: service.clone() });
        *request.metadata_mut() = metadata.clone();
        let options = CallOptions::new().timeout(timeout).retry(false);
        request.extensions_mut().insert(options);
        let path = "/grpc.health.v1.Health/Check";
        match channel.unary::<_, Checked>(path, request).await {
            Ok(answer) => {
                *known = Some(match answer.get_ref().status {
                    1 => "SERVING",
                    2 => "NOT_SERVING",
                    3 => "SERVICE_UNKNOWN",
                    _ => "UNKNOWN",
                });
            }
            // It does not know this one; others it may know.
            Err(status) if status.code() == tonic::Code::NotFound => {}
            Err(_) => break,
        }
    }
    all
}
