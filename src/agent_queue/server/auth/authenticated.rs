//! Who asks is known before a request's body is read: around the generated service, where only the
//! head is there.

use super::{Authorizer, Identity};
use http::{Request, Response, header::AUTHORIZATION, request::Parts};
use metrics::counter;
use std::{
    convert::Infallible,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time;
use tonic::{Status, body::Body, server::NamedService};
use tower_service::Service;

/// How long an authorizer may take to say who asks.
const PATIENCE: Duration = Duration::from_secs(10);

/// The agent queue's service behind an [`Authorizer`]: a request whose identity is not known is
/// answered without reading its body. It goes around
/// [`Budgeted`](crate::agent_queue::server::Budgeted), or around the generated service.
///
/// The others go on with their [`Identity`] in their extensions, and without `authorization`, which
/// nobody further in needs.
#[derive(Clone)]
pub struct Authenticated<S> {
    inner: S,
    authorizer: Option<Arc<dyn Authorizer>>,
}

impl<S> Authenticated<S> {
    /// Asks `authorizer`; none: whoever comes may come.
    pub fn new(inner: S, authorizer: Option<Arc<dyn Authorizer>>) -> Self {
        Self { inner, authorizer }
    }
}

impl<S: NamedService> NamedService for Authenticated<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Authenticated<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(authorizer) = self.authorizer.clone() else {
            return Box::pin(self.inner.call(request));
        };
        // The one that said it is ready is used; its copy is not yet.
        let copy = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, copy);
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            match identify(&*authorizer, &head).await {
                Ok(identity) => {
                    head.headers.remove(AUTHORIZATION);
                    head.extensions.insert(identity);
                    inner.call(Request::from_parts(head, body)).await
                }
                Err(status) => {
                    counter!("tonic_supervisor.queue.calls_refused", "reason" => "identity")
                        .increment(1);
                    Ok(status.into_http())
                }
            }
        })
    }
}

async fn identify(authorizer: &dyn Authorizer, head: &Parts) -> Result<Identity, Status> {
    let late = |_| Err(Status::unavailable("it could not be found out in time who asks"));
    time::timeout(PATIENCE, authorizer.identify(head)).await.unwrap_or_else(late)
}

impl<S: fmt::Debug> fmt::Debug for Authenticated<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated").field("inner", &self.inner).finish_non_exhaustive()
    }
}
