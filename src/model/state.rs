//! The connectivity state of a channel and the edges it may take (gRPC connectivity semantics, as
//! decided for this crate).
//!
//! | from | to |
//! |---|---|
//! | Idle | Connecting; TransientFailure (there is no endpoint) |
//! | Connecting | Ready, TransientFailure |
//! | Ready | TransientFailure (link lost), Connecting (GOAWAY, or a successor is being dialled) |
//! | TransientFailure | Connecting; Ready (of several endpoints, or a server that serves again) |
//! | Connecting, Ready, TransientFailure | Idle (no call for `idle_timeout`) |
//! | any but Shutdown | Shutdown |

use std::fmt;

/// What a channel can do for a call right now. gRPC has these five states; there will be no others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConnectivityState {
    /// Nothing is dialled: before the first dial, and after `idle_timeout` without a call.
    #[default]
    Idle,
    /// A dial is running, or is about to after a GOAWAY.
    Connecting,
    /// A link is up and its peer has sent SETTINGS: calls start at once.
    Ready,
    /// The last dial or link failed; a redial is due.
    TransientFailure,
    /// Closed for good.
    Shutdown,
}

impl ConnectivityState {
    /// Whether the channel may go from this state to `next` in one step.
    pub fn can_become(self, next: Self) -> bool {
        use ConnectivityState::*;
        matches!(
            (self, next),
            (Idle, Connecting | TransientFailure)
                | (Connecting, Ready | TransientFailure)
                | (Ready, TransientFailure | Connecting)
                | (TransientFailure, Connecting | Ready)
                | (Connecting | Ready | TransientFailure, Idle)
        ) || (self != Shutdown && next == Shutdown)
    }

    /// gRPC's name for the state, as it stands in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "IDLE",
            Self::Connecting => "CONNECTING",
            Self::Ready => "READY",
            Self::TransientFailure => "TRANSIENT_FAILURE",
            Self::Shutdown => "SHUTDOWN",
        }
    }
}

impl fmt::Display for ConnectivityState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
