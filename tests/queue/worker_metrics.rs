//! What a worker loop does is counted in metrics of its queue.

use crate::{
    conformance::{Recorded, record, recorded},
    process::Serve,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Semaphore, time::timeout};
use tonic_supervisor::agent_queue::{NewTask, Outcome, PrivateAgentTasksQueue, Task, TaskType};

#[test]
fn what_a_worker_loop_does_is_counted() {
    let server = Serve::start("memory", &[]);
    record(async |snapshotter| {
        let client = PrivateAgentTasksQueue::builder()
            .grpc_port(server.address.port())
            .build()
            .expect("valid");
        let queue = client.get_queue("a", true).await.expect("made");
        for word in ["good", "bad", "later"] {
            let payload = format!("\"{word}\"");
            queue.submit_task(NewTask::new(TaskType::ApiCall, payload)).await.expect("submitted");
        }
        let (ran, seen) = (Arc::new(Semaphore::new(0)), Arc::new(snapshotter));
        // What was counted until the last task ran; then everything begins anew.
        let during = Arc::new(Mutex::new(Recorded::new()));
        let (told, snapshots, noted) = (ran.clone(), seen.clone(), during.clone());
        let handler = move |task: Task| {
            let (told, snapshots, noted) = (told.clone(), snapshots.clone(), noted.clone());
            async move {
                if task.claims == 2 {
                    *noted.lock().expect("unharmed") =
                        recorded(&snapshots, "tonic_supervisor.worker.");
                }
                told.add_permits(1);
                match &*task.payload {
                    "\"later\"" if task.claims == 1 => Outcome::GivenBack("not now".into()),
                    "\"bad\"" => Outcome::Failed("bad".into()),
                    _ => Outcome::Completed("1".into()),
                }
            }
        };
        let all_ran = async move { ran.acquire_many(4).await.expect("open").forget() };
        let done = timeout(
            Duration::from_secs(60),
            queue.process(handler, 1).until(all_ran).into_future(),
        )
        .await;
        let done = done.expect("in time").expect("worked");
        assert_eq!((done.completed, done.failed, done.given_back), (2, 1, 1));
        let (before, after) =
            (during.lock().expect("unharmed").clone(), recorded(&seen, "tonic_supervisor.worker."));
        assert_eq!(before["running{}"], [1.0]);
        for (name, expected) in [
            ("running{}", 0.0),
            ("claimed{}", 4.0),
            ("reported{status=completed}", 2.0),
            ("reported{status=failed}", 1.0),
            ("given_back{}", 1.0),
            ("lost{}", 0.0),
        ] {
            assert_eq!(
                before[name][0] + after[name][0],
                expected,
                "{name} in {before:#?} and {after:#?}"
            );
        }
        client.close().await;
    });
}
