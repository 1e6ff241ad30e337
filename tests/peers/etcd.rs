//! etcd, whose server is grpc-go: the interop cases that its own services can play, and a restart
//! under load.
//!
//! Not played, because etcd has no method for it: a stream of requests with one answer, and
//! metadata that comes back.

use super::{
    Foreign,
    load::Load,
    wire::{config, server_streaming, spawn, streaming, unary},
};
use futures::TryStreamExt as _;
use prost::Message;
use std::{net::TcpListener, path::Path, process::Command, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, metadata::MetadataValue};
use tonic_supervisor::{CallOptions, Supervisor};

const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const LOCK: &str = "/v3lockpb.Lock/Lock";
const UNLOCK: &str = "/v3lockpb.Lock/Unlock";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
pub(crate) const WATCH: &str = "/etcdserverpb.Watch/Watch";

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotResponse {
    #[prost(uint64, tag = "2")]
    remaining_bytes: u64,
    #[prost(bytes = "vec", tag = "3")]
    blob: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct LockRequest {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(int64, tag = "2")]
    lease: i64,
}

#[derive(Clone, PartialEq, Message)]
struct LockResponse {
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct UnlockRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct GrantRequest {
    #[prost(int64, tag = "1")]
    ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
struct KeepAliveRequest {
    #[prost(int64, tag = "1")]
    id: i64,
}

/// Of a grant and of a keep-alive.
#[derive(Clone, PartialEq, Message)]
struct Lease {
    #[prost(int64, tag = "2")]
    id: i64,
    #[prost(int64, tag = "3")]
    ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) create: Option<RangeRequestOfWatch>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RangeRequestOfWatch {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WatchResponse {
    #[prost(bool, tag = "3")]
    pub(crate) created: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<WatchEvent>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchEvent {
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
}

/// A single etcd that keeps its data in `folder`, and the port where it serves.
pub(crate) fn serve(folder: &Path, port: &str, options: &[&str]) -> Foreign {
    let (client, peer) =
        (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(folder).args(["--logger", "zap", "--log-outputs", "stdout"]);
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("default={peer}")]).args(options);
    Foreign::start(command, |line| line.contains("serving client traffic").then(String::new))
}

/// etcd takes no port 0. Free at this moment; nobody else gets it soon.
pub(crate) fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port().to_string()
}

/// etcd, its folder and a supervised channel to it.
struct Rig {
    _server: Foreign,
    _folder: tempfile::TempDir,
    supervisor: Supervisor,
}

impl Rig {
    fn new() -> Self {
        let (folder, port) = (tempfile::tempdir().expect("folder"), free_port());
        let server = serve(folder.path(), &port, &[]);
        Self { _server: server, _folder: folder, supervisor: spawn(config(&port)) }
    }
}

pub(crate) async fn put(supervisor: &Supervisor, key: &str, value: Vec<u8>) -> Result<(), Status> {
    let request = PutRequest { key: key.into(), value };
    unary::<_, ()>(supervisor, PUT, Request::new(request)).await.map(drop)
}

pub(crate) async fn get(supervisor: &Supervisor, key: &str) -> Result<Vec<u8>, Status> {
    let request = Request::new(RangeRequest { key: key.into() });
    let mut answer: RangeResponse = unary(supervisor, RANGE, request).await?.into_inner();
    Ok(answer.kvs.pop().map(|found| found.value).unwrap_or_default())
}

#[tokio::test]
async fn empty_and_large_calls_and_metadata_that_it_does_not_know() {
    let rig = Rig::new();
    let mut empty = Request::new(());
    empty.metadata_mut().insert(
        "x-grpc-test-echo-initial",
        MetadataValue::from_static("test_initial_metadata_value"),
    );
    empty
        .metadata_mut()
        .insert_bin("x-grpc-test-echo-trailing-bin", MetadataValue::from_bytes(&[0xab; 3]));
    let status: StatusResponse =
        unary(&rig.supervisor, STATUS, empty).await.expect("answered").into_inner();
    assert!(status.version.starts_with("3."), "{status:?}");
    for size in [271_828, 314_159] {
        let value: Vec<u8> = (0..size).map(|n| n as u8).collect();
        put(&rig.supervisor, "large", value.clone()).await.expect("put");
        assert!(
            get(&rig.supervisor, "large").await.expect("got") == value,
            "{size} bytes came back changed"
        );
    }
}

#[tokio::test]
async fn unimplemented_methods_and_services_and_a_status_message_with_percent_signs() {
    let rig = Rig::new();
    let words = [
        ("/etcdserverpb.KV/Juggle", "unknown method Juggle for service etcdserverpb.KV"),
        ("/etcdserverpb.KV/100%25", "unknown method 100%25 for service etcdserverpb.KV"),
        ("/circus.Tent/Juggle", "unknown service circus.Tent"),
    ];
    for (method, message) in words {
        let error = unary::<(), ()>(&rig.supervisor, method, Request::new(()))
            .await
            .expect_err("nobody serves it");
        assert_eq!((error.code(), error.message()), (Code::Unimplemented, message));
    }
    let error = put(&rig.supervisor, "", Vec::new()).await.expect_err("no key");
    assert_eq!(
        (error.code(), error.message()),
        (Code::InvalidArgument, "etcdserver: key is not provided")
    );
    assert_eq!((rig.supervisor.snapshot().retries, rig.supervisor.snapshot().links), (0, 1));
}

/// A lock that somebody holds is a call that blocks.
#[tokio::test]
async fn deadline_and_cancellation_before_and_during_a_call_end_it_on_the_server_too() {
    let rig = Rig::new();
    let supervisor = &rig.supervisor;
    let lock = || LockRequest { name: b"tent".into(), lease: 0 };
    let held: LockResponse =
        unary(supervisor, LOCK, Request::new(lock())).await.expect("free").into_inner();

    let mut waiting = Request::new(lock());
    waiting.extensions_mut().insert(CallOptions::new().timeout(Duration::from_millis(300)));
    let error = unary::<_, LockResponse>(supervisor, LOCK, waiting).await.expect_err("it is held");
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");

    let mut waiting = Box::pin(unary::<_, LockResponse>(supervisor, LOCK, Request::new(lock())));
    let ended = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(ended.is_err(), "it is held, and it answered: {ended:?}");
    drop(waiting);
    drop(unary::<_, LockResponse>(supervisor, LOCK, Request::new(lock())));

    // Nobody who gave up gets the lock: it is free for the next.
    let unlock = UnlockRequest { key: held.key };
    unary::<_, ()>(supervisor, UNLOCK, Request::new(unlock)).await.expect("unlocked");
    let mut next = Request::new(lock());
    next.extensions_mut().insert(CallOptions::new().timeout(Duration::from_secs(20)));
    unary::<_, LockResponse>(supervisor, LOCK, next).await.expect("it is free");
    assert_eq!(supervisor.snapshot().links, 1, "a cancelled call does not cost the link");
}

#[tokio::test]
async fn ping_pong_on_a_lease_and_a_watch() {
    let rig = Rig::new();
    let supervisor = &rig.supervisor;
    let grant = Request::new(GrantRequest { ttl: 60 });
    let lease: Lease = unary(supervisor, GRANT, grant).await.expect("granted").into_inner();
    let (say, requests) = mpsc::channel(1);
    say.send(KeepAliveRequest { id: lease.id }).await.expect("room");
    let requests = Request::new(ReceiverStream::new(requests));
    let mut pong =
        streaming::<_, Lease>(supervisor, KEEP_ALIVE, requests).await.expect("open").into_inner();
    for _ in 0..10 {
        let answer = pong.message().await.expect("well").expect("an answer to each");
        assert_eq!((answer.id, answer.ttl), (lease.id, 60));
        say.send(KeepAliveRequest { id: lease.id }).await.expect("the stream is open");
    }
    drop(say);
    while pong.message().await.expect("ends well").is_some() {}

    let (say, requests) = mpsc::channel(1);
    let create = Some(RangeRequestOfWatch { key: b"tent".into() });
    say.send(WatchRequest { create }).await.expect("room");
    let requests = Request::new(ReceiverStream::new(requests));
    let mut watch = streaming::<_, WatchResponse>(supervisor, WATCH, requests)
        .await
        .expect("open")
        .into_inner();
    assert!(watch.message().await.expect("well").expect("an answer").created);
    for n in 0..10_u8 {
        put(supervisor, "tent", vec![n]).await.expect("put");
        let told = watch.message().await.expect("well").expect("an event");
        let values: Vec<_> =
            told.events.iter().filter_map(|event| event.kv.as_ref()).map(|kv| &*kv.value).collect();
        assert_eq!(values, [[n]]);
    }
}

#[tokio::test]
async fn server_streaming_a_snapshot_of_a_few_megabytes() {
    let rig = Rig::new();
    for n in 0..3 {
        put(&rig.supervisor, &format!("large-{n}"), vec![n; 1 << 20]).await.expect("put");
    }
    let parts =
        server_streaming::<_, SnapshotResponse>(&rig.supervisor, SNAPSHOT, ()).await.expect("open");
    let parts: Vec<_> = parts.try_collect().await.expect("whole");
    let bytes: usize = parts.iter().map(|part| part.blob.len()).sum();
    assert!(bytes > 3 << 20 && parts.len() > 10, "{bytes} bytes in {} parts", parts.len());
    assert_eq!(parts.last().map(|part| part.remaining_bytes), Some(0));
}

#[tokio::test]
async fn an_etcd_that_restarts_three_times_under_load_costs_no_call() {
    let (folder, port) = (tempfile::tempdir().expect("folder"), free_port());
    let mut server = serve(folder.path(), &port, &[]);
    let supervisor = spawn(config(&port));
    let caller = supervisor.clone();
    let load = Load::start(8, move || {
        let supervisor = caller.clone();
        async move {
            put(&supervisor, "tent", b"red".to_vec()).await?;
            let value = get(&supervisor, "tent").await?;
            if value == b"red" { Ok(()) } else { Err(Status::data_loss(format!("{value:?}"))) }
        }
    });
    for _ in 0..3 {
        load.worked(100).await;
        server.terminate();
        server = serve(folder.path(), &port, &[]);
    }
    load.worked(100).await;
    let (ok, failed) = load.stop().await;
    assert_eq!(failed.len(), 0, "of {ok}: {:?}", failed.first());
    let seen = supervisor.snapshot();
    assert!(seen.links >= 4, "{seen:?}");
    println!(
        "3 restarts, {} calls, 0 failed, {} retries, {} resent",
        2 * ok,
        seen.retries,
        seen.transparent_retries
    );
}
