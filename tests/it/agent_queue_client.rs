//! A generated client, untouched, on the supervised channel.

use crate::stage::{LONG, seconds, stage};
use prost::Message;
use tonic::{Code, Request};
use tonic_supervisor::{
    Config,
    proto::{
        AGENT_QUEUE_DESCRIPTORS,
        agent_queue::{CreateQueueRequest, CreateQueueResponse, agent_queue_client::AgentQueueClient},
    },
    testing::{Answer, Script},
};

/// The seed's own example: the two lines that change are the supervisor's and the channel's.
#[tokio::test(start_paused = true)]
async fn a_generated_client_retries_and_reconnects_by_itself() {
    let stage = stage(Config::builder()).await;
    let answer = Answer::message(CreateQueueResponse { already_exists: true }.encode_to_vec());
    let thrice = vec![Answer::status(Code::Unavailable); 3];
    stage.server.on("/agent_queue.v1.AgentQueue/CreateQueue", Script::sequence(thrice, answer));
    let channel = stage.supervisor.channel().with_descriptor_set(AGENT_QUEUE_DESCRIPTORS).expect("descriptors");
    let mut queue = AgentQueueClient::new(channel);
    let request = CreateQueueRequest { agent_id: "agent_001".into() };
    let response = queue.create_queue(request.clone()).await.expect("the fourth attempt");
    assert!(response.into_inner().already_exists);
    assert_eq!(stage.arrivals_at(), seconds(&[0.0, 1.0, 3.0, 7.0]));

    stage.server.restart().await;
    queue.create_queue(Request::new(request)).await.expect("over the new link");
    assert_eq!(stage.server.arrivals().last().map(|arrival| arrival.connection), Some(2));
    assert!(stage.supervisor.wait_ready(LONG).await);
}
