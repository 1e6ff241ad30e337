//! A worker: claims a task, has it done, keeps its lease meanwhile, reports, and begins anew.

use super::{LAST_WORDS, Phase, Phases, lease::Lease, running::Running, tally::Tally};
use crate::{
    agent_queue::{
        AgentQueue, Claim, Task, Update,
        answer::{Verdict, from_seconds, pause, verdict},
        client::new_name,
        queue::{Claimed, LONGEST_WAIT, PACE},
    },
    clock,
    model::printable,
};
use std::{
    fmt::Display,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::Mutex,
    time::{sleep, sleep_until, timeout, timeout_at},
};
use tonic::{Code, Status};

/// What the workers of one loop share.
pub(super) struct Shop<'a, H> {
    pub(super) queue: &'a AgentQueue,
    pub(super) handler: Arc<H>,
    pub(super) phases: Phases,
    pub(super) tally: &'a Tally,
    /// Where there is nothing to do, one worker waits for all: the one whose turn it is.
    pub(super) turn: Mutex<()>,
}

/// A claimed task.
struct Held {
    claim: Box<Claim>,
    lease: Lease,
}

impl<H, F, E> Shop<'_, H>
where
    H: Fn(Task) -> F + Send + Sync + 'static,
    F: Future<Output = Result<String, E>> + Send + 'static,
    E: Display,
{
    /// Makes the queue, if it is not there; false: it is time to end.
    pub(super) async fn open(&self) -> Result<bool, Status> {
        let create = async {
            for failures in 0.. {
                match self.queue.client().create_queue(self.queue.agent_id()).await {
                    Ok(_) => return Ok(true),
                    Err(status) => match verdict(&status) {
                        Verdict::Final => return Err(status),
                        Verdict::Closed => return Ok(false),
                        Verdict::Later => self.rest(failures, "the queue could not be made", &status).await,
                    },
                }
            }
            Ok(false)
        };
        tokio::select! {
            biased;
            () = self.phases.reached(Phase::Finish) => Ok(false),
            made = create => made,
        }
    }

    /// One worker's life. Fails where asking for tasks again would not help.
    pub(super) async fn work(&self) -> Result<(), Status> {
        let mut busy = false;
        while let Some(held) = self.next(&mut busy).await? {
            self.tally.claimed();
            self.process(held).await;
        }
        Ok(())
    }

    /// The next task; none when it is time to end.
    async fn next(&self, busy: &mut bool) -> Result<Option<Held>, Status> {
        let mut asked = None;
        tokio::select! {
            // A task that comes when it is time to end is not begun any more.
            biased;
            () = self.phases.reached(Phase::Finish) => {}
            held = self.claim(busy, &mut asked) => return held,
        }
        if let Some(claim_id) = asked {
            self.abandon(&claim_id).await;
        }
        Ok(None)
    }

    /// Asks until there is a task. `asked` has the claim's name once it may be known to the server: it is asked for until there is an
    /// answer, since an answer that got lost may have been a task.
    async fn claim(&self, busy: &mut bool, asked: &mut Option<String>) -> Result<Option<Held>, Status> {
        let (mut turn, mut failures) = (None, 0);
        loop {
            // Where there was work there may be more, so everyone asks; where there was none, one waits for all.
            if !*busy && turn.is_none() {
                turn = Some(self.turn.lock().await);
            }
            let wait = if *busy { Duration::ZERO } else { LONGEST_WAIT };
            let began = clock::now();
            let answer = self.queue.claim(asked.get_or_insert_with(new_name), wait).await;
            let answered = clock::now();
            match answer {
                Ok(Claimed::Held(claim)) => {
                    *busy = true;
                    let lease = Lease::claimed(began, answered, claim.lease);
                    return Ok(Some(Held { claim, lease }));
                }
                Ok(Claimed::Nothing) if mem::take(busy) => {}
                Ok(claimed) => {
                    if matches!(claimed, Claimed::Over) {
                        *asked = None;
                    }
                    sleep(PACE.saturating_sub(answered - began)).await;
                }
                Err(status) => {
                    match verdict(&status) {
                        Verdict::Final => return Err(status),
                        Verdict::Closed => return Ok(None),
                        Verdict::Later => self.rest(failures, "no task could be claimed", &status).await,
                    }
                    failures += 1;
                    continue;
                }
            }
            failures = 0;
        }
    }

    /// Gives back what a claim without an answer may have claimed, or claims now.
    async fn abandon(&self, claim_id: &str) {
        let answer = timeout(LAST_WORDS, self.queue.claim(claim_id, Duration::ZERO)).await;
        if let Ok(Ok(Claimed::Held(claim))) = answer {
            self.tally.claimed();
            self.report(&claim, Update::Pending).await;
        }
    }

    /// Has a task done, and says what came out.
    async fn process(&self, Held { claim, lease }: Held) {
        let mut running = Running::start(&self.handler, claim.task.clone());
        let lost = tokio::select! {
            // What is done is reported, even if the lease ends in the same moment: the server decides.
            biased;
            update = running.ended() => return self.report(&claim, update.unwrap_or(Update::Pending)).await,
            lost = self.keep(&claim, lease) => Some(lost),
            () = self.phases.reached(Phase::GiveBack) => None,
        };
        match (running.stop().await, lost) {
            (Some(update), _) => self.report(&claim, update).await,
            (None, None) => self.report(&claim, Update::Pending).await,
            (None, Some(why)) => self.lose(&claim, &why),
        }
    }

    /// Renews the lease over and over; resolves when the claim is lost, with the reason.
    async fn keep(&self, claim: &Claim, mut lease: Lease) -> String {
        let mut failures = 0;
        loop {
            sleep_until(lease.renewal.into()).await;
            let asked = clock::now();
            let renewal = self.queue.update_task_status(claim, Update::Processing);
            match timeout_at(lease.over.into(), renewal).await {
                Err(_) => return "its lease is over and could not be renewed".into(),
                Ok(Ok(answer)) => {
                    lease = Lease::renewed(asked, from_seconds(answer.lease));
                    failures = 0;
                }
                Ok(Err(status)) if verdict(&status) == Verdict::Later => {
                    lease.renewal = again(failures).min(lease.over);
                    failures += 1;
                }
                Ok(Err(status)) => return status.message().to_owned(),
            }
        }
    }

    /// Says what became of a task until the server has taken it, or has refused it for good.
    async fn report(&self, claim: &Claim, update: Update) {
        let mut update = update.within_limits();
        for failures in 0.. {
            let status = match self.queue.update_task_status(claim, update.clone()).await {
                Ok(_) => return self.tally.taken(&update),
                Err(status) => status,
            };
            match verdict(&status) {
                Verdict::Later => self.rest(failures, "a result could not be reported", &status).await,
                // The result itself is wrong, such as text that is not JSON.
                Verdict::Final if status.code() == Code::InvalidArgument && matches!(update, Update::Completed(_)) => {
                    let text = format!("the result was refused: {}", status.message());
                    update = Update::Failed(text).within_limits();
                }
                Verdict::Final | Verdict::Closed => return self.lose(claim, status.message()),
            }
        }
    }

    fn lose(&self, claim: &Claim, why: &str) {
        self.tally.lost();
        tracing::warn!(agent = self.queue.agent_id(), task = claim.task.task_id, why, "a claim is lost");
    }

    /// Waits before asking again, and says why.
    async fn rest(&self, failures: u32, what: &str, status: &Status) {
        let delay = pause(failures, rand::random());
        let code = status.code();
        let message = printable(status.message());
        tracing::warn!(agent = self.queue.agent_id(), ?code, %message, ?delay, "{what} yet");
        sleep(delay).await;
    }
}

/// When to ask again.
fn again(failures: u32) -> Instant {
    clock::now() + pause(failures, rand::random())
}
