//! What becomes of tasks is counted by every store alike, and once, however often it is asked for.

use super::{claim, submission};
use futures::FutureExt as _;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{sleep, timeout};
use tonic::Request;
use tonic_supervisor::agent_queue::{
    BatchSubmitTasksRequest, CancelTaskRequest, CreateQueueRequest, RetryTaskRequest, TaskStatus,
    UpdateTaskStatusRequest,
    agent_queue_server::AgentQueue as _,
    server::{Metered, Service, Store},
};

/// What was recorded: `name{label=value,...}` without the names' beginning and the queue's label.
pub(crate) type Recorded = BTreeMap<String, Vec<f64>>;

/// The metrics of queue "a" whose names begin so. They begin anew.
pub(crate) fn recorded(snapshotter: &Snapshotter, names: &str) -> Recorded {
    let mut found = Recorded::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let Some(name) = key.key().name().strip_prefix(names) else { continue };
        let (mut labels, mut ours) = (Vec::new(), false);
        for label in key.key().labels() {
            match (label.key(), label.value()) {
                ("queue", queue) => ours = queue == "a",
                (name, value) => labels.push(format!("{name}={value}")),
            }
        }
        let values = match value {
            DebugValue::Counter(count) => vec![count as f64],
            DebugValue::Gauge(value) => vec![value.into_inner()],
            DebugValue::Histogram(values) => values.into_iter().map(f64::from).collect(),
        };
        if ours {
            found.insert(format!("{name}{{{}}}", labels.join(",")), values);
        }
    }
    found
}

/// Plays `scene` on a runtime of its own, whose metrics are recorded.
pub(crate) fn record(scene: impl AsyncFnOnce(Snapshotter)) {
    let recorder = DebuggingRecorder::new();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    metrics::with_local_recorder(&recorder, || runtime.block_on(scene(recorder.snapshotter())));
}

fn update(task_id: &str, claim_id: &str, status: TaskStatus) -> UpdateTaskStatusRequest {
    let (agent_id, task_id, claim_id) = ("a".into(), task_id.into(), claim_id.into());
    UpdateTaskStatusRequest {
        agent_id,
        task_id,
        claim_id,
        status: status.into(),
        ..Default::default()
    }
}

/// The place must be new.
pub(crate) fn what_becomes_of_tasks_is_counted_once<S: Store>(open: impl AsyncFnOnce() -> S) {
    record(async |snapshotter| {
        let store = open().await;
        store.create_queue(CreateQueueRequest { agent_id: "a".into() }, 0).await.expect("made");
        // Begins the queue's metrics here: what other threads count is then counted here.
        assert!(store.notifier().wait_for_task("a").woken().now_or_never().is_none());
        play(&store).await;
        let counted = recorded(&snapshotter, "tonic_supervisor.queue.");
        for (name, expected) in [
            ("submitted{}", &[3.0][..]),
            ("retried{}", &[1.0]),
            ("claims{result=task}", &[5.0]),
            ("claims{result=again}", &[1.0]),
            ("claims{result=empty}", &[0.0]),
            ("finished{status=completed}", &[1.0]),
            ("finished{status=failed}", &[2.0]),
            ("finished{status=cancelled}", &[1.0]),
            ("leases_lost{}", &[2.0]),
            ("dead{}", &[1.0]),
            ("given_back{}", &[1.0]),
            ("wait{}", &[2.0, 4.0, 26.0]),
            ("run{}", &[2.0, 1.0]),
            ("claims_waiting{}", &[0.0]),
            ("watches{}", &[0.0]),
        ] {
            assert_eq!(
                counted.get(name).map(Vec::as_slice),
                Some(expected),
                "{name} in {counted:#?}"
            );
        }

        let service = Service::new(Metered::new(store));
        service.get_task(Request::new(claim("nothing", 0.0))).await.expect("answered");
        assert_eq!(
            recorded(&snapshotter, "tonic_supervisor.queue.")["claims{result=empty}"],
            [1.0]
        );
        let looked = async {
            loop {
                let counted = recorded(&snapshotter, "tonic_supervisor.queue.");
                if counted.get("tasks{status=failed}") == Some(&vec![2.0]) {
                    break counted;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let counted = tokio::select! {
            counted = timeout(Duration::from_secs(30), looked) => counted.expect("in time"),
            () = service.sample() => unreachable!("it goes on until the service drains"),
        };
        for (name, expected) in [
            ("tasks{status=pending}", 0.0),
            ("tasks{status=completed}", 1.0),
            ("tasks{status=cancelled}", 1.0),
            ("oldest_pending{}", 0.0),
        ] {
            assert_eq!(counted.get(name), Some(&vec![expected]), "{name} in {counted:#?}");
        }
        service.drain();
        timeout(Duration::from_secs(30), service.sample())
            .await
            .expect("it ends when the service drains");
    });
}

/// Three tasks: one is completed; one is given back, lost, and lost once too often; one fails, is
/// retried and cancelled.
async fn play(store: &impl Store) {
    let mut tasks = ["r1", "r2", "r3"].map(|name| submission(name).tasks.remove(0)).to_vec();
    tasks.push(tasks[0].clone());
    let batch = BatchSubmitTasksRequest { agent_id: "a".into(), tasks };
    let ids = store.submit(batch, 1_000).await.expect("submitted").tasks;
    let [one, two, three] = [0, 1, 2].map(|index| ids[index].task_id.clone());
    let take = async |claim_id: &str, now: i64| {
        store
            .claim(claim(claim_id, 0.0), now)
            .await
            .expect("claimed")
            .answer
            .task
            .expect("a task")
            .task_id
    };
    let say = async |request: UpdateTaskStatusRequest, now: i64| {
        for _ in 0..2 {
            store.update(request.clone(), now).await.expect("taken");
        }
    };
    assert_eq!([take("c1", 3_000).await, take("c1", 3_000).await], [&*one, &*one]);
    say(update(&one, "c1", TaskStatus::Completed), 5_000).await;
    assert_eq!(take("c2", 5_000).await, two);
    say(update(&two, "c2", TaskStatus::Pending), 6_000).await;
    assert_eq!(take("c3", 7_000).await, two);
    assert_eq!(take("c4", 17_000).await, two, "its lease has ended");
    assert_eq!(take("c5", 27_000).await, three, "the second task was lost once too often");
    say(update(&three, "c5", TaskStatus::Failed), 28_000).await;
    for _ in 0..2 {
        let (agent_id, task_id) = ("a".to_owned(), three.clone());
        let retry = RetryTaskRequest {
            agent_id: agent_id.clone(),
            task_id,
            client_request_id: "retry".into(),
        };
        let task_id = store.retry(retry, 29_000).await.expect("retried").task_id;
        let cancel = CancelTaskRequest {
            agent_id,
            task_id,
            client_request_id: "cancel".into(),
            reason: "no".into(),
        };
        store.cancel(cancel, 30_000).await.expect("cancelled");
    }
}
