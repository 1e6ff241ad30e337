//! The operations over gRPC: admit the request, ask the store, answer.

use super::{
    Authorizer, Budget, ConnectionInfo, Millis, Store,
    auth::authorized_store::{AuthorizedRequest, AuthorizedStore, Grant},
    budget::{PAGE, Reservation, TASK},
    sample::{self, Samples},
    watch,
};
use crate::{clock, proto::agent_queue::*};
use futures::Stream;
use prost::Message;
use std::{fmt, pin::Pin, sync::Arc, time::Duration};
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
    store: AuthorizedStore<S>,
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
        Self {
            store: AuthorizedStore::new(store),
            clock: None,
            draining,
            budget: Budget::default(),
        }
    }

    /// The same, where `clock` says what time it is: for tests.
    pub fn with_clock(store: S, clock: fn() -> Millis) -> Self {
        Self { clock: Some(clock), ..Self::new(store) }
    }

    /// Answers are counted in `budget`, until [`Budgeted`](super::Budgeted) has handed them out.
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// Only who may, by `authorizer`. It must also be asked who a caller is
    /// ([`Authenticated`](super::Authenticated)): until then every call is UNAUTHENTICATED.
    pub fn with_authorizer(self, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { store: self.store.with_authorizer(authorizer), ..self }
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What time it is.
    pub(super) fn now(&self) -> Millis {
        self.clock.map_or_else(|| self.store.now(), |clock| clock())
    }

    /// Whether the service drains, now and later.
    pub(super) fn subscribe_to_drain(&self) -> flag::Receiver<bool> {
        self.draining.subscribe()
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

    /// Forgets what has been over for long enough, in small steps, until the service drains.
    ///
    /// A store that cannot answer is asked again later.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it forgets in whole steps.
    pub async fn prune(&self) {
        let mut draining = self.draining.subscribe();
        while !*draining.borrow_and_update() {
            let more = self.store.prune(self.now()).await.unwrap_or(false);
            let pause = if more { PRUNE_PAUSE } else { PRUNE_EVERY };
            let _ = time::timeout(pause, draining.changed()).await;
        }
    }

    /// Keeps the gauges of tasks and their ages, until the service drains: looks at the store every
    /// 15 s, and less often where a look takes long.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the gauges keep their values.
    pub async fn sample(&self) {
        let (mut draining, mut samples) = (self.draining.subscribe(), Samples::default());
        while !*draining.borrow_and_update() {
            let began = clock::now();
            tokio::select! {
                // A store that cannot answer is asked again later.
                _ = self.store.sample(&mut samples, || self.now()) => {}
                _ = draining.wait_for(|draining| *draining) => return,
            }
            let pause = sample::pause(clock::now().saturating_duration_since(began));
            let _ = time::timeout(pause, draining.changed()).await;
        }
    }

    /// Room for an answer of this size. The wait for it may be long, so that the grant is asked
    /// again.
    async fn room(
        &self,
        connection: Option<&ConnectionInfo>,
        bytes: usize,
        grant: &Grant,
    ) -> Result<Reservation, Status> {
        let reservation = self.budget.reserve(connection, bytes).await?;
        grant.check()?;
        Ok(reservation)
    }
}

/// The answer, with what it takes of the budget.
fn with_reservation<T: Message>(mut reservation: Reservation, answer: T) -> Response<T> {
    reservation.shrink(answer.encoded_len());
    let mut response = Response::new(answer);
    if !reservation.is_empty() {
        response.extensions_mut().insert(Arc::new(reservation));
    }
    response
}

#[tonic::async_trait]
impl<S: Store> agent_queue_server::AgentQueue for Service<S> {
    type WatchQueueStream = Pin<Box<dyn Stream<Item = Result<WatchQueueResponse, Status>> + Send>>;

    async fn health_check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Answer<HealthCheckResponse> {
        self.store.known(&request)?;
        let health = self.health().await;
        let healthy = health.is_ok();
        let message = health.unwrap_or_else(|status| status.message().to_owned());
        Ok(Response::new(HealthCheckResponse {
            healthy,
            message,
            version: env!("CARGO_PKG_VERSION").into(),
        }))
    }

    async fn create_queue(
        &self,
        request: Request<CreateQueueRequest>,
    ) -> Answer<CreateQueueResponse> {
        let AuthorizedRequest { request, store, .. } = self.store.authorize(request)?;
        Ok(Response::new(store.create_queue(request, self.now()).await?))
    }

    async fn queue_exists(
        &self,
        request: Request<QueueExistsRequest>,
    ) -> Answer<QueueExistsResponse> {
        let AuthorizedRequest { request, store, .. } = self.store.authorize(request)?;
        Ok(Response::new(store.queue_exists(request).await?))
    }

    async fn get_queue_info(
        &self,
        request: Request<GetQueueInfoRequest>,
    ) -> Answer<GetQueueInfoResponse> {
        let AuthorizedRequest { request, store, .. } = self.store.authorize(request)?;
        Ok(Response::new(store.queue_info(request, self.now()).await?))
    }

    async fn list_queues(&self, request: Request<ListQueuesRequest>) -> Answer<ListQueuesResponse> {
        let AuthorizedRequest { request, store, connection, grant } =
            self.store.authorize_listing(request)?;
        let reservation = self.budget.reserve(connection.as_ref(), PAGE).await?;
        // It may have waited for room.
        grant.check()?;
        let page = store.list_queues(request, |queue| grant.shows(queue), || self.now());
        Ok(with_reservation(reservation, page.await?))
    }

    async fn clear_queue(&self, request: Request<ClearQueueRequest>) -> Answer<ClearQueueResponse> {
        let AuthorizedRequest { request, store, .. } = self.store.authorize(request)?;
        Ok(Response::new(store.clear_queue(request, self.now()).await?))
    }

    async fn delete_queue(
        &self,
        request: Request<DeleteQueueRequest>,
    ) -> Answer<DeleteQueueResponse> {
        let AuthorizedRequest { request, store, .. } = self.store.authorize(request)?;
        Ok(Response::new(store.delete_queue(request, self.now()).await?))
    }

    async fn submit_task(&self, request: Request<SubmitTaskRequest>) -> Answer<SubmitTaskResponse> {
        let AuthorizedRequest { request: SubmitTaskRequest { agent_id, task }, store, .. } =
            self.store.authorize(request)?;
        let batch = BatchSubmitTasksRequest { agent_id, tasks: Vec::from_iter(task) };
        let answer = store.submit(batch, self.now()).await?.tasks.pop();
        Ok(Response::new(
            answer.ok_or_else(|| Status::unknown("the store answered a task with none"))?,
        ))
    }

    async fn batch_submit_tasks(
        &self,
        request: Request<BatchSubmitTasksRequest>,
    ) -> Answer<BatchSubmitTasksResponse> {
        let AuthorizedRequest { request, store, .. } = self.store.authorize(request)?;
        Ok(Response::new(store.submit(request, self.now()).await?))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Answer<GetTaskResponse> {
        let admitted = self.store.authorize(request)?;
        let (agent_id, store) = (admitted.request.agent_id.clone(), admitted.store.clone());
        let end = clock::now() + Duration::from_secs_f64(admitted.request.timeout);
        let (answer, reservation) = self.claim(admitted, end).await?;
        if answer.task.is_none() {
            store.notifier().meters().of(&agent_id).claimed_nothing();
        }
        Ok(with_reservation(reservation, answer))
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusRequest>,
    ) -> Answer<UpdateTaskStatusResponse> {
        let AuthorizedRequest { request, store, connection, grant } =
            self.store.authorize(request)?;
        let reservation = self.room(connection.as_ref(), TASK, &grant).await?;
        Ok(with_reservation(reservation, store.update(request, self.now()).await?))
    }

    async fn query_task(&self, request: Request<QueryTaskRequest>) -> Answer<QueryTaskResponse> {
        let AuthorizedRequest { request, store, connection, grant } =
            self.store.authorize(request)?;
        let reservation = self.room(connection.as_ref(), TASK, &grant).await?;
        Ok(with_reservation(reservation, store.query(request, self.now()).await?))
    }

    async fn delete_task(&self, request: Request<DeleteTaskRequest>) -> Answer<DeleteTaskResponse> {
        let AuthorizedRequest { request, store, .. } = self.store.authorize(request)?;
        let DeleteTaskRequest { agent_id, task_id, client_request_id } = request;
        let missing = super::record::no_task(&agent_id, &task_id);
        let one = BatchDeleteTasksRequest { agent_id, task_ids: vec![task_id], client_request_id };
        match store.delete_tasks(one, self.now()).await?.deleted {
            0 => Err(missing),
            _ => Ok(Response::new(DeleteTaskResponse {})),
        }
    }

    async fn batch_delete_tasks(
        &self,
        request: Request<BatchDeleteTasksRequest>,
    ) -> Answer<BatchDeleteTasksResponse> {
        let AuthorizedRequest { request, store, .. } = self.store.authorize(request)?;
        Ok(Response::new(store.delete_tasks(request, self.now()).await?))
    }

    async fn cancel_task(&self, request: Request<CancelTaskRequest>) -> Answer<CancelTaskResponse> {
        let AuthorizedRequest { request, store, connection, grant } =
            self.store.authorize(request)?;
        let reservation = self.room(connection.as_ref(), TASK, &grant).await?;
        Ok(with_reservation(reservation, store.cancel(request, self.now()).await?))
    }

    async fn retry_task(&self, request: Request<RetryTaskRequest>) -> Answer<RetryTaskResponse> {
        let AuthorizedRequest { request, store, .. } = self.store.authorize(request)?;
        Ok(Response::new(store.retry(request, self.now()).await?))
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Answer<ListTasksResponse> {
        let AuthorizedRequest { request, store, connection, grant } =
            self.store.authorize(request)?;
        let reservation = self.room(connection.as_ref(), PAGE, &grant).await?;
        Ok(with_reservation(reservation, store.list(request, self.now()).await?))
    }

    async fn get_tasks_by_status(
        &self,
        request: Request<GetTasksByStatusRequest>,
    ) -> Answer<ListTasksResponse> {
        let AuthorizedRequest { request, store, connection, grant } =
            self.store.authorize(request)?;
        let GetTasksByStatusRequest { agent_id, status, limit, offset } = request;
        let list = ListTasksRequest { agent_id, status: Some(status), limit, offset };
        let reservation = self.room(connection.as_ref(), PAGE, &grant).await?;
        Ok(with_reservation(reservation, store.list(list, self.now()).await?))
    }

    async fn get_task_stats(
        &self,
        request: Request<GetTaskStatsRequest>,
    ) -> Answer<GetTaskStatsResponse> {
        let AuthorizedRequest { request, store, .. } = self.store.authorize(request)?;
        Ok(Response::new(store.stats(request, self.now()).await?))
    }

    async fn watch_queue(
        &self,
        request: Request<WatchQueueRequest>,
    ) -> Answer<Self::WatchQueueStream> {
        let admitted = self.store.authorize(request)?;
        let answers = watch::answers(self.clone(), admitted, self.subscribe_to_drain());
        let mut response: Response<Self::WatchQueueStream> = Response::new(Box::pin(answers));
        // Each of its answers has a reservation of its own.
        response.extensions_mut().insert(Arc::new(Reservation::none()));
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
