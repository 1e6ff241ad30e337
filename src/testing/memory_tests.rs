//! Dials and faults of a network in memory.

use super::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

fn request(host: &str) -> ConnectRequest {
    ConnectRequest::new(Address::new(host, 1))
}

#[tokio::test(start_paused = true)]
async fn a_dial_is_refused_at_once_until_somebody_listens_and_again_when_he_has_gone() {
    let network = MemoryNetwork::new();
    let failure = network.connect(&request("a")).await.err().unwrap();
    assert_eq!(failure.step, DialStep::Connect);
    assert_eq!(failure.reason, "cannot connect to a:1: connection refused");
    tokio::time::advance(Duration::from_secs(2)).await;
    let listener = network.listen("a:1");
    let mut client = network.connect(&request("a")).await.unwrap();
    drop(listener);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "it was never accepted");
    assert!(network.connect(&request("a")).await.is_err());
    assert_eq!(network.dials(), [0, 2, 2].map(Duration::from_secs));
    let _second = network.listen("a:1");
    assert!(network.connect(&request("a")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_swallows_dials_and_counts_them() {
    let network = MemoryNetwork::new();
    let _listener = network.listen("a:1");
    network.black_hole(true);
    assert!(timeout(Duration::from_secs(9999), network.connect(&request("a"))).await.is_err());
    network.black_hole(false);
    assert!(network.connect(&request("a")).await.is_ok());
    assert_eq!(network.dials().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_dial_takes_exactly_its_time() {
    let network = MemoryNetwork::new();
    let _listener = network.listen("a:1");
    network.dial_takes(Duration::from_millis(70));
    let began = Instant::now();
    network.connect(&request("a")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(70));
}

#[tokio::test(start_paused = true)]
async fn faults_through_a_restricted_handle_touch_one_address_only() {
    let network = MemoryNetwork::new();
    let (mut a, mut b) = (network.listen("a:1"), network.listen("b:1"));
    let mut to_a = network.connect(&request("a")).await.unwrap();
    let mut to_b = network.connect(&request("b")).await.unwrap();
    let (_from_a, mut from_b) = (a.accept().await, b.accept().await);
    network.only("a:1").cut_all();
    assert_eq!(to_a.read(&mut [0]).await.unwrap(), 0);
    from_b.write_all(b"x").await.unwrap();
    assert_eq!(to_b.read_u8().await.unwrap(), b'x');
    assert_eq!((network.connections(), network.only("b:1").dials().len()), (1, 1));
    network.only("b:1").black_hole(true);
    assert!(network.connect(&request("a")).await.is_ok());
    assert!(timeout(Duration::from_secs(60), network.connect(&request("b"))).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_frozen_network_is_silent_until_it_thaws() {
    let network = MemoryNetwork::new();
    let mut listener = network.listen("a:1");
    let mut client = network.connect(&request("a")).await.unwrap();
    let mut server = listener.accept().await;
    network.freeze_all();
    client.write_all(b"x").await.unwrap();
    server.write_all(b"y").await.unwrap();
    assert!(timeout(Duration::from_secs(60), client.read_u8()).await.is_err());
    assert!(timeout(Duration::from_secs(60), server.read_u8()).await.is_err());
    network.thaw_all();
    assert_eq!((server.read_u8().await.unwrap(), client.read_u8().await.unwrap()), (b'x', b'y'));
}
