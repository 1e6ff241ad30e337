//! Whether the peer has answered on this connection, read from its frames: an END_STREAM, or one
//! whole gRPC message.
//!
//! A peer that greets and then drops every call must not look like one that works. A head alone
//! proves nothing: such a peer may send heads as well.

use super::framing::Framing;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;

/// Streams whose first message is followed at once; a peer that begins more of them proves itself
/// by one of the last.
const FOLLOWED: usize = 16;

/// What the frames so far have shown.
#[derive(Default)]
pub(super) struct Proof {
    answered: bool,
    message: bool,
    /// The streams that have brought data, and how far into a message each is.
    streams: Vec<(u32, Framing)>,
    /// The DATA frame under way.
    data: Option<DataFrame>,
}

struct DataFrame {
    stream: u32,
    /// Whether the byte that says how much padding there is has still to come.
    padded: bool,
    /// How many bytes of the payload are left, the padding included while its length is not known.
    left: usize,
}

impl Proof {
    /// Whether the peer has ended a stream: a whole answer, or an error.
    pub(super) fn has_answered(&self) -> bool {
        self.answered
    }

    /// Whether the link has shown that it works.
    pub(super) fn is_there(&self) -> bool {
        self.answered || self.message
    }

    /// A frame begins.
    pub(super) fn begin(&mut self, kind: u8, flags: u8, stream: u32, length: usize) {
        let wanted = kind == DATA && !self.is_there();
        self.data =
            wanted.then_some(DataFrame { stream, padded: flags & PADDED != 0, left: length });
    }

    /// More of its payload.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        let Some(frame) = &mut self.data else { return };
        if frame.padded
            && let Some((padding, rest)) = bytes.split_first()
        {
            frame.padded = false;
            frame.left = frame.left.saturating_sub(1 + usize::from(*padding));
            bytes = rest;
        }
        let (data, _padding) = bytes.split_at(bytes.len().min(frame.left));
        frame.left -= data.len();
        let stream = frame.stream;
        let framing = self.framing(stream);
        framing.feed(data);
        self.message = framing.whole() > 0;
    }

    /// A frame ended.
    pub(super) fn end(&mut self, kind: u8, flags: u8) {
        self.answered |= matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        if self.is_there() {
            self.streams = Vec::new();
        }
    }

    fn framing(&mut self, stream: u32) -> &mut Framing {
        let at = match self.streams.iter().position(|(known, _)| *known == stream) {
            Some(at) => at,
            None => {
                if self.streams.len() == FOLLOWED {
                    self.streams.remove(0);
                }
                self.streams.push((stream, Framing::default()));
                self.streams.len() - 1
            }
        };
        &mut self.streams[at].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(proof: &mut Proof, kind: u8, flags: u8, stream: u32, payload: &[u8], piece: usize) {
        proof.begin(kind, flags, stream, payload.len());
        payload.chunks(piece).for_each(|bytes| proof.feed(bytes));
        proof.end(kind, flags);
    }

    #[test]
    fn a_head_proves_nothing_and_its_end_of_stream_does() {
        let mut proof = Proof::default();
        play(&mut proof, HEADERS, 4, 1, b"head", 1);
        assert!(!proof.is_there());
        play(&mut proof, HEADERS, 4 | END_STREAM, 1, b"trailers", 3);
        assert!(proof.is_there() && proof.has_answered());
    }

    #[test]
    fn one_whole_message_is_proof_however_it_is_cut_padded_and_mixed() {
        let message = [0, 0, 0, 0, 3, b'a', b'b', b'c'];
        for piece in [1, 2, 100] {
            for cut in 0..message.len() {
                let mut proof = Proof::default();
                let (first, last) = message.split_at(cut);
                play(&mut proof, DATA, 0, 1, first, piece);
                play(&mut proof, DATA, 0, 3, &message[..7], piece);
                assert!(!proof.is_there(), "cut at {cut}");
                let padded = [&[4], last, &[0; 4]].concat();
                play(&mut proof, DATA, PADDED, 1, &padded, piece);
                assert!(
                    proof.is_there() && !proof.has_answered(),
                    "cut at {cut} in pieces of {piece}"
                );
            }
        }
    }

    #[test]
    fn padding_is_no_message_and_many_streams_are_followed_within_bounds() {
        let mut proof = Proof::default();
        play(&mut proof, DATA, PADDED, 1, &[[200].as_slice(), &[0; 200]].concat(), 7);
        play(&mut proof, DATA, PADDED, 1, &[255], 1);
        for stream in 1..1_000 {
            play(&mut proof, DATA, 0, stream * 2 + 1, &[0, 0, 0, 0, 1], 5);
        }
        assert!(!proof.is_there() && proof.streams.len() <= FOLLOWED);
        play(&mut proof, DATA, 0, 1_999, b"x", 1);
        assert!(proof.is_there() && proof.streams.is_empty());
    }
}
