//! Pages of queues: each queue once, in the order of bytes, and not a word of hidden ones.

use super::submission;
use futures::future::try_join_all;
use std::pin::pin;
use tonic_supervisor::agent_queue::{
    CreateQueueRequest, DeleteQueueRequest, ListQueuesRequest, ListQueuesResponse,
    QueueExistsRequest, server::Store,
};

async fn page(
    store: &impl Store,
    after: &str,
    limit: u32,
    visible: impl Fn(&str) -> bool + Send + Sync,
) -> ListQueuesResponse {
    let request = ListQueuesRequest { after: after.into(), limit: Some(limit) };
    store.list_queues(request, visible, || 5).await.expect("listed")
}

/// All visible queues, page by page, and how many pages that took.
async fn all(
    store: &impl Store,
    limit: u32,
    visible: impl Fn(&str) -> bool + Send + Sync,
) -> (Vec<String>, usize) {
    let (mut names, mut next, mut pages) = (Vec::new(), Some(String::new()), 0);
    while let Some(after) = next {
        let page = page(store, &after, limit, &visible).await;
        assert!(
            page.queues.len() <= limit as usize
                && (page.next_after.is_none() || !page.queues.is_empty())
        );
        names.extend(page.queues.into_iter().map(|queue| queue.agent_id));
        next = page.next_after;
        pages += 1;
    }
    (names, pages)
}

/// The place must be new.
pub(crate) async fn queues_are_listed_in_pages_that_tell_nothing_of_hidden_ones(store: impl Store) {
    let mut names: Vec<String> = (0..1200).map(|number| format!("agent_{number:04}")).collect();
    // Languages would order these otherwise than bytes do.
    names.extend(["Z", "a", "_", "é", "中文", "agent-1"].map(str::to_owned));
    let made = names
        .iter()
        .map(|name| store.create_queue(CreateQueueRequest { agent_id: name.clone() }, 1));
    try_join_all(made).await.expect("made");
    names.sort_unstable();
    assert_eq!(all(&store, 1000, |_| true).await, (names.clone(), 2));
    let seven = |name: &str| name.ends_with('7');
    let sevens: Vec<_> = names.iter().filter(|name| seven(name)).cloned().collect();
    assert_eq!(
        all(&store, 60, seven).await,
        (sevens, 2),
        "120 of them, and no third page for what is hidden"
    );
    assert_eq!(page(&store, "", 100, |_| false).await, ListQueuesResponse::default());
    let last = page(&store, "agent_1198", 1, |name| name == "agent_1199").await;
    assert_eq!((last.queues.len(), last.next_after), (1, None), "the queues after it are hidden");

    store.submit(submission("r"), 2).await.expect("submitted");
    let mut deleting =
        pin!(store.delete_queue(DeleteQueueRequest { agent_id: "a".into(), confirm: true }, 3));
    while store
        .queue_exists(QueueExistsRequest { agent_id: "a".into() })
        .await
        .expect("asked")
        .exists
    {
        drop(futures::poll!(deleting.as_mut()));
        tokio::task::yield_now().await;
    }
    names.retain(|name| name != "a");
    assert_eq!(all(&store, 1000, |_| true).await.0, names, "a queue that is being deleted is gone");
}
