//! The table of faults: each ends in UNAVAILABLE, with a cause that an operator can act on, and
//! never hangs.

use super::{
    certificates::{Authority, FUTURE, Identity, NOW, PAST},
    refused, showing,
    terminator::{Offer, TlsTerminator},
    trusting,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use std::{fs, path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tonic::Code;
use tonic_supervisor::{ConfigBuilder, DialStep, testing::ScriptedServer};

/// What a peer does with a connection, where it is not TLS.
#[derive(Clone, Copy)]
enum Peer {
    /// Closes it at once.
    Closes,
    /// Reads the greeting, then closes with a reset.
    Resets,
    /// Never says a word.
    Hangs,
    /// Greets in a text protocol.
    Greets,
}

async fn peer(peer: Peer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            match peer {
                Peer::Closes => {}
                Peer::Resets => {
                    let _ = stream.read_u8().await;
                    let _ = stream.set_zero_linger();
                }
                Peer::Hangs => kept.push(stream),
                Peer::Greets => {
                    let _ = stream.write_all(b"220 mail.example ESMTP ready\r\n").await;
                    kept.push(stream);
                }
            }
        }
    });
    address.to_string()
}

struct TlsRig {
    folder: tempfile::TempDir,
    ours: Authority,
    theirs: Authority,
    server: ScriptedServer,
}

impl TlsRig {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let (ours, theirs) = (Authority::new("our authority"), Authority::new("their authority"));
        fs::write(folder.path().join("ca.pem"), &ours.pem).expect("written");
        Self { folder, ours, theirs, server: ScriptedServer::on_tcp().await }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn good(&self) -> Identity {
        self.ours.server("127.0.0.1", NOW)
    }

    async fn terminator(&self, offer: Offer<'_>) -> TlsTerminator {
        TlsTerminator::start(self.server.address(), offer.config()).await
    }

    /// The dial fails at `step`, and event, status and metric say so.
    async fn expect(&self, fault: &str, config: ConfigBuilder, step: DialStep, words: &str) {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let guard = metrics::set_default_local_recorder(&recorder);
        let (status, failure) = refused(config).await;
        drop(guard);
        assert_eq!(status.code(), Code::Unavailable, "{fault}: {status}");
        assert!(failure.reason.contains(words), "{fault}: {}", failure.reason);
        assert!(status.message().contains(&failure.reason), "{fault}: {}", status.message());
        assert_eq!(failure.step, step, "{fault}: {}", failure.reason);
        let failed = snapshotter.snapshot().into_vec().into_iter().any(|(key, _, _, value)| {
            key.key().name() == "grpc.subchannel.connection_attempts_failed"
                && value != DebugValue::Counter(0)
        });
        assert!(failed, "{fault}: not counted");
        assert_eq!(self.server.handled(), 0, "{fault}: a call went through");
    }
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_is_refused_with_the_reason() {
    let rig = TlsRig::new().await;
    let cases = [
        ("wrong name", rig.ours.server("other.example", NOW), "is not for \"127.0.0.1\" but for"),
        (
            "unknown authority",
            rig.theirs.server("127.0.0.1", NOW),
            "signed by an unknown authority",
        ),
        ("expired", rig.ours.server("127.0.0.1", PAST), "the server's certificate expired"),
        ("not yet valid", rig.ours.server("127.0.0.1", FUTURE), "not valid yet"),
        ("not for servers", rig.ours.client("127.0.0.1", NOW), "is not for servers"),
    ];
    for (fault, identity, words) in cases {
        let terminator = rig.terminator(Offer::of(&identity)).await;
        let config = trusting(rig.path(), format!("https://{}", terminator.address));
        rig.expect(fault, config, DialStep::Tls, words).await;
    }
    let good = rig.good();
    let terminator = rig.terminator(Offer::of(&good)).await;
    let config =
        trusting(rig.path(), terminator.address.to_string()).tls_server_name("queue.example");
    rig.expect("configured name", config, DialStep::Tls, "is not for \"queue.example\"").await;
}

#[tokio::test]
async fn a_client_that_is_not_who_it_should_be_learns_what_the_server_wants() {
    let rig = TlsRig::new().await;
    let good = rig.good();
    static TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
    static TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
    for versions in [TLS13, TLS12] {
        let offer = || Offer { clients: Some(&rig.ours), versions, ..Offer::of(&good) };
        let terminator = rig.terminator(offer()).await;
        let target = format!("https://{}", terminator.address);
        let config = trusting(rig.path(), &*target);
        rig.expect("no certificate", config, DialStep::Tls, "requires a client certificate").await;
        for (fault, identity, words) in [
            (
                "unknown authority",
                rig.theirs.client("agent", NOW),
                "refused our client certificate",
            ),
            (
                "expired",
                rig.ours.client("agent", PAST),
                "refused our client certificate (tls.certificate): it has expired",
            ),
        ] {
            identity.write(rig.path(), "client");
            let config = showing(rig.path(), trusting(rig.path(), &*target));
            rig.expect(fault, config, DialStep::Tls, words).await;
        }
    }
}

#[tokio::test]
async fn a_server_without_http2_by_alpn_is_refused() {
    let rig = TlsRig::new().await;
    let good = rig.good();
    for (fault, alpn, words) in [
        ("no ALPN", &[][..], "did not choose HTTP/2 by ALPN"),
        (
            "HTTP/1 by ALPN",
            &["http/1.1"][..],
            "does not offer HTTP/2 by ALPN (it may speak HTTP/1 only)",
        ),
    ] {
        let terminator = rig.terminator(Offer { alpn, ..Offer::of(&good) }).await;
        let config = trusting(rig.path(), format!("https://{}", terminator.address));
        rig.expect(fault, config, DialStep::Tls, words).await;
    }
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_told_apart_from_one_that_hangs_up() {
    let rig = TlsRig::new().await;
    for (fault, how, words) in [
        ("text protocol", Peer::Greets, "does not speak TLS on this port"),
        ("dropped", Peer::Closes, "closed the connection during the TLS handshake"),
        ("reset", Peer::Resets, "the connection failed during the TLS handshake"),
        ("hangs", Peer::Hangs, "the TLS handshake was not finished within connect_timeout (0.5 s)"),
    ] {
        let config =
            trusting(rig.path(), peer(how).await).connect_timeout(Duration::from_millis(500));
        rig.expect(fault, config, DialStep::Tls, words).await;
    }
    let config = trusting(rig.path(), rig.server.address());
    rig.expect("plaintext HTTP/2", config, DialStep::Tls, "does not speak TLS on this port").await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_with_what_is_wrong() {
    let rig = TlsRig::new().await;
    let good = rig.good();
    let terminator = rig.terminator(Offer::of(&good)).await;
    let target = terminator.address.to_string();
    let there = |name: &str| rig.path().join(name);
    rig.ours.client("agent", NOW).write(rig.path(), "client");
    let config = || showing(rig.path(), trusting(rig.path(), &*target));

    let missing = config().tls_ca(there("nowhere.pem").display().to_string());
    rig.expect("no such file", missing, DialStep::Tls, "nowhere.pem cannot be read: No such file")
        .await;
    fs::write(there("empty.pem"), "").expect("written");
    let empty = config().tls_ca(there("empty.pem").display().to_string());
    rig.expect("empty", empty, DialStep::Tls, "empty.pem has no certificate in PEM").await;

    let key = rig.ours.client("agent", NOW).key;
    fs::write(there("client.key"), &key).expect("written");
    rig.expect("another key", config(), DialStep::Tls, "do not belong together").await;
    fs::write(there("client.key"), &key[..key.len() / 2]).expect("written");
    rig.expect("half a key", config(), DialStep::Tls, "client.key has no whole private key in PEM")
        .await;
    let secret = key.lines().nth(1).expect("a line of the key");
    let (status, failure) = refused(config()).await;
    assert!(
        !format!("{status:?} {failure:?} {:?}", config().build()).contains(secret),
        "the key is printed"
    );
}

#[test]
fn plaintext_is_never_fallen_back_to_by_configuration() {
    use tonic_supervisor::Config;
    for (text, words) in [
        (
            "{target: \"https://queue\", use_tls: false}",
            "asks for TLS and contradicts grpc.use_tls",
        ),
        (
            "{target: \"http://queue\", use_tls: true}",
            "speaks of plaintext and contradicts grpc.use_tls",
        ),
        (
            "{target: \"http://queue\", tls: {ca: ca.pem}}",
            "speaks of plaintext and contradicts grpc.tls.ca",
        ),
        ("{use_tls: false, tls: {ca: ca.pem}}", "contradicts grpc.tls.ca"),
        ("{tls: }", "grpc.tls is empty"),
        ("{tls: {certificate: a.pem}}", "does nothing without grpc.tls.key"),
        ("{tls: {roots: file}}", "needs grpc.tls.ca"),
        ("{tls: {verify: false}}", "grpc.tls.verify is not a key that is known"),
        (
            "{target: \"queue:1\", host: queue}",
            "grpc.target is \"queue:1\", but cannot stand beside grpc.host",
        ),
        (
            "{tls: {key: \"-----BEGIN PRIVATE KEY----- MIIE\"}}",
            "is the contents of a PEM file, but must be the path",
        ),
    ] {
        let error = Config::from_yaml(&format!("grpc: {text}")).expect_err(text).to_string();
        assert!(error.contains(words) && !error.contains("MIIE"), "{text}: {error}");
    }
    let config = Config::builder()
        .yaml("grpc: {target: \"https://queue\"}")
        .host("other")
        .build()
        .expect("valid");
    assert!(
        config.tls().is_none() && config.host() == "other",
        "the builder's host overrules the file's target"
    );
}
