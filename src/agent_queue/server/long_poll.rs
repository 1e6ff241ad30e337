//! `GetTask`: claims a task, or waits for one until its timeout, the drain or the end of its grant.
//! It registers its wait before it looks, so that it misses no task, and holds no budget meanwhile.

use super::{
    Claimed, Millis, Notifier, Service, Store,
    auth::authorized_store::{AuthorizedRequest, GrantEnd},
    budget::{Reservation, TASK},
    record::millis,
};
use crate::{
    clock,
    proto::agent_queue::{GetTaskRequest, GetTaskResponse},
};
use std::time::{Duration, Instant};
use tokio::time;
use tonic::Status;

impl<S: Store> Service<S> {
    /// Claims a task, and waits for one until `end`.
    ///
    /// Dropped while it waits, it leaves no trace; dropped while the store works, the task may be
    /// claimed: the claim id finds it again.
    pub(super) async fn claim(
        &self,
        admitted: AuthorizedRequest<GetTaskRequest, S>,
        end: Instant,
    ) -> Result<(GetTaskResponse, Reservation), Status> {
        let AuthorizedRequest { request, store, connection, grant } = admitted;
        let mut draining = self.subscribe_to_drain();
        // It waits before it checks, so that no task is missed between the two.
        let mut waiting =
            (clock::now() < end).then(|| store.notifier().wait_for_task(&request.agent_id));
        loop {
            let stop = *draining.borrow_and_update() || clock::now() >= end;
            // A claim that waits takes nothing of the budget.
            let reservation = self.budget().reserve(connection.as_ref(), TASK).await?;
            // Both that and the wait for a task may have been long.
            if let Err(ended) = grant.check() {
                return without_a_task(ended);
            }
            let claimed = store.claim(request.clone(), self.now()).await?;
            self.schedule_checks(store.notifier(), &request.agent_id, &claimed);
            if claimed.answer.task.is_some() {
                if let Some(waiting) = waiting {
                    waiting.served();
                }
                return Ok((claimed.answer, reservation));
            }
            let Some(waiting) = waiting.as_mut().filter(|_| !stop) else {
                return Ok((claimed.answer, reservation));
            };
            drop(reservation);
            // A task, a lease's end, the drain, or the timeout: the loop finds out which. A grant
            // that ended ends the claim.
            tokio::select! {
                ended = grant.ended() => return without_a_task(ended),
                () = waiting.woken() => {}
                _ = draining.changed() => {}
                () = time::sleep_until(end.into()) => {}
            }
            waiting.check();
        }
    }

    /// The claims that wait for this queue check when its next lease ends.
    fn schedule_checks(&self, notifier: &Notifier, agent_id: &str, claimed: &Claimed) {
        let held = claimed.answer.task.as_ref().and_then(|task| task.lease_until.as_ref());
        if let Some(at) = claimed.next_lease_end.or_else(|| held.map(|at| millis(Some(at)))) {
            notifier.check_by(agent_id, clock::now() + until(at, self.now()));
        }
    }
}

/// The end of a claim whose grant ended while it waited. Whoever must prove its identity anew
/// claims again.
fn without_a_task(ended: GrantEnd) -> Result<(GetTaskResponse, Reservation), Status> {
    match ended {
        GrantEnd::Unproved => Ok((GetTaskResponse::default(), Reservation::none())),
        GrantEnd::Refused(status) => Err(status),
    }
}

/// How long until a moment of the wall clock: at least a millisecond, the clock's grain, and at
/// most a day, whatever a store says.
fn until(at: Millis, now: Millis) -> Duration {
    const DAY: Millis = 24 * 60 * 60 * 1000;
    Duration::from_millis(at.saturating_sub(now).clamp(1, DAY).unsigned_abs())
}
