//! What a link reports of itself: one type, through one sender, to one receiver.
//!
//! The link and its driver both report, from whatever task they run in. So an event is received
//! whatever became of the driver and of the actor that owns it.

use crate::model::{GoAway, LinkEnd};
use std::time::Duration;

/// Something happened to a link.
#[derive(Clone, Debug)]
pub(crate) enum LinkEvent {
    /// The peer said GOAWAY; the link takes no more calls.
    GoAway(GoAway),
    /// A PING was answered after this time.
    RoundTrip(Duration),
    /// The peer has owed the answer to a PING for half of `keepalive_timeout`; or it has been heard
    /// again.
    Suspect(bool),
    /// The TLS files cannot be used, for this reason; the dial goes on with what was read before.
    #[cfg(feature = "tls")]
    TlsMaterialRejected(String),
    /// A stream ended, and someone had asked for room.
    HasRoom,
    /// The peer answered a call for the first time: it ended a stream, or sent one whole message.
    Proven,
    /// The link can take no new streams although nobody said GOAWAY: its stream ids are used up.
    Retired,
    /// The link takes no more streams, whatever the reason; reported once.
    Shut,
    /// h2 will end the link soon, for what the peer does with all its calls: it is time for another
    /// one.
    WornOut,
    /// The connection is gone.
    Ended(LinkEnd),
}

/// Receives what one link reports. Called from any task; must not block.
pub(crate) trait LinkListener: Send + Sync + 'static {
    fn on_event(&self, event: LinkEvent);
}
