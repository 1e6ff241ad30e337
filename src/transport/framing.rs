//! Where gRPC's messages begin and end in a body, however it is cut into frames.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The bytes before a message: whether it is compressed, and its length.
pub(crate) const PREFIX: usize = 5;

/// How far into a message the data so far has come.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    prefix: [u8; PREFIX],
    filled: usize,
    /// What is still due of the message whose prefix is known.
    due: usize,
    /// How many messages came whole.
    whole: usize,
    /// The greatest length that a prefix announced.
    longest: usize,
    /// How many bytes came, without the prefixes.
    payload: usize,
}

impl Framing {
    /// Takes note of the next data.
    pub(super) fn feed(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() {
            let wanted = if self.due > 0 { self.due } else { self.prefix.len() - self.filled };
            let (taken, left) = rest.split_at(rest.len().min(wanted));
            rest = left;
            if self.due > 0 {
                self.due -= taken.len();
                self.payload += taken.len();
                self.whole += usize::from(self.due == 0);
                continue;
            }
            self.prefix[self.filled..][..taken.len()].copy_from_slice(taken);
            self.filled += taken.len();
            if self.filled == self.prefix.len() {
                let [_, length @ ..] = self.prefix;
                (self.filled, self.due) = (0, u32::from_be_bytes(length) as usize);
                self.longest = self.longest.max(self.due);
                self.whole += usize::from(self.due == 0);
            }
        }
    }

    /// Whether there is more than one message, be it only the beginning of a second.
    pub(crate) fn goes_on(&self) -> bool {
        self.whole > 1 || self.whole == 1 && self.breaks_off()
    }

    /// The length of the longest message that has begun, without its prefix.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// How many bytes of messages came, without their prefixes.
    pub(crate) fn payload(&self) -> usize {
        self.payload
    }

    /// How many messages came whole so far.
    pub(crate) fn whole(&self) -> usize {
        self.whole
    }

    /// Whether the data ends within a message or its prefix.
    pub(super) fn breaks_off(&self) -> bool {
        self.due > 0 || self.filled > 0
    }
}

/// How many bytes of messages the body holds, without their prefixes.
pub(crate) fn payload(body: &[u8]) -> usize {
    let mut framing = Framing::default();
    framing.feed(body);
    framing.payload()
}

/// The body is exactly one message with its gRPC prefix.
pub(crate) fn is_one_message(body: &Bytes) -> bool {
    message_length(body).is_some_and(|length| body.len() == length)
}

/// The body's first message is there whole, whatever follows it.
pub(crate) fn begins_with_a_message(body: &Bytes) -> bool {
    message_length(body).is_some_and(|length| body.len() >= length)
}

/// The length of the first message, its prefix included, once that is known.
pub(crate) fn message_length(body: &[u8]) -> Option<usize> {
    let length = <[u8; 4]>::try_from(body.get(1..PREFIX)?).ok()?;
    Some(PREFIX + u32::from_be_bytes(length) as usize)
}

/// The one message that an answer's data holds.
pub(crate) fn unframe(mut whole: Bytes) -> Result<Bytes, String> {
    if !is_one_message(&whole) {
        return Err(format!("the answer's {} bytes are not one gRPC message", whole.len()));
    }
    if whole[0] != 0 {
        return Err("the answer is compressed, and no compression was offered".into());
    }
    whole.advance(PREFIX);
    Ok(whole)
}

/// A message with gRPC's length prefix.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a message is shorter than 4 GiB"));
    framed.extend_from_slice(message);
    framed.freeze()
}

/// Takes the first whole message off the front of `buffer`, if there is one.
pub(crate) fn take_message(buffer: &mut BytesMut) -> Option<Bytes> {
    let len = buffer.get(1..PREFIX)?.get_u32() as usize;
    if buffer.len() < PREFIX + len {
        return None;
    }
    buffer.advance(PREFIX);
    Some(buffer.split_to(len).freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_breaks_off_is_seen_however_it_is_cut_into_frames() {
        let whole = [0, 0, 0, 0, 3, b'a', b'b', b'c', 0, 0, 0, 0, 0];
        for length in 0..=whole.len() {
            for size in 1..=whole.len() {
                let mut framing = Framing::default();
                whole[..length].chunks(size).for_each(|frame| framing.feed(frame));
                let at_an_end = [0, 8, 13].contains(&length);
                assert_eq!(framing.breaks_off(), !at_an_end, "{length} bytes in frames of {size}");
                let whole = [8, 13].iter().filter(|end| length >= **end).count();
                assert_eq!(framing.whole(), whole, "{length} bytes in frames of {size}");
                assert_eq!(framing.goes_on(), length > 8, "{length} bytes in frames of {size}");
                let payload = [length.saturating_sub(5), 3].into_iter().min();
                assert_eq!(Some(framing.payload()), payload, "{length} bytes in frames of {size}");
                let longest = if length < 5 { 0 } else { 3 };
                assert_eq!(framing.longest(), longest, "{length} bytes in frames of {size}");
            }
        }
    }
}
