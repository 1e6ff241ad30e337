//! Certificates change while calls go on: no call fails, and the new ones are in use afterwards.

use super::{
    certificates::{Authority, NOW},
    showing,
    terminator::{Offer, TlsTerminator, certificate},
    trusting,
};
use crate::support::{call_empty, eventually};
use std::{fs, path::Path, time::Duration};
use tonic_supervisor::{
    CallOptions, EventItem, EventStream, Fact, Supervisor, testing::ScriptedServer,
};

/// Waits for an event that `wanted` knows.
async fn until(events: &mut EventStream, mut wanted: impl FnMut(&Fact) -> bool) {
    let waiting = async {
        while let Some(item) = events.next().await {
            if matches!(&item, EventItem::Event(event) if wanted(&event.fact)) {
                return;
            }
        }
        panic!("the supervisor ended");
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the event comes");
}

fn is_up(fact: &Fact) -> bool {
    matches!(fact, Fact::LinkEstablished { .. })
}

/// As a careful rotator does it, file by file.
fn write(folder: &Path, authority: &Authority, number: usize) -> String {
    let identity = authority.client(&format!("agent-{number}"), NOW);
    identity.write(folder, "client");
    identity.certificate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotating_server_and_client_certificates_under_500_calls_a_second_loses_none() {
    const ROTATIONS: usize = 6;
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new("authority");
    fs::write(folder.path().join("ca.pem"), &authority.pem).expect("written");
    write(folder.path(), &authority, 0);
    let server = ScriptedServer::on_tcp().await;
    let offer = |number: usize, identity: &_| {
        let _ = number;
        Offer { clients: Some(&authority), ..Offer::of(identity) }.config()
    };
    let terminator =
        TlsTerminator::start(server.address(), offer(0, &authority.server("127.0.0.1", NOW))).await;
    let config = showing(folder.path(), trusting(folder.path(), terminator.address.to_string()));
    let supervisor = Supervisor::spawn(config.max_retry_attempts(0).build().expect("valid"));
    supervisor.wait_ready(Duration::from_secs(10)).await.expect("Ready");
    let mut events = supervisor.events();
    // Which machine, by which TLS, and until when: what an operator asks after a rotation.
    let mut link = None;
    let shown = || {
        link = supervisor.snapshot().endpoints[0].links.first().cloned();
        link.is_some()
    };
    eventually("a link is shown", shown).await;
    let link = link.expect("it is shown");
    assert_eq!(link.peer.map(|peer| peer.to_string()), Some(terminator.address.to_string()));
    assert!(link.local.is_some_and(|local| local.host() == "127.0.0.1" && local.port() > 0));
    let tls = link.tls.expect("TLS");
    assert_eq!((tls.version, tls.cipher.starts_with("TLS13_")), ("TLS 1.3", true));
    let ends = tls.certificate_until.expect("it can be read");
    assert!(ends > std::time::SystemTime::now(), "{ends:?}");

    let load = tokio::spawn({
        let channel = supervisor.channel();
        async move {
            let mut calls = tokio::task::JoinSet::new();
            let mut beat = tokio::time::interval(Duration::from_millis(2));
            for _ in 0..1_500 {
                beat.tick().await;
                let channel = channel.clone();
                calls.spawn(async move {
                    let mut request = tonic::Request::new(());
                    request.extensions_mut().insert(CallOptions::new().idempotent(false));
                    channel.unary::<(), ()>("/test.Echo/Say", request).await.map(drop)
                });
            }
            calls.join_all().await
        }
    });
    for number in 1..=ROTATIONS {
        tokio::time::sleep(Duration::from_millis(400)).await;
        terminator.present(offer(number, &authority.server("127.0.0.1", NOW)));
        let current = write(folder.path(), &authority, number);
        supervisor.reconnect_now();
        until(&mut events, is_up).await;
        assert_eq!(
            terminator.last_client(),
            Some(certificate(&current)),
            "the new certificate is shown"
        );
    }
    let answers = load.await.expect("the load runs");
    let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of 1,500 failed, such as {:?}", failed.len(), failed[0]);
    assert_eq!(server.handled(), 1_500, "each was executed once");
    assert_eq!(supervisor.snapshot().links, 1 + ROTATIONS as u64);
    supervisor.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_half_written_file_keeps_the_old_material_and_the_next_dial_reads_again() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new("authority");
    fs::write(folder.path().join("ca.pem"), &authority.pem).expect("written");
    let first = write(folder.path(), &authority, 1);
    let server = ScriptedServer::on_tcp().await;
    let identity = authority.server("127.0.0.1", NOW);
    let offer = Offer { clients: Some(&authority), ..Offer::of(&identity) };
    let terminator = TlsTerminator::start(server.address(), offer.config()).await;
    let config = showing(folder.path(), trusting(folder.path(), terminator.address.to_string()));
    let supervisor = Supervisor::spawn(config.build().expect("valid"));
    let mut events = supervisor.events();
    until(&mut events, is_up).await;

    let second = authority.client("agent-2", NOW);
    for (name, whole) in [("client.pem", &second.certificate), ("client.key", &second.key)] {
        for content in
            [&whole.as_bytes()[..whole.len() / 2], b"", b"no PEM at all", &[0xff, 0xfe, 0x00]]
        {
            fs::write(folder.path().join(name), content).expect("written");
            supervisor.reconnect_now();
            let rejected = |fact: &Fact| match fact {
                Fact::TlsMaterialRejected { cause, .. } => cause.contains(name),
                _ => false,
            };
            until(&mut events, rejected).await;
            until(&mut events, is_up).await;
            assert_eq!(
                terminator.last_client(),
                Some(certificate(&first)),
                "the old certificate is shown"
            );
            call_empty(&supervisor).await.expect("calls go on");
        }
        fs::write(folder.path().join(name), whole).expect("written");
        if name == "client.pem" {
            supervisor.reconnect_now();
            until(&mut events, |fact| matches!(fact, Fact::TlsMaterialRejected { .. })).await;
            until(&mut events, is_up).await;
        }
    }
    supervisor.reconnect_now();
    until(&mut events, |fact| {
        assert!(!matches!(fact, Fact::TlsMaterialRejected { .. }), "{fact:?}");
        is_up(fact)
    })
    .await;
    assert_eq!(
        terminator.last_client(),
        Some(certificate(&second.certificate)),
        "the new certificate is shown"
    );
    call_empty(&supervisor).await.expect("calls go on");
}

#[tokio::test]
async fn a_successor_that_cannot_be_dialled_leaves_the_link_as_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    fs::write(folder.path().join("ca.pem"), &authority.pem).expect("written");
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = ScriptedServer::on_tcp().await;
    let offer = |authority: &Authority| Offer::of(&authority.server("127.0.0.1", NOW)).config();
    let terminator = TlsTerminator::start(server.address(), offer(&authority)).await;
    let supervisor = Supervisor::spawn(
        trusting(folder.path(), terminator.address.to_string()).build().expect("valid"),
    );
    let mut events = supervisor.events();
    until(&mut events, is_up).await;
    terminator.present(offer(&stranger));
    supervisor.reconnect_now();
    until(&mut events, |fact| match fact {
        Fact::StateChanged { to, .. } => {
            assert_eq!(*to, tonic_supervisor::ConnectivityState::Ready);
            false
        }
        Fact::DialFailed { failure, .. } => failure.reason.contains("unknown authority"),
        _ => false,
    })
    .await;
    call_empty(&supervisor).await.expect("the old link carries on");
    terminator.present(offer(&authority));
    supervisor.reconnect_now();
    until(&mut events, is_up).await;
    call_empty(&supervisor).await.expect("the new link carries on");
    assert_eq!((supervisor.snapshot().links, server.connections()), (2, 2));
    let encrypted = recorder.snapshotter().snapshot().into_vec().into_iter().any(|(key, ..)| {
        let mut labels = key.key().labels();
        key.key().name() == "grpc.subchannel.open_connections"
            && labels.any(|label| {
                (label.key(), label.value()) == ("grpc.security_level", "privacy_and_integrity")
            })
    });
    assert!(encrypted, "the gauge says how safe the links are");
}

#[tokio::test]
async fn call_credentials_go_out_over_tls_without_further_leave() {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new("authority");
    fs::write(folder.path().join("ca.pem"), &authority.pem).expect("written");
    let server = ScriptedServer::on_tcp().await;
    let identity = authority.server("127.0.0.1", NOW);
    let terminator = TlsTerminator::start(server.address(), Offer::of(&identity).config()).await;
    let config = trusting(folder.path(), terminator.address.to_string()).build().expect("valid");
    let audience = format!("https://{}/test.Echo", terminator.address);
    let hook = move |request: tonic_supervisor::CredentialsRequest| {
        assert_eq!(request.service_url, audience);
        async {
            let mut metadata = tonic::metadata::MetadataMap::new();
            metadata.insert("authorization", "Bearer t".parse().expect("a value"));
            Ok(metadata)
        }
    };
    let supervisor = Supervisor::builder(config).call_credentials(hook).spawn();
    call_empty(&supervisor).await.expect("answered");
    assert_eq!(server.arrivals()[0].metadata["authorization"], "Bearer t");
}
