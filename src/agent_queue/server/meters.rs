//! What the server counts of each queue. What messages and connections take is counted elsewhere.
//!
//! A queue's metrics begin at 0 together, when something is first known of it: a counter that
//! appears with its first event would hide that event from whoever looks at increases.

use super::{Millis, record::TaskEvent};
use crate::{
    agent_queue::labels::label,
    proto::agent_queue::{TaskCounts, TaskStatus},
};
use metrics::{
    Counter, Gauge, Histogram, SharedString, Unit, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};
use parking_lot::Mutex;
use std::{collections::HashMap, fmt, sync::Arc};

/// The metrics of all queues. There are as many as there are labels for queues.
pub(super) struct Meters(Mutex<HashMap<SharedString, Arc<QueueMeters>>>);

/// The metrics of one queue, or of all those that share the label `other`.
pub(super) struct QueueMeters {
    submitted: Counter,
    retried: Counter,
    claimed: Counter,
    claimed_again: Counter,
    claims_empty: Counter,
    completed: Counter,
    failed: Counter,
    cancelled: Counter,
    leases_lost: Counter,
    dead: Counter,
    given_back: Counter,
    wait: Histogram,
    run: Histogram,
    tasks: [Gauge; 5],
    oldest_pending: Gauge,
    oldest_processing: Gauge,
    pub(super) claims_waiting: Gauge,
    pub(super) watches: Gauge,
}

/// One more, for as long as it lives.
pub(super) struct GaugeGuard(Gauge);

impl Default for Meters {
    fn default() -> Self {
        begin();
        Self(Mutex::default())
    }
}

impl Meters {
    /// The metrics of a queue.
    pub(super) fn of(&self, agent_id: &str) -> Arc<QueueMeters> {
        self.labelled(label(agent_id))
    }

    pub(super) fn labelled(&self, label: SharedString) -> Arc<QueueMeters> {
        let new = || Arc::new(QueueMeters::begin(&label));
        self.0.lock().entry(label.clone()).or_insert_with(new).clone()
    }
}

impl QueueMeters {
    fn begin(queue: &SharedString) -> Self {
        let claims = |result: &'static str| {
            let name = "tonic_supervisor.queue.claims";
            counter!(name, "queue" => queue.clone(), "result" => result)
        };
        let finished = |status: &'static str| {
            let name = "tonic_supervisor.queue.finished";
            counter!(name, "queue" => queue.clone(), "status" => status)
        };
        let tasks = |status: &'static str| {
            let name = "tonic_supervisor.queue.tasks";
            gauge!(name, "queue" => queue.clone(), "status" => status)
        };
        let gauge = |name: &'static str| gauge!(name, "queue" => queue.clone());
        let meters = Self {
            submitted: counter!("tonic_supervisor.queue.submitted", "queue" => queue.clone()),
            retried: counter!("tonic_supervisor.queue.retried", "queue" => queue.clone()),
            claimed: claims("task"),
            claimed_again: claims("again"),
            claims_empty: claims("empty"),
            completed: finished("completed"),
            failed: finished("failed"),
            cancelled: finished("cancelled"),
            leases_lost: counter!("tonic_supervisor.queue.leases_lost", "queue" => queue.clone()),
            dead: counter!("tonic_supervisor.queue.dead", "queue" => queue.clone()),
            given_back: counter!("tonic_supervisor.queue.given_back", "queue" => queue.clone()),
            wait: histogram!("tonic_supervisor.queue.wait", "queue" => queue.clone()),
            run: histogram!("tonic_supervisor.queue.run", "queue" => queue.clone()),
            tasks: ["pending", "processing", "completed", "failed", "cancelled"].map(tasks),
            oldest_pending: gauge("tonic_supervisor.queue.oldest_pending"),
            oldest_processing: gauge("tonic_supervisor.queue.oldest_processing"),
            claims_waiting: gauge("tonic_supervisor.queue.claims_waiting"),
            watches: gauge("tonic_supervisor.queue.watches"),
        };
        for counter in [
            &meters.submitted,
            &meters.retried,
            &meters.claimed,
            &meters.claimed_again,
            &meters.claims_empty,
            &meters.completed,
            &meters.failed,
            &meters.cancelled,
            &meters.leases_lost,
            &meters.dead,
            &meters.given_back,
        ] {
            counter.increment(0);
        }
        for gauge in [&meters.claims_waiting, &meters.watches] {
            gauge.increment(0.0);
        }
        meters
    }

    /// Counts what became of a task.
    pub(super) fn count(&self, event: TaskEvent) {
        match event {
            TaskEvent::Submitted => self.submitted.increment(1),
            TaskEvent::Retried => self.retried.increment(1),
            TaskEvent::Claimed(waited) => {
                self.claimed.increment(1);
                waited.into_iter().for_each(|waited| self.wait.record(seconds(waited)));
            }
            TaskEvent::ClaimedAgain => self.claimed_again.increment(1),
            TaskEvent::GivenBack => self.given_back.increment(1),
            TaskEvent::Lost => self.leases_lost.increment(1),
            TaskEvent::Dead => {
                self.leases_lost.increment(1);
                self.dead.increment(1);
                self.failed.increment(1);
            }
            TaskEvent::Ended(status, ran) => {
                match status {
                    TaskStatus::Completed => self.completed.increment(1),
                    TaskStatus::Failed => self.failed.increment(1),
                    _ => self.cancelled.increment(1),
                }
                ran.into_iter().for_each(|ran| self.run.record(seconds(ran)));
            }
        }
    }

    /// A claim was answered without a task.
    pub(super) fn claimed_nothing(&self) {
        self.claims_empty.increment(1);
    }

    /// How the queue stood when somebody looked.
    pub(super) fn set_totals(
        &self,
        tasks: &TaskCounts,
        oldest_pending: f64,
        oldest_processing: f64,
    ) {
        let TaskCounts { pending, processing, completed, failed, cancelled } = *tasks;
        for (gauge, count) in
            self.tasks.iter().zip([pending, processing, completed, failed, cancelled])
        {
            gauge.set(count as f64);
        }
        self.oldest_pending.set(oldest_pending);
        self.oldest_processing.set(oldest_processing);
    }
}

impl GaugeGuard {
    pub(super) fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

fn seconds(millis: Millis) -> f64 {
    millis as f64 / 1000.0
}

/// Describes them, and begins those at 0 that belong to no queue.
fn begin() {
    use Unit::{Count, Seconds};
    describe_gauge!(
        "tonic_supervisor.queue.tasks",
        Count,
        "tasks of a queue by status, as of the last look"
    );
    describe_gauge!(
        "tonic_supervisor.queue.oldest_pending",
        Seconds,
        "age of the oldest task that is PENDING"
    );
    describe_gauge!(
        "tonic_supervisor.queue.oldest_processing",
        Seconds,
        "time since the oldest claim that holds"
    );
    describe_counter!("tonic_supervisor.queue.submitted", Count, "tasks submitted, each once");
    describe_counter!(
        "tonic_supervisor.queue.retried",
        Count,
        "tasks made to do a failed one's work again"
    );
    describe_counter!("tonic_supervisor.queue.claims", Count, "claims answered, by result");
    describe_counter!("tonic_supervisor.queue.finished", Count, "tasks that ended, by status");
    describe_counter!("tonic_supervisor.queue.leases_lost", Count, "claims whose lease ended");
    describe_counter!(
        "tonic_supervisor.queue.dead",
        Count,
        "tasks FAILED because they were lost too often"
    );
    describe_counter!(
        "tonic_supervisor.queue.given_back",
        Count,
        "tasks that their claims gave back"
    );
    describe_histogram!(
        "tonic_supervisor.queue.wait",
        Seconds,
        "from submission to the first claim"
    );
    describe_histogram!("tonic_supervisor.queue.run", Seconds, "from the last claim to the end");
    describe_gauge!("tonic_supervisor.queue.claims_waiting", Count, "claims that wait for a task");
    describe_gauge!("tonic_supervisor.queue.watches", Count, "watches that are open");
    describe_histogram!(
        "tonic_supervisor.queue.store.duration",
        Seconds,
        "what the store took for an operation"
    );
    describe_counter!(
        "tonic_supervisor.queue.calls_refused",
        Count,
        "calls by nobody known, or without a grant"
    );
    for reason in ["identity", "grant"] {
        counter!("tonic_supervisor.queue.calls_refused", "reason" => reason).increment(0);
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

impl fmt::Debug for GaugeGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GaugeGuard")
    }
}
