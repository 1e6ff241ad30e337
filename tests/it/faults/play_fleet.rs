//! Plays the rows of the second table: calls at a steady rate, a fault for a while in their midst,
//! and what became of each call.

use super::fleet::{FleetFault, FleetRow, Harm, fleet_rows};
use std::{sync::LazyLock, time::Duration};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Code, Request};
use tonic_supervisor::{
    Config, ConnectivityState, Endpoint, SupervisedChannel, Supervisor,
    config::Balancing,
    testing::{Answer, Fleet, HealthAnswer, MemoryNetwork, Misbehaviour, PlayingPeer, Script},
};

/// Servers that are listed before the fault and after it.
pub(crate) const LISTED: usize = 3;
/// Servers that there are, some for other lists.
const SERVERS: usize = 6;
pub(crate) const PER_SECOND: u32 = 20;
/// How long a healthy server takes for a call, so that some are under way when the fault begins.
pub(crate) const ANSWER: Duration = Duration::from_millis(150);
pub(crate) const BEFORE: Duration = Duration::from_secs(5);
pub(crate) const LASTING: Duration = Duration::from_secs(20);
pub(crate) const AFTER: Duration = Duration::from_secs(20);
/// What is counted apart, at the very end.
pub(crate) const LAST: Duration = Duration::from_secs(5);
pub(crate) const KEEPALIVE_TIME: Duration = Duration::from_secs(10);
/// An endpoint that was ejected is back some time before the end.
pub(crate) const EJECTION_MAX: Duration = Duration::from_secs(8);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than anything that shall happen at all.
const PATIENCE: Duration = Duration::from_secs(1_000);

const PATH: &str = "/table.Fleet/Call";
/// The header of an answer that says which server gave it.
const SERVER: &str = "x-server";

/// What came of a row.
pub(crate) struct Played {
    pub(crate) row: FleetRow,
    /// Calls that failed, with their codes.
    pub(crate) failed: Vec<Code>,
    pub(crate) retries: usize,
    pub(crate) transparent_retries: usize,
    /// The channel's state, and each listed endpoint's, at the end of the fault.
    pub(crate) state: ConnectivityState,
    pub(crate) endpoints: Vec<ConnectivityState>,
    /// Calls that began while the fault lasted, by the server that answered them.
    pub(crate) answered: [usize; SERVERS],
    /// The same for the last seconds.
    pub(crate) answered_last: [usize; SERVERS],
    /// The longest time that a call took which was answered.
    pub(crate) longest: Duration,
}

/// All rows, played once for all who ask.
pub(crate) static PLAYED: LazyLock<Vec<Played>> = LazyLock::new(|| {
    fleet_rows()
        .into_iter()
        .map(|row| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
            runtime.block_on(play(row))
        })
        .collect()
});

/// E3 and its kin: what befalls one endpoint of three fails no call that can be answered elsewhere,
/// and what is healed has its share of the calls again.
#[test]
fn in_a_fleet_calls_fail_only_where_the_table_says_so_and_shares_are_even_in_the_end() {
    for played in PLAYED.iter() {
        let Played { row, failed, answered, answered_last, .. } = played;
        let name = format!("{}, {:?}: {}", row.name, row.fault, row.says);
        assert!(failed.iter().all(|code| Some(*code) == row.may_fail), "{name}: {failed:?}");
        assert_eq!(row.may_fail.is_some(), !failed.is_empty(), "{name}");
        // Some that failed began just before.
        let calls = (PER_SECOND * LASTING.as_secs() as u32) as usize;
        let ended = answered.iter().sum::<usize>() + failed.len();
        assert!((calls..calls + 10).contains(&ended), "{name}: {ended} of {calls} ended");
        assert!(played.longest < Duration::from_secs(60), "{name}: within `timeout`");

        let calls = (PER_SECOND * LAST.as_secs() as u32) as usize;
        let even = |answered: &usize| answered.abs_diff(calls / LISTED) <= 1;
        assert!(answered_last[..LISTED].iter().all(even), "{name}: {answered_last:?}");
        assert!(answered_last[LISTED..].iter().all(|answered| *answered == 0), "{name}");
    }
}

/// A channel is READY while one of its endpoints is; and no list costs a call an attempt.
#[test]
fn in_a_fleet_one_bad_endpoint_does_not_show_in_the_channels_state_and_lists_cost_no_retries() {
    for played in PLAYED.iter() {
        let Played { row, state, endpoints, retries, transparent_retries, .. } = played;
        let again = retries + transparent_retries;
        let listed = match row.fault {
            FleetFault::One(_) => {
                assert_eq!(*state, ConnectivityState::Ready, "{}", row.name);
                LISTED
            }
            FleetFault::All(_) => LISTED,
            FleetFault::Listed(places) => {
                assert_eq!(again, 0, "{}", row.name);
                places.len()
            }
        };
        assert_eq!(endpoints.len(), listed, "{}", row.name);
    }
}

/// One call: when it began, how long it took, and the place of the server that answered it.
struct Called {
    began: Duration,
    took: Duration,
    ended: Result<usize, Code>,
}

async fn play(row: FleetRow) -> Played {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, SERVERS).await;
    for place in 0..SERVERS {
        heal(&fleet, place);
    }
    let harm = match row.fault {
        FleetFault::One(harm) | FleetFault::All(harm) => Some(harm),
        FleetFault::Listed(_) => None,
    };
    let harmed = if matches!(row.fault, FleetFault::One(_)) { 0..1 } else { 0..LISTED };
    if harm == Some(Harm::LacksHealth) {
        harmed.clone().for_each(|place| fleet.server(place).health(HealthAnswer::Unimplemented));
    }
    let mut peers = Vec::new();
    if harm == Some(Harm::MuteAddress) {
        let mut list: Vec<Endpoint> = (0..LISTED).map(|place| fleet.endpoint(place)).collect();
        for place in harmed.clone() {
            let mute = LISTED + place;
            peers.push((mute, fleet.misbehave(mute, Misbehaviour::BlackHole).await));
            list[place] = Endpoint::of([fleet.address(mute), fleet.address(place)]);
        }
        fleet.list_endpoints(list);
    } else {
        fleet.list(0..LISTED);
    }
    let supervisor = supervise(&fleet, harm);
    let mut links = supervisor.watch_links();
    let up = links.wait_for(|links| links.iter().count() == LISTED);
    timeout(PATIENCE, up).await.expect("the links are up").expect("it lives");

    let start = Instant::now();
    let traffic = tokio::spawn(calls(supervisor.channel(), start));
    sleep_until(start + BEFORE).await;
    match row.fault {
        FleetFault::Listed(places) => fleet.list(places.iter().copied()),
        FleetFault::One(harm) | FleetFault::All(harm) => {
            for place in harmed.clone() {
                peers.extend(begin(&network, &fleet, place, harm).await.map(|it| (place, it)));
            }
        }
    }
    sleep_until(start + BEFORE + LASTING).await;
    let then = supervisor.snapshot();
    for place in harmed.clone().filter(|_| harm == Some(Harm::Freezes)) {
        let network = network.only(&fleet.address(place).to_string());
        network.thaw_all();
        network.black_hole(false);
    }
    for (place, peer) in peers {
        peer.stop().await;
        if place < LISTED {
            fleet.server(place).restart().await;
        }
    }
    match harm {
        None => fleet.list(0..LISTED),
        Some(_) => harmed.for_each(|place| heal(&fleet, place)),
    }
    let called = timeout(PATIENCE, traffic).await.expect("it ends").expect("no panic");
    let now = supervisor.snapshot();
    let answered = |from: Duration, until: Duration| {
        let mut answered = [0; SERVERS];
        let began = |call: &&Called| (from..until).contains(&call.began);
        let places = called.iter().filter(began).filter_map(|call| call.ended.ok());
        places.for_each(|place| answered[place] += 1);
        answered
    };
    let end = BEFORE + LASTING + AFTER;
    let late = called.iter().filter(|call| call.ended.is_err());
    for call in late {
        let lasted = BEFORE.saturating_sub(ANSWER)..BEFORE + LASTING;
        assert!(lasted.contains(&call.began), "{}: failed at {:?}", row.name, call.began);
    }
    Played {
        failed: called.iter().filter_map(|call| call.ended.err()).collect(),
        retries: now.retries as usize,
        transparent_retries: now.transparent_retries as usize,
        state: then.state,
        endpoints: then.endpoints.iter().map(|endpoint| endpoint.state).collect(),
        answered: answered(BEFORE, BEFORE + LASTING),
        answered_last: answered(end - LAST, end),
        longest: (called.iter().filter(|call| call.ended.is_ok()).map(|call| call.took))
            .max()
            .unwrap_or_default(),
        row,
    }
}

fn supervise(fleet: &Fleet, harm: Option<Harm>) -> Supervisor {
    let mut config = Config::builder()
        .balancing_policy(Balancing::RoundRobin)
        .ejection_max(EJECTION_MAX)
        .keepalive_time(KEEPALIVE_TIME)
        .keepalive_timeout(KEEPALIVE_TIMEOUT);
    if harm == Some(Harm::HangsLimited) {
        config = config.attempt_timeout(Duration::from_secs(1));
    }
    if matches!(harm, Some(Harm::NotServing | Harm::WatchBreaks | Harm::LacksHealth)) {
        config = config.health_service("");
    }
    let config = config.build().expect("a valid configuration");
    let builder = Supervisor::builder(config).connector(fleet.connector());
    builder.endpoints(fleet.endpoints()).rng_seed(1).spawn()
}

/// The server answers with its own number, after a while, and says that it serves.
fn heal(fleet: &Fleet, place: usize) {
    fleet.server(place).health(HealthAnswer::Serving);
    let answer = Answer::echo().after(ANSWER).header(SERVER, &place.to_string());
    fleet.server(place).script(answer);
}

/// Lets the fault begin; the peer that plays it, if there is one.
async fn begin(
    network: &MemoryNetwork,
    fleet: &Fleet,
    place: usize,
    harm: Harm,
) -> Option<PlayingPeer> {
    let network = network.only(&fleet.address(place).to_string());
    match harm {
        Harm::Peer(fault) => return Some(fleet.misbehave(place, fault).await),
        Harm::Errs => fleet.server(place).script(Script::always(Code::Unavailable)),
        Harm::NotServing => fleet.server(place).health(HealthAnswer::NotServing),
        Harm::WatchBreaks => {
            fleet.server(place).health(HealthAnswer::Fails(Code::Unavailable));
        }
        // From the start on.
        Harm::LacksHealth => {}
        Harm::Hangs | Harm::HangsLimited => fleet.server(place).script(Script::hang()),
        Harm::Freezes => {
            network.freeze_all();
            network.black_hole(true);
        }
        Harm::MuteAddress => network.reset_all(),
    }
    None
}

/// Calls at a steady rate; what became of each.
async fn calls(channel: SupervisedChannel, start: Instant) -> Vec<Called> {
    let every = Duration::from_secs(1) / PER_SECOND;
    let count = (BEFORE + LASTING + AFTER).as_millis() / every.as_millis();
    let mut calls: Vec<JoinHandle<Called>> = Vec::new();
    for _ in 0..count {
        calls.push(tokio::spawn(call(channel.clone(), start)));
        sleep(every).await;
    }
    let mut called = Vec::new();
    for call in calls {
        called.push(call.await.expect("no panic"));
    }
    called
}

async fn call(channel: SupervisedChannel, start: Instant) -> Called {
    let began = start.elapsed();
    let answer = channel.unary::<String, String>(PATH, Request::new("x".into())).await;
    let server = |answer: tonic::Response<String>| {
        let server = answer.metadata().get(SERVER).and_then(|server| server.to_str().ok());
        server.and_then(|server| server.parse().ok()).expect("the server's number")
    };
    let took = start.elapsed() - began;
    Called { began, took, ended: answer.map(server).map_err(|status| status.code()) }
}
