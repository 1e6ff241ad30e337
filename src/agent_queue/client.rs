//! The seed's client: all agents' queues on one supervised channel.

use crate::{
    client::{SupervisedChannel, Supervisor},
    config::Config,
    model::CallOptions,
    proto::{
        AGENT_QUEUE_DESCRIPTORS,
        agent_queue::{
            CreateQueueRequest, CreateQueueResponse, DeleteQueueRequest, DeleteQueueResponse,
            HealthCheckRequest, HealthCheckResponse, ListQueuesRequest, ListQueuesResponse,
            QueueExistsRequest, agent_queue_client::AgentQueueClient,
        },
    },
};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// How long calls that run may go on once the client is closed.
const CLOSING: Duration = Duration::from_secs(5);

/// The client of the agent queue: reconnects and retries by itself.
///
/// ```no_run
/// use tonic_supervisor::agent_queue::PrivateAgentTasksQueue;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = PrivateAgentTasksQueue::new();
/// let response = queue.create_queue("agent_001").await?; // retried where it fails
/// # drop(response); Ok(()) }
/// ```
///
/// Operations on queues are here, those on tasks at the [`AgentQueue`](super::AgentQueue) that
/// [`get_queue`](Self::get_queue) gives. Every one is safe to repeat: the client itself names each
/// request and each claim, so that the server knows a repeated one. Calls wait for a link, for at
/// most the configured `timeout`.
///
/// Cheap to clone; clones are the same client.
///
/// # Errors
///
/// Those of its operations are the server's [`Status`], with a [`CallReport`](crate::CallReport) as
/// their source.
///
/// # Cancel safety
///
/// Dropping an operation's future ends its call; the server may have done it all the same.
#[derive(Clone)]
pub struct PrivateAgentTasksQueue {
    shared: Arc<Shared>,
}

struct Shared {
    supervisor: Supervisor,
    client: AgentQueueClient<SupervisedChannel>,
    closing: watch::Sender<bool>,
    /// How many worker loops run.
    loops: watch::Sender<usize>,
}

/// A worker loop counts as running while it holds this.
pub(super) struct LoopRuns(Arc<Shared>);

impl PrivateAgentTasksQueue {
    /// A client with all defaults: a server on 127.0.0.1:50051, no file. Must be called within a
    /// tokio runtime, and panics outside one, as `tokio::spawn` does.
    #[allow(clippy::new_without_default, reason = "it starts to dial, and needs a runtime")]
    pub fn new() -> Self {
        Self::over(Supervisor::spawn(Config::default()))
    }

    /// A client over a supervisor that was spawned elsewhere: with a connector or credentials of
    /// your own, or under your actor.
    pub fn over(supervisor: Supervisor) -> Self {
        supervisor.describe(AGENT_QUEUE_DESCRIPTORS);
        let client = AgentQueueClient::new(supervisor.channel());
        let shared = Shared {
            supervisor,
            client,
            closing: watch::Sender::new(false),
            loops: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The supervisor inside: state, events, snapshot, `reconnect_now`.
    pub fn supervisor(&self) -> &Supervisor {
        &self.shared.supervisor
    }

    /// Whether the server can do its work now: its store answers.
    pub async fn health_check(&self) -> Result<HealthCheckResponse, Status> {
        self.client().health_check(request(HealthCheckRequest {})).await.map(Response::into_inner)
    }

    /// Makes the queue of an agent. Making it again changes nothing.
    pub async fn create_queue(
        &self,
        agent_id: impl Into<String>,
    ) -> Result<CreateQueueResponse, Status> {
        let message = CreateQueueRequest { agent_id: agent_id.into() };
        self.client().create_queue(request(message)).await.map(Response::into_inner)
    }

    /// Whether an agent has a queue.
    pub async fn queue_exists(&self, agent_id: impl Into<String>) -> Result<bool, Status> {
        let message = QueueExistsRequest { agent_id: agent_id.into() };
        Ok(self.client().queue_exists(request(message)).await?.into_inner().exists)
    }

    /// A page of the queues that this client may look at, in the order of their ids' bytes: at most
    /// `limit` (1 to 1,000; 100 where it is not given) after the id `after`, from the first on
    /// where that is empty. The answer's `next_after` goes on.
    ///
    /// # Errors
    ///
    /// UNIMPLEMENTED from servers that know nothing of it: they are older than this client.
    pub async fn list_queues(
        &self,
        after: impl Into<String>,
        limit: impl Into<Option<u32>>,
    ) -> Result<ListQueuesResponse, Status> {
        let message = ListQueuesRequest { after: after.into(), limit: limit.into() };
        self.client().list_queues(request(message)).await.map(Response::into_inner)
    }

    /// Deletes a queue with all its tasks, if `confirm` is true. A queue that is not there is
    /// deleted already.
    pub async fn delete_queue(
        &self,
        agent_id: impl Into<String>,
        confirm: bool,
    ) -> Result<DeleteQueueResponse, Status> {
        let message = DeleteQueueRequest { agent_id: agent_id.into(), confirm };
        self.client().delete_queue(request(message)).await.map(Response::into_inner)
    }

    /// Closes for good. Worker loops end as [`Process`](super::Process) describes, each within its
    /// own grace; watches end; calls that run get 5 seconds, and nothing new is accepted. Returns
    /// when all has ended.
    ///
    /// # Cancel safety
    ///
    /// Once asked for, worker loops and watches end even if this future is dropped;
    /// the supervisor stays.
    pub async fn close(&self) {
        self.shared.closing.send_replace(true);
        let mut loops = self.shared.loops.subscribe();
        // It cannot fail: the sender is ours.
        let _ = loops.wait_for(|running| *running == 0).await;
        self.shared.supervisor.shutdown(CLOSING).await;
    }

    pub(super) fn client(&self) -> AgentQueueClient<SupervisedChannel> {
        self.shared.client.clone()
    }

    /// Resolves when the client is to close.
    pub(super) fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closing = self.shared.closing.subscribe();
        async move {
            // An error means that the client is gone, which closes as well.
            let _ = closing.wait_for(|closing| *closing).await;
        }
    }

    /// Counts a worker loop, for which `close` waits.
    pub(super) fn loop_runs(&self) -> LoopRuns {
        self.shared.loops.send_modify(|running| *running += 1);
        LoopRuns(self.shared.clone())
    }
}

/// A request of the queue: safe to repeat, whatever the configuration says of other services'
/// methods.
pub(super) fn request<M>(message: M) -> Request<M> {
    with_options(message, CallOptions::new())
}

pub(super) fn with_options<M>(message: M, options: CallOptions) -> Request<M> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(options.idempotent(true));
    request
}

/// A name nobody else has and nobody can guess, for a request or a claim.
pub(super) fn new_name() -> String {
    format!("{:032x}", rand::random::<u128>())
}

impl Drop for LoopRuns {
    fn drop(&mut self) {
        self.0.loops.send_modify(|running| *running -= 1);
    }
}

impl fmt::Debug for PrivateAgentTasksQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateAgentTasksQueue")
            .field("state", &self.shared.supervisor.state())
            .finish()
    }
}
