//! How far the end of a worker loop has come, and how its workers hear of it.
//!
//! | phase | workers | what runs |
//! |---|---|---|
//! | Work | claim | runs |
//! | Finish, for at most the grace | claim nothing more | may finish; its result is reported |
//! | GiveBack, for at most [`GIVE_BACK_TIMEOUT`] | give back | is stopped; its task is given back |

use std::time::Duration;
use tokio::sync::watch;

/// How long what is left may be given back, once the grace is over.
pub(super) const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(5);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Work,
    Finish,
    GiveBack,
}

/// Moves on, never back.
pub(super) fn advance(phase: &watch::Sender<Phase>, to: Phase) {
    phase.send_if_modified(|phase| {
        let later = *phase < to;
        *phase = (*phase).max(to);
        later
    });
}

/// How a worker is notified of the phases.
pub(super) struct Phases(pub(super) watch::Receiver<Phase>);

impl Phases {
    /// Resolves when this phase, or a later one, has come.
    pub(super) async fn reached(&self, phase: Phase) {
        // It fails only when the loop is gone, and this with it.
        let _ = self.0.clone().wait_for(|now| *now >= phase).await;
    }
}
