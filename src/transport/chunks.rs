//! A queue of data frames that costs nothing for the usual one.

use bytes::Bytes;
use std::collections::VecDeque;

/// Data frames in order.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    first: Option<Bytes>,
    rest: VecDeque<Bytes>,
}

impl Chunks {
    pub(super) fn push(&mut self, chunk: Bytes) {
        match (&self.first, self.rest.is_empty()) {
            (None, true) => self.first = Some(chunk),
            _ => self.rest.push_back(chunk),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        self.first.take().or_else(|| self.rest.pop_front())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.first.iter().chain(&self.rest)
    }

    /// How many bytes they hold.
    pub(super) fn size(&self) -> usize {
        self.iter().map(Bytes::len).sum()
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

    #[test]
    fn chunks_come_out_in_order() {
        let mut chunks = Chunks::default();
        let mut came = Vec::new();
        for n in 0..5u8 {
            chunks.push(Bytes::from(vec![n]));
            chunks.push(Bytes::from(vec![n + 10]));
            came.extend(chunks.pop());
        }
        assert_eq!(chunks.size(), 5);
        came.extend(std::iter::from_fn(|| chunks.pop()));
        assert_eq!(came.concat(), [0, 10, 1, 11, 2, 12, 3, 13, 4, 14]);
        assert!(chunks.is_empty());
    }
}
