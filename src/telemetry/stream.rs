//! The event stream: a snapshot first, then every event in order; a slow reader is told how many it
//! missed.

use crate::model::{Event, Fact, Snapshot};
use futures::{Stream, future::BoxFuture};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::sync::broadcast::{self, error::RecvError};

/// What an event stream yields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventItem {
    /// How things stood when the stream was opened: the first item.
    Snapshot(Box<Snapshot>),
    /// Something happened.
    Event(Event),
    /// The reader was too slow: this many events were dropped here. Those that follow are complete
    /// again.
    Lagged(u64),
}

type Receiver = broadcast::Receiver<Arc<Event>>;

/// What waits for the next event, and gives the receiver back with it.
type Receiving = BoxFuture<'static, (Result<Arc<Event>, RecvError>, Receiver)>;

/// Every event of a supervisor. Does not keep it alive; ends after [`Fact::Closed`].
///
/// Memory is bounded whatever the reader does: the last 512 events are kept, once for all readers.
pub struct EventStream {
    snapshot: Option<Box<Snapshot>>,
    next: Option<Receiving>,
}

impl EventStream {
    /// Without a receiver nothing follows the snapshot.
    pub(super) fn new(snapshot: Snapshot, receiver: Option<Receiver>) -> Self {
        let next = receiver.map(|receiver| Box::pin(receive(receiver)) as _);
        Self { snapshot: Some(Box::new(snapshot)), next }
    }

    /// The number of the last event before it was opened; 0 once its snapshot was read.
    #[cfg(feature = "admin")]
    pub(crate) fn opened_at(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.seq)
    }

    /// The next item; none once the supervisor is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost by it.
    pub async fn next(&mut self) -> Option<EventItem> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

async fn receive(mut receiver: Receiver) -> (Result<Arc<Event>, RecvError>, Receiver) {
    (receiver.recv().await, receiver)
}

impl Stream for EventStream {
    type Item = EventItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EventItem>> {
        if let Some(snapshot) = self.snapshot.take() {
            return Poll::Ready(Some(EventItem::Snapshot(snapshot)));
        }
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let (result, receiver) = ready!(next.as_mut().poll(cx));
        let last = match &result {
            Ok(event) => matches!(event.fact, Fact::Closed { .. }),
            Err(error) => *error == RecvError::Closed,
        };
        self.next = (!last).then(|| Box::pin(receive(receiver)) as _);
        Poll::Ready(match result {
            Ok(event) => Some(EventItem::Event(Arc::unwrap_or_clone(event))),
            Err(RecvError::Lagged(missed)) => Some(EventItem::Lagged(missed)),
            Err(RecvError::Closed) => None,
        })
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("open", &self.next.is_some()).finish()
    }
}
