//! A claim that waits for a task: until one comes, its time is up, the server drains, or its caller
//! may not claim any more.

use super::{
    Board, Claimed, Millis, Service, Store,
    auth::gate::{Admitted, Ended},
    budget::{Share, TASK},
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
        admitted: Admitted<GetTaskRequest, S>,
        end: Instant,
    ) -> Result<(GetTaskResponse, Share), Status> {
        let Admitted { request, store, caller, grant } = admitted;
        let mut draining = self.subscribe_to_drain();
        // In line before it looks, so that nothing falls between the two.
        let mut turn = (clock::now() < end).then(|| store.board().line_up(&request.agent_id));
        loop {
            let stop = *draining.borrow_and_update() || clock::now() >= end;
            // A claim that waits takes nothing of the budget.
            let share = self.budget().take(caller.as_ref(), TASK).await?;
            // Both that and the wait for a task may have been long.
            if let Err(ended) = grant.check() {
                return without_a_task(ended);
            }
            let claimed = store.claim(request.clone(), self.now()).await?;
            self.tell_of_leases(store.board(), &request.agent_id, &claimed);
            if claimed.answer.task.is_some() {
                if let Some(turn) = turn {
                    turn.served();
                }
                return Ok((claimed.answer, share));
            }
            let Some(turn) = turn.as_mut().filter(|_| !stop) else {
                return Ok((claimed.answer, share));
            };
            drop(share);
            // A task, a lease's end, the drain, or the time: the loop looks for itself which. A
            // grant that ended is its end.
            tokio::select! {
                ended = grant.ended() => return without_a_task(ended),
                () = turn.come() => {}
                _ = draining.changed() => {}
                () = time::sleep_until(end.into()) => {}
            }
            turn.look();
        }
    }

    /// Who waits for this queue looks when its next lease ends.
    fn tell_of_leases(&self, board: &Board, agent_id: &str, claimed: &Claimed) {
        let held = claimed.answer.task.as_ref().and_then(|task| task.lease_until.as_ref());
        if let Some(at) = claimed.next_lease_end.or_else(|| held.map(|at| millis(Some(at)))) {
            board.look_by(agent_id, clock::now() + until(at, self.now()));
        }
    }
}

/// The end of a claim whose grant ended while it waited. Whoever must prove its identity anew
/// claims again.
fn without_a_task(ended: Ended) -> Result<(GetTaskResponse, Share), Status> {
    match ended {
        Ended::Unproved => Ok((GetTaskResponse::default(), Share::none())),
        Ended::Refused(status) => Err(status),
    }
}

/// How long until a moment of the wall clock: at least a millisecond, the clock's grain, and at
/// most a day, whatever a store says.
fn until(at: Millis, now: Millis) -> Duration {
    const DAY: Millis = 24 * 60 * 60 * 1000;
    Duration::from_millis(at.saturating_sub(now).clamp(1, DAY).unsigned_abs())
}
