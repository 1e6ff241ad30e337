//! A watch of a queue: every change from a cursor on, until the caller goes, may not look any more,
//! or the server stops.

use super::{
    ChangeSubscription, Service, Store,
    auth::authorized_store::{AuthorizedRequest, GrantEnd},
    budget::{PAGE, Reservation},
};
use crate::proto::agent_queue::{WatchQueueRequest, WatchQueueResponse};
use futures::{Stream, stream};
use prost::Message as _;
use tokio::sync::watch;
use tonic::Status;

/// The state of one watch.
struct Watch<S: Store> {
    service: Service<S>,
    admitted: AuthorizedRequest<WatchQueueRequest, S>,
    /// The last answer's, until the next is asked for.
    reservation: Reservation,
    cursor: Option<S::Cursor>,
    subscription: ChangeSubscription,
    draining: watch::Receiver<bool>,
    answered: bool,
}

/// The answers of a watch; it ends with a status: NOT_FOUND when the queue is gone,
/// PERMISSION_DENIED when its caller may not watch any more, UNAVAILABLE when the server stops or
/// the caller must prove anew who it is.
pub(super) fn answers<S: Store>(
    service: Service<S>,
    admitted: AuthorizedRequest<WatchQueueRequest, S>,
    draining: watch::Receiver<bool>,
) -> impl Stream<Item = Result<WatchQueueResponse, Status>> {
    // Subscribed before the first look, so that nothing falls between the two.
    let subscription = admitted.store.notifier().subscribe(&admitted.request.agent_id);
    let (reservation, cursor) = (Reservation::none(), admitted.request.cursor.map(S::Cursor::from));
    let watch =
        Watch { service, admitted, reservation, cursor, subscription, draining, answered: false };
    stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(answer) => Some((Ok(answer), Some(watch))),
            Err(status) => Some((Err(status), None)),
        }
    })
}

fn end_status(ended: GrantEnd) -> Status {
    match ended {
        GrantEnd::Unproved => Status::unavailable(
            "what proved the identity is not known any more; watch again from the last cursor",
        ),
        GrantEnd::Refused(status) => status,
    }
}

impl<S: Store> Watch<S> {
    /// The next answer: the first at once, the others when there is something to tell.
    async fn next(&mut self) -> Result<WatchQueueResponse, Status> {
        self.reservation = Reservation::none();
        let WatchQueueRequest { agent_id, .. } = &self.admitted.request;
        let (store, grant) = (&self.admitted.store, &self.admitted.grant);
        loop {
            if *self.draining.borrow() {
                return Err(Status::unavailable(
                    "the server is stopping; watch again from the last cursor",
                ));
            }
            let room = self.service.budget().reserve(self.admitted.connection.as_ref(), PAGE);
            let mut reservation = tokio::select! {
                reservation = room => reservation?,
                ended = grant.ended() => return Err(end_status(ended)),
                _ = self.draining.wait_for(|draining| *draining) => continue,
            };
            self.subscription.catch_up();
            let now = self.service.now();
            let found = store.changes(agent_id, self.cursor.clone(), now).await?;
            self.cursor = Some(found.cursor.clone());
            grant.check().map_err(end_status)?;
            if !found.changes.is_empty() || !self.answered {
                self.answered = true;
                let answer =
                    WatchQueueResponse { changes: found.changes, cursor: found.cursor.into() };
                reservation.shrink(answer.encoded_len());
                self.reservation = reservation;
                return Ok(answer);
            }
            drop(reservation);
            tokio::select! {
                ended = grant.ended() => return Err(end_status(ended)),
                () = self.subscription.changed() => {}
                _ = self.draining.wait_for(|draining| *draining) => {}
            }
        }
    }
}
