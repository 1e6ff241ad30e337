//! What the tests ask of a store beside the histories.

use tonic_supervisor::agent_queue::{
    BatchSubmitTasksRequest, CreateQueueRequest, GetTaskRequest, NewTask, server::Store,
};

/// One task for agent "a".
pub(crate) fn submission(name: &str) -> BatchSubmitTasksRequest {
    let task = NewTask {
        r#type: 1,
        payload: "{}".into(),
        client_request_id: name.into(),
        ..NewTask::default()
    };
    BatchSubmitTasksRequest { agent_id: "a".into(), tasks: vec![task] }
}

/// A claim of a task of agent "a".
pub(crate) fn claim(claim_id: &str, timeout: f64) -> GetTaskRequest {
    GetTaskRequest { agent_id: "a".into(), claim_id: claim_id.into(), timeout }
}

/// Makes the queue of agent "a" in a new place, with 100,000 tasks, of each priority as many.
pub(crate) async fn fill(store: &impl Store) {
    store.create_queue(CreateQueueRequest { agent_id: "a".into() }, 0).await.expect("made");
    for batch in 0..100 {
        let tasks = (0..1000).map(|n| NewTask {
            r#type: 1,
            payload: "{}".into(),
            priority: Some(n % 10),
            client_request_id: format!("{batch}-{n}"),
            ..NewTask::default()
        });
        let request = BatchSubmitTasksRequest { agent_id: "a".into(), tasks: tasks.collect() };
        store.submit(request, batch).await.expect("submitted");
    }
}
