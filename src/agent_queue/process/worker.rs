//! A worker: claims a task, runs the handler, renews the lease meanwhile, reports, and starts over.

use super::{
    Outcome,
    claim_backoff::ClaimBackoff,
    lease::Lease,
    phase::{GIVE_BACK_TIMEOUT, Phase, Phases},
    running_handler::RunningHandler,
    tally::Tally,
};
use crate::{
    agent_queue::{
        AgentQueue, Claim, Task, Update,
        client::new_name,
        error_class::{
            Delivery, ErrorClass, classify, delivery_of, lease_of, pause, refuses_the_content,
        },
        queue::{ClaimAnswer, LONGEST_WAIT, PACE},
    },
    clock,
    model::{ConnectivityState, printable},
};
use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::Mutex,
    time::{sleep, sleep_until, timeout, timeout_at},
};
use tonic::Status;

/// An answer that comes so long after a report is one even if the lease is over meanwhile.
const LATE: Duration = Duration::from_secs(10);
/// Once the lease is over a report may lose its link so often.
const LATE_LINKS: u32 = 3;

/// What the workers of one loop share.
pub(super) struct WorkerContext<'a, H> {
    pub(super) queue: &'a AgentQueue,
    pub(super) handler: Arc<H>,
    pub(super) phases: Phases,
    pub(super) tally: &'a Tally,
    pub(super) claim_backoff: ClaimBackoff,
    /// Where there is nothing to do, one worker waits for all: the one whose turn it is.
    pub(super) turn: Mutex<()>,
}

/// A claimed task.
struct ClaimedTask {
    claim: Box<Claim>,
    lease: Lease,
    /// How many tasks in a row had been claimed in vain when it was claimed.
    failed_claims: u32,
}

impl<H, F> WorkerContext<'_, H>
where
    H: Fn(Task) -> F + Send + Sync + 'static,
    F: Future<Output: Into<Outcome>> + Send + 'static,
{
    /// Makes the queue, if it is not there; false: it is time to end.
    pub(super) async fn open(&self) -> Result<bool, Status> {
        let create = async {
            for failures in 0.. {
                match self.queue.client().create_queue(self.queue.agent_id()).await {
                    Ok(_) => return Ok(true),
                    Err(status) => match classify(&status) {
                        ErrorClass::Permanent => return Err(status),
                        ErrorClass::ClientClosed => return Ok(false),
                        ErrorClass::Transient => {
                            self.rest(failures, "the queue could not be made", &status).await
                        }
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

    /// Claims and processes tasks until it is time to end. Fails where asking for tasks again would
    /// not help.
    pub(super) async fn work(&self) -> Result<(), Status> {
        let mut busy = false;
        while let Some(claimed) = self.next(&mut busy).await? {
            self.tally.claimed();
            self.process(claimed).await;
        }
        Ok(())
    }

    /// The next task; none when it is time to end.
    async fn next(&self, busy: &mut bool) -> Result<Option<ClaimedTask>, Status> {
        let mut asked = None;
        tokio::select! {
            // A task that comes when it is time to end is not begun any more.
            biased;
            () = self.phases.reached(Phase::Finish) => {}
            claimed = self.claim(busy, &mut asked) => return claimed,
        }
        if let Some(claim_id) = asked {
            self.abandon(&claim_id).await;
        }
        Ok(None)
    }

    /// Asks until there is a task. `asked` has the claim's name once it may be known to the server:
    /// it is asked for until there is an answer, since an answer that got lost may have been a
    /// task.
    async fn claim(
        &self,
        busy: &mut bool,
        asked: &mut Option<String>,
    ) -> Result<Option<ClaimedTask>, Status> {
        let (mut turn, mut failures) = (None, 0);
        loop {
            // Where there was work there may be more, so everyone asks; where there was none, or it
            // came to nothing, one does for all.
            *busy &= self.claim_backoff.len() == 0;
            if !*busy && turn.is_none() {
                turn = Some(self.turn.lock().await);
                self.claim_backoff.pause(self.queue.agent_id()).await;
            }
            let wait = if *busy { Duration::ZERO } else { LONGEST_WAIT };
            let began = clock::now();
            let answer = self.queue.claim(asked.get_or_insert_with(new_name), wait).await;
            let answered = clock::now();
            match answer {
                Ok(ClaimAnswer::Task(claim)) => {
                    *busy = true;
                    return Ok(Some(self.claimed_task(claim, began, answered)));
                }
                Ok(ClaimAnswer::Nothing) if mem::take(busy) => {}
                Ok(answer) => {
                    if matches!(answer, ClaimAnswer::Over) {
                        *asked = None;
                    }
                    sleep(PACE.saturating_sub(answered - began)).await;
                }
                Err(status) => {
                    match classify(&status) {
                        ErrorClass::Permanent => return Err(status),
                        ErrorClass::ClientClosed => return Ok(None),
                        ErrorClass::Transient => {
                            self.rest(failures, "no task could be claimed", &status).await
                        }
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
        let asked = clock::now();
        let answer = timeout(GIVE_BACK_TIMEOUT, self.queue.claim(claim_id, Duration::ZERO)).await;
        if let Ok(Ok(ClaimAnswer::Task(claim))) = answer {
            self.tally.claimed();
            self.report(&self.claimed_task(claim, asked, clock::now()), Update::Pending).await;
        }
    }

    fn claimed_task(&self, claim: Box<Claim>, asked: Instant, answered: Instant) -> ClaimedTask {
        let lease = Lease::claimed(asked, answered, claim.lease);
        ClaimedTask { claim, lease, failed_claims: self.claim_backoff.len() }
    }

    /// Runs the handler on a task, and reports the outcome.
    async fn process(&self, mut claimed: ClaimedTask) {
        let mut running =
            RunningHandler::start(&self.handler, claimed.claim.task.clone(), self.tally.runs());
        let lost = tokio::select! {
            // What is done is reported, even if the lease ends in the same moment: the server
            // decides.
            biased;
            outcome = running.ended() => return self.ended(&claimed, outcome).await,
            lost = self.keep(&claimed.claim, &mut claimed.lease) => Some(lost),
            () = self.phases.reached(Phase::GiveBack) => None,
        };
        match (running.stop().await, lost) {
            (None, Some(why)) => self.lose(&claimed, &why),
            (outcome, _) => self.ended(&claimed, outcome).await,
        }
    }

    /// The handler has ended, or was stopped.
    async fn ended(&self, claimed: &ClaimedTask, outcome: Option<Outcome>) {
        if let Some(Outcome::GivenBack(reason)) = &outcome {
            self.claim_backoff.given_back(claimed.failed_claims, self.queue.agent_id(), reason);
        }
        let progressed = matches!(outcome, Some(Outcome::Completed(_) | Outcome::Failed(_)));
        let taken = self.report(claimed, outcome.map_or(Update::Pending, Update::from)).await;
        if taken && progressed {
            self.claim_backoff.reset();
        }
    }

    /// Renews the lease over and over; resolves when the claim is lost, with the reason.
    ///
    /// A renewed lease counts from when it was asked for, because the server cannot have begun it
    /// earlier: so this side stops no later than the server gives the task to somebody else. A
    /// renewal that fails is tried until the lease is over, since nobody else can have the task
    /// before that.
    async fn keep(&self, claim: &Claim, lease: &mut Lease) -> String {
        let mut failures = 0;
        loop {
            sleep_until(lease.renewal.into()).await;
            let asked = clock::now();
            let renewal = self.queue.update_task_status(claim, Update::Processing);
            match timeout_at(lease.over.into(), renewal).await {
                Err(_) => return "its lease is over and could not be renewed".into(),
                Ok(Ok(answer)) => {
                    *lease = Lease::renewed(asked, lease_of(answer.lease));
                    failures = 0;
                    self.claim_backoff.reset();
                }
                Ok(Err(status)) if classify(&status) == ErrorClass::Transient => {
                    lease.renewal = again(failures).min(lease.over);
                    failures += 1;
                }
                Ok(Err(status)) => return status.message().to_owned(),
            }
        }
    }

    /// Reports the outcome of a task until the server has accepted it, which returns true, or
    /// another report would not help.
    ///
    /// While there is no link it waits, however long: the server may have taken the report before
    /// the link was lost, and says so when it is asked again. Where the server answers, but with an
    /// error, and the lease is over, asking on would only keep this worker from other tasks. A link
    /// that breaks under the report may have been broken by it, so that is tried a few times.
    async fn report(&self, claimed: &ClaimedTask, update: Update) -> bool {
        let (mut update, mut late_links) = (update.within_limits(), 0);
        for failures in 0.. {
            let until = claimed.lease.over.max(clock::now() + LATE);
            let answer = self.queue.update_task_status(&claimed.claim, update.clone());
            let (status, delivery) = match timeout_at(until.into(), answer).await {
                Ok(Ok(_)) => {
                    self.tally.taken(&update);
                    return true;
                }
                Ok(Err(status)) => {
                    let delivery = delivery_of(&status);
                    (status, delivery)
                }
                Err(_) => (
                    Status::deadline_exceeded("no answer came while the lease claimed"),
                    self.delivery_now(),
                ),
            };
            match classify(&status) {
                ErrorClass::Transient => {
                    let over = clock::now() >= claimed.lease.over;
                    late_links += u32::from(over && delivery == Delivery::Unknown);
                    if over && (delivery == Delivery::Reached || late_links > LATE_LINKS) {
                        self.give_up(claimed, &status);
                        return false;
                    }
                    self.rest(failures, "a result could not be reported", &status).await;
                }
                ErrorClass::Permanent if refuses_the_content(&status) => {
                    match update.plainer(status.message()) {
                        Some(plainer) => {
                            let task = &claimed.claim.task.task_id;
                            log_line!(
                                warn,
                                agent = self.queue.agent_id(),
                                task,
                                why = status.message(),
                                "a report is refused"
                            );
                            update = plainer;
                        }
                        None => {
                            self.lose(claimed, status.message());
                            return false;
                        }
                    }
                }
                ErrorClass::Permanent | ErrorClass::ClientClosed => {
                    self.lose(claimed, status.message());
                    return false;
                }
            }
        }
        false
    }

    /// How far a request can have come that hangs now.
    fn delivery_now(&self) -> Delivery {
        match self.queue.client().supervisor().state() {
            ConnectivityState::Ready => Delivery::Reached,
            _ => Delivery::NotSent,
        }
    }

    /// Nobody takes what became of a task, though the server is there, and its lease is over.
    fn give_up(&self, claimed: &ClaimedTask, status: &Status) {
        let (code, said, task) = (status.code(), status.message(), &claimed.claim.task.task_id);
        let agent = self.queue.agent_id();
        log_line!(
            error,
            agent,
            task,
            ?code,
            said,
            "a result is given up: its lease is over and nobody takes it"
        );
        self.lose(claimed, "what became of it could not be reported");
    }

    fn lose(&self, claimed: &ClaimedTask, why: &str) {
        self.tally.lost();
        self.claim_backoff.add(claimed.failed_claims);
        let task = &claimed.claim.task.task_id;
        log_line!(warn, agent = self.queue.agent_id(), task, why, "a claim is lost");
    }

    /// Waits before asking again, and says why.
    async fn rest(&self, failures: u32, what: &str, status: &Status) {
        let delay = pause(failures, rand::random());
        let code = status.code();
        let said = printable(status.message());
        log_line!(warn, agent = self.queue.agent_id(), ?code, %said, ?delay, "{what} yet");
        sleep(delay).await;
    }
}

/// When to ask again.
fn again(failures: u32) -> Instant {
    clock::now() + pause(failures, rand::random())
}
