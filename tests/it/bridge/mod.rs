//! Calls over a bridge: through a real tonic `Channel`, and from clients whose frames the test
//! looks at itself.

mod cancellation;
mod client;
mod deadlines;
mod failures;
mod faults;
mod flow_control;
mod kinds;
mod lifetime;
mod limits;
mod metadata;
mod reflection;
mod requests;
mod tales;
mod unread;

use crate::support::{Rig, codec, request};
use client::Client;
use http::uri::PathAndQuery;
use tonic::{Response, Status, client::Grpc, transport::Channel};
use tonic_supervisor::{Bridge, CallOptions};

/// A bridge over the rig's channel.
pub(super) fn bridge(rig: &Rig) -> Bridge {
    Bridge::new(rig.channel())
}

/// A unary call of a generated client over tonic's own channel.
pub(super) async fn say(channel: &Channel, path: &'static str) -> Result<Response<String>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.expect("the pipe is there");
    let request = request("hello", CallOptions::new());
    grpc.unary(request, PathAndQuery::from_static(path), codec()).await
}
