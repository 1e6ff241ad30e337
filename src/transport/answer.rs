//! An answer whose head is still to come. Whoever waits for it can leave a waker with h2
//! beforehand, and so is woken once for the call instead of twice.

use h2::{RecvStream, client::ResponseFuture};
use http::Response;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// An answer whose head is still to come.
pub(crate) struct Answer {
    head: ResponseFuture,
    /// The head, where it came while a waker was left.
    early: Option<Box<Result<Response<RecvStream>, h2::Error>>>,
}

impl Answer {
    pub(super) fn new(head: ResponseFuture) -> Self {
        Self { head, early: None }
    }

    /// Leaves a waker for the one who will wait for the head; false if there is nothing to wait for
    /// any more.
    pub(crate) fn wakes(&mut self, waker: &Waker) -> bool {
        match Pin::new(&mut self.head).poll(&mut Context::from_waker(waker)) {
            Poll::Pending => true,
            Poll::Ready(head) => {
                self.early = Some(Box::new(head));
                false
            }
        }
    }
}

impl Future for Answer {
    type Output = Result<Response<RecvStream>, h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.early.take() {
            Some(head) => Poll::Ready(*head),
            None => Pin::new(&mut self.head).poll(cx),
        }
    }
}
