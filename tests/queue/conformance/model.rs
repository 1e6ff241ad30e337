//! The model: what the service's comments say, written down as simply as possible. Everything is
//! searched for, nothing is indexed, and nothing is shared with the server.

use super::{
    operation::{AGENTS, Answer, Outcome, Step, kind, words},
    subject::rounded,
};
use prost_types::Timestamp;
use std::collections::BTreeMap;
use tonic::Code;
use tonic_supervisor::agent_queue::{
    GetTaskStatsResponse, Task, TaskCounts, TypeCount, server::Settings,
};

const PENDING: i32 = 1;
const PROCESSING: i32 = 2;
const COMPLETED: i32 = 3;
const FAILED: i32 = 4;
const CANCELLED: i32 = 5;

pub(crate) struct Model {
    lease: i64,
    max_claims: u32,
    keep: i64,
    made: usize,
    queues: BTreeMap<&'static str, Queue>,
}

#[derive(Default)]
struct Queue {
    created_at: i64,
    tasks: Vec<Kept>,
    /// What was named, its answer, and when: without a time while its task is there.
    names: BTreeMap<usize, (Named, Option<i64>)>,
    /// Claims that are over: of which task, whether given back, and when.
    over: BTreeMap<usize, (String, bool, i64)>,
}

#[derive(Clone, Debug)]
enum Named {
    Submission(String),
    Retry(String),
    Clearing(u64),
    Deletion(u64, Vec<String>),
    Cancellation(Box<Task>),
}

#[derive(Clone)]
struct Kept {
    task: Task,
    name: usize,
    claim: Option<usize>,
    lost: u32,
}

fn id(number: usize) -> String {
    format!("#{number}")
}

fn at(millis: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: millis / 1000, nanos: (millis % 1000 * 1_000_000) as i32 })
}

fn of(at: &Option<Timestamp>) -> i64 {
    at.as_ref().map_or(0, |at| at.seconds * 1000 + i64::from(at.nanos) / 1_000_000)
}

impl Model {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            lease: settings.lease().as_millis() as i64,
            max_claims: settings.max_claims(),
            keep: settings.keep_finished().as_millis() as i64,
            made: 0,
            queues: BTreeMap::new(),
        }
    }

    /// Every task of a queue, oldest first; none where there is no queue.
    pub(crate) fn all(&mut self, agent: &str, now: i64) -> Option<Vec<Task>> {
        self.expire(now);
        Some(self.queues.get(agent)?.tasks.iter().map(|kept| kept.task.clone()).collect())
    }

    /// The step itself, with what it left to the model.
    pub(crate) fn aim(&mut self, step: &Step, now: i64) -> Step {
        self.expire(now);
        let nth = |agent: usize, nth: usize, wanted: fn(&Kept) -> bool| {
            let tasks = self.queues.get(AGENTS[agent]).map_or(&[][..], |queue| &queue.tasks);
            let found: Vec<&Kept> = tasks.iter().filter(|kept| wanted(kept)).collect();
            let kept = found.get(nth % found.len().max(1))?;
            let number = kept.task.task_id.trim_start_matches('#').parse().expect("a number");
            Some((number, kept.claim.unwrap_or_default()))
        };
        match *step {
            Step::UpdateHeld { agent, nth: n, status, word } => {
                let (task, claim) = nth(agent, n, |kept| kept.claim.is_some()).unwrap_or((n, n));
                Step::Update { agent, task, claim, status, word }
            }
            Step::RetryFailed { agent, nth: n, name } => {
                let (task, _) = nth(agent, n, |kept| kept.task.status == FAILED).unwrap_or((n, n));
                Step::Retry { agent, task, name }
            }
            _ => step.clone(),
        }
    }

    pub(crate) fn act(&mut self, step: &Step, now: i64) -> Outcome {
        self.expire(now);
        let agent = |agent: &usize| AGENTS[*agent];
        match step {
            Step::Create { agent: a } => {
                let already_exists = self.queues.contains_key(agent(a));
                self.queues
                    .entry(agent(a))
                    .or_insert_with(|| Queue { created_at: now, ..Queue::default() });
                Ok(Answer::Created { already_exists })
            }
            Step::Exists { agent: a } => Ok(Answer::Exists(self.queues.contains_key(agent(a)))),
            Step::Queues { after, limit, hidden } => {
                let (after, hidden) = (after.map_or("", |a| AGENTS[a]), hidden.map(|a| AGENTS[a]));
                let there =
                    self.queues.iter().filter(|(name, _)| **name > after && Some(**name) != hidden);
                let mut page: Vec<_> =
                    there.map(|(name, queue)| queue.summary(name, now)).collect();
                let more = page.len() > *limit as usize;
                page.truncate(*limit as usize);
                let next = page.last().filter(|_| more).map(|(name, ..)| name.clone());
                Ok(Answer::Queues(page, next))
            }
            Step::DeleteQueue { agent: a } => {
                let gone = self.queues.remove(agent(a));
                let deleted = gone.as_ref().map_or(0, |queue| queue.tasks.len() as u64);
                Ok(Answer::QueueDeleted { existed: gone.is_some(), deleted })
            }
            Step::Prune => {
                self.prune(now - self.keep);
                Ok(Answer::Pruned)
            }
            Step::Info { agent: a }
            | Step::Clear { agent: a, .. }
            | Step::Submit { agent: a, .. }
            | Step::Claim { agent: a, .. }
            | Step::Update { agent: a, .. }
            | Step::Query { agent: a, .. }
            | Step::Delete { agent: a, .. }
            | Step::Cancel { agent: a, .. }
            | Step::Retry { agent: a, .. }
            | Step::List { agent: a, .. }
            | Step::Stats { agent: a } => {
                let (lease, made) = (self.lease, &mut self.made);
                let queue = self.queues.get_mut(agent(a)).ok_or(Code::NotFound)?;
                queue.act(step, agent(a), lease, made, now)
            }
            Step::UpdateHeld { .. } | Step::RetryFailed { .. } | Step::Pass(_) | Step::Reopen => {
                unreachable!("not for the model")
            }
        }
    }

    fn expire(&mut self, now: i64) {
        let max_claims = self.max_claims;
        for queue in self.queues.values_mut() {
            for kept in &mut queue.tasks {
                let end = of(&kept.task.lease_until);
                if kept.task.status != PROCESSING || end > now {
                    continue;
                }
                let claim = kept.claim.take().expect("held");
                queue.over.insert(claim, (kept.task.task_id.clone(), false, end));
                kept.lost += 1;
                kept.task.lease_until = None;
                kept.task.status = PENDING;
                if kept.lost > max_claims {
                    kept.task.status = FAILED;
                    kept.task.finished_at = at(end);
                    kept.task.error_message = format!(
                        "claimed and lost {} times: no agent ended it or kept its lease",
                        kept.lost
                    );
                }
            }
        }
    }

    fn prune(&mut self, before: i64) {
        for queue in self.queues.values_mut() {
            let old = |kept: &Kept| {
                kept.task.finished_at.is_some() && of(&kept.task.finished_at) < before
            };
            for gone in queue.tasks.iter().filter(|kept| old(kept)) {
                queue.names.remove(&gone.name);
            }
            queue.tasks.retain(|kept| !old(kept));
            queue.names.retain(|_, (_, at)| at.is_none_or(|at| at >= before));
            queue.over.retain(|_, (_, _, at)| *at >= before);
        }
    }
}

impl Queue {
    fn act(
        &mut self,
        step: &Step,
        agent: &'static str,
        lease: i64,
        made: &mut usize,
        now: i64,
    ) -> Outcome {
        match step {
            Step::Info { .. } => Ok(Answer::Info(self.counts(), self.created_at)),
            Step::Clear { status, name, .. } => match self.names.get(name) {
                Some((Named::Clearing(deleted), _)) => Ok(Answer::Cleared(*deleted)),
                Some(_) => Err(Code::InvalidArgument),
                None => {
                    let wanted =
                        |kept: &&Kept| status.is_none_or(|status| kept.task.status == status);
                    let ids: Vec<_> = self
                        .tasks
                        .iter()
                        .filter(wanted)
                        .map(|kept| kept.task.task_id.clone())
                        .collect();
                    ids.iter().for_each(|id| assert!(self.delete(id, now)));
                    let deleted = ids.len() as u64;
                    if deleted > 0 {
                        self.names.insert(*name, (Named::Clearing(deleted), Some(now)));
                    }
                    Ok(Answer::Cleared(deleted))
                }
            },
            Step::Submit { tasks, .. } => {
                if tasks.iter().any(|(name, _)| {
                    self.names
                        .get(name)
                        .is_some_and(|(named, _)| !matches!(named, Named::Submission(_)))
                }) {
                    return Err(Code::InvalidArgument);
                }
                let submitted = tasks.iter().map(|(name, priority)| {
                    if let Some((Named::Submission(id), _)) = self.names.get(name) {
                        return (id.clone(), true);
                    }
                    let (r#type, custom_type) = kind(*name);
                    let task = Task {
                        r#type,
                        custom_type,
                        payload: format!("[{name}]"),
                        priority: priority.unwrap_or(5),
                        ..Task::default()
                    };
                    let id = self.add(task, agent, *name, made, now);
                    self.names.insert(*name, (Named::Submission(id.clone()), None));
                    (id, false)
                });
                Ok(Answer::Submitted(submitted.collect()))
            }
            Step::Claim { claim, .. } => {
                if let Some(kept) = self.tasks.iter_mut().find(|kept| kept.claim == Some(*claim)) {
                    let processing = kept.task.status == PROCESSING;
                    if processing {
                        kept.task.lease_until = at(now + lease);
                    }
                    return Ok(Answer::Claimed(
                        Some(kept.task.clone()),
                        if processing { lease } else { 0 },
                    ));
                }
                if self.over.contains_key(claim) {
                    return Err(Code::FailedPrecondition);
                }
                let first =
                    self.tasks.iter_mut().filter(|kept| kept.task.status == PENDING).reduce(
                        |best, kept| {
                            if kept.task.priority > best.task.priority { kept } else { best }
                        },
                    );
                let Some(kept) = first else {
                    let held = self.tasks.iter().filter(|kept| kept.task.status == PROCESSING);
                    return Ok(Answer::Claimed(
                        None,
                        held.map(|kept| of(&kept.task.lease_until)).min().unwrap_or(0),
                    ));
                };
                kept.claim = Some(*claim);
                kept.task.status = PROCESSING;
                kept.task.claims += 1;
                kept.task.claimed_at = at(now);
                kept.task.lease_until = at(now + lease);
                Ok(Answer::Claimed(Some(kept.task.clone()), lease))
            }
            Step::Update { task, claim, status, word, .. } => {
                self.update(*task, *claim, *status, *word, lease, now)
            }
            Step::Query { task, .. } => Ok(Answer::Queried(self.find(*task)?.task.clone())),
            Step::Delete { tasks, name, .. } => match self.names.get(name) {
                Some((Named::Deletion(deleted, not_found), _)) => {
                    Ok(Answer::Deleted { deleted: *deleted, not_found: not_found.clone() })
                }
                Some(_) => Err(Code::InvalidArgument),
                None => {
                    let (mut deleted, mut not_found, mut seen) = (0, Vec::new(), Vec::new());
                    for task in tasks {
                        if seen.contains(task) {
                            continue;
                        }
                        seen.push(*task);
                        if self.delete(&id(*task), now) {
                            deleted += 1
                        } else {
                            not_found.push(id(*task))
                        }
                    }
                    if deleted > 0 {
                        self.names.insert(
                            *name,
                            (Named::Deletion(deleted, not_found.clone()), Some(now)),
                        );
                    }
                    Ok(Answer::Deleted { deleted, not_found })
                }
            },
            Step::Cancel { task, name, .. } => match self.names.get(name) {
                Some((Named::Cancellation(first), _)) => {
                    let now = self.tasks.iter().find(|kept| kept.task.task_id == first.task_id);
                    Ok(Answer::Cancelled(now.map_or((**first).clone(), |kept| kept.task.clone())))
                }
                Some(_) => Err(Code::InvalidArgument),
                None => {
                    let kept = self.find(*task)?;
                    if kept.task.status > PROCESSING {
                        return Err(Code::FailedPrecondition);
                    }
                    kept.task.status = CANCELLED;
                    kept.task.error_message = "nobody wants it".into();
                    kept.task.finished_at = at(now);
                    kept.task.lease_until = None;
                    let cancelled = kept.task.clone();
                    let first = Task { payload: String::new(), ..cancelled.clone() };
                    self.names.insert(*name, (Named::Cancellation(Box::new(first)), Some(now)));
                    Ok(Answer::Cancelled(cancelled))
                }
            },
            Step::Retry { task, name, .. } => match self.names.get(name) {
                Some((Named::Retry(id), _)) => Ok(Answer::Retried(id.clone())),
                Some(_) => Err(Code::InvalidArgument),
                None => {
                    let failed = self.find(*task)?.task.clone();
                    if failed.status != FAILED {
                        return Err(Code::FailedPrecondition);
                    }
                    let Task { r#type, custom_type, payload, priority, task_id: retry_of, .. } =
                        failed;
                    let again = Task {
                        r#type,
                        custom_type,
                        payload,
                        priority,
                        retry_of,
                        ..Task::default()
                    };
                    let id = self.add(again, agent, *name, made, now);
                    self.names.insert(*name, (Named::Retry(id.clone()), None));
                    Ok(Answer::Retried(id))
                }
            },
            Step::List { status, limit, offset, .. } => {
                let wanted: Vec<_> = self
                    .tasks
                    .iter()
                    .map(|kept| &kept.task)
                    .filter(|task| status.is_none_or(|s| task.status == s))
                    .collect();
                let total = wanted.len() as u64;
                let page =
                    wanted.into_iter().skip(*offset as usize).take(limit.unwrap_or(100) as usize);
                let tasks: Vec<Task> = page.cloned().collect();
                let next = offset + tasks.len() as u64;
                Ok(Answer::Listed { tasks, total, next_offset: (next < total).then_some(next) })
            }
            Step::Stats { .. } => Ok(Answer::Stats(rounded(self.stats(now)))),
            _ => unreachable!("not of one queue"),
        }
    }

    fn update(
        &mut self,
        task: usize,
        claim: usize,
        status: i32,
        word: usize,
        lease: i64,
        now: i64,
    ) -> Outcome {
        let given_back =
            self.over.get(&claim).is_some_and(|(of, given_back, _)| *given_back && *of == id(task));
        let (result, error_message) = words(status, word);
        let kept = self.find(task)?;
        if kept.claim != Some(claim) {
            let again = given_back && status == PENDING;
            return if again {
                Ok(Answer::Updated(kept.task.clone(), left(&kept.task, now)))
            } else {
                Err(Code::FailedPrecondition)
            };
        }
        let held = &mut kept.task;
        if held.status != PROCESSING {
            let same = held.status == status
                && held.result == result
                && held.error_message == error_message;
            return if same {
                Ok(Answer::Updated(held.clone(), 0))
            } else {
                Err(Code::FailedPrecondition)
            };
        }
        held.status = status;
        held.result = result;
        held.error_message = error_message;
        held.lease_until = (status == PROCESSING).then(|| at(now + lease)).flatten();
        if [COMPLETED, FAILED, CANCELLED].contains(&status) {
            held.finished_at = at(now);
        }
        let answer = Answer::Updated(held.clone(), left(held, now));
        if status == PENDING {
            kept.claim = None;
            self.over.insert(claim, (id(task), true, now));
        }
        Ok(answer)
    }

    fn find(&mut self, task: usize) -> Result<&mut Kept, Code> {
        self.tasks.iter_mut().find(|kept| kept.task.task_id == id(task)).ok_or(Code::NotFound)
    }

    fn add(&mut self, task: Task, agent: &str, name: usize, made: &mut usize, now: i64) -> String {
        let task = Task {
            task_id: id(*made),
            agent_id: agent.into(),
            status: PENDING,
            created_at: at(now),
            ..task
        };
        *made += 1;
        let id = task.task_id.clone();
        self.tasks.push(Kept { task, name, claim: None, lost: 0 });
        id
    }

    fn delete(&mut self, id: &str, now: i64) -> bool {
        let Some(place) = self.tasks.iter().position(|kept| kept.task.task_id == id) else {
            return false;
        };
        let gone = self.tasks.remove(place);
        self.names.get_mut(&gone.name).expect("named").1 = Some(now);
        if let Some(claim) = gone.claim {
            self.over.insert(claim, (id.into(), false, now));
        }
        true
    }

    fn counts(&self) -> TaskCounts {
        let count =
            |status| self.tasks.iter().filter(|kept| kept.task.status == status).count() as u64;
        let [pending, processing, completed, failed, cancelled] =
            [PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED].map(count);
        TaskCounts { pending, processing, completed, failed, cancelled }
    }

    fn summary(&self, name: &str, now: i64) -> (String, TaskCounts, i64, Option<i64>, Option<i64>) {
        let of_status = |status| {
            self.tasks.iter().map(|kept| &kept.task).filter(move |task| task.status == status)
        };
        let pending = of_status(PENDING).map(|task| now - of(&task.created_at)).max();
        let processing = of_status(PROCESSING).map(|task| now - of(&task.claimed_at)).max();
        (name.into(), self.counts(), self.created_at, pending, processing)
    }

    fn stats(&self, now: i64) -> GetTaskStatsResponse {
        let mut types = BTreeMap::new();
        self.tasks.iter().for_each(|kept| *types.entry(kept.task.r#type).or_default() += 1);
        let tasks = || self.tasks.iter().map(|kept| &kept.task);
        let average = |times: Vec<i64>| {
            (!times.is_empty())
                .then(|| times.iter().sum::<i64>() as f64 / times.len() as f64 / 1000.0)
        };
        let claimed = || tasks().filter(|task| task.claimed_at.is_some());
        let ran = claimed().filter(|task| task.finished_at.is_some());
        let oldest = tasks()
            .filter(|task| task.status == PENDING)
            .map(|task| now - of(&task.created_at))
            .max();
        GetTaskStatsResponse {
            tasks: Some(self.counts()),
            types: types.into_iter().map(|(r#type, tasks)| TypeCount { r#type, tasks }).collect(),
            oldest_pending: oldest.map(|age| age as f64 / 1000.0),
            average_wait: average(
                claimed().map(|task| of(&task.claimed_at) - of(&task.created_at)).collect(),
            ),
            average_run: average(
                ran.map(|task| of(&task.finished_at) - of(&task.claimed_at)).collect(),
            ),
        }
    }
}

fn left(task: &Task, now: i64) -> i64 {
    (of(&task.lease_until) - now).max(0)
}
