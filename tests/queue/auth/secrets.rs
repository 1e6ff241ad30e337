//! A token stands in no log, error, `Debug` or metric, whether it is known or not; neither does its
//! hash.

use super::{bearer, client, grants, server, token};
use metrics_util::debugging::DebuggingRecorder;
use std::sync::Arc;
use tonic::{Code, metadata::MetadataMap};
use tonic_supervisor::agent_queue::{CreateQueueRequest, GetQueueInfoRequest, server::LiveGrants};

/// Fails where a text has one of the first tokens or their hashes.
pub(super) fn assert_has_no_secret(text: &str, what: &str) {
    for number in 0..10 {
        let token = token(number);
        for secret in [&token.reveal()["aqt_".len()..], &token.hash().hexadecimal()] {
            assert!(!text.contains(secret), "{what} has the token {number} or its hash");
        }
    }
}

#[test]
fn errors_debug_and_metrics_have_no_token() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut said = String::new();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let live = Arc::new(LiveGrants::new(grants(&[("a", &[1, 2], ""), ("b", &[3], "")])));
            let server = server(&live);
            said.push_str(&format!("{live:?} {:?} {server:?} {:?}", live.now(), token(1)));
            let create = |agent_id: &str| CreateQueueRequest { agent_id: agent_id.into() };
            client(server.clone(), bearer(1)).create_queue(create("a")).await.expect("made");
            let denied = client(server.clone(), bearer(3))
                .create_queue(create("a"))
                .await
                .expect_err("another's");
            let unknown = client(server.clone(), bearer(4))
                .create_queue(create("a"))
                .await
                .expect_err("unknown");
            let twice = bearer(1).map(|value| format!("{value} {}", token(5).reveal()));
            let odd = client(server, twice)
                .get_queue_info(GetQueueInfoRequest { agent_id: "a".into() })
                .await;
            let odd = odd.expect_err("no token");
            let codes = [&denied, &unknown, &odd].map(|status| status.code());
            assert_eq!(
                codes,
                [Code::PermissionDenied, Code::Unauthenticated, Code::Unauthenticated]
            );
            said.push_str(&format!("{denied:?} {denied} {unknown:?} {unknown} {odd:?} {odd}"));
            for status in [denied, unknown, odd] {
                said.push_str(&format!("{:?}", MetadataMap::clone(status.metadata())));
            }
        });
    });
    let measured = format!("{:?}", snapshotter.snapshot().into_vec());
    assert!(
        measured.contains("calls_refused")
            && measured.contains("identity")
            && measured.contains("grant")
    );
    assert_has_no_secret(&(said + &measured), "what is shown");
}
