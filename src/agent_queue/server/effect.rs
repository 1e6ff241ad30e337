//! What an operation changed: one line of the ledger.

use serde::{Deserialize, Serialize};

/// One change, as it was applied. Repeating an operation that was already applied has no effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// A queue was made.
    QueueCreated {
        /// Whose queue.
        agent_id: String,
    },
    /// A task was added.
    TaskSubmitted {
        /// Whose queue.
        agent_id: String,
        /// The submission's own name.
        client_request_id: String,
        /// The new task.
        task_id: String,
        /// `TaskType` as a number.
        r#type: i32,
        /// The kind's name, where the type is CUSTOM.
        custom_type: String,
        /// JSON text.
        payload: String,
        /// 0 to 9.
        priority: u32,
        /// When, in milliseconds since 1970.
        at_ms: i64,
    },
    /// A task was handed out.
    TaskClaimed {
        /// Whose queue.
        agent_id: String,
        /// The task.
        task_id: String,
        /// The claim it is held by from now on.
        claim_id: String,
    },
    /// The work on a task ended.
    TaskEnded {
        /// Whose queue.
        agent_id: String,
        /// The task.
        task_id: String,
        /// The claim it was held by.
        claim_id: String,
        /// `TaskStatus` as a number.
        status: i32,
        /// JSON text.
        result: String,
        /// Why it failed.
        error_message: String,
    },
}

impl Effect {
    /// Whose queue changed.
    pub fn agent_id(&self) -> &str {
        match self {
            Self::QueueCreated { agent_id }
            | Self::TaskSubmitted { agent_id, .. }
            | Self::TaskClaimed { agent_id, .. }
            | Self::TaskEnded { agent_id, .. } => agent_id,
        }
    }

    /// The request that asked for this effect. Two effects of one request: it was executed twice.
    pub fn request_id(&self) -> String {
        match self {
            Self::QueueCreated { agent_id } => format!("create {agent_id}"),
            Self::TaskSubmitted { agent_id, client_request_id, .. } => format!("submit {agent_id} {client_request_id}"),
            Self::TaskClaimed { agent_id, claim_id, .. } => format!("claim {agent_id} {claim_id}"),
            Self::TaskEnded { task_id, .. } => format!("end {task_id}"),
        }
    }
}
