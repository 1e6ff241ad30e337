//! The first answer to a named request: what a repeated `client_request_id` gets.

use crate::proto::agent_queue::{
    CancelTaskResponse, ClearQueueResponse, RetryTaskResponse, SubmitTaskResponse, Task,
};
use tonic::Status;

/// What a `client_request_id` named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// A submission.
    Submit = 1,
    /// A retry of a failed task.
    Retry = 2,
    /// A queue's clearing.
    Clear = 3,
    /// A deletion of tasks.
    Delete = 4,
    /// A cancellation.
    Cancel = 5,
}

/// The first answer to a named request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RememberedAnswer {
    /// What was asked.
    pub operation: Operation,
    /// The answer, encoded: of a submission or retry its [`SubmitTaskResponse`], otherwise the
    /// operation's own. Of a cancellation without payload and result.
    pub answer: Vec<u8>,
}

impl Operation {
    /// As it is kept.
    pub fn from_number(number: i64) -> Option<Self> {
        let all = [Self::Submit, Self::Retry, Self::Clear, Self::Delete, Self::Cancel];
        all.into_iter().find(|operation| *operation as i64 == number)
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Submit => "a submission",
            Self::Retry => "a retry",
            Self::Clear => "a queue's clearing",
            Self::Delete => "a deletion",
            Self::Cancel => "a cancellation",
        }
    }
}

impl RememberedAnswer {
    /// Of a task's own submission, or retry.
    pub fn submission(task_id: String, retry: bool) -> Self {
        let operation = if retry { Operation::Retry } else { Operation::Submit };
        Self::new(operation, &SubmitTaskResponse { task_id, already_submitted: true })
    }

    /// Of a cancellation: what was answered, without the large parts.
    pub fn cancellation(task: &Task) -> Self {
        let mut task = task.clone();
        task.payload.clear();
        task.result.clear();
        Self::new(Operation::Cancel, &CancelTaskResponse { task: Some(task) })
    }

    /// Of a clearing.
    pub fn clearing(deleted: u64) -> Self {
        Self::new(Operation::Clear, &ClearQueueResponse { deleted })
    }

    /// As it is kept: the operation, and the encoded answer.
    pub fn from_parts(operation: Operation, answer: Vec<u8>) -> Self {
        Self { operation, answer }
    }

    /// Of any operation.
    pub fn new(operation: Operation, answer: &impl prost::Message) -> Self {
        Self { operation, answer: answer.encode_to_vec() }
    }

    /// The first answer, if `operation` was what `name` named.
    pub fn answer<T: prost::Message + Default>(
        &self,
        operation: Operation,
        name: &str,
    ) -> Result<T, Status> {
        if self.operation != operation {
            let (was, is) = (self.operation.describe(), operation.describe());
            let text = format!(
                "client_request_id: {name:?} named {was} in this queue and cannot name {is}"
            );
            return Err(Status::invalid_argument(text));
        }
        T::decode(&*self.answer)
            .map_err(|error| Status::data_loss(format!("a remembered answer is damaged: {error}")))
    }

    /// The first answer to a retry.
    pub fn retried(&self, name: &str) -> Result<RetryTaskResponse, Status> {
        let SubmitTaskResponse { task_id, .. } = self.answer(Operation::Retry, name)?;
        Ok(RetryTaskResponse { task_id })
    }
}
