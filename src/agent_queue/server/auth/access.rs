//! Which operation needs which action on which queue: one table of all requests that name a queue.
//!
//! Only [`authorized_store`](super::authorized_store) gives a store, and it takes no request that
//! is missing here: an operation that was forgotten does not compile.

use super::Action;
use crate::proto::agent_queue::*;

/// A request about one queue.
pub(in crate::agent_queue::server) trait Access {
    /// One of these is needed.
    const NEEDS: &'static [Action];

    /// The queue's name.
    fn queue(&self) -> &str;
}

macro_rules! access {
    ($($request:ty: $($action:ident)|+;)+) => {$(
        impl Access for $request {
            const NEEDS: &'static [Action] = &[$(Action::$action),+];

            fn queue(&self) -> &str {
                &self.agent_id
            }
        }
    )+};
}

access! {
    CreateQueueRequest: Work | Submit;
    SubmitTaskRequest: Submit;
    BatchSubmitTasksRequest: Submit;
    RetryTaskRequest: Submit;
    GetTaskRequest: Work;
    UpdateTaskStatusRequest: Work;
    WatchQueueRequest: Look | Work;
    QueueExistsRequest: Look;
    GetQueueInfoRequest: Look;
    QueryTaskRequest: Look;
    ListTasksRequest: Look;
    GetTasksByStatusRequest: Look;
    GetTaskStatsRequest: Look;
    CancelTaskRequest: Cancel;
    DeleteTaskRequest: Delete;
    BatchDeleteTasksRequest: Delete;
    ClearQueueRequest: Delete;
    DeleteQueueRequest: Delete;
}
