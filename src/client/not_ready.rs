//! Why a wait for a link was given up.

use crate::model::{ConnectivityState, Snapshot, readable};
use std::{error::Error, fmt, time::Duration};

/// The channel was not Ready in time. `{}` and `{:?}` print why, and what to do, as one sentence.
#[derive(Clone)]
#[non_exhaustive]
pub struct NotReady {
    /// How long was waited.
    pub waited: Duration,
    /// The supervisor at the end of the wait: its state, its last error, its dials.
    pub now: Box<Snapshot>,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot { state, target, last_error, dials, next_dial, .. } = &*self.now;
        if *state == ConnectivityState::Shutdown {
            return write!(
                f,
                "the channel to {target} is shut down, and will not be ready again: spawn another"
            );
        }
        write!(
            f,
            "the channel to {target} is not ready after {}, but {state}: ",
            readable(self.waited)
        )?;
        let Some(why) = last_error else {
            return f.write_str(
                "no dial has failed yet, so the first one is under way: wait for longer",
            );
        };
        write!(f, "{why}. {dials} dial{} so far", if *dials == 1 { "" } else { "s" })?;
        if let Some(wait) = next_dial {
            write!(f, ", the next in {}", readable(*wait))?;
        }
        f.write_str(". Check that the server runs there; dialling goes on, and calls wait for it")
    }
}

impl fmt::Debug for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for NotReady {}
