//! What the clients of a bridge may cost.

use std::time::Duration;

/// The limits of a [`Bridge`](super::Bridge). How many connections there may be is for whoever
/// accepts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "limits do nothing until a bridge has them"]
pub struct BridgeLimits {
    pub(super) streams: u32,
    pub(super) header_bytes: u32,
    pub(super) handshake: Duration,
    pub(super) keepalive_time: Duration,
    pub(super) keepalive_timeout: Duration,
    pub(super) answer_bytes: usize,
    pub(super) answer_timeout: Duration,
}

impl BridgeLimits {
    /// How many calls may be under way on one connection; its client holds back the others.
    /// Default: 1,000.
    pub fn streams(self, streams: u32) -> Self {
        Self { streams, ..self }
    }

    /// How large a request's head may be, in bytes, as HTTP/2 counts them: each field's name and
    /// value, and 32. A larger one is refused with RESOURCE_EXHAUSTED, and only that call ends. Far
    /// above that, from four times as many and from 1 MiB on, HTTP/2 refuses it with HTTP 431, or
    /// ends the connection. Default: 16 KiB.
    pub fn header_bytes(self, header_bytes: u32) -> Self {
        Self { header_bytes, ..self }
    }

    /// How long a new connection has for HTTP/2's first words. Default: 10 s.
    pub fn handshake(self, handshake: Duration) -> Self {
        Self { handshake, ..self }
    }

    /// A connection on which nothing came for `time` is asked by a PING whether its client is
    /// there, and closed where nothing comes for `timeout` after that. What comes from a client
    /// that reads nothing of what it is sent does not count. Default: 60 s and 20 s.
    pub fn keepalive(self, time: Duration, timeout: Duration) -> Self {
        Self { keepalive_time: time, keepalive_timeout: timeout, ..self }
    }

    /// How many bytes of answers may wait for clients that do not read them, all together; one
    /// connection has half of it. As much again is there for answers that find no room, each for 5
    /// s, and for 5 s more whenever its client has read 64 KiB of it; then, and beyond that, an
    /// answer ends with RESOURCE_EXHAUSTED. Beside that, 1 MiB of a connection's answers may be on
    /// the way to its socket. What waits takes room on the link, which calls of other clients use,
    /// too: give the supervisor [`unread_answers`](crate::SupervisorBuilder::unread_answers) above
    /// twice this. Default: 128 MiB.
    pub fn answer_bytes(self, answer_bytes: usize) -> Self {
        Self { answer_bytes, ..self }
    }

    /// How long a client may read nothing of an answer that waits for it. Then the call ends with
    /// RESOURCE_EXHAUSTED. Default: 60 s.
    pub fn answer_timeout(self, answer_timeout: Duration) -> Self {
        Self { answer_timeout, ..self }
    }
}

impl Default for BridgeLimits {
    fn default() -> Self {
        Self {
            streams: 1_000,
            header_bytes: 16 << 10,
            handshake: Duration::from_secs(10),
            keepalive_time: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            answer_bytes: 128 << 20,
            answer_timeout: Duration::from_secs(60),
        }
    }
}
