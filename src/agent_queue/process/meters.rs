//! What a worker loop does, as metrics of its queue.
//!
//! All begin at 0 when the loop is made: a counter that appears with its first event would hide
//! that event from whoever looks at increases.

use crate::agent_queue::{Update, labels::label};
use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

/// The metrics of a queue's worker loops.
pub(super) struct Meters {
    running: Gauge,
    claimed: Counter,
    completed: Counter,
    failed: Counter,
    given_back: Counter,
    lost: Counter,
}

/// A handler runs, for as long as this lives.
pub(super) struct RunningGauge(Gauge);

impl Meters {
    /// They begin at 0.
    pub(super) fn of(agent_id: &str) -> Self {
        use Unit::Count;
        describe_gauge!("tonic_supervisor.worker.running", Count, "tasks whose handlers run");
        describe_counter!("tonic_supervisor.worker.claimed", Count, "tasks claimed");
        describe_counter!(
            "tonic_supervisor.worker.reported",
            Count,
            "results that the server has taken"
        );
        describe_counter!("tonic_supervisor.worker.given_back", Count, "tasks given back");
        describe_counter!(
            "tonic_supervisor.worker.lost",
            Count,
            "claims lost before their result was taken"
        );
        let queue = label(agent_id);
        let reported = |status: &'static str| {
            let name = "tonic_supervisor.worker.reported";
            counter!(name, "queue" => queue.clone(), "status" => status)
        };
        let meters = Self {
            running: gauge!("tonic_supervisor.worker.running", "queue" => queue.clone()),
            claimed: counter!("tonic_supervisor.worker.claimed", "queue" => queue.clone()),
            completed: reported("completed"),
            failed: reported("failed"),
            given_back: counter!("tonic_supervisor.worker.given_back", "queue" => queue.clone()),
            lost: counter!("tonic_supervisor.worker.lost", "queue" => queue.clone()),
        };
        meters.running.increment(0.0);
        for counter in
            [&meters.claimed, &meters.completed, &meters.failed, &meters.given_back, &meters.lost]
        {
            counter.increment(0);
        }
        meters
    }

    pub(super) fn claimed(&self) {
        self.claimed.increment(1);
    }

    /// The server took what was said of a task.
    pub(super) fn taken(&self, update: &Update) {
        match update {
            Update::Completed(_) => self.completed.increment(1),
            Update::Pending => self.given_back.increment(1),
            _ => self.failed.increment(1),
        }
    }

    pub(super) fn lost(&self) {
        self.lost.increment(1);
    }

    pub(super) fn runs(&self) -> RunningGauge {
        self.running.increment(1.0);
        RunningGauge(self.running.clone())
    }
}

impl Drop for RunningGauge {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
