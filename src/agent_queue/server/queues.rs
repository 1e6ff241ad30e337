//! Pages of queues, of which a caller may see some and not others.
//!
//! A page goes on after a name and is filled with visible queues only, however many hidden ones
//! stand between; whether there is a next page depends on visible queues alone. So what an answer
//! says is the same whether hidden queues exist or not.

use super::{Millis, Store};
use crate::proto::agent_queue::{ListQueuesRequest, ListQueuesResponse};
use tonic::Status;

/// How many queues a page has where nobody says.
const LIMIT: u32 = 100;
/// How many names are looked at in one go.
const NAMES: usize = 1000;

/// A page of the queues for which `visible` holds.
pub(super) async fn page<S: Store>(
    store: &S,
    request: ListQueuesRequest,
    visible: impl Fn(&str) -> bool + Send + Sync,
    clock: impl Fn() -> Millis + Send + Sync,
) -> Result<ListQueuesResponse, Status> {
    let limit = request.limit.unwrap_or(LIMIT) as usize;
    let mut names = Vec::new();
    let mut after = request.after;
    // One more than is shown tells whether there is a next page.
    while names.len() <= limit {
        let found = store.queue_names(&after, NAMES).await?;
        let last = found.last().filter(|_| found.len() == NAMES).cloned();
        names.extend(found.into_iter().filter(|name| visible(name)));
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    let more = names.len() > limit;
    names.truncate(limit);
    let next_after = names.last().filter(|_| more).cloned();
    let mut queues = Vec::with_capacity(names.len());
    // Each with the time of its own look, as in `sample`.
    for name in &names {
        queues.extend(store.summary(name, clock()).await?);
    }
    Ok(ListQueuesResponse { queues, next_after })
}
