//! What can be done to a store, in few enough words that histories meet themselves: two agents,
//! some names, some claims.

use proptest::prelude::*;
use tonic::Code;
use tonic_supervisor::agent_queue::{GetTaskStatsResponse, Task, TaskCounts};

pub(crate) const AGENTS: [&str; 2] = ["a", "b"];

/// One step of a history. Tasks are named by the order in which they were made, from 0.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create {
        agent: usize,
    },
    Exists {
        agent: usize,
    },
    Info {
        agent: usize,
    },
    /// A page of the queues, of which one may be hidden.
    Queues {
        after: Option<usize>,
        limit: u32,
        hidden: Option<usize>,
    },
    Clear {
        agent: usize,
        status: Option<i32>,
        name: usize,
    },
    DeleteQueue {
        agent: usize,
    },
    Submit {
        agent: usize,
        tasks: Vec<(usize, Option<u32>)>,
    },
    Claim {
        agent: usize,
        claim: usize,
    },
    Update {
        agent: usize,
        task: usize,
        claim: usize,
        status: i32,
        word: usize,
    },
    /// An update by the claim that holds or ended the n-th such task; the model says which.
    UpdateHeld {
        agent: usize,
        nth: usize,
        status: i32,
        word: usize,
    },
    Query {
        agent: usize,
        task: usize,
    },
    Delete {
        agent: usize,
        tasks: Vec<usize>,
        name: usize,
    },
    Cancel {
        agent: usize,
        task: usize,
        name: usize,
    },
    Retry {
        agent: usize,
        task: usize,
        name: usize,
    },
    /// A retry of the n-th failed task; the model says which.
    RetryFailed {
        agent: usize,
        nth: usize,
        name: usize,
    },
    List {
        agent: usize,
        status: Option<i32>,
        limit: Option<u32>,
        offset: u64,
    },
    Stats {
        agent: usize,
    },
    Prune,
    /// Time passes, in milliseconds.
    Pass(i64),
    /// The store is closed and opened again.
    Reopen,
}

/// What came of it; of an error its code.
pub(crate) type Outcome = Result<Answer, Code>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Created {
        already_exists: bool,
    },
    Exists(bool),
    Info(TaskCounts, i64),
    /// Each queue's counts, when it was made, and how long its oldest tasks wait and are worked on;
    /// and what comes next.
    Queues(Vec<(String, TaskCounts, i64, Option<i64>, Option<i64>)>, Option<String>),
    Cleared(u64),
    QueueDeleted {
        existed: bool,
        deleted: u64,
    },
    /// Which tasks, and whether they were there before.
    Submitted(Vec<(String, bool)>),
    /// The lease in milliseconds; without a task, the next lease's end.
    Claimed(Option<Task>, i64),
    Updated(Task, i64),
    Queried(Task),
    Deleted {
        deleted: u64,
        not_found: Vec<String>,
    },
    Cancelled(Task),
    Retried(String),
    Listed {
        tasks: Vec<Task>,
        total: u64,
        next_offset: Option<u64>,
    },
    Stats(GetTaskStatsResponse),
    Pruned,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    // Mostly one queue, so that something happens in it.
    let agent = || prop_oneof![5 => Just(0usize), 1 => Just(1usize)];
    // Some meet each other, some are new.
    let name = || prop_oneof![4 => 0..9usize, 1 => 9..40usize];
    let claim = || 0..6usize;
    let task = || 0..12usize;
    let status = || 1..6i32;
    let pass = prop_oneof![
        6 => 1..4_000i64,
        6 => Just(10_000i64),
        1 => Just(8 * 24 * 60 * 60 * 1000i64),
    ];
    prop_oneof![
        5 => agent().prop_map(|agent| Step::Create { agent }),
        1 => agent().prop_map(|agent| Step::Exists { agent }),
        1 => agent().prop_map(|agent| Step::Info { agent }),
        2 => (proptest::option::of(agent()), 1..3u32, proptest::option::of(agent()))
            .prop_map(|(after, limit, hidden)| Step::Queues { after, limit, hidden }),
        1 => (agent(), proptest::option::of(status()), name())
            .prop_map(|(agent, status, name)| Step::Clear { agent, status, name }),
        1 => agent().prop_map(|agent| Step::DeleteQueue { agent }),
        14 => (agent(), prop::collection::vec((name(), proptest::option::of(0..10u32)), 1..4))
            .prop_map(|(agent, tasks)| Step::Submit { agent, tasks }),
        14 => (agent(), claim()).prop_map(|(agent, claim)| Step::Claim { agent, claim }),
        10 => (agent(), task(), claim(), status(), 0..2usize)
            .prop_map(|(agent, task, claim, status, word)| {
                Step::Update { agent, task, claim, status, word }
            }),
        10 => (agent(), 0..4usize, status(), 0..2usize)
            .prop_map(|(agent, nth, status, word)| Step::UpdateHeld { agent, nth, status, word }),
        3 => (agent(), 0..4usize, name())
            .prop_map(|(agent, nth, name)| Step::RetryFailed { agent, nth, name }),
        2 => (agent(), task()).prop_map(|(agent, task)| Step::Query { agent, task }),
        3 => (agent(), prop::collection::vec(task(), 1..4), name())
            .prop_map(|(agent, tasks, name)| Step::Delete { agent, tasks, name }),
        9 => (agent(), task(), name())
            .prop_map(|(agent, task, name)| Step::Cancel { agent, task, name }),
        4 => (agent(), task(), name())
            .prop_map(|(agent, task, name)| Step::Retry { agent, task, name }),
        2 => (agent(), proptest::option::of(status()), proptest::option::of(1..5u32), 0..5u64)
            .prop_map(|(agent, status, limit, offset)| Step::List { agent, status, limit, offset }),
        1 => agent().prop_map(|agent| Step::Stats { agent }),
        1 => Just(Step::Prune),
        12 => pass.prop_map(Step::Pass),
        1 => Just(Step::Reopen),
    ]
}

/// The texts that go with an update: a result or a reason, where the status has one.
pub(crate) fn words(status: i32, word: usize) -> (String, String) {
    match status {
        3 => (format!("\"{word}\""), String::new()),
        4 | 5 => (String::new(), format!("because {word}")),
        _ => (String::new(), String::new()),
    }
}

/// The type and the custom type of the submission with this name.
pub(crate) fn kind(name: usize) -> (i32, String) {
    if name.is_multiple_of(3) { (10, "own".into()) } else { (name as i32 % 3, String::new()) }
}
