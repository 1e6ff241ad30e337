//! A response's body: whole, for unary answers read to their end, or live, for what streams.

use super::{
    chunks::Chunks,
    clean::clean,
    exchange::{classify_now, no_status},
    fields::Fields,
    framing::Framing,
    link::Permit,
};
use crate::model::{Failure, Phase};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body::Frame;
use std::task::{Context, Poll, ready};

/// The body of an answer. Its trailers are clean (see [`clean`]).
pub(crate) enum ResponseBody {
    /// Everything is here, the trailers included.
    Whole {
        /// The data, in the peer's frames.
        data: Chunks,
        /// Sent last; none once they are.
        trailers: Option<HeaderMap>,
    },
    /// It comes as the peer sends it.
    Live(Box<Live>),
}

/// A frame below this size costs h2 more to keep than it holds.
const TINY: usize = 256;

/// After so many tiny frames that lay there already, all that lie there are taken: the reader is
/// slower than they come.
const BEHIND: u32 = 8;

/// A stream that is still open.
pub(crate) struct Live {
    data: Chunks,
    /// How much of it the peer was given room for already.
    released: usize,
    /// How many tiny frames lay there already, one after the other.
    behind: u32,
    framing: Framing,
    stream: h2::RecvStream,
    permit: Option<Permit>,
    lost: Option<BoxFuture<'static, Failure>>,
    data_done: bool,
    done: bool,
}

impl ResponseBody {
    pub(super) fn whole(data: Chunks, trailers: HeaderMap) -> Self {
        Self::Whole { data, trailers: (!trailers.is_empty()).then_some(trailers) }
    }

    /// `framing` is that of `data`.
    pub(super) fn live(
        data: Chunks,
        framing: Framing,
        stream: h2::RecvStream,
        permit: Permit,
    ) -> Self {
        Self::Live(Box::new(Live {
            framing,
            released: data.size(),
            data,
            behind: 0,
            stream,
            permit: Some(permit),
            lost: None,
            data_done: false,
            done: false,
        }))
    }

    /// Nothing, or nothing more.
    pub(crate) fn empty() -> Self {
        Self::whole(Chunks::default(), HeaderMap::new())
    }

    /// How many bytes of messages came so far, without gRPC's prefixes.
    pub(crate) fn payload(&self) -> usize {
        match self {
            Self::Whole { data, .. } => {
                let mut framing = Framing::default();
                data.iter().for_each(|chunk| framing.feed(chunk));
                framing.payload()
            }
            Self::Live(live) => live.framing.payload(),
        }
    }

    /// How its messages came so far; none where it is whole.
    pub(crate) fn framing(&self) -> Option<&Framing> {
        match self {
            Self::Whole { .. } => None,
            Self::Live(live) => Some(&live.framing),
        }
    }

    /// Takes in what lies in the link, and gives the peer no room for it: so
    /// [`at_hand`](Self::at_hand) knows all that nobody has read. `cx` hears when more comes.
    #[cfg(feature = "bridge")]
    pub(crate) fn take_in(&mut self, cx: &mut Context<'_>) {
        if let Self::Live(live) = self {
            live.take_all(cx);
        }
    }

    /// How many bytes lie here, to be read without waiting for the wire.
    #[cfg(feature = "bridge")]
    pub(crate) fn at_hand(&self) -> usize {
        match self {
            Self::Whole { data, .. } => data.size(),
            Self::Live(live) => live.data.size(),
        }
    }

    /// The data and the trailers of a whole answer; none where more may come.
    pub(crate) fn into_whole(self) -> Option<(Bytes, HeaderMap)> {
        match self {
            Self::Whole { data, trailers } => {
                Some((data.into_bytes(), trailers.unwrap_or_default()))
            }
            Self::Live(_) => None,
        }
    }

    /// Whether more may come from the wire.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }
}

impl Live {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Some(data) = self.data.pop() {
            let released = self.released.min(data.len());
            self.released -= released;
            self.release(data.len() - released);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.done {
            return Poll::Ready(None);
        }
        if let Some(lost) = &mut self.lost {
            let failure = ready!(lost.as_mut().poll(cx));
            return Poll::Ready(Some(Err(self.finish(failure))));
        }
        if !self.data_done {
            let Poll::Ready(data) = self.stream.poll_data(cx) else {
                self.behind = 0;
                return Poll::Pending;
            };
            match data {
                Some(Ok(data)) => {
                    self.release(data.len());
                    self.framing.feed(&data);
                    if data.len() < TINY {
                        self.catch_up(cx);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return self.failed(&error, cx),
                None => self.data_done = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(mut trailers)) => {
                let fields = Fields::of(&trailers);
                if self.framing.breaks_off() && fields.say_ok(&trailers) {
                    return Poll::Ready(Some(Err(self.finish(Failure::breaks_off()))));
                }
                if let Some(failure) = self.above_limit(fields, &trailers) {
                    return Poll::Ready(Some(Err(self.finish(failure))));
                }
                clean(&mut trailers);
                self.done = true;
                self.permit = None;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Ok(None) => Poll::Ready(Some(Err(self.finish(no_status().failure)))),
            Err(error) => self.failed(&error, cx),
        }
    }

    /// Gives the peer room for as much as the reader took.
    fn release(&mut self, bytes: usize) {
        // Of a stream that is over there is nothing to give back.
        let _ = self.stream.flow_control().release_capacity(bytes);
    }

    /// Takes all frames that lie there, and copies them together: h2 keeps some 250 bytes for each.
    /// The peer gets no room for them before the reader takes them.
    fn catch_up(&mut self, cx: &mut Context<'_>) {
        self.behind += 1;
        if self.behind <= BEHIND {
            return;
        }
        self.take_all(cx);
        self.behind = 0;
    }

    fn take_all(&mut self, cx: &mut Context<'_>) {
        // An end that is found here is found again after the data.
        while let Poll::Ready(Some(Ok(data))) = self.stream.poll_data(cx) {
            self.framing.feed(&data);
            self.data.push(data);
        }
    }

    /// What trailers that are too large come to.
    fn above_limit(&self, fields: Fields, trailers: &HeaderMap) -> Option<Failure> {
        self.permit.as_ref()?.link().headers.check_trailers(fields, trailers).err()
    }

    fn failed(
        &mut self,
        error: &h2::Error,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(permit) = &self.permit else {
            return Poll::Ready(None);
        };
        let link = permit.link().clone();
        match classify_now(error, &link) {
            Some(failure) => Poll::Ready(Some(Err(self.finish(failure.after_answer_began())))),
            None => {
                self.lost = Some(Box::pin(async move {
                    Failure::link_lost(link.ended().await, Phase::MaybeProcessed)
                }));
                self.poll(cx)
            }
        }
    }

    fn finish(&mut self, failure: Failure) -> Failure {
        self.done = true;
        self.permit = None;
        failure
    }
}

impl ResponseBody {
    /// The next frame; none after the last. A failure is the last.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match self {
            Self::Whole { data, trailers } => {
                let frame = data.pop().map(Frame::data);
                Poll::Ready(frame.or_else(|| trailers.take().map(Frame::trailers)).map(Ok))
            }
            Self::Live(live) => {
                let frame = ready!(live.poll(cx));
                if live.done {
                    // A connection stays open for as long as anybody holds one of its streams,
                    // ended or not.
                    *self = Self::empty();
                }
                Poll::Ready(frame)
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole { data, trailers } => data.is_empty() && trailers.is_none(),
            Self::Live(live) => live.done && live.data.is_empty(),
        }
    }
}
