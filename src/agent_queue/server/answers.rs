//! Answers on their way out: large ones in pieces, with their share of the budget, and no longer
//! than they may remain unread.
//!
//! hyper hands a whole piece to HTTP/2 as soon as the caller takes one byte more. Therefore a large
//! message goes out in small pieces: what is kept of it is here, where it is counted and can be
//! thrown away.

use super::{
    Budget,
    budget::{SMALL, Share, caller},
    requests,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use metrics::counter;
use parking_lot::Mutex;
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time;
use tonic::{Status, body::Body, server::NamedService};
use tower_service::Service;

/// The agent queue's service, whose large requests and answers are counted. It goes between tonic
/// and the generated service.
#[derive(Clone, Debug)]
pub struct Measured<S> {
    inner: S,
    budget: Budget,
    /// Of its own: an answer may have to wait while its request has its share.
    requests: Budget,
}

/// The body of a counted answer.
#[derive(Debug)]
struct Counted {
    kept: Arc<Mutex<Kept>>,
    read_within: Duration,
}

#[derive(Debug)]
struct Kept {
    state: State,
    /// What has not been handed over of the last message.
    rest: Bytes,
    share: Option<Arc<Share>>,
    /// How many large messages have begun.
    messages: u64,
}

#[derive(Debug)]
enum State {
    Going(Body),
    /// It was thrown away; the caller hears so if it reads on.
    ThrownAway,
    Over,
}

impl<S> Measured<S> {
    /// Counts the answers of `inner`, whose [`Service`](super::Service) has the same budget;
    /// requests have another of the same size.
    pub fn new(inner: S, budget: Budget) -> Self {
        Self { inner, requests: budget.for_requests(), budget }
    }
}

impl<S: NamedService> NamedService for Measured<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Measured<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (held, read_within) = (requests::Held::default(), self.budget.read_within());
        let (budget, caller) =
            (self.requests.clone(), caller(request.extensions()).map(|caller| caller.requests()));
        let request = request
            .map(|body| Body::new(requests::Counted::new(body, budget, caller, held.clone())));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(held);
            let mut answer = answer?;
            // Its operation put its share there.
            let Some(share) = answer.extensions_mut().remove::<Arc<Share>>() else {
                return Ok(answer);
            };
            Ok(answer.map(|body| Body::new(Counted::new(body, share, read_within))))
        })
    }
}

impl Counted {
    fn new(body: Body, share: Arc<Share>, read_within: Duration) -> Self {
        let kept =
            Kept { state: State::Going(body), rest: Bytes::new(), share: Some(share), messages: 0 };
        Self { kept: Arc::new(Mutex::new(kept)), read_within }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut kept = self.kept.lock();
        if !kept.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(kept.piece()))));
        }
        let body = match &mut kept.state {
            State::Going(body) => body,
            State::ThrownAway => {
                kept.state = State::Over;
                return Poll::Ready(Some(thrown_away().map(Frame::trailers)));
            }
            State::Over => return Poll::Ready(None),
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        Poll::Ready(match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) if data.len() > SMALL => {
                kept.messages += 1;
                kept.rest = data;
                tokio::spawn(throw_away(
                    Arc::downgrade(&self.kept),
                    kept.messages,
                    self.read_within,
                ));
                Some(Ok(Frame::data(kept.piece())))
            }
            Some(Ok(Ok(data))) => Some(Ok(Frame::data(data))),
            Some(Ok(Err(other))) => Some(Ok(other)),
            Some(Err(status)) => Some(Err(status)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        let kept = self.kept.lock();
        match &kept.state {
            State::Going(body) => kept.rest.is_empty() && body.is_end_stream(),
            State::ThrownAway => false,
            State::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Kept {
    fn piece(&mut self) -> Bytes {
        let piece = self.rest.split_to(self.rest.len().min(SMALL));
        if self.rest.is_empty() {
            self.share = None;
        }
        piece
    }
}

fn thrown_away() -> Result<HeaderMap, Status> {
    let status = Status::resource_exhausted(
        "the answer was not read in time (answer-timeout), and was thrown away",
    );
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(trailers)
}

/// Throws an answer away, if this message of it is still unread by then.
async fn throw_away(kept: Weak<Mutex<Kept>>, message: u64, read_within: Duration) {
    time::sleep(read_within).await;
    let Some(kept) = kept.upgrade() else { return };
    let mut kept = kept.lock();
    if kept.messages == message && !kept.rest.is_empty() {
        counter!("tonic_supervisor.queue.answers_thrown_away").increment(1);
        kept.state = State::ThrownAway;
        kept.rest = Bytes::new();
        kept.share = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, Full};

    fn body(bytes: usize) -> (Counted, Weak<Share>) {
        let share = Arc::new(Share::none());
        let weak = Arc::downgrade(&share);
        let body = Body::new(Full::new(Bytes::from(vec![7; bytes])));
        (Counted::new(body, share, Duration::from_secs(60)), weak)
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_answer_goes_out_in_pieces_and_whole() {
        let (mut body, share) = body(100_000);
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let data = frame.expect("a frame").into_data().expect("data");
            assert!(data.len() <= SMALL);
            bytes += data.len();
            assert_eq!(
                share.upgrade().is_none(),
                bytes == 100_000,
                "the share is held until the last piece"
            );
        }
        assert_eq!(bytes, 100_000);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_read_in_time_is_thrown_away_and_says_so() {
        let (mut body, share) = body(100_000);
        body.frame().await.expect("a frame").expect("data");
        time::sleep(Duration::from_secs(59)).await;
        assert!(share.upgrade().is_some());
        time::sleep(Duration::from_secs(2)).await;
        assert!(share.upgrade().is_none() && body.kept.lock().rest.is_empty());
        let last = body
            .frame()
            .await
            .expect("a frame")
            .expect("trailers")
            .into_trailers()
            .expect("trailers");
        assert_eq!(last.get("grpc-status").expect("a status"), "8");
        assert!(body.frame().await.is_none());
    }
}
