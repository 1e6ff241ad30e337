//! A watch of a queue: every change from a cursor on, until the caller goes, may not look any more,
//! or the server stops.

use super::{
    News, Service, Store,
    auth::gate::{Admitted, Ended},
    budget::{PAGE, Share},
};
use crate::proto::agent_queue::{WatchQueueRequest, WatchQueueResponse};
use futures::{Stream, stream};
use prost::Message as _;
use tokio::sync::watch;
use tonic::Status;

/// One watch's place.
struct Watch<S: Store> {
    service: Service<S>,
    admitted: Admitted<WatchQueueRequest, S>,
    /// The last answer's, until the next is asked for.
    share: Share,
    cursor: Option<S::Cursor>,
    news: News,
    draining: watch::Receiver<bool>,
    told: bool,
}

/// The answers of a watch; it ends with a status: NOT_FOUND when the queue is gone,
/// PERMISSION_DENIED when its caller may not watch any more, UNAVAILABLE when the server stops or
/// the caller must prove anew who it is.
pub(super) fn answers<S: Store>(
    service: Service<S>,
    admitted: Admitted<WatchQueueRequest, S>,
    draining: watch::Receiver<bool>,
) -> impl Stream<Item = Result<WatchQueueResponse, Status>> {
    // Subscribed before the first look, so that nothing falls between the two.
    let news = admitted.store.board().subscribe(&admitted.request.agent_id);
    let (share, cursor) = (Share::none(), admitted.request.cursor.map(S::Cursor::from));
    let watch = Watch { service, admitted, share, cursor, news, draining, told: false };
    stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(answer) => Some((Ok(answer), Some(watch))),
            Err(status) => Some((Err(status), None)),
        }
    })
}

fn last_word(ended: Ended) -> Status {
    match ended {
        Ended::Unproved => Status::unavailable(
            "what proved the identity is not known any more; watch again from the last cursor",
        ),
        Ended::Refused(status) => status,
    }
}

impl<S: Store> Watch<S> {
    /// The next answer: the first at once, the others when there is something to tell.
    async fn next(&mut self) -> Result<WatchQueueResponse, Status> {
        self.share = Share::none();
        let WatchQueueRequest { agent_id, .. } = &self.admitted.request;
        let (store, grant) = (&self.admitted.store, &self.admitted.grant);
        loop {
            if *self.draining.borrow() {
                return Err(Status::unavailable(
                    "the server is stopping; watch again from the last cursor",
                ));
            }
            let room = self.service.budget().take(self.admitted.caller.as_ref(), PAGE);
            let mut share = tokio::select! {
                share = room => share?,
                ended = grant.ended() => return Err(last_word(ended)),
                _ = self.draining.wait_for(|draining| *draining) => continue,
            };
            self.news.catch_up();
            let now = self.service.now();
            let found = store.changes(agent_id, self.cursor.clone(), now).await?;
            self.cursor = Some(found.cursor.clone());
            grant.check().map_err(last_word)?;
            if !found.changes.is_empty() || !self.told {
                self.told = true;
                let answer =
                    WatchQueueResponse { changes: found.changes, cursor: found.cursor.into() };
                share.shrink(answer.encoded_len());
                self.share = share;
                return Ok(answer);
            }
            drop(share);
            tokio::select! {
                ended = grant.ended() => return Err(last_word(ended)),
                () = self.news.come() => {}
                _ = self.draining.wait_for(|draining| *draining) => {}
            }
        }
    }
}
