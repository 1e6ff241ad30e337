//! The one trait of all stores: what each of them can do, in the service's own messages.

use super::{Millis, Notifier, queues};
use crate::proto::agent_queue::{
    BatchDeleteTasksRequest, BatchDeleteTasksResponse, BatchSubmitTasksRequest,
    BatchSubmitTasksResponse, CancelTaskRequest, CancelTaskResponse, ClearQueueRequest,
    ClearQueueResponse, CreateQueueRequest, CreateQueueResponse, DeleteQueueRequest,
    DeleteQueueResponse, GetQueueInfoRequest, GetQueueInfoResponse, GetTaskRequest,
    GetTaskResponse, GetTaskStatsRequest, GetTaskStatsResponse, ListQueuesRequest,
    ListQueuesResponse, ListTasksRequest, ListTasksResponse, QueryTaskRequest, QueryTaskResponse,
    QueueExistsRequest, QueueExistsResponse, QueueSummary, RetryTaskRequest, RetryTaskResponse,
    TaskChange, UpdateTaskStatusRequest, UpdateTaskStatusResponse,
};
use std::future::Future;
use tonic::Status;

/// A claim's answer, and when it is worth asking again.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Claimed {
    /// With a task, or without.
    pub answer: GetTaskResponse,
    /// Where there was no task: when the first lease of the queue ends.
    pub next_lease_end: Option<Millis>,
}

impl Claimed {
    /// This answer; and, where it has no task, when the first lease of the queue ends.
    pub fn new(answer: GetTaskResponse, next_lease_end: Option<Millis>) -> Self {
        Self { answer, next_lease_end }
    }
}

/// What changed in a queue.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Changes<C = u64> {
    /// Each task that changed, once, as it is now.
    pub changes: Vec<TaskChange>,
    /// Where to go on.
    pub cursor: C,
}

impl<C> Changes<C> {
    /// These changes, up to this cursor.
    pub fn new(changes: Vec<TaskChange>, cursor: C) -> Self {
        Self { changes, cursor }
    }
}

/// Keeps the queues of all agents.
///
/// What holds for every store, and is tried on each by one suite (`tests/queue/conformance`):
///
/// - **Requests are valid.** The service checks them first; a store looks only at what it keeps.
/// - **`now` is an argument.** The service passes [`Store::now`]. A lease that ends later than one
///   that begins now was written by another clock, and is shortened to that
///   ([`Record::shorten`](super::record::Record::shorten)).
/// - **An answer is durable**, where the store is: it goes out after the commit. A call whose
///   future is dropped may have been carried out all the same; nothing is half done.
/// - **Leases end on time.** An operation on a queue first gives back what is overdue at `now`
///   ([`Record::lose`](super::record::Record::lose)), so that nobody ever sees a task PROCESSING
///   whose `lease_until` has come.
/// - **One rule for moves.** What an operation makes of a task is decided by
///   [`record`](super::record), never by the store.
/// - **Names.** A `client_request_id` seen before gets its first answer, whatever else the request
///   says; one that named another operation is INVALID_ARGUMENT
///   ([`RememberedAnswer`](super::record::RememberedAnswer)). A task keeps its own; when it is
///   deleted its name is remembered on its own. A request that failed, or found nothing to change,
///   need not be remembered. Claim ids have a room of their own: a task keeps the id of the claim
///   that holds or ended it, and a claim that is over otherwise is remembered with the reason
///   ([`ClaimEnd`](super::record::ClaimEnd)).
/// - **Ids.** A task's id is [`task_id`](super::record::task_id) of a number that grows with each
///   submission and is never given twice, not even after a queue was deleted. Older means a lower
///   number; batches keep their order.
/// - **Errors.** NOT_FOUND for a queue or task that is not there, FAILED_PRECONDITION for an
///   illegal move or a claim that does not hold, INVALID_ARGUMENT for a name of another operation,
///   UNAVAILABLE when the store cannot answer now; never ABORTED, INTERNAL or another code that a
///   client retries in vain.
/// - **Notifications.** After the commit of a change the store notifies its [`Notifier`].
pub trait Store: Send + Sync + 'static {
    /// How far a watch has come. In the service's messages it is a number; the store that made it
    /// may know more, and tell less twice.
    type Cursor: From<u64> + Into<u64> + Clone + Send + Sync;

    /// Where changes are marked: those made here, and those of other servers where the store is
    /// shared.
    fn notifier(&self) -> &Notifier;

    /// What time it is for this store: one clock for all servers that share it. Nobody sets it
    /// while the store is open.
    fn now(&self) -> Millis {
        crate::clock::steady_millis()
    }

    /// What the store is, in a few words; UNAVAILABLE where it cannot work.
    fn health(&self) -> impl Future<Output = Result<String, Status>> + Send;

    /// Makes a queue, or finds it there.
    fn create_queue(
        &self,
        request: CreateQueueRequest,
        now: Millis,
    ) -> impl Future<Output = Result<CreateQueueResponse, Status>> + Send;

    /// Whether there is a queue.
    fn queue_exists(
        &self,
        request: QueueExistsRequest,
    ) -> impl Future<Output = Result<QueueExistsResponse, Status>> + Send;

    /// How full a queue is.
    fn queue_info(
        &self,
        request: GetQueueInfoRequest,
        now: Millis,
    ) -> impl Future<Output = Result<GetQueueInfoResponse, Status>> + Send;

    /// The ids of agents that have queues, in the order of their bytes: the first `limit` after
    /// `after`.
    fn queue_names(
        &self,
        after: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<String>, Status>> + Send;

    /// The counts of a queue and the ages of its oldest tasks; none where it is not there.
    fn summary(
        &self,
        agent_id: &str,
        now: Millis,
    ) -> impl Future<Output = Result<Option<QueueSummary>, Status>> + Send;

    /// A page of the queues for which `visible` holds. It tells nothing of the others, neither that
    /// they are there nor how many they are.
    fn list_queues(
        &self,
        request: ListQueuesRequest,
        visible: impl Fn(&str) -> bool + Send + Sync,
        clock: impl Fn() -> Millis + Send + Sync,
    ) -> impl Future<Output = Result<ListQueuesResponse, Status>> + Send
    where
        Self: Sized,
    {
        queues::page(self, request, visible, clock)
    }

    /// Deletes the tasks of a queue that are there when it begins, or those of one status.
    ///
    /// In steps of at most 500, between which others work. Where it is cut off some are deleted and
    /// others not; its name is remembered when all are.
    fn clear_queue(
        &self,
        request: ClearQueueRequest,
        now: Millis,
    ) -> impl Future<Output = Result<ClearQueueResponse, Status>> + Send;

    /// Deletes a queue and all that was remembered for it; a queue that is not there is no error.
    fn delete_queue(
        &self,
        request: DeleteQueueRequest,
        now: Millis,
    ) -> impl Future<Output = Result<DeleteQueueResponse, Status>> + Send;

    /// Adds tasks, all or none; one named twice in the batch is added once.
    fn submit(
        &self,
        request: BatchSubmitTasksRequest,
        now: Millis,
    ) -> impl Future<Output = Result<BatchSubmitTasksResponse, Status>> + Send;

    /// Claims a task, and does not wait for one.
    ///
    /// A claim id that holds a task renews its lease and gets it again; one that ended a task gets
    /// it as it is now; one that is over is FAILED_PRECONDITION. An empty answer leaves no trace.
    fn claim(
        &self,
        request: GetTaskRequest,
        now: Millis,
    ) -> impl Future<Output = Result<Claimed, Status>> + Send;

    /// Carries out [`Record::update`](super::record::Record::update).
    fn update(
        &self,
        request: UpdateTaskStatusRequest,
        now: Millis,
    ) -> impl Future<Output = Result<UpdateTaskStatusResponse, Status>> + Send;

    /// One task.
    fn query(
        &self,
        request: QueryTaskRequest,
        now: Millis,
    ) -> impl Future<Output = Result<QueryTaskResponse, Status>> + Send;

    /// Deletes tasks; an id that stands twice is deleted once, and one that is not there is named
    /// in the answer, in the request's order.
    fn delete_tasks(
        &self,
        request: BatchDeleteTasksRequest,
        now: Millis,
    ) -> impl Future<Output = Result<BatchDeleteTasksResponse, Status>> + Send;

    /// Carries out [`Record::cancel`](super::record::Record::cancel). Repeated, it answers with the
    /// task as it is now.
    fn cancel(
        &self,
        request: CancelTaskRequest,
        now: Millis,
    ) -> impl Future<Output = Result<CancelTaskResponse, Status>> + Send;

    /// Carries out [`Record::again`](super::record::Record::again).
    fn retry(
        &self,
        request: RetryTaskRequest,
        now: Millis,
    ) -> impl Future<Output = Result<RetryTaskResponse, Status>> + Send;

    /// A page of tasks, oldest first: as many as asked for, but at most 3 MiB where it is more than
    /// one.
    fn list(
        &self,
        request: ListTasksRequest,
        now: Millis,
    ) -> impl Future<Output = Result<ListTasksResponse, Status>> + Send;

    /// Counts and times of a queue; kinds that have no task are left out, the others stand in the
    /// order of their numbers.
    fn stats(
        &self,
        request: GetTaskStatsRequest,
        now: Millis,
    ) -> impl Future<Output = Result<GetTaskStatsResponse, Status>> + Send;

    /// What changed in a queue after `cursor`, deletions included; without a cursor nothing, and
    /// the cursor of now.
    ///
    /// Some at a time: an answer with changes may not be all of them, one without says that there
    /// are no more. A change is never left out; one may be told twice. A cursor is good for as long
    /// as names are remembered.
    fn changes(
        &self,
        agent_id: &str,
        cursor: Option<Self::Cursor>,
        now: Millis,
    ) -> impl Future<Output = Result<Changes<Self::Cursor>, Status>> + Send;

    /// Forgets some of the tasks that ended, and of the names whose work was done, more than
    /// `keep_finished` ago; returns whether there may be more. What is forgotten is no change to
    /// tell.
    fn prune(&self, now: Millis) -> impl Future<Output = Result<bool, Status>> + Send;
}
