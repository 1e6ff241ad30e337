//! What a peer says first, over real sockets: a wrong port, or TLS on one side only, fails the dial
//! at once and is named.

use crate::support::{EventReader, config_for, secs, supervise_tcp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tonic_supervisor::{Address, DialFailure, DialStep, Fact, Supervisor};

/// A peer that reads our greeting, says `words` in pieces of `size`, and then neither speaks nor
/// hangs up.
async fn peer(words: &'static [u8], size: usize) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            kept.push(tokio::spawn(async move {
                stream.set_nodelay(true).unwrap_or_default();
                let _ = stream.read(&mut [0; 1_024]).await;
                for piece in words.chunks(size) {
                    let _ = stream.write_all(piece).await;
                    tokio::task::yield_now().await;
                }
                std::future::pending::<TcpStream>().await
            }));
        }
    });
    Address::new("127.0.0.1", port)
}

/// How the first dial fails.
async fn first_failure(supervisor: &Supervisor) -> DialFailure {
    let mut events = EventReader::of(supervisor).await;
    let event = events.until(|fact| matches!(fact, Fact::DialFailed { .. })).await;
    let Fact::DialFailed { failure, .. } = event.fact else { unreachable!("it was looked for") };
    failure
}

/// Each is mute after it, so only its first bytes can end the dial before connect_timeout.
const STRANGERS: [(&[u8], &str); 6] = [
    (b"\x15\x03\x01\0\x02\x02\x46", "this looks like a TLS server: use https:// or use_tls"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "this looks like an HTTP/1 server"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", "this looks like an SSH server"),
    (b"220 mail.example ESMTP ready\r\n", "this looks like a mail or FTP server"),
    (b"\0\0\x08\x06\0\0\0\0\0is it me", "its first "),
    (b"what is it?", "its first bytes are \""),
];

#[tokio::test]
async fn another_protocol_on_the_port_fails_the_dial_at_once_and_is_named() {
    for (greeting, words) in STRANGERS {
        for size in [1, greeting.len()] {
            let target = peer(greeting, size).await;
            let failure = first_failure(&supervise_tcp(config_for(&target))).await;
            assert_eq!(
                (failure.step, failure.timed_out),
                (DialStep::Handshake, false),
                "{failure}"
            );
            let begins = format!("cannot speak HTTP/2 with 127.0.0.1:{}: ", target.port());
            assert!(
                failure.reason.starts_with(&begins) && failure.reason.contains(words),
                "{failure}"
            );
        }
    }
}

#[cfg(feature = "tls-ring")]
#[tokio::test]
async fn a_plaintext_server_is_named_where_tls_was_expected() {
    let plain = "this looks like a plaintext server: use http:// or use_tls: false";
    let cases: [(&[u8], &str); 3] = [
        (b"\0\0\0\x04\0\0\0\0\0", plain),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", plain),
        (b"220 mail.example ESMTP ready\r\n", "this looks like a mail or FTP server"),
    ];
    for (greeting, words) in cases {
        for size in [1, greeting.len()] {
            let target = peer(greeting, size).await;
            let config = config_for(&target).use_tls(true).tls_roots("webpki");
            let failure = first_failure(&supervise_tcp(config)).await;
            assert_eq!((failure.step, failure.timed_out), (DialStep::Tls, false), "{failure}");
            assert!(failure.reason.contains(words), "{failure}");
            assert!(failure.reason.contains("does not speak TLS on this port"), "{failure}");
        }
    }
}

/// A peer may acknowledge our SETTINGS before it sends its own, and its bytes may come one by one.
#[tokio::test]
async fn settings_that_come_byte_by_byte_make_a_link() {
    let target = peer(b"\0\0\0\x04\x01\0\0\0\0\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", 1).await;
    let supervisor = supervise_tcp(config_for(&target));
    supervisor.wait_ready(secs(10)).await.expect("Ready");
}
