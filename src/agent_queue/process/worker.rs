//! A worker: claims a task, has it done, keeps its lease meanwhile, reports, and begins anew.

use super::{
    LAST_WORDS, Outcome, Phase, Phases, lease::Lease, running::Running, setbacks::Setbacks,
    tally::Tally,
};
use crate::{
    agent_queue::{
        AgentQueue, Claim, Task, Update,
        answer::{Reach, Verdict, lease_of, pause, reach, refuses_the_words, verdict},
        client::new_name,
        queue::{Claimed, LONGEST_WAIT, PACE},
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
pub(super) struct Shop<'a, H> {
    pub(super) queue: &'a AgentQueue,
    pub(super) handler: Arc<H>,
    pub(super) phases: Phases,
    pub(super) tally: &'a Tally,
    pub(super) setbacks: Setbacks,
    /// Where there is nothing to do, one worker waits for all: the one whose turn it is.
    pub(super) turn: Mutex<()>,
}

/// A claimed task.
struct Held {
    claim: Box<Claim>,
    lease: Lease,
    /// How many setbacks there were when it was claimed.
    setbacks: u32,
}

impl<H, F> Shop<'_, H>
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
                    Err(status) => match verdict(&status) {
                        Verdict::Final => return Err(status),
                        Verdict::Closed => return Ok(false),
                        Verdict::Later => {
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

    /// Asks until there is a task. `asked` has the claim's name once it may be known to the server:
    /// it is asked for until there is an answer, since an answer that got lost may have been a
    /// task.
    async fn claim(
        &self,
        busy: &mut bool,
        asked: &mut Option<String>,
    ) -> Result<Option<Held>, Status> {
        let (mut turn, mut failures) = (None, 0);
        loop {
            // Where there was work there may be more, so everyone asks; where there was none, or it
            // came to nothing, one does for all.
            *busy &= self.setbacks.len() == 0;
            if !*busy && turn.is_none() {
                turn = Some(self.turn.lock().await);
                self.setbacks.pause(self.queue.agent_id()).await;
            }
            let wait = if *busy { Duration::ZERO } else { LONGEST_WAIT };
            let began = clock::now();
            let answer = self.queue.claim(asked.get_or_insert_with(new_name), wait).await;
            let answered = clock::now();
            match answer {
                Ok(Claimed::Held(claim)) => {
                    *busy = true;
                    return Ok(Some(self.held(claim, began, answered)));
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
                        Verdict::Later => {
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
        let answer = timeout(LAST_WORDS, self.queue.claim(claim_id, Duration::ZERO)).await;
        if let Ok(Ok(Claimed::Held(claim))) = answer {
            self.tally.claimed();
            self.report(&self.held(claim, asked, clock::now()), Update::Pending).await;
        }
    }

    fn held(&self, claim: Box<Claim>, asked: Instant, answered: Instant) -> Held {
        let lease = Lease::claimed(asked, answered, claim.lease);
        Held { claim, lease, setbacks: self.setbacks.len() }
    }

    /// Has a task done, and says what came out.
    async fn process(&self, mut held: Held) {
        let mut running = Running::start(&self.handler, held.claim.task.clone(), self.tally.runs());
        let lost = tokio::select! {
            // What is done is reported, even if the lease ends in the same moment: the server
            // decides.
            biased;
            outcome = running.ended() => return self.ended(&held, outcome).await,
            lost = self.keep(&held.claim, &mut held.lease) => Some(lost),
            () = self.phases.reached(Phase::GiveBack) => None,
        };
        match (running.stop().await, lost) {
            (None, Some(why)) => self.lose(&held, &why),
            (outcome, _) => self.ended(&held, outcome).await,
        }
    }

    /// The handler has ended, or was stopped.
    async fn ended(&self, held: &Held, outcome: Option<Outcome>) {
        if let Some(Outcome::GivenBack(reason)) = &outcome {
            self.setbacks.given_back(held.setbacks, self.queue.agent_id(), reason);
        }
        let gets_on = matches!(outcome, Some(Outcome::Completed(_) | Outcome::Failed(_)));
        let taken = self.report(held, outcome.map_or(Update::Pending, Update::from)).await;
        if taken && gets_on {
            self.setbacks.end();
        }
    }

    /// Renews the lease over and over; resolves when the claim is lost, with the reason.
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
                    self.setbacks.end();
                }
                Ok(Err(status)) if verdict(&status) == Verdict::Later => {
                    lease.renewal = again(failures).min(lease.over);
                    failures += 1;
                }
                Ok(Err(status)) => return status.message().to_owned(),
            }
        }
    }

    /// Says what became of a task until the server has taken it, which is true, or there is no use
    /// in saying it any more.
    async fn report(&self, held: &Held, update: Update) -> bool {
        let (mut update, mut late_links) = (update.within_limits(), 0);
        for failures in 0.. {
            let until = held.lease.over.max(clock::now() + LATE);
            let answer = self.queue.update_task_status(&held.claim, update.clone());
            let (status, reach) = match timeout_at(until.into(), answer).await {
                Ok(Ok(_)) => {
                    self.tally.taken(&update);
                    return true;
                }
                Ok(Err(status)) => {
                    let reach = reach(&status);
                    (status, reach)
                }
                Err(_) => (
                    Status::deadline_exceeded("no answer came while the lease held"),
                    self.reach_now(),
                ),
            };
            match verdict(&status) {
                Verdict::Later => {
                    let over = clock::now() >= held.lease.over;
                    late_links += u32::from(over && reach == Reach::Unknown);
                    if over && (reach == Reach::Peer || late_links > LATE_LINKS) {
                        self.give_up(held, &status);
                        return false;
                    }
                    self.rest(failures, "a result could not be reported", &status).await;
                }
                Verdict::Final if refuses_the_words(&status) => {
                    match update.plainer(status.message()) {
                        Some(plainer) => {
                            let task = &held.claim.task.task_id;
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
                            self.lose(held, status.message());
                            return false;
                        }
                    }
                }
                Verdict::Final | Verdict::Closed => {
                    self.lose(held, status.message());
                    return false;
                }
            }
        }
        false
    }

    /// How far a request can have come that hangs now.
    fn reach_now(&self) -> Reach {
        match self.queue.client().supervisor().state() {
            ConnectivityState::Ready => Reach::Peer,
            _ => Reach::Nowhere,
        }
    }

    /// Nobody takes what became of a task, though the server is there, and its lease is over.
    fn give_up(&self, held: &Held, status: &Status) {
        let (code, said, task) = (status.code(), status.message(), &held.claim.task.task_id);
        let agent = self.queue.agent_id();
        log_line!(
            error,
            agent,
            task,
            ?code,
            said,
            "a result is given up: its lease is over and nobody takes it"
        );
        self.lose(held, "what became of it could not be reported");
    }

    fn lose(&self, held: &Held, why: &str) {
        self.tally.lost();
        self.setbacks.add(held.setbacks);
        let task = &held.claim.task.task_id;
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
