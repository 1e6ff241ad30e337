//! Which streams of a link are no calls, but questions of this crate's own: what the peer answers
//! there does not show that it answers calls.
//!
//! The driver asks for every frame until the peer has answered a call, and for none afterwards. A
//! link on which nothing was ever asked costs one relaxed load. The load sees what was stored
//! before a stream was opened: the driver has taken the stream from h2, whose lock orders the two,
//! before any frame of it can come back.

use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// So many streams are known. One that is over is forgotten last of all: the peer's answer may
/// still be under way. Two are open at once.
const KNOWN: usize = 16;

/// The streams of one link that are no calls.
#[derive(Debug, Default)]
pub(super) struct Asides {
    any: AtomicBool,
    /// Their ids, and whether they are open.
    streams: Mutex<Vec<(u32, bool)>>,
}

/// A stream is being opened that is no call. Meanwhile every stream may be the one.
pub(super) struct Opening<'a>(MutexGuard<'a, Vec<(u32, bool)>>);

impl Asides {
    /// To be held from before the stream is opened until its id is noted.
    pub(super) fn opening(&self) -> Opening<'_> {
        self.any.store(true, Relaxed);
        Opening(self.streams.lock())
    }

    /// This side has no more use for the stream.
    pub(super) fn close(&self, stream: u32) {
        let mut streams = self.streams.lock();
        streams.iter_mut().filter(|(id, _)| *id == stream).for_each(|(_, open)| *open = false);
    }

    /// Whether the stream is no call, or may be none. It waits for nobody: the driver asks, while
    /// it reads.
    pub(super) fn may_have(&self, stream: u32) -> bool {
        self.any.load(Relaxed)
            && self
                .streams
                .try_lock()
                .is_none_or(|streams| streams.iter().any(|(id, _)| *id == stream))
    }
}

impl Opening<'_> {
    /// The stream is open.
    pub(super) fn note(mut self, stream: u32) {
        if self.0.len() == KNOWN {
            let over = self.0.iter().position(|(_, open)| !open).unwrap_or(0);
            self.0.remove(over);
        }
        self.0.push((stream, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_known_from_before_it_is_opened_until_long_after_it_is_over() {
        let asides = Asides::default();
        assert!(!asides.may_have(1));
        let opening = asides.opening();
        assert!(asides.may_have(1) && asides.may_have(3), "either may be the one");
        opening.note(1);
        assert!(asides.may_have(1) && !asides.may_have(3));
        asides.close(1);
        assert!(asides.may_have(1), "its answer may be under way");
    }

    #[test]
    fn few_are_known_and_those_that_are_open_stay() {
        let asides = Asides::default();
        asides.opening().note(1);
        for probe in 1..1_000 {
            asides.opening().note(2 * probe + 1);
            asides.close(2 * probe + 1);
        }
        assert!(asides.may_have(1) && asides.may_have(1_999) && !asides.may_have(3));
        assert_eq!(asides.streams.lock().len(), KNOWN);
    }
}
