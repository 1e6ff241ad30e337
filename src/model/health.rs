//! What is known of a server's health, apart from whether it can be connected to.

use std::fmt;

/// What is known of the health of the server at a link's other end. It is asked for only where
/// `health.service` or `health.probe_period` is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// It was asked, and has not answered yet. On a new link no call is sent until it has.
    #[default]
    Unknown,
    /// It says that it serves; or, where only probes are sent, it has answered one.
    Serving,
    /// It says that it does not serve (gRPC A17: every answer but SERVING). Calls in flight go on,
    /// and no new ones are sent.
    NotServing,
    /// It does not know the health service (UNIMPLEMENTED), or has no room for the question: it
    /// counts as healthy, and is not asked again on this link.
    Unsupported,
    /// The watch of its health ended, or has not begun in time; it is opened again. No new calls
    /// are sent until it has answered.
    WatchBroken,
    /// So many probes in a row as `health.probe_failures` says had no answer. No new calls are sent
    /// until it answers one.
    Unanswered,
}

impl Health {
    /// Its name in lower case, as it stands in log lines and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Serving => "serving",
            Self::NotServing => "not_serving",
            Self::Unsupported => "unsupported",
            Self::WatchBroken => "watch_broken",
            Self::Unanswered => "unanswered",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
