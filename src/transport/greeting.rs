//! What a peer says first, judged byte by byte: whether it can be the protocol that is spoken to
//! it, and, if not, what kind of server this looks like. A wrong port, or TLS on one side only, is
//! then named at once instead of waited out.

use crate::model::GoAway;

/// HTTP/2's frame header.
const HEADER: usize = 9;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
/// No server has 2,730 settings: this is the largest frame that HTTP/2 allows to a peer that was
/// told nothing else.
const LARGEST: u32 = 16 << 10;
/// As much of the beginning as is kept, and shown.
const KEPT: usize = 24;

/// What must come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// HTTP/2's SETTINGS, in plaintext.
    Settings,
    /// HTTP/2's SETTINGS, inside TLS.
    #[cfg(feature = "tls")]
    SettingsInTls,
    /// A record of TLS.
    #[cfg(feature = "tls")]
    Tls,
}

/// What was checked so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FirstBytes {
    /// Too little to tell.
    More,
    /// What was expected.
    Right,
    /// Something else, in words.
    Wrong(String),
}

/// The first bytes of one peer.
#[derive(Debug)]
pub(super) struct Greeting {
    expected: Expected,
    first: Vec<u8>,
}

/// Which protocol first bytes belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tls,
    Http2,
    Http1,
    /// A server of this kind, which has nothing to do with gRPC.
    Other(&'static str),
}

/// How protocols begin in which the server speaks first, or answers what it does not understand.
const BEGINNINGS: [(&[u8], Kind); 11] = [
    // An alert, and the handshake.
    (b"\x15\x03", Kind::Tls),
    (b"\x16\x03", Kind::Tls),
    (b"HTTP/", Kind::Http1),
    // Some servers answer an unknown version of HTTP without a status line.
    (b"<!DOCTYPE", Kind::Http1),
    (b"<!doctype", Kind::Http1),
    (b"<html", Kind::Http1),
    (b"<HTML", Kind::Http1),
    (b"SSH-", Kind::Other("an SSH server")),
    (b"+OK", Kind::Other("a mail server")),
    (b"* OK", Kind::Other("a mail server")),
    (b"-ERR", Kind::Other("a Redis or mail server")),
];

impl Greeting {
    pub(super) fn new(expected: Expected) -> Self {
        Self { expected, first: Vec::new() }
    }

    /// Reads on. However the bytes are cut, what cannot be right is wrong with its first wrong
    /// byte.
    pub(super) fn check(&mut self, mut bytes: &[u8]) -> FirstBytes {
        loop {
            let (now, later) = bytes.split_at(bytes.len().min(KEPT - self.first.len()));
            self.first.extend_from_slice(now);
            bytes = later;
            let Some(needed) = self.is_right() else {
                return FirstBytes::Wrong(self.describe());
            };
            if self.first.len() < needed {
                return FirstBytes::More;
            }
            if !self.is_acknowledgement() {
                return FirstBytes::Right;
            }
            // A peer may acknowledge our SETTINGS before it sends its own.
            self.first.drain(..HEADER);
        }
    }

    /// How many bytes are needed to be sure, if those there are right.
    fn is_right(&self) -> Option<usize> {
        match self.expected {
            Expected::Settings => begins_settings(&self.first).then_some(HEADER),
            #[cfg(feature = "tls")]
            Expected::SettingsInTls => begins_settings(&self.first).then_some(HEADER),
            #[cfg(feature = "tls")]
            Expected::Tls => {
                let right = BEGINNINGS
                    .iter()
                    .any(|(begins, kind)| *kind == Kind::Tls && agree(&self.first, begins));
                right.then_some(2)
            }
        }
    }

    /// Whether what was checked may be the expected protocol, although it begins wrongly: some
    /// frame of HTTP/2, such as a GOAWAY, in place of SETTINGS.
    pub(super) fn may_be_expected(&self) -> bool {
        let kind_is_known = self.first.get(3).is_none_or(|kind| frame_name(*kind).is_some());
        let some_frame = self.first.first() == Some(&0) && kind_is_known;
        match self.expected {
            #[cfg(feature = "tls")]
            Expected::Tls => false,
            _ => some_frame,
        }
    }

    fn is_acknowledgement(&self) -> bool {
        self.first.get(3..5).is_some_and(|kind| kind[0] == SETTINGS && kind[1] & ACK != 0)
    }

    /// What this looks like instead.
    fn describe(&self) -> String {
        let looks = match recognise(&self.first) {
            Some(Kind::Other(what)) => format!("this looks like {what}: is the port right?"),
            Some(kind) => return self.advice(kind),
            None => self.shown(),
        };
        match self.expected {
            #[cfg(feature = "tls")]
            Expected::Tls => format!("the server does not speak TLS on this port: {looks}"),
            _ => looks,
        }
    }

    fn advice(&self, kind: Kind) -> String {
        #[cfg(feature = "tls")]
        if self.expected == Expected::Tls {
            let speaks = if kind == Kind::Http1 { "HTTP/1" } else { "HTTP/2" };
            return format!(
                "the server does not speak TLS on this port but {speaks}: this looks like a \
                 plaintext server: use http:// or use_tls: false"
            );
        }
        let plain = self.expected == Expected::Settings;
        match kind {
            Kind::Tls if plain => "this looks like a TLS server: use https:// or use_tls: true",
            Kind::Tls => "this looks like a TLS server behind a proxy that has ended TLS already",
            _ if plain => {
                "this looks like an HTTP/1 server, and gRPC needs HTTP/2: is the port right? (Some \
                 TLS servers answer so, too: then use https:// or use_tls: true)"
            }
            _ => "this looks like an HTTP/1 server, and gRPC needs HTTP/2: is the port right?",
        }
        .into()
    }

    fn shown(&self) -> String {
        let number =
            |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        match &self.first[..] {
            [0, _, _, GOAWAY, _, _, _, _, _, _, _, _, _, code @ ..] if code.len() >= 4 => {
                let goaway =
                    GoAway { last_stream_id: 0, code: number(&code[..4]), debug: String::new() };
                format!("its first frame is GOAWAY {} instead of SETTINGS", goaway.code_name())
            }
            [0, _, _, kind, ..] if *kind != SETTINGS && frame_name(*kind).is_some() => {
                format!(
                    "its first frame is {} instead of SETTINGS",
                    frame_name(*kind).unwrap_or_default()
                )
            }
            first => format!(
                "its first bytes are \"{}\", which no HTTP/2 server sends",
                first.escape_ascii()
            ),
        }
    }
}

/// Whether these bytes, as far as they go, begin a frame of SETTINGS.
fn begins_settings(first: &[u8]) -> bool {
    let is = |n: usize, right: fn(u8) -> bool| first.get(n).is_none_or(|byte| right(*byte));
    let length =
        first.get(..3).map_or(0, |length| u32::from_be_bytes([0, length[0], length[1], length[2]]));
    let acknowledges = first.get(4).is_some_and(|flags| flags & ACK != 0);
    is(0, |byte| byte == 0)
        && length <= LARGEST
        && length % 6 == 0
        && is(3, |kind| kind == SETTINGS)
        && !(acknowledges && length > 0)
        // The topmost bit of a stream's id is reserved.
        && is(5, |byte| byte & 0x7f == 0)
        && (6..HEADER).all(|n| is(n, |byte| byte == 0))
}

fn recognise(first: &[u8]) -> Option<Kind> {
    if begins_settings(first) {
        return Some(Kind::Http2);
    }
    let known = BEGINNINGS.iter().find(|(begins, _)| agree(first, begins));
    known
        .map(|(_, kind)| *kind)
        .or_else(|| begins_as_text(first).then_some(Kind::Other("a mail or FTP server")))
}

/// `220 ready` and the like: three digits, then a space, or a hyphen where more lines follow.
fn begins_as_text(first: &[u8]) -> bool {
    let is = |n: usize, right: fn(&u8) -> bool| first.get(n).is_none_or(right);
    (0..3).all(|n| is(n, u8::is_ascii_digit)) && is(3, |byte| matches!(byte, b' ' | b'-'))
}

/// Whether the two are the same as far as both go.
fn agree(first: &[u8], begins: &[u8]) -> bool {
    first.iter().zip(begins).all(|(one, other)| one == other)
}

fn frame_name(kind: u8) -> Option<&'static str> {
    const NAMES: [&str; 10] = [
        "DATA",
        "HEADERS",
        "PRIORITY",
        "RST_STREAM",
        "SETTINGS",
        "PUSH_PROMISE",
        "PING",
        "GOAWAY",
        "WINDOW_UPDATE",
        "CONTINUATION",
    ];
    NAMES.get(usize::from(kind)).copied()
}

#[cfg(test)]
#[path = "greeting_tests.rs"]
mod tests;
