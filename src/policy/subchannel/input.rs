//! What can happen to a subchannel, and what there is to do about it.
//!
//! Whatever is about a link or a dial says which, by its incarnation: messages about one that was
//! replaced come late, and must not be taken for news of its successor.

use crate::model::Incarnation;
use std::time::Instant;

/// What can happen to a subchannel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Dial for the first time.
    Connect,
    /// A dial gave a link: the peer's SETTINGS were read.
    Established(Incarnation),
    /// A dial failed.
    DialFailed(Incarnation),
    /// A dial failed: nobody listens there. The host is up, and its process is not.
    DialRefused(Incarnation),
    /// A link answered a call, or has lived long enough.
    Proven(Incarnation),
    /// A link is gone, or the dial that was to give it.
    Lost {
        /// Which.
        link: Incarnation,
        /// Whether the peer said GOAWAY.
        goaway: bool,
    },
    /// A link takes no more calls, and finishes those it has: the peer said GOAWAY, or its stream
    /// ids are used up.
    GoAway(Incarnation),
    /// A link takes calls, but not for much longer.
    WornOut(Incarnation),
    /// The wait is over.
    RedialDue,
    /// The user wants to be connected now (gRPC `reset_connect_backoff`).
    ResetBackoff,
    /// Its addresses are others now.
    Moved,
    /// Calls began, or ceased, to wait for this subchannel.
    CallsWaiting(bool),
    /// Close for good.
    Shutdown,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Output {
    /// Send calls on this link.
    Use(Incarnation),
    /// Start no calls on this link, and close it once those on it have ended; end this dial.
    Drain(Incarnation),
    /// Start a dial.
    Dial(Incarnation),
    /// Send `RedialDue` at this time, instead of at any earlier agreed one.
    WaitUntil(Instant),
}
