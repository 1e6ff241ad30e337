//! A server that keeps nothing: it hands each call on to the server that does, as the servers of
//! one queue do with a database behind them, and signs the answer with its own number.
//!
//! So each of several servers can be killed, and all of them have the same tasks.

use http::{HeaderValue, Request, Response};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};
use tonic::{
    Status,
    body::Body,
    metadata::MetadataMap,
    server::NamedService,
    transport::{Channel, Endpoint},
};
use tonic_supervisor::agent_queue::agent_queue_server::SERVICE_NAME;
use tower_service::Service;

/// The header of an answer that says which server it came from.
const SERVED_BY: &str = "x-served-by";

/// Hands calls on.
#[derive(Clone, Debug)]
pub(super) struct Forward {
    backend: Channel,
    number: HeaderValue,
}

impl Forward {
    /// To the server at `backend`; answers are signed with `number`.
    pub(super) fn to(backend: SocketAddr, number: u32) -> Result<Self, tonic::transport::Error> {
        let backend = Endpoint::from_shared(format!("http://{backend}"))?.connect_lazy();
        Ok(Self { backend, number: number.into() })
    }
}

/// The number of the server that an answer came from; none if there is only one.
pub(super) fn served_by(headers: &MetadataMap) -> Option<usize> {
    headers.get(SERVED_BY)?.to_str().ok()?.parse().ok()
}

impl NamedService for Forward {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<Request<Body>> for Forward {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // A clone has no place in the channel's queue yet.
        let Self { mut backend, number } = self.clone();
        Box::pin(async move {
            let answer = async {
                poll_fn(|context| backend.poll_ready(context)).await?;
                backend.call(request).await
            };
            let mut answer = answer.await.unwrap_or_else(|error| {
                Status::unavailable(format!("the queue behind this server: {error}")).into_http()
            });
            answer.headers_mut().insert(SERVED_BY, number);
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_by_its_number_which_server_it_came_from() {
        let mut headers = MetadataMap::new();
        assert_eq!(served_by(&headers), None);
        headers.insert(SERVED_BY, "3".parse().expect("a header"));
        assert_eq!(served_by(&headers), Some(3));
    }
}
