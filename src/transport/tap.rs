//! Reads along with the bytes the peer sends, and so knows what h2 does not tell: that SETTINGS
//! came and how large a head may be, what a GOAWAY said, whether an answer came, when the last byte
//! arrived, and whether the end was FIN or an error.
//!
//! It sees a frame before h2 does, and so before any call that the frame concerns.

use super::{asides::Asides, proof::Proof};
use crate::{clock, model::GoAway};
use parking_lot::Mutex;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const PUSH_PROMISE: u8 = 5;
const ACK: u8 = 1;
/// SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113, section 6.5.2).
const MAX_HEADER_LIST_SIZE: u16 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
/// As much of a GOAWAY as is kept: ids and code, and this much debug data.
const GOAWAY_KEPT: usize = 8 + 256;

/// What was seen.
///
/// The driver's task writes all of it, while it reads from the socket, and reads most of it right
/// after. Others read it once the link was closed to new calls (`Link::drain`), which orders what
/// they read after what was written before. So relaxed loads and stores are enough, and a counter
/// that one task changes needs no atomic addition.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) since: Instant,
    pub(super) last_read: AtomicU64,
    settings: AtomicBool,
    /// The largest head that the peer takes; what it did not limit is `u32::MAX`.
    max_head: AtomicU32,
    proven: AtomicBool,
    answered: AtomicBool,
    goaways: AtomicU64,
    goaway: Mutex<Option<Arc<GoAway>>>,
    /// DATA frames that say nothing: no byte but padding, and not their stream's end.
    empty_data: AtomicUsize,
    /// Whether what was read last is the end of a frame that any other frame may follow.
    pub(super) between_frames: AtomicBool,
    pub(super) pong_owed: AtomicBool,
    /// Bytes of headers read in this turn.
    pub(super) headers: AtomicUsize,
    pub(super) closed: AtomicBool,
    error: Mutex<Option<(io::ErrorKind, String)>>,
    /// The streams that are no calls; others write it.
    pub(super) asides: Asides,
}

impl Tap {
    pub(super) fn new() -> Self {
        Self {
            since: clock::now(),
            last_read: AtomicU64::new(0),
            settings: AtomicBool::new(false),
            max_head: AtomicU32::new(u32::MAX),
            proven: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            goaways: AtomicU64::new(0),
            goaway: Mutex::new(None),
            empty_data: AtomicUsize::new(0),
            between_frames: AtomicBool::new(true),
            pong_owed: AtomicBool::new(false),
            headers: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            error: Mutex::new(None),
            asides: Asides::default(),
        }
    }

    /// When the last byte was read; the link's start if none was.
    pub(super) fn last_read(&self) -> Instant {
        self.since + Duration::from_nanos(self.last_read.load(Relaxed))
    }

    /// Whether the peer's first SETTINGS frame was read whole.
    pub(super) fn settings_seen(&self) -> bool {
        self.settings.load(Relaxed)
    }

    /// The peer's SETTINGS_MAX_HEADER_LIST_SIZE, if it set one.
    pub(super) fn max_head(&self) -> Option<usize> {
        let max = self.max_head.load(Relaxed);
        (max != u32::MAX).then_some(max as usize)
    }

    /// Whether the peer has ended a call's stream, or sent one whole message there.
    pub(super) fn has_proof(&self) -> bool {
        self.proven.load(Relaxed)
    }

    /// Whether the peer has ended a call's stream: it has finished an answer.
    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    /// How many GOAWAY frames were read, and the last of them.
    pub(super) fn goaways(&self) -> u64 {
        self.goaways.load(Relaxed)
    }

    pub(super) fn goaway(&self) -> Option<Arc<GoAway>> {
        self.goaway.lock().clone()
    }

    /// The driver's next turn begins.
    pub(super) fn turn(&self) {
        self.headers.store(0, Relaxed);
    }

    /// How many DATA frames said nothing.
    pub(super) fn empty_data(&self) -> usize {
        self.empty_data.load(Relaxed)
    }

    /// Gives h2 the acknowledgement of its PING that the peer owes it, at the next read: h2 sends
    /// no other PING before. False where it cannot be given: in the midst of a frame, or of headers
    /// in several frames, between which HTTP/2 allows no other.
    pub(super) fn pong_for_h2(&self) -> bool {
        let possible = self.between_frames.load(Relaxed);
        self.pong_owed.store(possible, Relaxed);
        possible
    }

    /// Whether the peer closed its side.
    pub(super) fn closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// The first error that reading or writing met.
    pub(super) fn error(&self) -> Option<(io::ErrorKind, String)> {
        self.error.lock().clone()
    }

    pub(super) fn failed(&self, error: &io::Error) {
        self.error.lock().get_or_insert_with(|| (error.kind(), error.to_string()));
    }
}

/// Where in the sequence of frames the last read ended.
#[derive(Default)]
pub(super) struct Scanner {
    header: [u8; FRAME_HEADER],
    header_filled: usize,
    payload_left: usize,
    /// The first byte of a padded frame's payload: how long its padding is.
    padding: u8,
    /// A GOAWAY's payload, or the entry of SETTINGS under way.
    kept: Vec<u8>,
    /// Whether the frame before has headers that the next one goes on with.
    headers_open: bool,
    /// The last stream that the peer's GOAWAYs do not exclude; none where it said none.
    last_taken: Option<u32>,
    proof: Proof,
    /// Whether the frame under way may show that the peer answers.
    may_prove: bool,
}

impl Scanner {
    pub(super) fn scan(&mut self, mut bytes: &[u8], tap: &Tap) {
        while !bytes.is_empty() {
            if self.header_filled < FRAME_HEADER {
                let take = bytes.len().min(FRAME_HEADER - self.header_filled);
                self.header[self.header_filled..][..take].copy_from_slice(&bytes[..take]);
                self.header_filled += take;
                bytes = &bytes[take..];
                if self.header_filled < FRAME_HEADER {
                    return;
                }
                self.payload_left = self.length();
                self.may_prove = self.begins_to_prove(tap);
                if self.may_prove {
                    let [.., kind, flags, _, _, _, _] = self.header;
                    self.proof.begin(kind, flags, self.stream(), self.payload_left);
                }
            }
            let take = bytes.len().min(self.payload_left);
            match self.header[3] {
                GOAWAY => {
                    let room = GOAWAY_KEPT.saturating_sub(self.kept.len());
                    self.kept.extend_from_slice(&bytes[..take.min(room)]);
                }
                SETTINGS => self.settings(&bytes[..take], tap),
                HEADERS | CONTINUATION => {
                    // One task reads.
                    tap.headers.store(tap.headers.load(Relaxed) + take, Relaxed);
                }
                DATA if self.header[4] & PADDED != 0
                    && take > 0
                    && self.payload_left == self.length() =>
                {
                    self.padding = bytes[0];
                }
                _ => {}
            }
            if self.may_prove {
                self.proof.feed(&bytes[..take]);
            }
            self.payload_left -= take;
            bytes = &bytes[take..];
            if self.payload_left == 0 {
                self.frame_ended(tap);
            }
        }
    }

    /// Reads the entries of a SETTINGS frame, of which the last may be cut.
    fn settings(&mut self, bytes: &[u8], tap: &Tap) {
        for byte in bytes {
            self.kept.push(*byte);
            if let [a, b, value @ ..] = &self.kept[..]
                && let Ok(value) = <[u8; 4]>::try_from(value)
            {
                if u16::from_be_bytes([*a, *b]) == MAX_HEADER_LIST_SIZE {
                    tap.max_head.store(u32::from_be_bytes(value), Relaxed);
                }
                self.kept.clear();
            }
        }
    }

    /// The length of the frame's payload.
    fn length(&self) -> usize {
        let [a, b, c, ..] = self.header;
        u32::from_be_bytes([0, a, b, c]) as usize
    }

    /// The frame's stream.
    fn stream(&self) -> u32 {
        let [.., a, b, c, d] = self.header;
        u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff
    }

    /// Whether the frame that begins may show that the peer answers calls. On a stream that its
    /// GOAWAY excludes it does not: nobody hears that answer. Nor on one that is no call.
    fn begins_to_prove(&self, tap: &Tap) -> bool {
        let excluded = || self.last_taken.is_some_and(|last| self.stream() > last);
        !self.proof.has_answered() && !excluded() && !tap.asides.may_have(self.stream())
    }

    pub(super) fn is_between_frames(&self) -> bool {
        self.header_filled == 0 && !self.headers_open
    }

    /// Whether a DATA frame has no byte of data.
    fn is_all_padding(&self) -> bool {
        match self.length() {
            0 => true,
            length => self.header[4] & PADDED != 0 && usize::from(self.padding) + 1 == length,
        }
    }

    fn frame_ended(&mut self, tap: &Tap) {
        self.header_filled = 0;
        let has_headers = matches!(self.header[3], HEADERS | PUSH_PROMISE | CONTINUATION);
        self.headers_open = has_headers && self.header[4] & END_HEADERS == 0;
        if self.may_prove {
            self.proof.end(self.header[3], self.header[4]);
            tap.proven.store(self.proof.is_there(), Relaxed);
            tap.answered.store(self.proof.has_answered(), Relaxed);
        }
        match self.header[3] {
            DATA if self.header[4] & END_STREAM == 0 && self.is_all_padding() => {
                tap.empty_data.fetch_add(1, Relaxed);
            }
            SETTINGS => {
                self.kept.clear();
                if self.header[4] & ACK == 0 {
                    tap.settings.store(true, Relaxed);
                }
            }
            GOAWAY => {
                if let Some(goaway) = parse_goaway(&self.kept) {
                    // The next GOAWAY may take back, and never give.
                    let before = self.last_taken.unwrap_or(u32::MAX);
                    self.last_taken = Some(goaway.last_stream_id.min(before));
                    *tap.goaway.lock() = Some(Arc::new(goaway));
                    tap.goaways.fetch_add(1, Relaxed);
                }
                self.kept.clear();
            }
            _ => {}
        }
    }
}

fn parse_goaway(payload: &[u8]) -> Option<GoAway> {
    let (ids, debug) = payload.split_at_checked(8)?;
    let number = |at: usize| u32::from_be_bytes([ids[at], ids[at + 1], ids[at + 2], ids[at + 3]]);
    Some(GoAway {
        last_stream_id: number(0) & 0x7fff_ffff,
        code: number(4),
        debug: String::from_utf8_lossy(debug).into_owned(),
    })
}

#[cfg(test)]
#[path = "tap_tests.rs"]
mod tests;
