//! A watch that outlives its links: what a user would write around the streaming call, which nobody
//! retries by policy.

use super::{
    AgentQueue,
    client::request,
    error_class::{ErrorClass, classify, pause},
};
use crate::proto::agent_queue::{WatchQueueRequest, WatchQueueResponse};
use futures::{
    Stream,
    stream::{BoxStream, unfold},
};
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};
use tonic::{Status, Streaming};

/// The changes of a queue, from [`AgentQueue::watch_queue`]; a stream.
///
/// It goes on over lost links and restarted servers: it asks again from the last cursor, as often
/// as it takes. So no change is missed; one may be told twice, and changes in quick succession as
/// one. An answer without changes says only where the watch stands. To go on after a restart of
/// your own, keep the last `cursor`.
///
/// It ends when the client is closed. An error ends it, too: one that asking again does not mend,
/// such as NOT_FOUND for a queue that was deleted.
pub struct QueueWatch {
    answers: BoxStream<'static, Result<WatchQueueResponse, Status>>,
}

struct Watching {
    queue: AgentQueue,
    cursor: Option<u64>,
    stream: Option<Streaming<WatchQueueResponse>>,
    failures: u32,
    over: bool,
}

impl AgentQueue {
    /// Every change of the queue's tasks, from now on, or from after the answer that had this
    /// cursor.
    pub fn watch_queue(&self, cursor: impl Into<Option<u64>>) -> QueueWatch {
        QueueWatch::new(self.clone(), cursor.into())
    }
}

impl QueueWatch {
    fn new(queue: AgentQueue, cursor: Option<u64>) -> Self {
        let watching = Watching { queue, cursor, stream: None, failures: 0, over: false };
        Self { answers: Box::pin(unfold(watching, Watching::next)) }
    }

    /// The next answer; none at the end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: an answer that was not returned comes next time.
    pub async fn next(&mut self) -> Option<Result<WatchQueueResponse, Status>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Watching {
    async fn next(mut self) -> Option<(Result<WatchQueueResponse, Status>, Self)> {
        let closing = self.queue.client().closing();
        let answer = tokio::select! {
            () = closing => None,
            answer = self.answer() => answer,
        }?;
        Some((answer, self))
    }

    /// The next answer, over however many streams it takes.
    async fn answer(&mut self) -> Option<Result<WatchQueueResponse, Status>> {
        while !self.over {
            match self.ask().await {
                Ok(Some(answer)) => {
                    self.failures = 0;
                    self.cursor = Some(answer.cursor);
                    return Some(Ok(answer));
                }
                // The server ended the stream: it drains.
                Ok(None) => {}
                Err(status) => match classify(&status) {
                    ErrorClass::ClientClosed => return None,
                    ErrorClass::Transient => {
                        log_line!(debug, %status, "a watch is asked for again")
                    }
                    ErrorClass::Permanent => {
                        self.over = true;
                        return Some(Err(status));
                    }
                },
            }
            self.stream = None;
            self.queue.client().supervisor().rest(pause(self.failures, rand::random())).await;
            self.failures = self.failures.saturating_add(1);
        }
        None
    }

    /// The next answer of the stream, which is opened where it is not.
    async fn ask(&mut self) -> Result<Option<WatchQueueResponse>, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let message = WatchQueueRequest {
                    agent_id: self.queue.agent_id().to_owned(),
                    cursor: self.cursor,
                };
                none.insert(
                    self.queue.client().client().watch_queue(request(message)).await?.into_inner(),
                )
            }
        };
        stream.message().await
    }
}

impl Stream for QueueWatch {
    type Item = Result<WatchQueueResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.answers.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for QueueWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueWatch").finish_non_exhaustive()
    }
}
