//! Metadata that HTTP/2 forbids or that the peer cannot take: the call ends alone, or goes on
//! without it.

use crate::support::{
    ADDRESS, SAY, cause, config, join, report, say, secs, supervise, with_tonic_server,
};
use http::uri::PathAndQuery;
use tonic::{
    Code, Request, Status,
    metadata::{AsciiMetadataKey, MetadataMap},
};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, Cause, CredentialsRequest, Phase, SupervisedChannel, Supervisor, UnaryCall,
    testing::{MemoryNetwork, ScriptedServer},
};

/// A method that the real server does not have.
pub(super) const MISSING: &str = "/test.Echo/Missing";

fn metadata(fields: &[(&'static str, &str)]) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for (name, value) in fields {
        metadata.append(AsciiMetadataKey::from_static(name), value.parse().expect("a value"));
    }
    metadata
}

pub(super) async fn with_metadata(
    channel: &SupervisedChannel,
    path: &str,
    metadata: MetadataMap,
) -> Result<String, Status> {
    let mut request = Request::new("x".to_owned());
    *request.metadata_mut() = metadata;
    channel.unary::<String, String>(path, request).await.map(tonic::Response::into_inner)
}

/// The same through a generated client, of kind `auto`.
async fn generated(
    channel: &SupervisedChannel,
    path: &'static str,
    metadata: MetadataMap,
) -> Result<String, Status> {
    let mut request = Request::new("x".to_owned());
    *request.metadata_mut() = metadata;
    let codec = ProstCodec::<String, String>::default();
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.unary(request, PathAndQuery::from_static(path), codec)
        .await
        .map(tonic::Response::into_inner)
}

const HOPS: &[(&str, &str)] = &[
    ("connection", "keep-alive, x-hop"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "close"),
    ("transfer-encoding", "chunked"),
    ("upgrade", "h2c"),
];

#[tokio::test]
async fn fields_of_the_connection_are_left_out_and_the_call_goes_on() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let channel = supervisor.channel();
    for (name, value) in HOPS {
        let odd = metadata(&[(name, value), ("te", "gzip"), ("x-hop", "1"), ("x-kept", "2")]);
        with_metadata(&channel, SAY, odd.clone())
            .await
            .unwrap_or_else(|status| panic!("{name}: {status}"));
        generated(&channel, SAY, odd.clone())
            .await
            .unwrap_or_else(|status| panic!("{name}: {status}"));
        let (reply, answer) = tokio::sync::oneshot::channel();
        let call = UnaryCall::new(SAY, &"x".to_owned(), reply.into()).with_metadata(odd);
        supervisor.mailbox().send_message(call).expect("a mailbox takes every message");
        answer.await.expect("an answer").unwrap_or_else(|status| panic!("{name}: {status}"));
    }
    for arrival in server.arrivals() {
        assert!(
            HOPS.iter().all(|(name, _)| !arrival.metadata.contains_key(*name)),
            "{:?}",
            arrival.metadata
        );
        assert_eq!(arrival.metadata["x-kept"], "2");
        assert_eq!(arrival.metadata["te"], "trailers");
    }
    assert_eq!((server.arrivals().len(), server.connections()), (3 * HOPS.len(), 1));
    assert_eq!(supervisor.snapshot().transparent_retries, 0);
}

#[tokio::test]
async fn fields_of_the_connection_are_left_out_of_what_credentials_give() {
    async fn odd(_: CredentialsRequest) -> Result<MetadataMap, Status> {
        Ok([metadata(HOPS), metadata(&[("authorization", "Bearer x")])].into_iter().fold(
            MetadataMap::new(),
            |mut all, more| {
                all.as_mut().extend(more.into_headers());
                all
            },
        ))
    }
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let builder =
        Supervisor::builder(config().build().expect("valid")).connector(network.connector());
    let supervisor = builder.call_credentials(odd).allow_plaintext(true).spawn();
    say(&supervisor.channel(), "x", CallOptions::new()).await.expect("answered");
    let arrival = &server.arrivals()[0];
    assert!(
        arrival.metadata.contains_key("authorization")
            && !arrival.metadata.contains_key("connection")
    );
}

/// More metadata than a map of headers holds would be a panic of whoever adds one more field.
#[tokio::test(start_paused = true)]
async fn a_call_with_too_many_fields_of_metadata_ends_alone_and_unsent() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let names: Vec<AsciiMetadataKey> = (0..24_500)
        .map(|n| AsciiMetadataKey::from_bytes(format!("x-{n}").as_bytes()).expect("a name"))
        .collect();
    let mut many = MetadataMap::new();
    names.into_iter().for_each(|name| drop(many.insert(name, "1".parse().expect("a value"))));
    let status = with_metadata(&supervisor.channel(), SAY, many).await.expect_err("refused");
    assert!(matches!(cause(&status), Cause::BadRequest(_)), "{status:?}");
    assert_eq!((status.code(), report(&status).attempts_made), (Code::Internal, 0));
    assert!(status.message().contains("24500 fields"), "{}", status.message());
    say(&supervisor.channel(), "x", CallOptions::new()).await.expect("the next is answered");
    assert_eq!((server.arrivals().len(), server.connections()), (1, 1));
}

/// tonic's server announces that it takes 16 KiB, and ends the connection of whoever sends more.
#[tokio::test]
async fn a_head_above_the_peers_limit_ends_unsent_and_costs_no_other_call() {
    let (_server, supervisor) = with_tonic_server(config()).await;
    let channel = supervisor.channel();
    supervisor.wait_ready(secs(10)).await.expect("Ready");
    let others: Vec<_> = (0..4)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    with_metadata(&channel, "/test.Echo/Say", MetadataMap::new())
                        .await
                        .expect("answered");
                }
            })
        })
        .collect();
    for size in [20_000, 100_000, 300_000] {
        let large = metadata(&[("x-large", &"y".repeat(size))]);
        let status =
            with_metadata(&channel, "/test.Echo/Say", large.clone()).await.expect_err("too large");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(
            (report(&status).outcome.phase, report(&status).retries),
            (Phase::Unsent, 0),
            "{status:?}"
        );
        assert!(
            status.message().contains("MAX_HEADER_LIST_SIZE") && status.message().contains("16384")
        );
        let status = generated(&channel, "/test.Echo/Say", large).await.expect_err("too large");
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
    join(others).await;
    assert_eq!(supervisor.snapshot().links, 1);
    let fits = metadata(&[("x-large", &"y".repeat(15_000))]);
    with_metadata(&channel, "/test.Echo/Say", fits).await.expect("below the limit");
}
