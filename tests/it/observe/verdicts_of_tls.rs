//! What is the matter with TLS: the two rows of the verdict, by the certificates and files that
//! cause them, over real sockets.

use crate::{
    support::{call_empty, eventually},
    tls::{
        certificates::{Authority, FUTURE, NOW, PAST},
        showing,
        terminator::{Offer, TlsTerminator},
        trusting,
    },
};
use std::{fs, time::Duration};
use tonic_supervisor::{
    ConfigBuilder, Recent, Supervisor, Verdict, VerdictKind, testing::ScriptedServer, verdict,
};

fn now(supervisor: &Supervisor) -> Verdict {
    verdict(&supervisor.snapshot(), &Recent::default())
}

/// The next verdict of this kind.
async fn until(supervisor: &Supervisor, kind: VerdictKind) -> Verdict {
    eventually(kind.as_str(), || now(supervisor).kind == kind).await;
    now(supervisor)
}

fn spawn(config: ConfigBuilder) -> Supervisor {
    Supervisor::spawn(config.build().expect("a valid configuration"))
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_is_told_with_what_is_wrong_with_its_certificate() {
    let folder = tempfile::tempdir().expect("folder");
    let (ours, theirs) = (Authority::new("our authority"), Authority::new("their authority"));
    fs::write(folder.path().join("ca.pem"), &ours.pem).expect("written");
    let server = ScriptedServer::on_tcp().await;
    for (identity, words) in [
        (theirs.server("127.0.0.1", NOW), "signed by an unknown authority"),
        (ours.server("127.0.0.1", PAST), "the server's certificate expired"),
        (ours.server("127.0.0.1", FUTURE), "not valid yet"),
        (ours.server("other.example", NOW), "is not for \"127.0.0.1\" but for"),
    ] {
        let offer = Offer::of(&identity).config();
        let terminator = TlsTerminator::start(server.address(), offer).await;
        let supervisor = spawn(trusting(folder.path(), terminator.address.to_string()));
        let said = until(&supervisor, VerdictKind::Tls).await;
        assert!(said.sentence.contains(words), "{said}");
        assert!(said.action().contains("certificates"), "{said}");
        // Once it shows a certificate that is right, the next dial finds it.
        let right = ours.server("127.0.0.1", NOW);
        terminator.present(Offer::of(&right).config());
        supervisor.reconnect_now();
        until(&supervisor, VerdictKind::Healthy).await;
    }
}

#[tokio::test]
async fn files_that_are_bad_from_the_start_leave_nothing_to_dial_with() {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("ca.pem"), "no PEM at all").expect("written");
    let supervisor = spawn(trusting(folder.path(), "127.0.0.1:1"));
    let said = until(&supervisor, VerdictKind::Tls).await;
    assert!(said.sentence.contains("ca.pem has no certificate in PEM"), "{said}");
}

/// Nothing is the matter yet: the former files stay in use. But at the next start they would not
/// be there any more.
#[tokio::test]
async fn files_that_are_replaced_by_bad_ones_are_told_until_they_are_good_again() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new("authority");
    fs::write(folder.path().join("ca.pem"), &authority.pem).expect("written");
    let (first, second) = (authority.client("agent-1", NOW), authority.client("agent-2", NOW));
    first.write(folder.path(), "client");
    let server = ScriptedServer::on_tcp().await;
    let identity = authority.server("127.0.0.1", NOW);
    let offer = Offer { clients: Some(&authority), ..Offer::of(&identity) };
    let terminator = TlsTerminator::start(server.address(), offer.config()).await;
    let target = terminator.address.to_string();
    let supervisor = spawn(showing(folder.path(), trusting(folder.path(), target)));
    supervisor.wait_ready(Duration::from_secs(10)).await.expect("Ready");
    assert_eq!(now(&supervisor).kind, VerdictKind::Healthy);

    for (name, bad, good, words) in [
        ("ca.pem", "half a file", &authority.pem, "ca.pem has no certificate in PEM"),
        ("client.key", &*second.key, &first.key, "do not belong together"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bad).expect("written");
        supervisor.reconnect_now();
        let said = until(&supervisor, VerdictKind::TlsFilesRejected).await;
        assert!(said.sentence.contains(words), "{said}");
        call_empty(&supervisor).await.expect("calls go on");
        fs::write(&path, good).expect("written");
        supervisor.reconnect_now();
        until(&supervisor, VerdictKind::Healthy).await;
    }
}
