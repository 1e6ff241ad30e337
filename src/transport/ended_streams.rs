//! Streams that are over, kept until the driver is awake anyway: h2 wakes it for every stream that
//! is let go, and a driver woken beside a task that goes on moves one of the two to another thread.

use h2::RecvStream;
use parking_lot::Mutex;

/// More are let go at once. A kept stream costs some 400 B, and holds at most 1 KiB of flow control
/// (`unary_answer`).
const KEPT: usize = 16;

/// The streams of one link that are over.
#[derive(Default)]
pub(super) struct EndedStreams(Mutex<Vec<RecvStream>>);

impl EndedStreams {
    /// Keeps a stream that was read to its end.
    pub(super) fn keep(&self, stream: RecvStream) {
        let mut kept = self.0.lock();
        if kept.len() < KEPT {
            kept.push(stream);
        }
        // The lock is given back before a stream that found no room is let go.
    }

    /// Lets go of them all.
    pub(super) fn release(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Address, EndpointId};
    use crate::{
        model::Incarnation,
        transport::{
            Link, LinkEvent, LinkListener, OpenStream,
            peer::Peer,
            tap::Tap,
            unary_answer::{Hold, UnaryAnswer},
        },
    };
    use bytes::Bytes;
    use std::{
        future::{Future as _, poll_fn},
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::Poll,
        time::Duration,
    };
    use tokio::{io::DuplexStream, task::JoinHandle};

    struct Ignores;

    impl LinkListener for Ignores {
        fn on_event(&self, _: LinkEvent) {}
    }

    /// A link to a server that answers OK, how often its connection was polled, and the
    /// connection's task.
    async fn link() -> (Arc<Link>, Arc<AtomicUsize>, JoinHandle<()>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(answer(far));
        let (sender, connection) =
            h2::client::handshake(near).await.expect("a client needs no answer");
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        let driving = tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = poll_fn(|cx| {
                counted.fetch_add(1, Relaxed);
                connection.as_mut().poll(cx)
            });
            ended.await.expect("a clean end");
        });
        let link = Link::new(
            Incarnation(1),
            (EndpointId(1), Peer { listed: Address::new("peer", 1), found: None, known: None }),
            sender,
            Arc::new(Tap::new()),
            10,
            Arc::new(Ignores),
        );
        (Arc::new(link), polls, driving)
    }

    async fn answer(io: DuplexStream) {
        let mut server = h2::server::handshake(io).await.expect("a client");
        while let Some(Ok((_, mut respond))) = server.accept().await {
            let trailers_only =
                http::Response::builder().header("content-type", "application/grpc");
            let head = trailers_only.body(()).expect("valid");
            let mut stream = respond.send_response(head, false).expect("open");
            let ok = [(
                http::HeaderName::from_static("grpc-status"),
                http::HeaderValue::from_static("0"),
            )];
            stream.send_trailers(ok.into_iter().collect()).expect("open");
        }
    }

    fn open(link: &Arc<Link>) -> OpenStream {
        let head = http::Request::post("http://peer/pkg.Svc/Method")
            .version(http::Version::HTTP_2)
            .body(());
        link.reserve()
            .expect("room")
            .open(head.expect("valid"), Some(Bytes::new()), None)
            .expect("open")
    }

    async fn read(stream: OpenStream) {
        assert!(UnaryAnswer::new(stream, Hold::End).read(|_| Poll::Pending).await.is_ok());
    }

    async fn settle() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_ends_well_does_not_wake_the_driver() {
        let (link, polls, _driving) = link().await;
        read(open(&link)).await;
        settle().await;
        read(open(&link)).await;
        let polled = polls.load(Relaxed);
        settle().await;
        assert_eq!(polls.load(Relaxed), polled);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drained_link_closes_although_streams_of_it_were_kept() {
        for drained_early in [false, true] {
            let (link, _, driving) = link().await;
            let stream = open(&link);
            if drained_early {
                link.drain();
            }
            read(stream).await;
            if !drained_early {
                link.drain();
            }
            tokio::time::timeout(Duration::from_secs(1), driving)
                .await
                .expect("it closes")
                .expect("cleanly");
        }
    }
}
