//! Whether commands can be started on this machine, and since when not: what `--give-up` goes by.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How the starts of commands went so far.
#[derive(Debug)]
pub(crate) struct Starts {
    give_up: Option<Duration>,
    /// When the first command could not be started since the last that could.
    failing: Mutex<Option<Instant>>,
    /// Why it is time to give up.
    given_up: watch::Sender<Option<String>>,
}

impl Starts {
    /// Gives up when no command could be started for so long; never if not said.
    pub(crate) fn new(give_up: Option<Duration>) -> Self {
        Self { give_up, failing: Mutex::default(), given_up: watch::Sender::new(None) }
    }

    pub(crate) fn worked(&self) {
        self.set(|_| None);
    }

    pub(crate) fn failed(&self, why: &str) {
        let now = Instant::now();
        let since = self.set(|failing| Some(failing.unwrap_or(now)));
        let lasted = now - since.unwrap_or(now);
        if self.give_up.is_some_and(|limit| lasted >= limit) {
            let why = format!("no command could be started for {} s: {why}", lasted.as_secs());
            self.given_up.send_replace(Some(why));
        }
    }

    /// Resolves with the reason when it is time to give up.
    pub(crate) async fn given_up(&self) -> String {
        let mut given_up = self.given_up.subscribe();
        // It cannot fail: the sender is ours.
        let why = given_up.wait_for(Option::is_some).await;
        why.ok().and_then(|why| why.clone()).unwrap_or_default()
    }

    fn set(&self, change: impl Fn(Option<Instant>) -> Option<Instant>) -> Option<Instant> {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        *failing = change(*failing);
        *failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_gives_up_when_no_command_could_be_started_for_so_long() {
        let starts = Starts::new(Some(Duration::from_millis(20)));
        starts.failed("gone");
        std::thread::sleep(Duration::from_millis(30));
        starts.worked();
        starts.failed("gone");
        assert!(starts.given_up.borrow().is_none(), "one could be started meanwhile");
        std::thread::sleep(Duration::from_millis(30));
        starts.failed("gone");
        assert_eq!(starts.given_up().await, "no command could be started for 0 s: gone");
    }

    #[test]
    fn it_never_gives_up_unless_that_was_asked_for() {
        let starts = Starts::new(None);
        starts.failed("gone");
        starts.failed("gone");
        assert!(starts.given_up.borrow().is_none());
    }
}
