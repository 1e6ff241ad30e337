//! What waits ends when its grant ends. Time is paused: all of it is at once.

use super::{Line, Server, Signed, bearer, client, grants, server};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming};
use tonic_supervisor::agent_queue::{
    CreateQueueRequest, GetTaskRequest, GetTaskResponse, NewTask, SubmitTaskRequest,
    WatchQueueRequest, WatchQueueResponse, agent_queue_client::AgentQueueClient,
    server::LiveGrants,
};

const LOOK: &str = "{ queues: a, may: [look, submit] }";
const BEFORE: [Line<'static>; 2] = [("a", &[1, 2], ""), ("b", &[3], LOOK)];

async fn start() -> (Arc<LiveGrants>, Server) {
    let live = Arc::new(LiveGrants::new(grants(&BEFORE)));
    let server = server(&live);
    client(server.clone(), bearer(1))
        .create_queue(CreateQueueRequest { agent_id: "a".into() })
        .await
        .expect("made");
    (live, server)
}

async fn watch(client: &mut AgentQueueClient<Signed<Server>>) -> Streaming<WatchQueueResponse> {
    let request = WatchQueueRequest { agent_id: "a".into(), cursor: None };
    let mut watch = client.watch_queue(request).await.expect("watched").into_inner();
    assert_eq!(watch.message().await.expect("at once").expect("an answer").changes, []);
    watch
}

fn submission(name: &str) -> SubmitTaskRequest {
    let task = NewTask {
        r#type: 1,
        payload: "{}".into(),
        client_request_id: name.into(),
        ..NewTask::default()
    };
    SubmitTaskRequest { agent_id: "a".into(), task: Some(task) }
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_grant_ends_and_the_others_go_on() {
    // The token is taken away, the identity, or the grant. UNAVAILABLE is worth another try: with
    // the next token.
    let losses: [(&[Line<'_>], Code); 3] = [
        (&[("a", &[1], ""), ("b", &[4], LOOK)], Code::Unavailable),
        (&[("a", &[1, 2], "")], Code::Unavailable),
        (
            &[("a", &[1, 2], ""), ("b", &[3], "{ queues: \"b*\", may: [look] }")],
            Code::PermissionDenied,
        ),
    ];
    for (after, code) in losses {
        let (live, server) = start().await;
        let (mut loses, mut keeps) =
            (client(server.clone(), bearer(3)), client(server.clone(), bearer(1)));
        let (mut lost, mut kept) = (watch(&mut loses).await, watch(&mut keeps).await);
        let began = Instant::now();
        let (end, ()) = tokio::join!(lost.message(), async { live.replace(grants(after)) });
        let end = end.expect_err("it ends");
        assert_eq!((end.code(), began.elapsed()), (code, Duration::ZERO), "{end}");
        assert!(timeout(Duration::from_secs(60), kept.message()).await.is_err(), "nothing to tell");
        keeps.submit_task(submission("r")).await.expect("submitted");
        assert_eq!(kept.message().await.expect("told").expect("an answer").changes.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_grant_ended_is_told_nothing_of_what_happened_since() {
    let (live, server) = start().await;
    let (mut b, mut a) = (client(server.clone(), bearer(3)), client(server, bearer(1)));
    let mut watch = watch(&mut b).await;
    // It is not polled between the two.
    live.replace(grants(&[("a", &[1], ""), ("b", &[3], "{ queues: b, may: [look] }")]));
    a.submit_task(submission("r")).await.expect("submitted");
    let end: Status = watch.message().await.expect_err("it ends");
    assert_eq!(end.code(), Code::PermissionDenied);
}

/// An old claim waits, and a new one behind it; then the old one loses what it has, and a task
/// comes.
async fn claims(after: &[Line<'_>]) -> (Result<bool, Code>, Result<bool, Code>) {
    let (live, server) = start().await;
    let claim =
        |id: &str| GetTaskRequest { agent_id: "a".into(), claim_id: id.into(), timeout: 60.0 };
    let (mut old, mut new) = (client(server.clone(), bearer(2)), client(server.clone(), bearer(1)));
    let began = Instant::now();
    let swap = async {
        tokio::task::yield_now().await;
        live.replace(grants(after));
        client(server, bearer(3)).submit_task(submission("r")).await.expect("submitted");
    };
    let (old, new, ()) = tokio::join!(old.get_task(claim("old")), new.get_task(claim("new")), swap);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let outcome = |claimed: Result<tonic::Response<GetTaskResponse>, Status>| {
        claimed.map(|answer| answer.into_inner().task.is_some()).map_err(|status| status.code())
    };
    (outcome(old), outcome(new))
}

#[tokio::test(start_paused = true)]
async fn a_waiting_claim_whose_token_is_revoked_is_empty_and_the_next_has_the_task() {
    assert_eq!(claims(&[("a", &[1], ""), ("b", &[3], LOOK)]).await, (Ok(false), Ok(true)));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_claim_whose_grant_is_taken_away_is_refused() {
    let none = "{ queues: a, may: [look] }";
    let refused = Err(Code::PermissionDenied);
    assert_eq!(claims(&[("a", &[1, 2], none), ("b", &[3], LOOK)]).await, (refused, refused));
}
