//! What submissions cost beside claims that wait: on their own queue, and on another.

use super::{load, process::Serve};
use std::time::Duration;
use tokio::{task::JoinSet, time::Instant};
use tonic::transport::{Channel, Endpoint};
use tonic_supervisor::agent_queue::{
    BatchSubmitTasksRequest, CreateQueueRequest, GetTaskRequest,
    agent_queue_client::AgentQueueClient,
};

/// Claims that wait on one connection.
const EACH: usize = 500;

/// A server, and claims that wait there.
pub(crate) struct Crowd {
    client: AgentQueueClient<Channel>,
    agent_id: String,
    waiting: JoinSet<()>,
}

async fn connect(server: &Serve) -> AgentQueueClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).expect("an address");
    AgentQueueClient::new(endpoint.connect().await.expect("connected"))
}

impl Crowd {
    /// A new queue at which so many claims wait. One that got its task waits again.
    pub(crate) async fn gather(server: &Serve, name: String, count: usize) -> Self {
        let mut client = connect(server).await;
        client.create_queue(CreateQueueRequest { agent_id: name.clone() }).await.expect("a queue");
        let mut waiting = JoinSet::new();
        for connection in 0..count.div_ceil(EACH) {
            let client = connect(server).await;
            for number in 0..EACH.min(count - connection * EACH) {
                let (mut client, agent_id) = (client.clone(), name.clone());
                waiting.spawn(async move {
                    for round in 0.. {
                        let claim_id = format!("{connection}-{number}-{round}");
                        let claim =
                            GetTaskRequest { agent_id: agent_id.clone(), claim_id, timeout: 60.0 };
                        client.get_task(claim).await.expect("no claim fails");
                    }
                });
            }
        }
        // Each has looked and waits, when the server has been left alone for a moment.
        tokio::time::sleep(Duration::from_millis(500 + count as u64)).await;
        Self { client, agent_id: name, waiting }
    }

    /// Milliseconds of so many submissions, one after the other.
    pub(crate) async fn submit(&mut self, round: usize, count: usize) -> f64 {
        let begun = Instant::now();
        for number in 0..count {
            let tasks = vec![load::new_task(format!("{round}-{number}"))];
            let request = BatchSubmitTasksRequest { agent_id: self.agent_id.clone(), tasks };
            self.client.batch_submit_tasks(request).await.expect("submitted");
        }
        begun.elapsed().as_secs_f64() * 1e3
    }

    /// Everybody goes.
    pub(crate) async fn leave(mut self) {
        self.waiting.shutdown().await;
    }
}
