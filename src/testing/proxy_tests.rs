//! The fault proxy between two plain sockets.

use super::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// Long enough, mostly, for bytes to come if they come at all.
const MOMENT: Duration = Duration::from_millis(50);

async fn pair() -> (FaultProxy, TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::to(listener.local_addr().unwrap()).await;
    let (client, server) = through(&proxy, &listener).await;
    (proxy, listener, client, server)
}

async fn through(proxy: &FaultProxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let already = proxy.accepted();
    let client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    proxy.connected(already + 1).await;
    (client, server)
}

/// Sends a byte, and waits for it as long as a loaded machine may need.
async fn crosses(from: &mut TcpStream, to: &mut TcpStream, byte: u8) -> bool {
    from.write_u8(byte).await.unwrap();
    matches!(timeout(200 * MOMENT, to.read_u8()).await, Ok(Ok(read)) if read == byte)
}

/// Sends a byte, and waits a moment for it in vain.
async fn is_held(from: &mut TcpStream, to: &mut TcpStream, byte: u8) -> bool {
    from.write_u8(byte).await.unwrap();
    timeout(MOMENT, to.read_u8()).await.is_err()
}

#[tokio::test]
async fn bytes_and_ends_pass_both_ways() {
    let (proxy, _listener, mut client, mut server) = pair().await;
    let big = vec![7; 3 << 20];
    let (sent, read) = tokio::join!(client.write_all(&big), async {
        let mut read = vec![0; big.len()];
        server.read_exact(&mut read).await.map(|_| read)
    });
    sent.unwrap();
    assert_eq!(read.unwrap(), big);
    assert!(crosses(&mut server, &mut client, 1).await);
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    assert!(crosses(&mut server, &mut client, 2).await, "the other half is still open");
    drop(server);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_cut_is_an_end_of_file_on_both_sides_and_new_dials_pass() {
    let (proxy, listener, mut client, mut server) = pair().await;
    proxy.cut().await;
    assert_eq!(proxy.open(), 0);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    let (mut client, mut server) = through(&proxy, &listener).await;
    assert!(crosses(&mut client, &mut server, 1).await);
}

#[tokio::test]
async fn a_reset_is_a_reset_on_both_sides() {
    let (proxy, _listener, mut client, mut server) = pair().await;
    proxy.reset().await;
    assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(server.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_by_one_end_reaches_the_other() {
    let (_proxy, _listener, mut client, server) = pair().await;
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_freeze_holds_bytes_and_ends_until_the_thaw() {
    let (proxy, _listener, mut client, mut server) = pair().await;
    proxy.freeze().await;
    assert!(is_held(&mut client, &mut server, 1).await);
    drop(client);
    assert!(timeout(MOMENT, server.read_u8()).await.is_err());
    proxy.thaw().await;
    assert_eq!(server.read_u8().await.unwrap(), 1);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_stall_holds_one_direction_only() {
    let (proxy, _listener, mut client, mut server) = pair().await;
    proxy.stall(Direction::ToClient).await;
    assert!(crosses(&mut client, &mut server, 1).await);
    assert!(is_held(&mut server, &mut client, 2).await);
    proxy.thaw().await;
    assert_eq!(client.read_u8().await.unwrap(), 2);
}

#[tokio::test]
async fn a_half_close_ends_one_direction_and_swallows_what_follows() {
    let (proxy, _listener, mut client, mut server) = pair().await;
    proxy.half_close(Direction::ToClient).await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    server.write_all(b"lost").await.unwrap();
    assert!(crosses(&mut client, &mut server, 1).await);
    assert_eq!(proxy.open(), 1);
}

#[tokio::test]
async fn a_delay_delays_and_keeps_the_order() {
    let (proxy, _listener, mut client, mut server) = pair().await;
    proxy.delay(2 * MOMENT).await;
    let began = Instant::now();
    client.write_u8(1).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    client.write_u8(2).await.unwrap();
    assert_eq!((server.read_u8().await.unwrap(), began.elapsed() >= 2 * MOMENT), (1, true));
    assert_eq!((server.read_u8().await.unwrap(), began.elapsed() >= 3 * MOMENT), (2, true));
}

#[tokio::test]
async fn it_refuses_until_told_otherwise_at_the_same_port_and_keeps_its_connections() {
    let (proxy, listener, mut client, mut server) = pair().await;
    for _ in 0..3 {
        proxy.refuse(true).await;
        assert_eq!(
            TcpStream::connect(proxy.addr()).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        assert!(crosses(&mut client, &mut server, 1).await);
        proxy.refuse(false).await;
        let (mut client, mut server) = through(&proxy, &listener).await;
        assert!(crosses(&mut client, &mut server, 1).await);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_reset_and_another_can_be_pointed_to() {
    let (proxy, listener, _client, _server) = pair().await;
    drop(listener);
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(client.read_u8().await.is_err());
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.point_to(other.local_addr().unwrap());
    let _client = TcpStream::connect(proxy.addr()).await.unwrap();
    other.accept().await.unwrap();
    assert_eq!(proxy.accepted(), 3);
}

#[tokio::test]
async fn a_dropped_proxy_leaves_nothing_behind() {
    let (proxy, _listener, mut client, mut server) = pair().await;
    let address = proxy.addr();
    drop(proxy);
    assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!(server.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(address).await.is_err());
}
