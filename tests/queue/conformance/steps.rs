//! Long operations go in steps that let others in between, and a clock that is set back holds no
//! task.

use super::{claim, settings, submission};
use futures::future::{Either, join_all, select};
use std::pin::pin;
use tonic::Code;
use tonic_supervisor::agent_queue::{
    BatchSubmitTasksRequest, ClearQueueRequest, CreateQueueRequest, DeleteQueueRequest,
    GetTaskStatsRequest, TaskCounts, server::Store,
};

async fn queue(store: &impl Store, agent_id: &str) {
    store.create_queue(CreateQueueRequest { agent_id: agent_id.into() }, 0).await.expect("made");
}

async fn fill(store: &impl Store, tasks: usize) {
    queue(store, "a").await;
    for batch in 0..tasks / 500 {
        let tasks =
            (0..500).flat_map(|number| submission(&format!("{batch}-{number}")).tasks).collect();
        store
            .submit(BatchSubmitTasksRequest { agent_id: "a".into(), tasks }, 1)
            .await
            .expect("submitted");
    }
}

async fn counts(store: &impl Store, now: i64) -> TaskCounts {
    let stats = store.stats(GetTaskStatsRequest { agent_id: "a".into() }, now).await;
    stats.expect("counted").tasks.expect("counts")
}

fn clear(name: &str) -> ClearQueueRequest {
    let (agent_id, client_request_id) = ("a".into(), name.into());
    ClearQueueRequest { agent_id, status: None, confirm: true, client_request_id }
}

/// How many submissions to queue "a" are answered until `long` is.
async fn meanwhile<T>(store: &impl Store, long: impl Future<Output = T>) -> (T, usize) {
    let mut long = pin!(long);
    for count in 0.. {
        let request = submission(&format!("meanwhile-{count}"));
        match select(&mut long, pin!(store.submit(request, 2))).await {
            Either::Left((answer, submission)) => {
                // It was under way, and is there or not; the test wants to know how many are.
                submission.await.expect("submitted");
                return (answer, count + 1);
            }
            Either::Right((submitted, _)) => drop(submitted.expect("submitted")),
        }
    }
    unreachable!("it ends before the numbers do")
}

/// The place must be new.
pub(crate) async fn a_long_clearing_lets_others_in_and_takes_what_was_there_when_it_began(
    store: impl Store,
) {
    fill(&store, 5000).await;
    let (cleared, submitted) = meanwhile(&store, store.clear_queue(clear("clear"), 2)).await;
    let deleted = cleared.expect("cleared").deleted;
    assert!(submitted > 2, "others came between");
    assert!((5000..=5001).contains(&deleted), "{deleted}: what came later stays");
    let left = u64::try_from(submitted).expect("few") + 5000 - deleted;
    assert_eq!(counts(&store, 3).await.pending, left);
    assert_eq!(
        store.clear_queue(clear("clear"), 3).await.expect("known").deleted,
        deleted,
        "its name is remembered"
    );
    assert_eq!(counts(&store, 3).await.pending, left);
}

/// The place must be new.
pub(crate) async fn a_clearing_that_is_cut_off_leaves_part_done_and_goes_on_when_it_is_repeated(
    store: impl Store,
) {
    fill(&store, 5000).await;
    {
        let mut clearing = pin!(store.clear_queue(clear("clear"), 2));
        while counts(&store, 2).await.pending == 5000 {
            assert!(futures::poll!(clearing.as_mut()).is_pending(), "it is cut off in the middle");
            tokio::task::yield_now().await;
        }
    }
    let left = counts(&store, 2).await.pending;
    assert!(left < 5000);
    let rest = store.clear_queue(clear("clear"), 3).await.expect("cleared").deleted;
    assert!(rest <= left && rest > 0, "{rest} of {left}");
    assert_eq!(counts(&store, 3).await.pending, 0);
    assert_eq!(store.clear_queue(clear("clear"), 4).await.expect("known").deleted, rest);
}

/// The place must be new.
pub(crate) async fn a_queue_with_thousands_of_tasks_is_gone_at_once_and_others_are_let_in(
    store: impl Store,
) {
    fill(&store, 5000).await;
    queue(&store, "b").await;
    let request = DeleteQueueRequest { agent_id: "a".into(), confirm: true };
    let mut deleting = pin!(store.delete_queue(request.clone(), 2));
    let gone = loop {
        let other = pin!(store.stats(GetTaskStatsRequest { agent_id: "a".into() }, 2));
        match select(&mut deleting, other).await {
            Either::Left((deleted, _)) => break deleted.expect("deleted"),
            Either::Right((Err(status), _)) => {
                assert_eq!(status.code(), Code::NotFound, "nobody sees a part of it: {status}");
            }
            Either::Right((Ok(stats), _)) => {
                assert_eq!(stats.tasks.expect("counts").pending, 5000, "whole, or gone")
            }
        }
    };
    assert_eq!((gone.existed, gone.deleted), (true, 5000));
    queue(&store, "a").await;
    assert_eq!(counts(&store, 3).await, TaskCounts::default(), "a new one is empty");
    // Cut off in the middle, the rest goes when what is old is forgotten.
    fill(&store, 5000).await;
    drop(futures::poll!(pin!(store.delete_queue(request, 4))));
    while store.prune(5).await.expect("pruned") {}
}

/// The place must be new.
pub(crate) async fn thousands_of_leases_that_end_at_once_are_given_back_before_anybody_looks(
    store: impl Store,
) {
    fill(&store, 2500).await;
    let names: Vec<_> = (0..2500).map(|number| format!("claim-{number}")).collect();
    for names in names.chunks(50) {
        let claims = join_all(names.iter().map(|name| store.claim(claim(name, 0.0), 2))).await;
        assert!(claims.into_iter().all(|claimed| claimed.expect("claimed").answer.task.is_some()));
    }
    let later = 2 + i64::try_from(settings().lease().as_millis()).expect("in range");
    let before = counts(&store, later - 1).await;
    assert_eq!((before.pending, before.processing), (0, 2500));
    let claimed = store.claim(claim("next", 0.0), later).await.expect("claimed").answer.task;
    assert_eq!(claimed.expect("a task").claims, 2);
    let after = counts(&store, later).await;
    assert_eq!((after.pending, after.processing), (2499, 1));
}

/// The place must be new.
pub(crate) async fn a_clock_that_is_set_back_holds_no_task_for_longer_than_a_lease(
    store: impl Store,
) {
    const HOUR: i64 = 60 * 60 * 1000;
    let (now, lease) =
        (10 * HOUR, i64::try_from(settings().lease().as_millis()).expect("in range"));
    queue(&store, "a").await;
    store.submit(submission("r"), now + HOUR).await.expect("submitted");
    store.claim(claim("dies", 0.0), now + HOUR).await.expect("claimed");
    let waits = store.claim(claim("lives", 0.0), now).await.expect("answered");
    assert_eq!((waits.answer.task, waits.next_lease_end), (None, Some(now + lease)));
    assert_eq!(counts(&store, now + lease - 1).await.processing, 1);
    assert_eq!(counts(&store, now + lease).await.pending, 1);
    let task = store.claim(claim("lives", 0.0), now + lease).await.expect("claimed").answer.task;
    assert_eq!(task.expect("a task").claims, 2);
}
