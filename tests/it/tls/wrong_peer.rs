//! Before the first link: a certificate of an unknown authority or for another name, and a server
//! without HTTP/2 by ALPN, end the calls that wait with the second dial. A certificate that has
//! expired, or a client's that is refused, is waited for.

use super::{
    certificates::{Authority, NOW, PAST},
    terminator::{Offer, TlsTerminator},
    trusting,
};
use crate::support::call_empty;
use std::{fs, time::Duration};
use tonic::{Code, Request};
use tonic_supervisor::testing::ScriptedServer;
use tonic_supervisor::{CallOptions, CallReport, Cause, ConnectivityState, Supervisor};

#[tokio::test]
async fn the_second_dial_to_a_server_with_a_wrong_certificate_or_alpn_ends_the_calls() {
    let folder = tempfile::tempdir().expect("folder");
    let (ours, theirs) = (Authority::new("our authority"), Authority::new("their authority"));
    fs::write(folder.path().join("ca.pem"), &ours.pem).expect("written");
    let server = ScriptedServer::on_tcp().await;
    let (good, wrong_name) = (ours.server("127.0.0.1", NOW), ours.server("other.example", NOW));
    let (unknown, expired) = (theirs.server("127.0.0.1", NOW), ours.server("127.0.0.1", PAST));
    let cases = [
        (Offer::of(&unknown), Some("signed by an unknown authority")),
        (Offer::of(&wrong_name), Some("is not for \"127.0.0.1\" but for")),
        (Offer { alpn: &[], ..Offer::of(&good) }, Some("did not choose HTTP/2 by ALPN")),
        (Offer { alpn: &["http/1.1"], ..Offer::of(&good) }, Some("does not offer HTTP/2 by ALPN")),
        (Offer::of(&expired), None),
        (Offer { clients: Some(&ours), ..Offer::of(&good) }, None),
    ];
    for (offer, words) in cases {
        let terminator = TlsTerminator::start(server.address(), offer.config()).await;
        let config = trusting(folder.path(), format!("https://{}", terminator.address));
        let supervisor = Supervisor::spawn(config.build().expect("a valid configuration"));
        let mut request = Request::new(());
        // Whoever is waited for is dialled many times meanwhile.
        let patience = Duration::from_secs(if words.is_some() { 60 } else { 1 });
        request.extensions_mut().insert(CallOptions::new().timeout(patience));
        let answer = supervisor.channel().unary::<(), ()>("/test.Echo/Say", request).await;
        let status = answer.expect_err("it cannot be reached");
        let cause = &CallReport::of(&status).expect("a report").outcome.cause;
        match words {
            Some(words) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                let Cause::NotConnected(said) = cause else { panic!("{words}: {cause:?}") };
                assert!(said.contains(words), "{words}: {said}");
            }
            None => assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}"),
        }
        assert!(supervisor.snapshot().dials >= if words.is_some() { 2 } else { 3 });
        supervisor.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn a_certificate_that_turns_wrong_after_the_first_link_is_waited_for() {
    let folder = tempfile::tempdir().expect("folder");
    let (ours, theirs) = (Authority::new("our authority"), Authority::new("their authority"));
    fs::write(folder.path().join("ca.pem"), &ours.pem).expect("written");
    let server = ScriptedServer::on_tcp().await;
    let (good, wrong) = (ours.server("127.0.0.1", NOW), theirs.server("127.0.0.1", NOW));
    let terminator = TlsTerminator::start(server.address(), Offer::of(&good).config()).await;
    let config = trusting(folder.path(), format!("https://{}", terminator.address));
    let supervisor = Supervisor::spawn(config.build().expect("a valid configuration"));
    call_empty(&supervisor).await.expect("answered");
    terminator.present(Offer::of(&wrong).config());
    server.goaway().await;
    while supervisor.state() == ConnectivityState::Ready {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let waiting = call_empty(&supervisor);
    tokio::pin!(waiting);
    let failed = async {
        while supervisor.snapshot().dials < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        terminator.present(Offer::of(&good).config());
    };
    tokio::select! {
        answer = &mut waiting => panic!("it ended before its time: {answer:?}"),
        () = failed => {}
    }
    waiting.await.expect("answered once the certificate is right again");
}
