//! Runs a script: two hosts, a network between them, and the script's faults at their times.

use crate::{
    client,
    network::Network,
    script::{CLIENT, Fault, SERVER, Script, ServerFault, secs},
    server,
    shared::Shared,
};
use std::{cell::RefCell, net::IpAddr, rc::Rc, sync::Arc, time::Duration};
use tokio::sync::mpsc;
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

/// The network, and the server's host.
fn simulate(script: &Script, shared: &Shared, orders: &server::Orders) -> Sim<'static> {
    let mut sim = turmoil::Builder::new()
        .rng_seed(script.seed)
        .tick_duration(script.tick)
        .min_message_latency(script.latency[0])
        .max_message_latency(script.latency[1])
        .tcp_capacity(1_024)
        .simulation_duration(secs(600))
        .build();
    let (shared, orders) = (shared.clone(), orders.clone());
    sim.host(SERVER, move || server::run(shared.clone(), orders.clone()));
    sim
}

/// Runs a script until `at`, when the client's runtime ends with all its tasks, and gives `then`
/// the supervisor, which is held outside. `before` sees it a tick earlier.
pub(crate) fn run_until_the_runtime_ends<T>(
    script: Script,
    at: Duration,
    before: impl FnOnce(&Supervisor) -> T,
    then: impl FnOnce(&Shared, Supervisor, T),
) -> Outcome {
    let script = Arc::new(script);
    let (shared, orders, network) =
        (Shared::new(script.clone()), server::Orders::default(), Network::default());
    let mut sim = simulate(&script, &shared, &orders);
    let (client, client_orders) = mpsc::unbounded_channel();
    let kept = Rc::new(RefCell::new(None));
    let first =
        (script.clone(), shared.clone(), network.clone(), client_orders, Some(kept.clone()));
    let first = RefCell::new(Some(first));
    sim.host(CLIENT, move || {
        let (script, shared, network, orders, outside) = first.take().expect("it boots once");
        client::run(script, shared, network, orders, outside)
    });
    let mut faults = script.faults.iter().copied().peekable();
    let mut before = Some(before);
    let mut seen = None;
    while seen.is_none() {
        while let Some((_, fault)) = faults.next_if(|(due, _)| *due <= sim.elapsed()) {
            happen(&mut sim, &network, fault, &orders, &client);
        }
        if let Err(error) = sim.step() {
            shared.violated(format_args!("the simulation failed: {error}"));
        }
        if sim.elapsed() >= at
            && let Some(before) = before.take()
        {
            shared.call_from_outside();
            seen = kept.borrow().as_ref().map(before);
        }
    }
    let _ = sim.step();
    sim.crash(CLIENT);
    if let (Some(supervisor), Some(seen)) = (kept.borrow_mut().take(), seen) {
        then(&shared, supervisor, seen);
    }
    Outcome { broken: shared.broken(), trace: shared.trace(), lasted: sim.elapsed() }
}

pub(crate) fn run(script: Script) -> Outcome {
    let script = Arc::new(script);
    let shared = Shared::new(script.clone());
    let orders = server::Orders::default();
    let mut sim = simulate(&script, &shared, &orders);
    let (client, client_orders) = mpsc::unbounded_channel();
    let network = Network::default();
    sim.client(
        CLIENT,
        client::run(script.clone(), shared.clone(), network.clone(), client_orders, None),
    );
    let mut faults = script.faults.iter().copied().filter(|(at, _)| *at < script.healed).peekable();
    let mut healed = false;
    loop {
        while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= sim.elapsed()) {
            happen(&mut sim, &network, fault, &orders, &client);
        }
        if !healed && sim.elapsed() >= script.healed {
            healed = true;
            heal(&mut sim, &network, &script, &orders);
            // A client that is done is not there to hear it.
            let _ = client.send(None);
        }
        match sim.step() {
            Ok(true) => break,
            Ok(false) if shared.broken().is_some() => break,
            Ok(false) => {}
            Err(error) => {
                shared.violated(format_args!("the simulation failed: {error}"));
                break;
            }
        }
    }
    Outcome { broken: shared.broken(), trace: shared.trace(), lasted: sim.elapsed() }
}

fn happen(
    sim: &mut Sim<'_>,
    network: &Network,
    fault: Fault,
    orders: &server::Orders,
    client: &mpsc::UnboundedSender<Option<Fault>>,
) {
    let (here, there): (IpAddr, IpAddr) = (sim.lookup(CLIENT), sim.lookup(SERVER));
    match fault {
        Fault::BlackHole => sim.hold(here, there),
        Fault::Partition => sim.partition(here, there),
        Fault::Deaf => sim.partition_oneway(there, here),
        Fault::Dumb => sim.partition_oneway(here, there),
        Fault::Clog => network.clog(true),
        Fault::Mend => mend(sim, network),
        Fault::Latency(time) => sim.set_link_latency(here, there, time),
        Fault::Crash => sim.crash(SERVER),
        Fault::Boot => sim.bounce(SERVER),
        Fault::Server(fault) => orders.give(fault),
        // A client that is done is not there to hear it.
        fault => drop(client.send(Some(fault))),
    }
}

fn mend(sim: &mut Sim<'_>, network: &Network) {
    network.clog(false);
    let (here, there): (IpAddr, IpAddr) = (sim.lookup(CLIENT), sim.lookup(SERVER));
    sim.release(here, there);
    sim.repair(here, there);
}

fn heal(sim: &mut Sim<'_>, network: &Network, script: &Script, orders: &server::Orders) {
    mend(sim, network);
    sim.set_link_latency(sim.lookup(CLIENT), sim.lookup(SERVER), script.latency[1]);
    if !sim.is_host_running(SERVER) {
        sim.bounce(SERVER);
    }
    orders.give(ServerFault::Well);
}
