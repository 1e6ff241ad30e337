//! Runs a script: the client's host and those of its servers, a network between them, and the
//! script's faults at their times.

use crate::{
    client,
    fleet::{List, SERVERS, Whom},
    network::Network,
    script::{CLIENT, Fault, Happening, Script, ServerFault, secs},
    server,
    shared::Shared,
};
use std::{cell::RefCell, net::IpAddr, ops::Range, rc::Rc, sync::Arc, time::Duration};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tonic_supervisor::Supervisor;
use turmoil::Sim;

/// What came of it.
pub(crate) struct Outcome {
    /// The first law that was broken.
    pub(crate) broken: Option<String>,
    /// All that happened, a line each.
    pub(crate) trace: Vec<String>,
    /// How much time passed in the simulation.
    pub(crate) lasted: Duration,
}

/// Whoever makes things happen: the network, the servers and the client do as they are told here.
struct World {
    sim: Sim<'static>,
    script: Arc<Script>,
    shared: Shared,
    network: Network,
    /// For each server.
    servers: Vec<server::Orders>,
    client: UnboundedSender<Option<Fault>>,
}

impl World {
    /// The network, and the servers' hosts.
    fn new(script: Script) -> (Self, UnboundedReceiver<Option<Fault>>) {
        let script = Arc::new(script);
        let sim = turmoil::Builder::new()
            .rng_seed(script.seed)
            .tick_duration(script.tick)
            .min_message_latency(script.latency[0])
            .max_message_latency(script.latency[1])
            .tcp_capacity(1_024)
            .simulation_duration(secs(600))
            .build();
        let (client, orders) = mpsc::unbounded_channel();
        let (shared, network) = (Shared::new(script.clone()), Network::default());
        let mut world = Self { sim, script, shared, network, servers: Vec::new(), client };
        for (n, host) in SERVERS.into_iter().enumerate().take(world.script.servers) {
            let (shared, orders) = (world.shared.clone(), server::Orders::default());
            world.servers.push(orders.clone());
            world.sim.host(host, move || server::run(n, shared.clone(), orders.clone()));
        }
        (world, orders)
    }

    fn outcome(&self) -> Outcome {
        let (broken, trace) = (self.shared.broken(), self.shared.trace());
        Outcome { broken, trace, lasted: self.sim.elapsed() }
    }

    fn happen(&mut self, Happening { whom, fault, .. }: Happening) {
        let servers = whom.among(self.script.servers);
        match fault {
            Fault::BlackHole => self.each(servers, |sim, here, there| sim.hold(here, there)),
            Fault::Partition => self.each(servers, |sim, here, there| sim.partition(here, there)),
            Fault::Deaf => self.each(servers, |sim, here, there| sim.partition_oneway(there, here)),
            Fault::Dumb => self.each(servers, |sim, here, there| sim.partition_oneway(here, there)),
            Fault::Clog => servers.for_each(|server| self.network.clog(server, true)),
            Fault::Mend => self.mend(servers),
            Fault::Latency(time) => self.latency(servers, time),
            Fault::Crash => servers.for_each(|server| self.sim.crash(SERVERS[server])),
            Fault::Boot => servers.for_each(|server| self.sim.bounce(SERVERS[server])),
            Fault::Server(fault) => servers.for_each(|server| self.servers[server].give(fault)),
            // A client that is done is not there to hear it.
            fault => drop(self.client.send(Some(fault))),
        }
    }

    /// Does something to the network between the client and each of these servers.
    fn each(&self, servers: Range<usize>, change: impl Fn(&Sim<'_>, IpAddr, IpAddr)) {
        let here = self.sim.lookup(CLIENT);
        servers.for_each(|server| change(&self.sim, here, self.sim.lookup(SERVERS[server])));
    }

    fn latency(&self, servers: Range<usize>, time: Duration) {
        self.each(servers, |sim, here, there| sim.set_link_latency(here, there, time));
    }

    fn mend(&self, servers: Range<usize>) {
        servers.clone().for_each(|server| self.network.clog(server, false));
        self.each(servers, |sim, here, there| {
            sim.release(here, there);
            sim.repair(here, there);
        });
    }

    fn heal(&mut self) {
        let all = Whom::All.among(self.script.servers);
        self.mend(all.clone());
        self.latency(all.clone(), self.script.latency[1]);
        for server in all {
            if !self.sim.is_host_running(SERVERS[server]) {
                self.sim.bounce(SERVERS[server]);
            }
            self.servers[server].give(ServerFault::Well);
        }
        // A client that is done is not there to hear it.
        if self.script.list.is_some() {
            let _ = self.client.send(Some(Fault::List(List::first(self.script.servers))));
        }
        let _ = self.client.send(None);
    }
}

/// Runs a script until `at`, when the client's runtime ends with all its tasks, and gives `then`
/// the supervisor, which is held outside. `before` sees it a tick earlier.
pub(crate) fn run_until_the_runtime_ends<T>(
    script: Script,
    at: Duration,
    before: impl FnOnce(&Supervisor) -> T,
    then: impl FnOnce(&Shared, Supervisor, T),
) -> Outcome {
    let (mut world, orders) = World::new(script);
    let kept = Rc::new(RefCell::new(None));
    let (script, shared, network) =
        (world.script.clone(), world.shared.clone(), world.network.clone());
    let first = (script, shared, network, orders, Some(kept.clone()));
    let first = RefCell::new(Some(first));
    world.sim.host(CLIENT, move || {
        let (script, shared, network, orders, outside) = first.take().expect("it boots once");
        client::run(script, shared, network, orders, outside)
    });
    let script = world.script.clone();
    let mut faults = script.faults.iter().copied().peekable();
    let mut before = Some(before);
    let mut seen = None;
    while seen.is_none() {
        while let Some(happening) = faults.next_if(|one| one.at <= world.sim.elapsed()) {
            world.happen(happening);
        }
        if let Err(error) = world.sim.step() {
            world.shared.violated(format_args!("the simulation failed: {error}"));
        }
        if world.sim.elapsed() >= at
            && let Some(before) = before.take()
        {
            world.shared.call_from_outside();
            seen = kept.borrow().as_ref().map(before);
        }
    }
    let _ = world.sim.step();
    world.sim.crash(CLIENT);
    if let (Some(supervisor), Some(seen)) = (kept.borrow_mut().take(), seen) {
        then(&world.shared, supervisor, seen);
    }
    world.outcome()
}

pub(crate) fn run(script: Script) -> Outcome {
    let (mut world, orders) = World::new(script);
    let (script, shared) = (world.script.clone(), world.shared.clone());
    let client = client::run(script.clone(), shared.clone(), world.network.clone(), orders, None);
    world.sim.client(CLIENT, client);
    let mut faults = script.faults.iter().copied().filter(|one| one.at < script.healed).peekable();
    let mut healed = false;
    loop {
        while let Some(happening) = faults.next_if(|one| one.at <= world.sim.elapsed()) {
            world.happen(happening);
        }
        if !healed && world.sim.elapsed() >= script.healed {
            healed = true;
            world.heal();
        }
        match world.sim.step() {
            Ok(true) => break,
            Ok(false) if shared.broken().is_some() => break,
            Ok(false) => {}
            Err(error) => {
                shared.violated(format_args!("the simulation failed: {error}"));
                break;
            }
        }
    }
    world.outcome()
}
