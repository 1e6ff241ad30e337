//! An actor that makes unary calls by message: no client, no future to hold, answers come as
//! messages of its own.
//!
//! `cargo run --features agent-queue --example actor`; without a server on 127.0.0.1:50051 the
//! calls fail after 10 s, with one the actor claims three tasks.

use ractor::{Actor, ActorProcessingErr, ActorRef, call};
use std::{error::Error, time::Duration};
use tonic_supervisor::{
    CallOptions, Config, Mailbox, Supervisor, UnaryCall, UnaryResult,
    agent_queue::{CreateQueueRequest, CreateQueueResponse, GetTaskRequest, GetTaskResponse},
};

const AGENT: &str = "agent_001";
const CREATE_QUEUE: &str = "/agent_queue.v1.AgentQueue/CreateQueue";
const GET_TASK: &str = "/agent_queue.v1.AgentQueue/GetTask";

/// Claims `wanted` tasks, one after the other.
struct Claimer;

struct Claims {
    mailbox: Mailbox,
    wanted: u32,
    made: u32,
}

enum ClaimerMsg {
    Claim,
    Answered(UnaryResult),
}

// Needed where `ractor/cluster` is on anywhere in the build; without it, ractor does this for every
// type.
#[cfg(feature = "ractor-cluster")]
impl ractor::Message for ClaimerMsg {}

impl Actor for Claimer {
    type Msg = ClaimerMsg;
    type State = Claims;
    type Arguments = (Mailbox, u32);

    async fn pre_start(
        &self,
        me: ActorRef<ClaimerMsg>,
        (mailbox, wanted): Self::Arguments,
    ) -> Result<Claims, ActorProcessingErr> {
        me.cast(ClaimerMsg::Claim)?;
        Ok(Claims { mailbox, wanted, made: 0 })
    }

    async fn handle(
        &self,
        me: ActorRef<ClaimerMsg>,
        message: ClaimerMsg,
        claims: &mut Claims,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ClaimerMsg::Claim if claims.made == claims.wanted => me.stop(None),
            ClaimerMsg::Claim => {
                claims.made += 1;
                let claim = GetTaskRequest {
                    agent_id: AGENT.into(),
                    claim_id: format!("{AGENT}-{}-{}", std::process::id(), claims.made),
                    timeout: 1.0,
                };
                // The handler does not wait, as `ractor::forward!` would: the answer comes as a
                // message.
                let call = |reply| UnaryCall::new(GET_TASK, &claim, reply).with_options(patience());
                claims.mailbox.call_and_forward(call, &me, ClaimerMsg::Answered, None)?;
            }
            ClaimerMsg::Answered(answer) => {
                match answer.and_then(|reply| reply.decode::<GetTaskResponse>()) {
                    Ok(GetTaskResponse { task: Some(task), .. }) => {
                        println!("claimed {}", task.task_id)
                    }
                    Ok(_) => println!("there is nothing to do"),
                    Err(status) => println!("{:?}: {}", status.code(), status.message()),
                }
                me.cast(ClaimerMsg::Claim)?;
            }
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let supervisor = Supervisor::spawn(Config::default());
    let mailbox = supervisor.mailbox();

    // From outside of any actor: send, and wait for the answer.
    let create = CreateQueueRequest { agent_id: AGENT.into() };
    let answer = call!(mailbox, |reply| UnaryCall::new(CREATE_QUEUE, &create, reply)
        .with_options(patience()))?;
    match answer.and_then(|reply| reply.decode::<CreateQueueResponse>()) {
        Ok(_) => println!("{AGENT} has a queue"),
        Err(status) => println!("{:?}: {}", status.code(), status.message()),
    }

    let (_, claimer) = Actor::spawn(None, Claimer, (mailbox, 3)).await?;
    claimer.await?;
    supervisor.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

fn patience() -> CallOptions {
    CallOptions::new().timeout(Duration::from_secs(10))
}
