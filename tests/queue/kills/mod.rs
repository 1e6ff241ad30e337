//! `kill -9` of servers at random moments, under programs on supervised channels that notice
//! nothing of it.
//!
//! `QUEUE_KILLS` says how many kills (5), `QUEUE_LOOP_KILLS` how many of worker loops' servers
//! (10), `QUEUE_SEED` repeats a run with the same random numbers.

mod ledger;
mod loops;
mod program;

pub(crate) use loops::{Leases, worker_loops_end_every_task_as_its_work_says};

use crate::process::Serve;
use program::{Client, Party, World};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{env, fmt::Write as _, sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, block_in_place},
    time::{Instant, sleep, timeout},
};
use tonic_supervisor::{Supervisor, agent_queue::Task};

const QUEUES: usize = 4;
/// Each is an agent and two submitters on one channel.
const PROGRAMS: usize = 16;
const SUBMITTERS: usize = 2;
/// How many tasks of a queue may wait or be worked on at once.
const ROOM: usize = 64;
/// Between a server's return and the next kill: this, and up to as much again.
const BETWEEN: Duration = Duration::from_secs(1);
/// The longest time that a server is gone.
const GONE: Duration = Duration::from_millis(500);
/// In which all work ends after the last kill: the default deadline of a call, and more.
const END: Duration = Duration::from_secs(120);
/// How many sentences of one kind are enough.
const ENOUGH: usize = 5;

/// Kills the servers in turn, each with its share of the programs, and panics if anything is wrong
/// with what was done meanwhile.
///
/// `store` is what `--store` takes, and must be new.
pub(crate) async fn every_task_is_completed_once(store: &str, servers: usize) {
    Trial::of(store, servers, number("QUEUE_KILLS").unwrap_or(5))
        .run()
        .await
        .unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// What the environment says.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// One run.
struct Trial {
    store: String,
    servers: usize,
    kills: usize,
    seed: u64,
}

impl Trial {
    fn of(store: &str, servers: usize, kills: u64) -> Self {
        Self {
            store: store.into(),
            servers,
            kills: kills as usize,
            seed: number("QUEUE_SEED").unwrap_or_else(rand::random),
        }
    }

    fn announce(&self) {
        // Without the part that may hold a password.
        let kind = self.store.split(':').next().unwrap_or_default();
        println!("{kind}, {} server(s), {} kills; {}", self.servers, self.kills, self.seed_hint());
    }

    /// How to repeat it with the same random numbers.
    fn seed_hint(&self) -> String {
        format!("QUEUE_SEED={}", self.seed)
    }

    /// Fails with what went wrong.
    async fn run(self) -> Result<(), String> {
        self.announce();
        let Self { ref store, servers: number, seed, .. } = self;
        let mut servers: Vec<_> =
            block_in_place(|| (0..number).map(|_| Serve::start(store, &[])).collect());
        let began = Instant::now();
        let mut fleet = Fleet::start(&servers, seed).await;
        self.kill(&mut servers).await;
        let ended = timeout(END, fleet.finish()).await;

        // What counts is what the store still knows when it is opened anew.
        for server in &mut servers {
            block_in_place(|| server.kill());
            block_in_place(|| server.restart());
        }
        let kept = fleet.kept().await;
        let mut wrong = fleet.world.ledger.wrong(&kept);
        if ended.is_err() {
            wrong.insert(
                0,
                format!("calls were still open {} s after the last kill", END.as_secs()),
            );
        }
        let (tasks, retries, links) = fleet.counts();
        let took = began.elapsed().as_secs();
        println!(
            "{tasks} tasks, {retries} retries, {links} links, {took} s; wrong: {}",
            wrong.len()
        );
        if wrong.is_empty() && tasks > 0 {
            return Ok(());
        }
        let mut report = format!("{tasks} tasks; {}", self.seed_hint());
        wrong.iter().for_each(|sentence| _ = write!(report, "\n  {sentence}"));
        Err(report)
    }

    async fn kill(&self, servers: &mut [Serve]) {
        let mut rng = StdRng::seed_from_u64(self.seed);
        for number in 0..self.kills {
            sleep(BETWEEN + BETWEEN.mul_f64(rng.random())).await;
            let server = &mut servers[number % self.servers];
            block_in_place(|| server.kill());
            sleep(GONE.mul_f64(rng.random())).await;
            block_in_place(|| server.restart());
        }
        sleep(BETWEEN).await;
    }
}

/// All programs.
struct Fleet {
    world: Arc<World>,
    queues: Vec<String>,
    rooms: Vec<Arc<Semaphore>>,
    channels: Vec<(Supervisor, Client)>,
    submitters: JoinSet<()>,
    agents: JoinSet<()>,
}

impl Fleet {
    async fn start(servers: &[Serve], seed: u64) -> Self {
        let channels =
            (0..PROGRAMS).map(|number| program::supervise(servers[number % servers.len()].address));
        let mut fleet = Self {
            world: Arc::default(),
            queues: (0..QUEUES).map(|number| format!("kill-{seed:x}-{number}")).collect(),
            rooms: (0..QUEUES).map(|_| Arc::new(Semaphore::new(ROOM))).collect(),
            channels: channels.collect(),
            submitters: JoinSet::new(),
            agents: JoinSet::new(),
        };
        for queue in &fleet.queues {
            program::create_queue(&mut fleet.channels[0].1, queue).await;
        }
        for (program, (_, client)) in fleet.channels.iter().enumerate() {
            // Each queue has programs on each server.
            let queue = program / servers.len() % QUEUES;
            let party = |kind, number| Party {
                name: format!("{kind}-{number}"),
                queue: fleet.queues[queue].clone(),
                client: client.clone(),
                rng: Party::rng(seed, number),
                world: fleet.world.clone(),
                room: fleet.rooms[queue].clone(),
            };
            fleet.agents.spawn(party("agent", program).work());
            for submitter in 0..SUBMITTERS {
                let number = PROGRAMS + program * SUBMITTERS + submitter;
                fleet.submitters.spawn(party("submitter", number).submit());
            }
        }
        fleet
    }

    /// No more tasks; returns when every agent has found its queue empty.
    async fn finish(&mut self) {
        self.rooms.iter().for_each(|room| room.close());
        while let Some(ended) = self.submitters.join_next().await {
            ended.expect("no panic");
        }
        self.world.submitted.send_replace(true);
        while let Some(ended) = self.agents.join_next().await {
            ended.expect("no panic");
        }
    }

    /// What the store shows of all queues. A queue that it does not show has lost its tasks.
    async fn kept(&mut self) -> Vec<Task> {
        let mut all = Vec::new();
        for queue in &self.queues {
            match program::tasks_of(&mut self.channels[0].1, queue).await {
                Ok(tasks) => all.extend(tasks),
                Err(status) => self.world.ledger.failed("list_tasks", &status),
            }
        }
        all
    }

    /// Tasks submitted, retries, links.
    fn counts(&self) -> (usize, u64, u64) {
        let snapshots = self.channels.iter().map(|(supervisor, _)| supervisor.snapshot());
        let counts = snapshots
            .map(|snapshot| (snapshot.retries + snapshot.transparent_retries, snapshot.links));
        let (retries, links) = counts.fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        (self.world.ledger.tasks(), retries, links)
    }
}

/// So the other tests can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_forgets_is_found_out() {
    let trial = Trial { kills: 1, ..Trial::of("memory", 1, 1) };
    let wrong = trial.run().await.expect_err("a killed server's memory is gone");
    assert!(wrong.contains("surfaced NotFound"), "{wrong}");
}
