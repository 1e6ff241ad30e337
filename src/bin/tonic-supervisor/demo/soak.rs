//! `soak`: runs the demo's supervised agent for minutes or hours, through random faults drawn from
//! a seed.
//!
//! It goes in rounds of a minute. One supervisor serves all of them; each has a new journal, so
//! that neither the server nor the comparison grows with time. Between rounds, when no call is
//! open, the memory and tasks of the process are read: the first reading is the start.
//!
//! A timer is a task, and one that was set for a call's deadline may run until then although the
//! call has ended. So tasks have as long to end as a call has. The pages have a runtime of their
//! own: a connection of somebody who looks is none of the tasks that are counted.

use super::{
    FINISH, Report, TempFolder,
    agent::Agent,
    child::{Child, Keeps},
    interrupted,
    outages::Outages,
    outcome::Outcome,
    process_stats::ProcessStats,
    script::FAULTS,
    summary::Comparison,
    supervised::{self, Side},
    tally::Counts,
};
use crate::{CliError, admin::AdminArguments, stdout::Stdout};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Map, Value, json};
use std::{fs, path::Path, sync::Arc, time::Duration};
use tokio::{
    runtime::{self, Runtime},
    time::{Instant, sleep},
};

const ROUND: Duration = Duration::from_secs(60);
/// How soon the channel must be Ready again between two rounds.
const READY: Duration = Duration::from_secs(10);
/// Within this time tasks that end have ended: the longest is a timer for a call's deadline.
const SETTLE: Duration = supervised::TIMEOUT.saturating_add(Duration::from_secs(5));
/// Memory that grew by more since the first round has leaked; the allocator's own to and fro stays
/// far below.
const LEAK_KIB: u64 = 16 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct SoakArguments {
    /// How long to go on, in minutes; the second is the first that can be compared.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(2..))]
    minutes: u32,
    /// The faults, their lengths and the pauses between them are drawn from this number; without
    /// it, from one that is printed.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    admin: AdminArguments,
}

/// Everything that happened, in numbers.
#[derive(Debug)]
struct Soaked {
    rng_seed: u64,
    rounds: u32,
    faults: [u64; FAULTS.len()],
    calls: u64,
    failed: u64,
    lost: u64,
    executed_twice: u64,
    counts: Counts,
    start: ProcessStats,
    end: ProcessStats,
}

/// Soaks. It succeeds when nothing failed, was lost, was executed twice or leaked.
pub(crate) fn run(
    arguments: &SoakArguments,
    json: bool,
    config: Option<&Path>,
) -> Result<(), CliError> {
    let rng_seed = arguments.seed.unwrap_or_else(rand::random);
    let (pages, work) = (runtime(1)?, runtime(2)?);
    let _admin = pages.block_on(arguments.admin.start())?;
    let soaked = work.block_on(async {
        let interrupted = interrupted()?;
        tokio::select! {
            soaked = soak(arguments.minutes, rng_seed, json, config) => soaked,
            () = interrupted => Err(CliError::Interrupted),
        }
    })?;
    let line = if json { soaked.to_json().to_string() } else { soaked.to_string() };
    Stdout::new().line(&line);
    soaked.check().map_err(CliError::Failed)
}

fn runtime(threads: usize) -> Result<Runtime, CliError> {
    runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(CliError::failed("cannot start the runtime"))
}

async fn soak(
    rounds: u32,
    rng_seed: u64,
    json: bool,
    config: Option<&Path>,
) -> Result<Soaked, CliError> {
    let report = Arc::new(Report::of_failures(Stdout::new(), json));
    let folder = TempFolder::new()?;
    let mut child = Child::start(Keeps::Journal(folder.journal()), config).await?;
    let (channel, side) = supervised::start("soak", &[child.address()], config, &report)?;
    let mut rng = StdRng::seed_from_u64(rng_seed);
    let now = ProcessStats::now();
    let mut soaked = Soaked {
        rng_seed,
        rounds,
        faults: Default::default(),
        calls: 0,
        failed: 0,
        lost: 0,
        executed_twice: 0,
        counts: Counts::default(),
        start: now,
        end: now,
    };
    for round in 1..=rounds {
        let mut agent = Agent::start("soak", channel.clone(), &report);
        let over = Instant::now() + ROUND;
        while Instant::now() < over {
            agent.tally().fault_begins();
            soaked.faults[fault(&mut child, &mut rng).await?] += 1;
        }
        agent.finish(FINISH).await;
        child.stop().await?;
        let (journal, outages) = (folder.journal(), Outages::default());
        let comparison = Comparison {
            journal: &journal,
            outages: &outages,
            start_ms: report.start_ms(),
            now: report.now(),
        };
        soaked.count(&comparison.outcome(agent.tally())?);
        drop(agent);
        fs::remove_file(folder.journal())
            .map_err(CliError::failed("cannot remove the journal of a round"))?;
        child.start_again().await?;
        is_ready(&side, round).await?;
        match round {
            1 => {
                settled(0).await;
                // While it has no link it has fewer tasks.
                is_ready(&side, round).await?;
                soaked.start = ProcessStats::now();
            }
            _ => soaked.end = settled(soaked.start.tasks).await,
        }
        eprintln!(
            "round {round} of {rounds}: {} calls, {} failed, {} lost",
            soaked.calls, soaked.failed, soaked.lost
        );
    }
    soaked.counts = side.counts();
    drop(channel);
    side.close().await;
    child.stop().await?;
    Ok(soaked)
}

async fn is_ready(side: &Side, round: u32) -> Result<(), CliError> {
    let late = || format!("after round {round} the channel was not Ready for {READY:?}");
    side.ready(READY).await.then_some(()).ok_or_else(|| CliError::Failed(late()))
}

/// The process when at most `tasks` run, or when those that end have had time to.
async fn settled(tasks: u64) -> ProcessStats {
    let patience = Instant::now() + SETTLE;
    loop {
        let now = ProcessStats::now();
        if now.tasks <= tasks || Instant::now() >= patience {
            return now;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// A pause long enough for calls to recover, then a fault; which one of `FAULTS`.
async fn fault(child: &mut Child, rng: &mut StdRng) -> Result<usize, CliError> {
    sleep(Duration::from_millis(rng.random_range(2_000..6_000))).await;
    let which = rng.random_range(0..FAULTS.len());
    let length = Duration::from_millis(rng.random_range(100..3_500));
    match FAULTS[which] {
        "kill" => {
            child.kill().await?;
            sleep(length).await;
            child.start_again().await?;
        }
        "freeze" => {
            child.freeze()?;
            sleep(length).await;
            child.thaw()?;
        }
        "restart" => child.replace().await?,
        _ => {
            let seconds = rng.random_range(1..=3);
            child.refuse_calls(seconds).await?;
            sleep(Duration::from_secs(seconds.into())).await;
        }
    }
    Ok(which)
}

impl Soaked {
    fn count(&mut self, round: &Outcome) {
        self.calls += round.calls;
        self.failed += round.all.failed;
        self.lost += round.all.lost;
        self.executed_twice += round.all.executed_twice;
    }

    /// Fails with a sentence where the supervisor did not keep its promises.
    fn check(&self) -> Result<(), String> {
        let Self { failed, lost, executed_twice, start, end, .. } = self;
        if self.calls == 0 || failed + lost + executed_twice > 0 {
            let calls = self.calls;
            return Err(format!(
                "of {calls} calls {failed} failed, {lost} were lost, {executed_twice} were \
                 executed twice"
            ));
        }
        if end.growth(*start) > LEAK_KIB {
            return Err(format!("memory grew by {} KiB", end.growth(*start)));
        }
        if end.tasks > start.tasks {
            return Err(format!("{} tasks were left over", end.tasks - start.tasks));
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let faults: Map<_, _> =
            FAULTS.into_iter().zip(self.faults).map(|(name, n)| (name.into(), n.into())).collect();
        json!({
            "kind": "soak", "minutes": self.rounds, "seed": self.rng_seed, "faults": faults,
            "calls": self.calls, "failed": self.failed, "lost": self.lost,
            "executed_twice": self.executed_twice,
            "retries": self.counts.retries, "transparent_retries": self.counts.transparent_retries,
            "dials": self.counts.dials, "reconnects": self.counts.reconnects,
            "memory_kib": { "start": self.start.memory, "end": self.end.memory },
            "tasks": { "start": self.start.tasks, "end": self.end.tasks },
        })
    }
}

impl std::fmt::Display for Soaked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kib = |vitals: ProcessStats| vitals.memory.map_or("?".into(), |kib| kib.to_string());
        write!(
            f,
            "soak: {} minutes, seed {}, {} faults, {} calls, {} failed, {} lost, {} executed \
             twice, memory {} -> {} KiB, tasks {} -> {}",
            self.rounds,
            self.rng_seed,
            self.faults.iter().sum::<u64>(),
            self.calls,
            self.failed,
            self.lost,
            self.executed_twice,
            kib(self.start),
            kib(self.end),
            self.start.tasks,
            self.end.tasks
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soaked(start: (u64, u64), end: (u64, u64)) -> Soaked {
        let vitals = |(memory, tasks)| ProcessStats { memory: Some(memory), tasks };
        Soaked {
            rng_seed: 1,
            rounds: 2,
            faults: [1, 2, 3, 4],
            calls: 10,
            failed: 0,
            lost: 0,
            executed_twice: 0,
            counts: Counts::default(),
            start: vitals(start),
            end: vitals(end),
        }
    }

    #[test]
    fn harm_to_a_call_and_every_leak_is_a_failure_with_a_sentence() {
        let well = || soaked((20_000, 9), (21_000, 9));
        assert_eq!(well().check(), Ok(()));
        let failure = |soaked: Soaked| soaked.check().expect_err("a failure");
        assert!(failure(Soaked { failed: 1, ..well() }).contains("1 failed"));
        assert!(failure(Soaked { lost: 2, ..well() }).contains("2 were lost"));
        assert!(failure(Soaked { executed_twice: 3, ..well() }).contains("3 were executed twice"));
        assert!(failure(Soaked { calls: 0, ..well() }).starts_with("of 0 calls"));
        assert!(failure(soaked((20_000, 9), (20_000 + LEAK_KIB + 1, 9))).contains("memory grew"));
        assert!(failure(soaked((20_000, 9), (20_000, 10))).contains("1 tasks were left over"));
    }

    /// A timer for a call's deadline outlives its call; what leaks does not end.
    #[tokio::test(start_paused = true)]
    async fn tasks_have_as_long_to_end_as_a_call_has() {
        tokio::spawn(sleep(supervised::TIMEOUT));
        let began = Instant::now();
        assert_eq!(settled(0).await.tasks, 0);
        assert!(began.elapsed() < SETTLE);
        tokio::spawn(std::future::pending::<()>());
        let began = Instant::now();
        assert_eq!(settled(0).await.tasks, 1);
        assert!(began.elapsed() >= SETTLE);
        assert_eq!(settled(1).await.tasks, 1);
    }

    #[test]
    fn the_summary_is_one_line_with_memory_and_tasks_at_start_and_end() {
        let soaked = soaked((20_000, 9), (21_000, 9));
        assert!(
            soaked.to_string().ends_with("memory 20000 -> 21000 KiB, tasks 9 -> 9"),
            "{soaked}"
        );
        assert_eq!(soaked.to_json()["memory_kib"], json!({ "start": 20_000, "end": 21_000 }));
        assert_eq!(soaked.to_json()["faults"]["unavailable"], 4);
    }
}
