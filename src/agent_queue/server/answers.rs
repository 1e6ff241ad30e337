//! The bodies of answers: large ones go out in pieces, hold their part of the budget until then,
//! and are thrown away when they remain unread for too long.
//!
//! hyper hands a whole piece to HTTP/2 as soon as the caller takes one byte more. Therefore a large
//! message goes out in small pieces: what is kept of it is here, where it is counted and can be
//! thrown away.

use super::{
    Budget,
    budget::{Reservation, SMALL, connection_info},
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
pub struct Budgeted<S> {
    inner: S,
    budget: Budget,
    /// Of its own: an answer may have to wait while its request holds its reservation.
    requests: Budget,
}

/// The body of a counted answer.
#[derive(Debug)]
struct BudgetedBody {
    unread: Arc<Mutex<UnreadAnswer>>,
    read_within: Duration,
}

#[derive(Debug)]
struct UnreadAnswer {
    state: State,
    /// What has not been handed over of the last message.
    rest: Bytes,
    reservation: Option<Arc<Reservation>>,
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

impl<S> Budgeted<S> {
    /// Counts the answers of `inner`, whose [`Service`](super::Service) has the same budget;
    /// requests have another of the same size.
    pub fn new(inner: S, budget: Budget) -> Self {
        Self { inner, requests: budget.for_requests(), budget }
    }
}

impl<S: NamedService> NamedService for Budgeted<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Budgeted<S>
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
        let (held, read_within) = (requests::HeldReservation::default(), self.budget.read_within());
        let (budget, connection) = (
            self.requests.clone(),
            connection_info(request.extensions()).map(|connection| connection.requests()),
        );
        let request = request.map(|body| {
            Body::new(requests::RequestBody::new(body, budget, connection, held.clone()))
        });
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(held);
            let mut answer = answer?;
            // Its operation put its reservation there.
            let Some(reservation) = answer.extensions_mut().remove::<Arc<Reservation>>() else {
                return Ok(answer);
            };
            Ok(answer.map(|body| Body::new(BudgetedBody::new(body, reservation, read_within))))
        })
    }
}

impl BudgetedBody {
    fn new(body: Body, reservation: Arc<Reservation>, read_within: Duration) -> Self {
        let unread = UnreadAnswer {
            state: State::Going(body),
            rest: Bytes::new(),
            reservation: Some(reservation),
            messages: 0,
        };
        Self { unread: Arc::new(Mutex::new(unread)), read_within }
    }
}

impl http_body::Body for BudgetedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut unread = self.unread.lock();
        if !unread.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(unread.piece()))));
        }
        let body = match &mut unread.state {
            State::Going(body) => body,
            State::ThrownAway => {
                unread.state = State::Over;
                return Poll::Ready(Some(thrown_away().map(Frame::trailers)));
            }
            State::Over => return Poll::Ready(None),
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        Poll::Ready(match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) if data.len() > SMALL => {
                unread.messages += 1;
                unread.rest = data;
                tokio::spawn(throw_away(
                    Arc::downgrade(&self.unread),
                    unread.messages,
                    self.read_within,
                ));
                Some(Ok(Frame::data(unread.piece())))
            }
            Some(Ok(Ok(data))) => Some(Ok(Frame::data(data))),
            Some(Ok(Err(other))) => Some(Ok(other)),
            Some(Err(status)) => Some(Err(status)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        let unread = self.unread.lock();
        match &unread.state {
            State::Going(body) => unread.rest.is_empty() && body.is_end_stream(),
            State::ThrownAway => false,
            State::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl UnreadAnswer {
    fn piece(&mut self) -> Bytes {
        let piece = self.rest.split_to(self.rest.len().min(SMALL));
        if self.rest.is_empty() {
            self.reservation = None;
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
async fn throw_away(unread: Weak<Mutex<UnreadAnswer>>, message: u64, read_within: Duration) {
    time::sleep(read_within).await;
    let Some(unread) = unread.upgrade() else { return };
    let mut unread = unread.lock();
    if unread.messages == message && !unread.rest.is_empty() {
        counter!("tonic_supervisor.queue.answers_thrown_away").increment(1);
        unread.state = State::ThrownAway;
        unread.rest = Bytes::new();
        unread.reservation = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, Full};

    fn body(bytes: usize) -> (BudgetedBody, Weak<Reservation>) {
        let reservation = Arc::new(Reservation::none());
        let weak = Arc::downgrade(&reservation);
        let body = Body::new(Full::new(Bytes::from(vec![7; bytes])));
        (BudgetedBody::new(body, reservation, Duration::from_secs(60)), weak)
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_answer_goes_out_in_pieces_and_whole() {
        let (mut body, reservation) = body(100_000);
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let data = frame.expect("a frame").into_data().expect("data");
            assert!(data.len() <= SMALL);
            bytes += data.len();
            assert_eq!(
                reservation.upgrade().is_none(),
                bytes == 100_000,
                "the reservation is held until the last piece"
            );
        }
        assert_eq!(bytes, 100_000);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_read_in_time_is_thrown_away_and_says_so() {
        let (mut body, reservation) = body(100_000);
        body.frame().await.expect("a frame").expect("data");
        time::sleep(Duration::from_secs(59)).await;
        assert!(reservation.upgrade().is_some());
        time::sleep(Duration::from_secs(2)).await;
        assert!(reservation.upgrade().is_none() && body.unread.lock().rest.is_empty());
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
