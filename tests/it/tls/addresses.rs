//! Several addresses over TLS: an address with a wrong certificate, without TLS, or mute after its
//! handshake, does not shadow a good one, and the files are read once for all of them.

use super::{
    certificates::{Authority, NOW},
    refused,
    terminator::{Offer, TlsTerminator},
    trusting,
};
use crate::support::call_empty;
use std::{fs, time::Duration};
use tonic_supervisor::{
    DialStep, EventItem, Fact, Supervisor,
    testing::{Misbehaviour, RawPeer, ScriptedServer},
};

#[tokio::test]
async fn scenario_e19_over_tls_a_bad_address_does_not_shadow_the_good_one() {
    let folder = tempfile::tempdir().expect("folder");
    let (ours, theirs) = (Authority::new("our authority"), Authority::new("their authority"));
    fs::write(folder.path().join("ca.pem"), &ours.pem).expect("written");
    let (good, wrong) = (ours.server("127.0.0.1", NOW), theirs.server("127.0.0.1", NOW));
    let server = ScriptedServer::on_tcp().await;
    let mute = RawPeer::on_tcp().await.misbehave(Misbehaviour::BlackHole, usize::MAX);
    let b = TlsTerminator::start(server.address(), Offer::of(&good).config()).await;

    let wrong_certificate =
        TlsTerminator::start(server.address(), Offer::of(&wrong).config()).await;
    let no_alpn =
        TlsTerminator::start(server.address(), Offer { alpn: &[], ..Offer::of(&good) }.config())
            .await;
    let mute_after_tls = TlsTerminator::start(mute.address(), Offer::of(&good).config()).await;
    let cases = [
        (
            "wrong certificate",
            wrong_certificate.address.to_string(),
            "signed by an unknown authority",
        ),
        ("no ALPN", no_alpn.address.to_string(), "did not choose HTTP/2 by ALPN"),
        ("mute after TLS", mute_after_tls.address.to_string(), "the peer sent no HTTP/2 SETTINGS"),
        ("mute instead of TLS", mute.address(), "the TLS handshake was not finished"),
        (
            "plaintext",
            server.address(),
            "this looks like a plaintext server: use http:// or use_tls: false",
        ),
    ];
    for (fault, a, words) in cases {
        for target in [format!("ipv4:{a},{}", b.address), format!("ipv4:{},{a}", b.address)] {
            let config = trusting(folder.path(), target).connect_timeout(Duration::from_secs(20));
            let supervisor = Supervisor::spawn(config.build().expect("a valid configuration"));
            assert!(supervisor.wait_ready(Duration::from_secs(10)).await.is_ok(), "{fault}");
            call_empty(&supervisor).await.expect(fault);
            supervisor.shutdown(Duration::ZERO).await;
        }
        let nobody = "127.0.0.1:1";
        let config = trusting(folder.path(), format!("ipv4:{a},{nobody}"));
        let (_, failure) = refused(config).await;
        assert!(failure.reason.contains(words), "{fault}: {failure}");
        assert!(failure.reason.contains("cannot connect to 127.0.0.1:1: "), "{fault}: {failure}");
        let furthest = if fault == "mute after TLS" { DialStep::Handshake } else { DialStep::Tls };
        assert_eq!(failure.step, furthest, "{fault}");
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_any_more_are_told_of_once_for_all_addresses() {
    let folder = tempfile::tempdir().expect("folder");
    let ours = Authority::new("our authority");
    fs::write(folder.path().join("ca.pem"), &ours.pem).expect("written");
    let server = ScriptedServer::on_tcp().await;
    let good = ours.server("127.0.0.1", NOW);
    let b = TlsTerminator::start(server.address(), Offer::of(&good).config()).await;
    let a = RawPeer::on_tcp().await.misbehave(Misbehaviour::AcceptThenClose, usize::MAX);
    let config = trusting(folder.path(), format!("ipv4:{},{}", a.address(), b.address));
    let supervisor = Supervisor::spawn(config.build().expect("a valid configuration"));
    call_empty(&supervisor).await.expect("answered");

    fs::write(folder.path().join("ca.pem"), "half a file").expect("written");
    let mut events = supervisor.events();
    server.goaway().await;
    let mut rejected = 0;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(10), events.next())
            .await
            .expect("the event comes");
        match next {
            Some(EventItem::Event(event)) => match event.fact {
                Fact::TlsMaterialRejected { .. } => rejected += 1,
                Fact::LinkEstablished { .. } => break,
                _ => {}
            },
            Some(_) => {}
            None => panic!("the supervisor ended"),
        }
    }
    assert_eq!(rejected, 1, "one dial, two addresses");
}
