//! The mailbox: unary calls as messages, from any actor.

use super::codec;
use crate::{
    actor::{Core, UnaryCall},
    call::{Reply, Submission, UnaryReply, UnaryResult, refusal, within},
    clock,
    model::{CallKind, CallOptions},
};
use bytes::Bytes;
use prost::Message;
use ractor::{
    ActorRef, MessagingErr, RpcReplyPort,
    concurrency::{Duration, JoinHandle},
    rpc::CallResult,
};
use std::{fmt, sync::Arc};
use tonic::{Status, metadata::MetadataMap};

/// Takes [`UnaryCall`] messages, as an actor's ref would: `ractor::call!`, `call_t!`, `cast!` and
/// `forward!` work on it.
///
/// It stays valid over every restart of the actors behind it. A message is admitted and entered in
/// the supervisor's ledger in the sender's context, before any mailbox, so that a full queue
/// refuses it at once and no panic loses it. That is why this is a type of its own and not ractor's
/// `DerivedActorRef`, whose conversion knows nothing of the supervisor it sends to.
///
/// A mailbox does not keep the supervisor alive. Messages to one that is gone are answered with
/// CANCELLED, or with UNAVAILABLE where its runtime has ended.
#[derive(Clone)]
pub struct Mailbox {
    core: Arc<Core>,
}

impl Mailbox {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Sends a call. Its reply port gets exactly one answer; dropping the port's other end cancels
    /// the call within 100 ms.
    ///
    /// # Errors
    ///
    /// None: what cannot be sent is answered with a status that says why. The result is what
    /// ractor's macros take.
    pub fn send_message(&self, call: UnaryCall) -> Result<(), MessagingErr<UnaryCall>> {
        let UnaryCall { path, metadata, body, options, reply } = call;
        let path = match codec::path(&path) {
            Ok(path) => path,
            Err(status) => {
                answer(reply, Err(status));
                return Ok(());
            }
        };
        let call = Submission {
            made: clock::now(),
            method: self.core.calls.method(&path),
            headers: metadata.into_headers(),
            body: Some(body),
            kind: CallKind::Unary,
            options,
            reply: Reply::Port { port: reply, runner: None },
        };
        if let Err(refused) = self.core.calls.submit(call) {
            let (status, reply) = refusal(refused);
            if let Reply::Port { port, .. } = reply {
                answer(port, Err(status));
            }
        }
        Ok(())
    }

    /// The same, under the name that `ractor::cast!` uses.
    ///
    /// # Errors
    ///
    /// None, as [`send_message`](Self::send_message).
    pub fn cast(&self, call: UnaryCall) -> Result<(), MessagingErr<UnaryCall>> {
        self.send_message(call)
    }

    /// Sends a call and waits for its answer; what `ractor::call!` and `call_t!` use.
    ///
    /// # Errors
    ///
    /// None. A `timeout` that ran out is `CallResult::Timeout`; how the call itself ended is in the
    /// answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped, the call is cancelled.
    pub async fn call<R>(
        &self,
        message: impl FnOnce(RpcReplyPort<R>) -> UnaryCall,
        timeout: Option<Duration>,
    ) -> Result<CallResult<R>, MessagingErr<UnaryCall>> {
        let (sender, receiver) = ractor::concurrency::oneshot();
        let port = match timeout {
            Some(timeout) => (sender, timeout).into(),
            None => sender.into(),
        };
        self.send_message(message(port))?;
        let received = match timeout {
            None => receiver.await,
            Some(timeout) => match within(&self.core.calls.runtime, timeout, receiver).await {
                Some(received) => received,
                None => return Ok(CallResult::Timeout),
            },
        };
        Ok(received.map_or(CallResult::SenderError, CallResult::Success))
    }

    /// Sends a call and forwards its answer to another actor as a message of its own; what
    /// `ractor::forward!` uses. Returns at once, while the macro waits for the answer: in an
    /// actor's handler, call this.
    ///
    /// # Errors
    ///
    /// None. What became of the answer is the value of the task.
    pub fn call_and_forward<R: Send + 'static, F: ractor::Message>(
        &self,
        message: impl FnOnce(RpcReplyPort<R>) -> UnaryCall,
        to: &ActorRef<F>,
        map: impl FnOnce(R) -> F + Send + 'static,
        timeout: Option<Duration>,
    ) -> Result<Forwarding<F>, MessagingErr<UnaryCall>> {
        let (sender, receiver) = ractor::concurrency::oneshot();
        self.send_message(message(sender.into()))?;
        let (to, core) = (to.clone(), self.core.clone());
        // The handle is the caller's, and with it whatever comes of `map`.
        Ok(self.core.calls.runtime.spawn(async move {
            let received = match timeout {
                None => receiver.await,
                Some(timeout) => match within(&core.calls.runtime, timeout, receiver).await {
                    Some(received) => received,
                    None => return CallResult::Timeout,
                },
            };
            match received {
                Ok(reply) => CallResult::Success(to.send_message(map(reply))),
                Err(_) => CallResult::SenderError,
            }
        }))
    }
}

/// The task that waits for an answer and forwards it.
type Forwarding<F> = JoinHandle<CallResult<Result<(), MessagingErr<F>>>>;

fn answer(port: Option<RpcReplyPort<UnaryResult>>, answer: UnaryResult) {
    if let Some(port) = port {
        // Whoever asked may be gone.
        let _ = port.send(answer);
    }
}

impl UnaryCall {
    /// A call of `path` (`/pkg.Service/Method`) whose answer goes to `reply`.
    pub fn new(
        path: impl Into<String>,
        message: &impl Message,
        reply: RpcReplyPort<UnaryResult>,
    ) -> Self {
        Self { reply: Some(reply), ..Self::one_way(path, message) }
    }

    /// A call whose answer nobody waits for. It is queued, sent and retried like any other.
    pub fn one_way(path: impl Into<String>, message: &impl Message) -> Self {
        Self {
            path: path.into(),
            metadata: MetadataMap::new(),
            body: codec::encode(message),
            options: CallOptions::new(),
            reply: None,
        }
    }

    /// The same call with request metadata.
    pub fn with_metadata(mut self, metadata: MetadataMap) -> Self {
        self.metadata = metadata;
        self
    }

    /// The same call with options.
    pub fn with_options(mut self, options: CallOptions) -> Self {
        self.options = options;
        self
    }
}

impl UnaryReply {
    /// The answer's metadata, trailers included.
    pub fn metadata(&self) -> &MetadataMap {
        &self.metadata
    }

    /// The encoded message.
    pub fn message(&self) -> &Bytes {
        &self.message
    }

    /// The message, decoded.
    ///
    /// # Errors
    ///
    /// INTERNAL where the bytes are no message of type `M`. The call has ended well by then: this
    /// status has no report.
    pub fn decode<M: Message + Default>(&self) -> Result<M, Status> {
        codec::decode(self.message.clone()).map_err(Status::internal)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("state", &self.core.telemetry.state()).finish()
    }
}
