//! The channel for generated clients: a tower service that any tonic client takes in place of
//! `tonic::transport::Channel`.

use super::{
    codec,
    request::{self, Prepared, Preparing},
    supervisor::Handle,
};
#[cfg(feature = "bridge")]
use crate::call::Calls;
use crate::{
    actor::Core,
    call::{Reply, Submission, Submitted, refusal, run_typed},
    clock,
    model::{CallKind, CallOptions},
};
use futures::future::{BoxFuture, Either};
use prost::Message;
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{Request, Response, Status};

/// A supervised channel: `GreeterClient::new(supervisor.channel())` works as with tonic's own.
///
/// Calls wait for a link, are sent again where the server never saw them, and are retried by the
/// configured policy: unary calls until their status is known, others than known streams until
/// their answer begins ([`CallKind`](crate::CallKind)). Cheap to clone; every clone keeps the
/// supervisor alive.
///
/// As a tower service it is always ready: calls wait and are refused after `call`, not before it.
/// tower's layers can be put around it.
///
/// # Errors
///
/// Calls end with a [`tonic::Status`], with a [`CallReport`](crate::CallReport) as its source.
///
/// # Cancel safety
///
/// Cancel safe: dropping a call's future, or its answer's body, ends the call everywhere at once:
/// in the queue, between retries, and on the wire (RST_STREAM CANCEL).
#[derive(Clone)]
pub struct SupervisedChannel {
    handle: Arc<Handle>,
}

impl SupervisedChannel {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    /// Makes a unary call without a generated client; `path` is `/pkg.Service/Method`. Being unary
    /// by construction, it may be retried.
    ///
    /// # Errors
    ///
    /// The status that the call ended with, with a [`CallReport`](crate::CallReport) as its source;
    /// INTERNAL where `path` is no path, or the answer no message of type `R`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped, the call is cancelled.
    pub async fn unary<M: Message, R: Message + Default>(
        &self,
        path: &str,
        request: Request<M>,
    ) -> Result<Response<R>, Status> {
        let path = codec::path(path)?;
        let (metadata, extensions, message) = request.into_parts();
        let call = Submission {
            made: clock::now(),
            method: self.core().calls.method(&path),
            headers: metadata.into_headers(),
            body: Some(codec::encode(&message)),
            kind: CallKind::Unary,
            options: extensions.get::<CallOptions>().copied().unwrap_or_default(),
            reply: Reply::Caller,
        };
        let call = self.core().calls.submit(call).map_err(|refused| refusal(refused).0)?;
        let answer = run_typed(self.core().calls.clone(), call, |reply| {
            let mut response = Response::new(codec::decode(reply.message)?);
            *response.metadata_mut() = reply.metadata;
            Ok(response)
        });
        let (mut response, story) = answer.await?;
        if let Some(story) = story {
            response.extensions_mut().insert(*story);
        }
        Ok(response)
    }

    /// Begins a call with these options, where its body is at hand.
    pub(crate) fn begin(
        &self,
        request: http::Request<tonic::body::Body>,
        options: CallOptions,
    ) -> Result<Beginning, Status> {
        Ok(match request::prepare(self.core(), request, options)? {
            Either::Left(prepared) => Beginning::Submitted(self.submit(prepared)?),
            Either::Right(preparing) => Beginning::Waits(preparing),
        })
    }

    fn submit(&self, Prepared { call, rest }: Prepared) -> Result<Submitted, Status> {
        let calls = &self.core().calls;
        let call = calls.submit(call).map_err(|refused| refusal(refused).0)?;
        Ok(Submitted::new(calls.clone(), call, rest))
    }

    /// What all calls share.
    #[cfg(feature = "bridge")]
    pub(crate) fn calls(&self) -> &Arc<Calls> {
        &self.core().calls
    }

    fn core(&self) -> &Arc<Core> {
        self.handle.core()
    }
}

/// How far a call is that begins.
pub(crate) enum Beginning {
    Submitted(Submitted),
    /// Its body is waited for; nothing is submitted yet.
    Waits(Preparing),
}

impl Beginning {
    /// The call when it is submitted. Cancel safe: dropped, the call ends, if it has begun.
    pub(crate) async fn submitted(self, channel: &SupervisedChannel) -> Result<Submitted, Status> {
        match self {
            Self::Submitted(submitted) => Ok(submitted),
            Self::Waits(preparing) => channel.submit(preparing.await?),
        }
    }
}

impl tower_service::Service<http::Request<tonic::body::Body>> for SupervisedChannel {
    type Response = http::Response<tonic::body::Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    /// Always ready, also while there is no link: a call that is made waits for one. Whether there
    /// is room for it is decided when it is made, and a call that is refused ends at once with
    /// RESOURCE_EXHAUSTED. So there is nothing to wait for, no reservation to hold, and layers that
    /// go by readiness see none of the load: of tower's, use `ConcurrencyLimit` to hold calls back,
    /// while `LoadShed` never sheds and `Buffer` and `Balance` gain nothing.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    /// Begins the call: as with tonic's own channel it is made here, and not when its future is
    /// polled. Only a body that is not at hand whole is waited for in the future.
    ///
    /// It is the future, though, that hears the call's deadline and takes its answer. One that is
    /// kept without being polled keeps its place on the link, and what came of its answer keeps the
    /// room that flow control has for it: poll it, or drop it, which ends the call.
    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        // A call in flight keeps the supervisor alive, too.
        let channel = self.clone();
        let options = request.extensions().get::<CallOptions>().copied().unwrap_or_default();
        // The caller's own code, its body, may panic. That is this call's business, and not that of
        // whoever makes calls for many, like tower's `Buffer`.
        let begun = catch_unwind(AssertUnwindSafe(|| channel.begin(request, options)));
        Box::pin(async move {
            let begun = begun.unwrap_or_else(|panic| resume_unwind(panic));
            let response = begun?.submitted(&channel).await?.answer().await?;
            drop(channel);
            Ok(response.map(tonic::body::Body::new))
        })
    }
}

impl fmt::Debug for SupervisedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisedChannel").field("state", &self.core().telemetry.state()).finish()
    }
}
