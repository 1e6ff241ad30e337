//! HTTP/2 frames as bytes: just enough to send and read any frame, valid or not.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What a client says before its first frame.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The type of a frame (RFC 9113, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameKind {
    /// 0: part of a body.
    Data,
    /// 1: headers or trailers.
    Headers,
    /// 2: obsolete.
    Priority,
    /// 3: ends one stream.
    RstStream,
    /// 4: the connection's settings.
    Settings,
    /// 5: never sent to servers.
    PushPromise,
    /// 6: is anybody there?
    Ping,
    /// 7: no new streams.
    GoAway,
    /// 8: more may be sent.
    WindowUpdate,
    /// 9: more headers.
    Continuation,
    /// Anything else.
    Other(u8),
}

impl FrameKind {
    const KNOWN: [Self; 10] = [
        Self::Data,
        Self::Headers,
        Self::Priority,
        Self::RstStream,
        Self::Settings,
        Self::PushPromise,
        Self::Ping,
        Self::GoAway,
        Self::WindowUpdate,
        Self::Continuation,
    ];

    fn of(code: u8) -> Self {
        Self::KNOWN.get(usize::from(code)).copied().unwrap_or(Self::Other(code))
    }

    fn code(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::RstStream => 3,
            Self::Settings => 4,
            Self::PushPromise => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::WindowUpdate => 8,
            Self::Continuation => 9,
            Self::Other(code) => code,
        }
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Its type.
    pub kind: FrameKind,
    /// Its flags, uninterpreted.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// All after the nine-byte head.
    pub payload: Bytes,
}

impl Frame {
    /// The flag that acknowledges a SETTINGS or PING frame.
    pub const ACK: u8 = 0x1;
    /// The flag of a stream's last DATA or HEADERS frame.
    pub const END_STREAM: u8 = 0x1;
    /// The flag of a header block's last frame.
    pub const END_HEADERS: u8 = 0x4;

    /// A frame of these parts, whether they make sense or not.
    pub fn new(kind: FrameKind, flags: u8, stream: u32, payload: impl Into<Bytes>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// SETTINGS with these identifiers and values (3 is MAX_CONCURRENT_STREAMS, 4
    /// INITIAL_WINDOW_SIZE).
    pub fn settings(settings: &[(u16, u32)]) -> Self {
        let mut payload = BytesMut::new();
        for (id, value) in settings {
            payload.put_u16(*id);
            payload.put_u32(*value);
        }
        Self::new(FrameKind::Settings, 0, 0, payload)
    }

    /// GOAWAY.
    pub fn goaway(last_stream: u32, code: u32, debug: &[u8]) -> Self {
        let mut payload = BytesMut::new();
        payload.put_u32(last_stream);
        payload.put_u32(code);
        payload.extend_from_slice(debug);
        Self::new(FrameKind::GoAway, 0, 0, payload)
    }

    /// RST_STREAM.
    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(FrameKind::RstStream, 0, stream, code.to_be_bytes().to_vec())
    }

    /// PING.
    pub fn ping(payload: [u8; 8]) -> Self {
        Self::new(FrameKind::Ping, 0, 0, payload.to_vec())
    }

    /// WINDOW_UPDATE.
    pub fn window_update(stream: u32, more: u32) -> Self {
        Self::new(FrameKind::WindowUpdate, 0, stream, more.to_be_bytes().to_vec())
    }

    /// HEADERS in one frame; every field is literal, so that nothing said before matters.
    pub fn headers(stream: u32, fields: &[(&str, &str)], end_stream: bool) -> Self {
        let flags = Self::END_HEADERS | if end_stream { Self::END_STREAM } else { 0 };
        Self::new(FrameKind::Headers, flags, stream, header_block(fields))
    }

    /// DATA.
    pub fn data(stream: u32, bytes: impl Into<Bytes>, end_stream: bool) -> Self {
        Self::new(FrameKind::Data, u8::from(end_stream), stream, bytes)
    }

    /// Whether it acknowledges a SETTINGS or PING frame.
    pub fn is_ack(&self) -> bool {
        matches!(self.kind, FrameKind::Settings | FrameKind::Ping) && self.flags & Self::ACK != 0
    }

    /// Whether it is its stream's last.
    pub fn is_end_stream(&self) -> bool {
        matches!(self.kind, FrameKind::Headers | FrameKind::Data)
            && self.flags & Self::END_STREAM != 0
    }

    /// The error code of an RST_STREAM or GOAWAY frame.
    pub fn error_code(&self) -> Option<u32> {
        let at = match self.kind {
            FrameKind::RstStream => 0,
            FrameKind::GoAway => 4,
            _ => return None,
        };
        Some(self.payload.get(at..at + 4)?.get_u32())
    }

    /// The value of this identifier in a SETTINGS frame.
    pub fn setting(&self, id: u16) -> Option<u32> {
        let mut settings =
            self.payload.chunks_exact(6).filter(|_| self.kind == FrameKind::Settings);
        settings.find_map(|mut setting| (setting.get_u16() == id).then(|| setting.get_u32()))
    }

    /// The bytes of it, to send them in pieces or spoilt.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(9 + self.payload.len());
        let len = u32::try_from(self.payload.len()).expect("a frame is short");
        assert!(len < 1 << 24, "a frame's length has 24 bits");
        bytes.put_u32(len << 8 | u32::from(self.kind.code()));
        bytes.put_u8(self.flags);
        bytes.put_u32(self.stream);
        bytes.extend_from_slice(&self.payload);
        bytes.freeze()
    }

    /// Takes the first whole frame off the front of `buffer`, if there is one.
    pub(super) fn take(buffer: &mut BytesMut) -> Option<Self> {
        let mut head = buffer.get(..9)?;
        let first = head.get_u32();
        let (len, kind) = ((first >> 8) as usize, FrameKind::of((first & 0xff) as u8));
        let (flags, stream) = (head.get_u8(), head.get_u32() & 0x7fff_ffff);
        if buffer.len() < 9 + len {
            return None;
        }
        buffer.advance(9);
        Some(Self { kind, flags, stream, payload: buffer.split_to(len).freeze() })
    }
}

/// HPACK without its wits: each field literal, never indexed, never Huffman-coded (RFC 7541,
/// section 6.2.2).
fn header_block(fields: &[(&str, &str)]) -> Bytes {
    let mut block = BytesMut::new();
    for (name, value) in fields {
        block.put_u8(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block.freeze()
}

/// An HPACK integer with a prefix of seven bits (RFC 7541, section 5.1).
fn put_length(block: &mut BytesMut, len: usize) {
    let Some(mut rest) = len.checked_sub(127) else {
        return block.put_u8(len as u8);
    };
    block.put_u8(127);
    while rest >= 128 {
        block.put_u8((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_written_is_the_frame_read_and_half_a_frame_is_none() {
        let frames = [
            Frame::settings(&[(3, 100)]),
            Frame::goaway(7, 11, b"too_many_pings"),
            Frame::reset(5, 8),
            Frame::ping(*b"12345678"),
            Frame::window_update(0, 9),
            Frame::headers(1, &[(":status", "200")], true),
            Frame::data(1, "abc", false),
            Frame::new(FrameKind::Other(99), 255, 3, "?"),
        ];
        for frame in &frames {
            let bytes = frame.to_bytes();
            let mut half = BytesMut::from(&bytes[..bytes.len() - 1]);
            assert_eq!(Frame::take(&mut half), None);
            assert_eq!(Frame::take(&mut BytesMut::from(bytes)).as_ref(), Some(frame));
        }
        assert_eq!(
            (frames[1].error_code(), frames[2].error_code(), frames[3].error_code()),
            (Some(11), Some(8), None)
        );
    }

    #[test]
    fn lengths_are_coded_as_hpack_has_them() {
        for (len, coded) in
            [(5, vec![5]), (126, vec![126]), (127, vec![127, 0]), (1337, vec![127, 186, 9])]
        {
            let mut block = BytesMut::new();
            put_length(&mut block, len);
            assert_eq!(block[..], coded[..]);
        }
    }
}
