//! The operations over gRPC: check the request, ask the store, answer. Claims wait here, and hear of the drain.

use super::{
    Budget, Caller, Claimed, Millis, Store,
    budget::{PAGE, Share, TASK, caller},
    check::Check,
    record::millis,
    sample::{self, Samples},
    watch,
};
use crate::{clock, proto::agent_queue::*};
use futures::Stream;
use prost::Message;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch as flag, time};
use tonic::{Request, Response, Status};

/// How long the store has to say how it is.
const HEALTH: Duration = Duration::from_secs(5);
/// How long a server that has nothing to forget waits before it looks again.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Between two small steps of forgetting, others have the store.
const PRUNE_PAUSE: Duration = Duration::from_millis(100);

/// The service over a store. Clones share it.
pub struct Service<S> {
    store: Arc<S>,
    /// In tests; the store's own otherwise.
    clock: Option<fn() -> Millis>,
    draining: flag::Sender<bool>,
    budget: Budget,
}

type Answer<T> = Result<Response<T>, Status>;

impl<S: Store> Service<S> {
    /// Serves the queues of `store`.
    pub fn new(store: S) -> Self {
        let draining = flag::Sender::new(false);
        Self { store: Arc::new(store), clock: None, draining, budget: Budget::default() }
    }

    /// The same, where `clock` says what time it is: for tests.
    pub fn with_clock(store: S, clock: fn() -> Millis) -> Self {
        Self { clock: Some(clock), ..Self::new(store) }
    }

    /// Answers are counted in `budget`, until [`Measured`](super::Measured) has handed them out.
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// What time it is.
    pub(super) fn now(&self) -> Millis {
        self.clock.map_or_else(|| self.store.now(), |clock| clock())
    }

    pub(super) fn store(&self) -> &S {
        &self.store
    }

    /// Waiting claims are answered empty from now on, and watches end.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether the store can work.
    ///
    /// A store that does not say so in 5 s cannot.
    pub async fn health(&self) -> Result<String, Status> {
        let late = |_| Err(Status::unavailable("the store does not answer"));
        time::timeout(HEALTH, self.store.health()).await.unwrap_or_else(late)
    }

    /// Forgets what has been over for long enough, in small steps, until the service drains. Cancel safe.
    ///
    /// A store that cannot answer is asked again later.
    pub async fn prune(&self) {
        let mut draining = self.draining.subscribe();
        while !*draining.borrow_and_update() {
            let more = self.store.prune(self.now()).await.unwrap_or(false);
            let pause = if more { PRUNE_PAUSE } else { PRUNE_EVERY };
            let _ = time::timeout(pause, draining.changed()).await;
        }
    }

    /// Keeps the gauges of tasks and their ages, until the service drains: looks at the store every
    /// 15 s, and less often where a look takes long. Cancel safe.
    pub async fn sample(&self) {
        let (mut draining, mut samples) = (self.draining.subscribe(), Samples::default());
        while !*draining.borrow_and_update() {
            let began = clock::now();
            tokio::select! {
                // A store that cannot answer is asked again later.
                _ = samples.look(self.store(), self.now()) => {}
                _ = draining.wait_for(|draining| *draining) => return,
            }
            let pause = sample::pause(clock::now().saturating_duration_since(began));
            let _ = time::timeout(pause, draining.changed()).await;
        }
    }

    /// Claims a task, and waits for one until `end`.
    ///
    /// Dropped while it waits, it leaves no trace; dropped while the store works, the task may be claimed: the claim id finds it again.
    async fn claim(
        &self,
        request: GetTaskRequest,
        caller: Option<&Caller>,
        end: Instant,
    ) -> Result<(GetTaskResponse, Share), Status> {
        let mut draining = self.draining.subscribe();
        // In line before it looks, so that nothing falls between the two.
        let mut turn = (clock::now() < end).then(|| self.store.board().line_up(&request.agent_id));
        loop {
            let stop = *draining.borrow_and_update() || clock::now() >= end;
            // A claim that waits takes nothing of the budget.
            let share = self.budget.take(caller, TASK).await?;
            let claimed = self.store.claim(request.clone(), self.now()).await?;
            self.tell_of_leases(&request.agent_id, &claimed);
            if claimed.answer.task.is_some() {
                if let Some(turn) = turn {
                    turn.served();
                }
                return Ok((claimed.answer, share));
            }
            let Some(turn) = turn.as_mut().filter(|_| !stop) else { return Ok((claimed.answer, share)) };
            drop(share);
            // A task, a lease's end, the drain, or the time: the loop looks for itself which.
            tokio::select! {
                () = turn.come() => {}
                _ = draining.changed() => {}
                () = time::sleep_until(end.into()) => {}
            }
            turn.look();
        }
    }

    /// Who waits for this queue looks when its next lease ends.
    fn tell_of_leases(&self, agent_id: &str, claimed: &Claimed) {
        let held = claimed.answer.task.as_ref().and_then(|task| task.lease_until.as_ref());
        if let Some(at) = claimed.next_lease_end.or_else(|| held.map(|at| millis(Some(at)))) {
            self.store.board().look_by(agent_id, clock::now() + until(at, self.now()));
        }
    }
}

/// How long until a moment of the wall clock: at least a millisecond, the clock's grain, and at
/// most a day, whatever a store says.
fn until(at: Millis, now: Millis) -> Duration {
    const DAY: Millis = 24 * 60 * 60 * 1000;
    Duration::from_millis(at.saturating_sub(now).clamp(1, DAY).unsigned_abs())
}

/// The answer, with what it takes of the budget.
fn with_share<T: Message>(mut share: Share, answer: T) -> Response<T> {
    share.shrink(answer.encoded_len());
    let mut response = Response::new(answer);
    if !share.is_empty() {
        response.extensions_mut().insert(Arc::new(share));
    }
    response
}

/// The request, if its own rules are kept.
fn checked<T: Check>(request: Request<T>) -> Result<T, Status> {
    let request = request.into_inner();
    request.check()?;
    Ok(request)
}

#[tonic::async_trait]
impl<S: Store> agent_queue_server::AgentQueue for Service<S> {
    type WatchQueueStream = Pin<Box<dyn Stream<Item = Result<WatchQueueResponse, Status>> + Send>>;

    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Answer<HealthCheckResponse> {
        let health = self.health().await;
        let healthy = health.is_ok();
        let message = health.unwrap_or_else(|status| status.message().to_owned());
        Ok(Response::new(HealthCheckResponse { healthy, message, version: env!("CARGO_PKG_VERSION").into() }))
    }

    async fn create_queue(&self, request: Request<CreateQueueRequest>) -> Answer<CreateQueueResponse> {
        Ok(Response::new(self.store.create_queue(checked(request)?, self.now()).await?))
    }

    async fn queue_exists(&self, request: Request<QueueExistsRequest>) -> Answer<QueueExistsResponse> {
        Ok(Response::new(self.store.queue_exists(checked(request)?).await?))
    }

    async fn get_queue_info(&self, request: Request<GetQueueInfoRequest>) -> Answer<GetQueueInfoResponse> {
        Ok(Response::new(self.store.queue_info(checked(request)?, self.now()).await?))
    }

    async fn list_queues(&self, request: Request<ListQueuesRequest>) -> Answer<ListQueuesResponse> {
        let caller = caller(request.extensions());
        let request = checked(request)?;
        let share = self.budget.take(caller.as_ref(), PAGE).await?;
        // Whoever may call may look at every queue.
        Ok(with_share(share, self.store.list_queues(request, |_| true, self.now()).await?))
    }

    async fn clear_queue(&self, request: Request<ClearQueueRequest>) -> Answer<ClearQueueResponse> {
        Ok(Response::new(self.store.clear_queue(checked(request)?, self.now()).await?))
    }

    async fn delete_queue(&self, request: Request<DeleteQueueRequest>) -> Answer<DeleteQueueResponse> {
        Ok(Response::new(self.store.delete_queue(checked(request)?, self.now()).await?))
    }

    async fn submit_task(&self, request: Request<SubmitTaskRequest>) -> Answer<SubmitTaskResponse> {
        let SubmitTaskRequest { agent_id, task } = checked(request)?;
        let batch = BatchSubmitTasksRequest { agent_id, tasks: Vec::from_iter(task) };
        let answer = self.store.submit(batch, self.now()).await?.tasks.pop();
        Ok(Response::new(answer.ok_or_else(|| Status::unknown("the store answered a task with none"))?))
    }

    async fn batch_submit_tasks(&self, request: Request<BatchSubmitTasksRequest>) -> Answer<BatchSubmitTasksResponse> {
        Ok(Response::new(self.store.submit(checked(request)?, self.now()).await?))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Answer<GetTaskResponse> {
        let caller = caller(request.extensions());
        let request = checked(request)?;
        let (agent_id, end) = (request.agent_id.clone(), clock::now() + Duration::from_secs_f64(request.timeout));
        let (answer, share) = self.claim(request, caller.as_ref(), end).await?;
        if answer.task.is_none() {
            self.store().board().meters().of(&agent_id).claimed_nothing();
        }
        Ok(with_share(share, answer))
    }

    async fn update_task_status(&self, request: Request<UpdateTaskStatusRequest>) -> Answer<UpdateTaskStatusResponse> {
        let caller = caller(request.extensions());
        let request = checked(request)?;
        let share = self.budget.take(caller.as_ref(), TASK).await?;
        Ok(with_share(share, self.store.update(request, self.now()).await?))
    }

    async fn query_task(&self, request: Request<QueryTaskRequest>) -> Answer<QueryTaskResponse> {
        let caller = caller(request.extensions());
        let request = checked(request)?;
        let share = self.budget.take(caller.as_ref(), TASK).await?;
        Ok(with_share(share, self.store.query(request, self.now()).await?))
    }

    async fn delete_task(&self, request: Request<DeleteTaskRequest>) -> Answer<DeleteTaskResponse> {
        let DeleteTaskRequest { agent_id, task_id, client_request_id } = checked(request)?;
        let missing = super::record::no_task(&agent_id, &task_id);
        let one = BatchDeleteTasksRequest { agent_id, task_ids: vec![task_id], client_request_id };
        match self.store.delete_tasks(one, self.now()).await?.deleted {
            0 => Err(missing),
            _ => Ok(Response::new(DeleteTaskResponse {})),
        }
    }

    async fn batch_delete_tasks(&self, request: Request<BatchDeleteTasksRequest>) -> Answer<BatchDeleteTasksResponse> {
        Ok(Response::new(self.store.delete_tasks(checked(request)?, self.now()).await?))
    }

    async fn cancel_task(&self, request: Request<CancelTaskRequest>) -> Answer<CancelTaskResponse> {
        let caller = caller(request.extensions());
        let request = checked(request)?;
        let share = self.budget.take(caller.as_ref(), TASK).await?;
        Ok(with_share(share, self.store.cancel(request, self.now()).await?))
    }

    async fn retry_task(&self, request: Request<RetryTaskRequest>) -> Answer<RetryTaskResponse> {
        Ok(Response::new(self.store.retry(checked(request)?, self.now()).await?))
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Answer<ListTasksResponse> {
        let caller = caller(request.extensions());
        let request = checked(request)?;
        let share = self.budget.take(caller.as_ref(), PAGE).await?;
        Ok(with_share(share, self.store.list(request, self.now()).await?))
    }

    async fn get_tasks_by_status(&self, request: Request<GetTasksByStatusRequest>) -> Answer<ListTasksResponse> {
        let caller = caller(request.extensions());
        let GetTasksByStatusRequest { agent_id, status, limit, offset } = checked(request)?;
        let list = ListTasksRequest { agent_id, status: Some(status), limit, offset };
        let share = self.budget.take(caller.as_ref(), PAGE).await?;
        Ok(with_share(share, self.store.list(list, self.now()).await?))
    }

    async fn get_task_stats(&self, request: Request<GetTaskStatsRequest>) -> Answer<GetTaskStatsResponse> {
        Ok(Response::new(self.store.stats(checked(request)?, self.now()).await?))
    }

    async fn watch_queue(&self, request: Request<WatchQueueRequest>) -> Answer<Self::WatchQueueStream> {
        let asked_by = caller(request.extensions());
        let WatchQueueRequest { agent_id, cursor } = checked(request)?;
        let budget = (self.budget.clone(), asked_by);
        let answers = watch::answers(self.clone(), budget, agent_id, cursor, self.draining.subscribe());
        let mut response: Response<Self::WatchQueueStream> = Response::new(Box::pin(answers));
        // Each of its answers takes a share of its own.
        response.extensions_mut().insert(Arc::new(Share::none()));
        Ok(response)
    }
}

impl<S> Clone for Service<S> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            clock: self.clock,
            draining: self.draining.clone(),
            budget: self.budget.clone(),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("store", &self.store).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
