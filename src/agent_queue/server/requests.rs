//! The bodies of requests: a large one reserves its part of a budget before it is read, and must
//! arrive whole in time.
//!
//! A caller that begins thousands of large requests and ends none makes the server keep what it has
//! sent. A request that finds no room is refused: were it left unread, it would take up the
//! connection's window, and those that have room could not come whole.

use super::budget::{Budget, ConnectionInfo, Reservation, SMALL};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use std::{
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::{self, Sleep};
use tonic::{Status, body::Body};

/// The largest message that tonic takes; it refuses others by their length, and reads nothing of
/// them.
const LARGEST: usize = 4 * 1024 * 1024;
/// gRPC's prefix of a message: a flag and four bytes of length.
const PREFIX: usize = 5;

/// A request's reservation, which is held as long as its call.
pub(super) type HeldReservation = Arc<Mutex<Option<Reservation>>>;

/// The body of a request with one message.
pub(super) struct RequestBody {
    body: Body,
    budget: Budget,
    connection: Option<ConnectionInfo>,
    held: HeldReservation,
    /// How much of the prefix has come, and the length it says so far.
    prefix: (usize, usize),
    late: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    pub(super) fn new(
        body: Body,
        budget: Budget,
        connection: Option<ConnectionInfo>,
        held: HeldReservation,
    ) -> Self {
        Self { body, budget, connection, held, prefix: (0, 0), late: None }
    }

    /// The message's length, when the prefix has just become whole.
    fn length(&mut self, data: &[u8]) -> Option<usize> {
        let (read, length) = &mut self.prefix;
        for byte in data.iter().take(PREFIX - *read) {
            if *read > 0 {
                *length = *length << 8 | usize::from(*byte);
            }
            *read += 1;
            if *read == PREFIX {
                return Some(*length);
            }
        }
        None
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let length = match frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
            Some(Ok(Some(data))) => self.length(data),
            _ => None,
        };
        if let Some(length) = length.filter(|length| (SMALL..=LARGEST).contains(length)) {
            *self.held.lock() = Some(self.budget.try_reserve(self.connection.as_ref(), length)?);
        }
        Poll::Ready(frame)
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = self.next(context) {
            return Poll::Ready(frame);
        }
        let within = self.budget.read_within();
        let late = self.late.get_or_insert_with(|| Box::pin(time::sleep(within)));
        ready!(late.as_mut().poll(context));
        Poll::Ready(Some(Err(Status::deadline_exceeded(format!(
            "the request did not come whole within {within:?} (answer-timeout)"
        )))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_queue::server::AnswerLimits;
    use http_body_util::{BodyExt as _, StreamBody};
    use std::time::Duration;

    /// A body of these pieces, which then says no more.
    fn request(budget: &Budget, pieces: Vec<Vec<u8>>) -> (RequestBody, HeldReservation) {
        let pieces =
            pieces.into_iter().map(|piece| Ok::<_, Status>(Frame::data(Bytes::from(piece))));
        let stream =
            futures::StreamExt::chain(futures::stream::iter(pieces), futures::stream::pending());
        let held = HeldReservation::default();
        (
            RequestBody::new(
                Body::new(StreamBody::new(stream)),
                budget.clone(),
                None,
                held.clone(),
            ),
            held,
        )
    }

    fn prefixed(length: u32) -> Vec<u8> {
        [&[0], &length.to_be_bytes()[..], &[1, 2, 3]].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_request_has_its_share_before_it_is_read_and_a_small_one_has_none() {
        let budget = Budget::default();
        let large = prefixed(1_000_000);
        // The prefix may come in two pieces.
        let (mut body, held) = request(&budget, vec![large[..3].to_vec(), large[3..].to_vec()]);
        assert_eq!(
            body.frame().await.expect("a frame").expect("data").into_data().expect("data"),
            large[..3]
        );
        assert!(held.lock().is_none());
        assert_eq!(
            body.frame().await.expect("a frame").expect("data").into_data().expect("data"),
            large[3..]
        );
        assert!(held.lock().as_ref().is_some_and(|reservation| !reservation.is_empty()));

        let (mut body, held) = request(&budget, vec![prefixed(1000)]);
        body.frame().await.expect("a frame").expect("data");
        assert!(held.lock().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_come_whole_is_given_up() {
        let (mut body, _) = request(&Budget::default(), vec![prefixed(1_000_000)]);
        body.frame().await.expect("a frame").expect("data");
        let begun = crate::clock::now();
        let late = body.frame().await.expect("an end").expect_err("late");
        assert_eq!(
            (late.code(), crate::clock::now() - begun),
            (tonic::Code::DeadlineExceeded, Duration::from_secs(60))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_finds_no_room_is_refused_and_has_room_when_another_is_done() {
        let budget = Budget::new(AnswerLimits::default().with_bytes(8 * 1024 * 1024));
        let (mut first, held) = request(&budget, vec![prefixed(4_000_000)]);
        first.frame().await.expect("a frame").expect("data");
        let (mut second, _) = request(&budget, vec![prefixed(4_194_304)]);
        second.frame().await.expect("a frame").expect("data");
        let third = || request(&budget, vec![prefixed(500_000)]).0;
        let refused = third().frame().await.expect("an end").expect_err("no room");
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
        *held.lock() = None;
        third().frame().await.expect("a frame").expect("data");
    }
}
