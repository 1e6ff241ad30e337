//! The queue of one agent: one method per operation on its tasks.
//!
//! The worker loop and the watch are made of these operations, and stand in files of their own
//! above this one.

use super::{
    Claim, PrivateAgentTasksQueue, Update,
    client::{new_name, request, with_options},
    error_class::lease_of,
};
use crate::{
    clock,
    model::CallOptions,
    proto::agent_queue::{
        BatchDeleteTasksRequest, BatchDeleteTasksResponse, BatchSubmitTasksRequest,
        BatchSubmitTasksResponse, CancelTaskRequest, ClearQueueRequest, DeleteTaskRequest,
        GetQueueInfoRequest, GetQueueInfoResponse, GetTaskRequest, GetTaskResponse,
        GetTaskStatsRequest, GetTaskStatsResponse, GetTasksByStatusRequest, ListTasksRequest,
        ListTasksResponse, NewTask, QueryTaskRequest, RetryTaskRequest, SubmitTaskRequest,
        SubmitTaskResponse, Task, TaskStatus, UpdateTaskStatusRequest, UpdateTaskStatusResponse,
    },
};
use std::time::Duration;
use tonic::{Code, Response, Status};

/// How long one call waits for a task on the server, which allows 60 s. A call that is sent again
/// waits from the beginning.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// A server that ends its waits early, because it drains, is asked no more often than this.
pub(super) const PACE: Duration = Duration::from_secs(1);

/// The queue of one agent, from [`PrivateAgentTasksQueue::get_queue`]. Cheap to clone.
///
/// Cancel safety and errors are those of [`PrivateAgentTasksQueue`]. In general, INVALID_ARGUMENT
/// names a field, its value and the rule it breaks, NOT_FOUND an agent or a task, and
/// FAILED_PRECONDITION a move that the task's status does not allow.
#[derive(Clone, Debug)]
pub struct AgentQueue {
    client: PrivateAgentTasksQueue,
    agent_id: String,
}

/// What came of asking for a task.
pub(super) enum ClaimAnswer {
    /// This task.
    Task(Box<Claim>),
    /// A task that this claim held once: the answer was so long on its way that the lease has
    /// ended, or somebody has ended the task. Another claim is needed.
    Over,
    /// There was none.
    Nothing,
}

/// The queues of agents.
impl PrivateAgentTasksQueue {
    /// The queue of an agent, made if it is not there and `create_if_not_exists` says so; else that
    /// is NOT_FOUND.
    pub async fn get_queue(
        &self,
        agent_id: impl Into<String>,
        create_if_not_exists: bool,
    ) -> Result<AgentQueue, Status> {
        let queue = self.queue(agent_id);
        if create_if_not_exists {
            self.create_queue(queue.agent_id()).await?;
        } else if !self.queue_exists(queue.agent_id()).await? {
            return Err(Status::not_found(format!(
                "agent_id: {:?} has no queue",
                queue.agent_id()
            )));
        }
        Ok(queue)
    }

    /// The queue of an agent, without asking whether it is there.
    pub fn queue(&self, agent_id: impl Into<String>) -> AgentQueue {
        AgentQueue { client: self.clone(), agent_id: agent_id.into() }
    }
}

impl AgentQueue {
    /// Whose queue it is.
    pub fn agent_id(&self) -> &str {
        &self.agent_id
    }

    /// The client it belongs to.
    pub fn client(&self) -> &PrivateAgentTasksQueue {
        &self.client
    }

    /// How many tasks the queue holds, by status.
    pub async fn get_queue_info(&self) -> Result<GetQueueInfoResponse, Status> {
        let message = GetQueueInfoRequest { agent_id: self.agent_id.clone() };
        self.client.client().get_queue_info(request(message)).await.map(Response::into_inner)
    }

    /// Deletes the tasks of this status, or all, if `confirm` is true. Claims on them are over. How
    /// many they were.
    pub async fn clear_queue(
        &self,
        status: impl Into<Option<TaskStatus>>,
        confirm: bool,
    ) -> Result<u64, Status> {
        let message = ClearQueueRequest {
            agent_id: self.agent_id.clone(),
            status: status.into().map(Into::into),
            confirm,
            client_request_id: new_name(),
        };
        Ok(self.client.client().clear_queue(request(message)).await?.into_inner().deleted)
    }

    /// Adds a task. One without a `client_request_id` is given one, so that a retry does not add it
    /// twice.
    ///
    /// ```no_run
    /// use tonic_supervisor::agent_queue::{NewTask, PrivateAgentTasksQueue, TaskType};
    ///
    /// # async fn example(client: PrivateAgentTasksQueue) -> Result<(), tonic::Status> {
    /// let queue = client.get_queue("agent_001", true).await?;
    /// let task = NewTask::new(TaskType::DataProcessing, r#"{"rows": 100}"#).with_priority(7);
    /// let submitted = queue.submit_task(task).await?;
    /// println!("{}", submitted.task_id);
    /// # Ok(()) }
    /// ```
    pub async fn submit_task(&self, task: NewTask) -> Result<SubmitTaskResponse, Status> {
        let message =
            SubmitTaskRequest { agent_id: self.agent_id.clone(), task: Some(named(task)) };
        self.client.client().submit_task(request(message)).await.map(Response::into_inner)
    }

    /// Adds 1 to 1,000 tasks of at most 3 MiB together, all or none; the answers are in their
    /// order.
    pub async fn batch_submit_tasks(
        &self,
        tasks: impl IntoIterator<Item = NewTask>,
    ) -> Result<BatchSubmitTasksResponse, Status> {
        let tasks = tasks.into_iter().map(named).collect();
        let message = BatchSubmitTasksRequest { agent_id: self.agent_id.clone(), tasks };
        self.client.client().batch_submit_tasks(request(message)).await.map(Response::into_inner)
    }

    /// Claims the task of highest priority, the oldest of these first; waits for one up to `wait`.
    /// `None`: there was none.
    ///
    /// The claim is a lease: say [`Update::Processing`] before it ends, or use
    /// [`process`](Self::process), which does. The call's deadline is its wait plus the configured
    /// `timeout`; a wait of more than 20 s is several calls.
    ///
    /// # Cancel safety
    ///
    /// A claim that was made when the future is dropped, or whose answer never
    /// comes, is handed out again when its lease ends.
    pub async fn get_task(&self, wait: Duration) -> Result<Option<Claim>, Status> {
        let began = clock::now();
        let mut claim_id = new_name();
        loop {
            let asked = clock::now();
            let left = wait.saturating_sub(asked - began);
            match self.claim(&claim_id, left).await? {
                ClaimAnswer::Task(claim) => return Ok(Some(*claim)),
                ClaimAnswer::Over => claim_id = new_name(),
                ClaimAnswer::Nothing => {}
            }
            let answered = clock::now();
            // Timers are precise to a millisecond.
            if answered - began + Duration::from_millis(5) >= wait {
                return Ok(None);
            }
            self.client.supervisor().rest(PACE.saturating_sub(answered - asked).min(left)).await;
        }
    }

    /// One call that claims. Repeated with the same `claim_id` it gives the same task.
    pub(super) async fn claim(
        &self,
        claim_id: &str,
        wait: Duration,
    ) -> Result<ClaimAnswer, Status> {
        let wait = wait.min(LONGEST_WAIT);
        let (agent_id, claim_id) = (self.agent_id.clone(), claim_id.to_owned());
        let message =
            GetTaskRequest { agent_id, claim_id: claim_id.clone(), timeout: wait.as_secs_f64() };
        let call = with_options(message, CallOptions::new().long_poll(wait));
        let GetTaskResponse { task, lease } = match self.client.client().get_task(call).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::FailedPrecondition => {
                return Ok(ClaimAnswer::Over);
            }
            Err(status) => return Err(status),
        };
        Ok(match task {
            None => ClaimAnswer::Nothing,
            Some(task) if task.status() != TaskStatus::Processing => ClaimAnswer::Over,
            Some(task) => {
                ClaimAnswer::Task(Box::new(Claim { task, claim_id, lease: lease_of(lease) }))
            }
        })
    }

    /// Says how the work on a claimed task stands. With [`Update::Processing`] the answer has the
    /// new lease, in seconds.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION: the claim is over, because its lease ended or somebody cancelled the
    /// task. NOT_FOUND: the task was deleted. Either way the work is no longer this holder's, and
    /// nothing was changed.
    pub async fn update_task_status(
        &self,
        claim: &Claim,
        update: Update,
    ) -> Result<UpdateTaskStatusResponse, Status> {
        let status = update.status().into();
        let (result, error_message) = match update {
            Update::Completed(result) => (result, String::new()),
            Update::Failed(text) | Update::Cancelled(text) => (String::new(), text),
            Update::Processing | Update::Pending => Default::default(),
        };
        let message = UpdateTaskStatusRequest {
            agent_id: self.agent_id.clone(),
            task_id: claim.task.task_id.clone(),
            claim_id: claim.claim_id.clone(),
            status,
            result,
            error_message,
        };
        self.client.client().update_task_status(request(message)).await.map(Response::into_inner)
    }

    /// One task as it stands now.
    pub async fn query_task(&self, task_id: impl Into<String>) -> Result<Task, Status> {
        let message = QueryTaskRequest { agent_id: self.agent_id.clone(), task_id: task_id.into() };
        task_of(self.client.client().query_task(request(message)).await?.into_inner().task)
    }

    /// Deletes a task. A claim on it is over.
    pub async fn delete_task(&self, task_id: impl Into<String>) -> Result<(), Status> {
        let message = DeleteTaskRequest {
            agent_id: self.agent_id.clone(),
            task_id: task_id.into(),
            client_request_id: new_name(),
        };
        self.client.client().delete_task(request(message)).await.map(drop)
    }

    /// Deletes 1 to 1,000 tasks; the answer names those that were not there.
    pub async fn batch_delete_tasks(
        &self,
        task_ids: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<BatchDeleteTasksResponse, Status> {
        let message = BatchDeleteTasksRequest {
            agent_id: self.agent_id.clone(),
            task_ids: task_ids.into_iter().map(Into::into).collect(),
            client_request_id: new_name(),
        };
        self.client.client().batch_delete_tasks(request(message)).await.map(Response::into_inner)
    }

    /// Gives up a task that is PENDING or PROCESSING, for this reason. Its holder hears so at its
    /// next update.
    pub async fn cancel_task(
        &self,
        task_id: impl Into<String>,
        reason: impl Into<String>,
    ) -> Result<Task, Status> {
        let message = CancelTaskRequest {
            agent_id: self.agent_id.clone(),
            task_id: task_id.into(),
            reason: reason.into(),
            client_request_id: new_name(),
        };
        task_of(self.client.client().cancel_task(request(message)).await?.into_inner().task)
    }

    /// Adds a new task with the work of one that failed; its id.
    pub async fn retry_task(&self, task_id: impl Into<String>) -> Result<String, Status> {
        let message = RetryTaskRequest {
            agent_id: self.agent_id.clone(),
            task_id: task_id.into(),
            client_request_id: new_name(),
        };
        Ok(self.client.client().retry_task(request(message)).await?.into_inner().task_id)
    }

    /// A page of the tasks of this status, or of all, oldest first: at most `limit` (1 to 1,000;
    /// 100 where it is not given), after the first `offset`.
    pub async fn list_tasks(
        &self,
        status: impl Into<Option<TaskStatus>>,
        limit: impl Into<Option<u32>>,
        offset: u64,
    ) -> Result<ListTasksResponse, Status> {
        let status = status.into().map(Into::into);
        let message = ListTasksRequest {
            agent_id: self.agent_id.clone(),
            status,
            limit: limit.into(),
            offset,
        };
        self.client.client().list_tasks(request(message)).await.map(Response::into_inner)
    }

    /// The same for one status.
    pub async fn get_tasks_by_status(
        &self,
        status: TaskStatus,
        limit: impl Into<Option<u32>>,
        offset: u64,
    ) -> Result<ListTasksResponse, Status> {
        let (agent_id, status) = (self.agent_id.clone(), status.into());
        let message = GetTasksByStatusRequest { agent_id, status, limit: limit.into(), offset };
        self.client.client().get_tasks_by_status(request(message)).await.map(Response::into_inner)
    }

    /// What the queue did: counts and times.
    pub async fn get_task_stats(&self) -> Result<GetTaskStatsResponse, Status> {
        let message = GetTaskStatsRequest { agent_id: self.agent_id.clone() };
        self.client.client().get_task_stats(request(message)).await.map(Response::into_inner)
    }
}

fn named(mut task: NewTask) -> NewTask {
    if task.client_request_id.is_empty() {
        task.client_request_id = new_name();
    }
    task
}

fn task_of(task: Option<Task>) -> Result<Task, Status> {
    task.ok_or_else(|| Status::internal("the server's answer has no task"))
}
