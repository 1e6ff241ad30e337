//! A call that is open: what it is doing now.

use super::{endpoint::EndpointId, text::readable};
use std::{fmt, sync::Arc, time::Duration};

/// One open call at one moment. It shows neither metadata nor bodies.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenCall {
    /// Its number: an older call has a smaller one.
    pub number: u64,
    /// `pkg.Service/Method`.
    pub method: Arc<str>,
    /// What it is doing.
    pub stage: CallStage,
    /// What it waits for, in words, with the reason; none while an attempt is under way.
    pub waiting: Option<Arc<str>>,
    /// Since its submission.
    pub age: Duration,
    /// Until its deadline; none if it has none.
    pub left: Option<Duration>,
    /// How many attempts were begun.
    pub attempts: u32,
    /// How many of them were policy retries.
    pub retries: u32,
    /// Where the attempt under way went; 0 while none is.
    pub endpoint: EndpointId,
}

/// What an open call is doing. `{}` says it in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallStage {
    /// It waits for a link.
    Link,
    /// It waits for room on a link.
    Room,
    /// Its credentials have been asked for, for so long.
    #[non_exhaustive]
    Credentials {
        /// Since then.
        asked: Duration,
    },
    /// It waits for its retry.
    #[non_exhaustive]
    Retry {
        /// Until then.
        due: Duration,
    },
    /// An attempt is on the wire.
    #[non_exhaustive]
    OnWire {
        /// Since it began.
        since: Duration,
    },
    /// An attempt failed, and what follows is being decided.
    Deciding,
}

impl fmt::Display for CallStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => f.write_str("waits for a link"),
            Self::Room => f.write_str("waits for room"),
            Self::Credentials { asked } => {
                write!(f, "waits for its credentials since {}", readable(*asked))
            }
            Self::Retry { due } => write!(f, "waits for its retry in {}", readable(*due)),
            Self::OnWire { since } => write!(f, "on the wire for {}", readable(*since)),
            Self::Deciding => f.write_str("an attempt failed"),
        }
    }
}
