//! The pause between claims after tasks that were claimed in vain: without it a machine that cannot
//! do its tasks would claim and give back the whole queue in a loop.
//!
//! Tasks that were claimed in vain (given back because this machine
//! cannot do them, or lost) make the loop pause before it claims the next, the longer the more of
//! them come in a row. A task that makes progress ends the row: its result was accepted, or its
//! lease was renewed.

use crate::agent_queue::error_class::pause;
use tokio::{sync::watch, time::sleep};

/// The tasks that a loop claimed in vain, in a row. Its workers share it.
#[derive(Debug, Default)]
pub(super) struct ClaimBackoff(watch::Sender<Row>);

#[derive(Debug, Default)]
struct Row {
    /// How many; those of tasks that were claimed at the same time count once.
    len: u32,
    /// Why tasks are given back, once that was logged.
    reason: Option<String>,
}

impl ClaimBackoff {
    /// How many there are now. A claim made now belongs to this number.
    pub(super) fn len(&self) -> u32 {
        self.0.borrow().len
    }

    /// A task was claimed in vain; there were `before` such tasks when it was claimed.
    pub(super) fn add(&self, before: u32) {
        self.0.send_modify(|row| row.add(before));
    }

    /// The same, where the handler gave the task back. Logged once for each reason until a task
    /// makes progress.
    pub(super) fn given_back(&self, before: u32, agent: &str, reason: &str) {
        let mut news = false;
        self.0.send_modify(|row| {
            row.add(before);
            news = row.reason.as_deref() != Some(reason);
            if news {
                row.reason = Some(reason.to_owned());
            }
        });
        if news {
            log_line!(error, agent, reason, "tasks are given back: this machine cannot do them");
        }
    }

    /// A task makes progress: the row is over.
    pub(super) fn reset(&self) {
        self.0.send_if_modified(|row| {
            let any = row.len > 0;
            *row = Row::default();
            any
        });
    }

    /// The pause before the next claim; none where no task was claimed in vain. It ends with the
    /// row.
    pub(super) async fn pause(&self, agent: &str) {
        let Some(before) = self.len().checked_sub(1) else { return };
        let delay = pause(before, rand::random());
        log_line!(debug, agent, ?delay, "pauses before the next claim");
        let mut row = self.0.subscribe();
        tokio::select! {
            () = sleep(delay) => {}
            // It cannot fail: the sender is ours.
            _ = row.wait_for(|row| row.len == 0) => {}
        }
    }
}

impl Row {
    fn add(&mut self, before: u32) {
        if self.len <= before {
            self.len = self.len.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setbacks_of_tasks_claimed_at_the_same_time_count_once() {
        let claim_backoff = ClaimBackoff::default();
        (0..8).for_each(|_| claim_backoff.add(0));
        assert_eq!(claim_backoff.len(), 1);
        claim_backoff.add(1);
        assert_eq!(claim_backoff.len(), 2);
        claim_backoff.reset();
        claim_backoff.add(2);
        assert_eq!(claim_backoff.len(), 1, "claimed in a row that is over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_when_a_task_gets_on() {
        let claim_backoff = ClaimBackoff::default();
        (0..8).for_each(|before| claim_backoff.add(before));
        let began = tokio::time::Instant::now();
        tokio::join!(claim_backoff.pause("a"), async {
            sleep(std::time::Duration::from_secs(1)).await;
            claim_backoff.reset();
        });
        assert_eq!(began.elapsed().as_secs(), 1);
    }
}
