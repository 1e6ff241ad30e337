//! A queue of data frames that costs nothing for the usual one, and little for many small ones.
//!
//! A frame is a piece of the buffer that it was read into, and keeps all of that in memory. So
//! small frames that have to wait behind others are copied together: what a peer can make us hold
//! follows from the data it sends, not from how it cuts it.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// A frame below this size is copied.
const SMALL: usize = 4 << 10;

/// Copies are gathered in blocks of this size.
const BLOCK: usize = 16 << 10;

/// Data frames in order. What follows the first is kept apart: as a rule there is nothing, and an
/// answer that is handed on is small.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    first: Option<Bytes>,
    rest: Option<Box<Rest>>,
}

/// The frames behind the first.
#[derive(Debug, Default)]
struct Rest {
    ended: VecDeque<Bytes>,
    /// Copies of the last frames, which were small.
    block: BytesMut,
}

impl Chunks {
    pub(super) fn push(&mut self, chunk: Bytes) {
        if self.is_empty() {
            self.first = Some(chunk);
        } else {
            self.rest.get_or_insert_default().push(chunk);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        self.first.take().or_else(|| self.rest.as_mut()?.pop())
    }

    /// All of it in one piece; not copied where it is one.
    pub(super) fn into_bytes(mut self) -> Bytes {
        match self.pop() {
            Some(only) if self.is_empty() => only,
            first => {
                let mut whole = BytesMut::from(first.unwrap_or_default());
                self.iter().for_each(|chunk| whole.extend_from_slice(chunk));
                whole.freeze()
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.as_ref().is_none_or(|rest| rest.is_empty())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.first.iter().map(|chunk| &chunk[..]);
        first.chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    /// How many bytes they hold.
    pub(super) fn size(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }
}

impl Rest {
    fn push(&mut self, chunk: Bytes) {
        if chunk.len() < SMALL {
            if self.block.len() + chunk.len() > BLOCK {
                self.end_block();
            }
            self.block.extend_from_slice(&chunk);
        } else {
            self.end_block();
            self.ended.push_back(chunk);
        }
    }

    fn end_block(&mut self) {
        if !self.block.is_empty() {
            self.ended.push_back(self.block.split().freeze());
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let block = &mut self.block;
        let last = || (!block.is_empty()).then(|| std::mem::take(block).freeze());
        self.ended.pop_front().or_else(last)
    }

    fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.block.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let block = (!self.block.is_empty()).then_some(&self.block[..]);
        self.ended.iter().map(|chunk| &chunk[..]).chain(block)
    }
}

impl FromIterator<Bytes> for Chunks {
    fn from_iter<I: IntoIterator<Item = Bytes>>(chunks: I) -> Self {
        let mut all = Self::default();
        chunks.into_iter().for_each(|chunk| all.push(chunk));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(chunks: &Chunks) -> usize {
        chunks.iter().count()
    }

    #[test]
    fn chunks_come_out_in_order() {
        let mut chunks = Chunks::default();
        let mut came = Vec::new();
        for n in 0..5u8 {
            chunks.push(Bytes::from(vec![n]));
            chunks.push(Bytes::from(vec![n + 10]));
            came.extend(chunks.pop());
        }
        came.extend(std::iter::from_fn(|| chunks.pop()));
        assert_eq!(came.concat(), [0, 10, 1, 11, 2, 12, 3, 13, 4, 14]);
        assert!(chunks.is_empty() && chunks.size() == 0);
    }

    #[test]
    fn small_frames_are_held_in_few_pieces_and_large_ones_as_they_came() {
        let bytes = 100_000;
        let small: Chunks = (0..bytes).map(|_| Bytes::from_static(b"x")).collect();
        assert_eq!(small.size(), bytes);
        assert!(pieces(&small) <= 2 + bytes / BLOCK, "{} pieces", pieces(&small));
        let large = [Bytes::from(vec![1; SMALL]), Bytes::from(vec![2; SMALL])];
        let kept: Chunks = large.iter().cloned().collect();
        assert!(
            kept.iter().zip(&large).all(|(kept, sent)| kept.as_ptr() == sent.as_ptr()),
            "not copied"
        );
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_moved_however_data_is_cut_and_taken(
            frames in proptest::collection::vec((0usize..9_000, any::<bool>()), 0..20),
        ) {
            let (mut chunks, mut came, mut sent) = (Chunks::default(), Vec::new(), Vec::new());
            for (n, (length, take)) in frames.into_iter().enumerate() {
                let frame = vec![n as u8; length];
                sent.extend_from_slice(&frame);
                chunks.push(frame.into());
                if take {
                    came.extend(chunks.pop().unwrap_or_default());
                }
                prop_assert_eq!(chunks.size(), sent.len() - came.len());
            }
            came.extend(chunks.into_bytes());
            prop_assert_eq!(came, sent);
        }
    }
}
