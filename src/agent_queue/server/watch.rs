//! A watch of a queue: every change from a cursor on, until the caller goes or the server stops.

use super::{
    Budget, Caller, News, Service, Store,
    budget::{PAGE, Share},
};
use crate::proto::agent_queue::WatchQueueResponse;
use futures::{Stream, stream};
use prost::Message as _;
use tokio::sync::watch;
use tonic::Status;

/// One watch's place.
struct Watch<S: Store> {
    service: Service<S>,
    budget: (Budget, Option<Caller>),
    /// The last answer's, until the next is asked for.
    share: Share,
    agent_id: String,
    cursor: Option<S::Cursor>,
    news: News,
    draining: watch::Receiver<bool>,
    told: bool,
}

/// The answers of a watch; it ends with a status: NOT_FOUND when the queue is gone, UNAVAILABLE when the server stops.
pub(super) fn answers<S: Store>(
    service: Service<S>,
    budget: (Budget, Option<Caller>),
    agent_id: String,
    cursor: Option<u64>,
    draining: watch::Receiver<bool>,
) -> impl Stream<Item = Result<WatchQueueResponse, Status>> {
    // Subscribed before the first look, so that nothing falls between the two.
    let news = service.store().board().subscribe(&agent_id);
    let (share, cursor) = (Share::none(), cursor.map(S::Cursor::from));
    let watch = Watch { service, budget, share, agent_id, cursor, news, draining, told: false };
    stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(answer) => Some((Ok(answer), Some(watch))),
            Err(status) => Some((Err(status), None)),
        }
    })
}

impl<S: Store> Watch<S> {
    /// The next answer: the first at once, the others when there is something to tell.
    async fn next(&mut self) -> Result<WatchQueueResponse, Status> {
        self.share = Share::none();
        loop {
            if *self.draining.borrow() {
                return Err(Status::unavailable("the server is stopping; watch again from the last cursor"));
            }
            let room = self.budget.0.take(self.budget.1.as_ref(), PAGE);
            let mut share = tokio::select! {
                share = room => share?,
                _ = self.draining.wait_for(|draining| *draining) => continue,
            };
            self.news.catch_up();
            let now = self.service.now();
            let found = self.service.store().changes(&self.agent_id, self.cursor.clone(), now).await?;
            self.cursor = Some(found.cursor.clone());
            if !found.changes.is_empty() || !self.told {
                self.told = true;
                let answer = WatchQueueResponse { changes: found.changes, cursor: found.cursor.into() };
                share.shrink(answer.encoded_len());
                self.share = share;
                return Ok(answer);
            }
            drop(share);
            tokio::select! {
                () = self.news.come() => {}
                _ = self.draining.wait_for(|draining| *draining) => {}
            }
        }
    }
}
