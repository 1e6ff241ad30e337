//! E6: slow servers of five under the policies that look at loads, against five that are well.
//!
//! Times to an answer are lognormal, with a median of 5 ms and a 99th percentile of 12.6 ms; a slow
//! server takes ten times that. Calls arrive at random, 1,000 a second, for eight seconds: 80 of
//! them in each run are above the 99th percentile, which is enough for a figure.

use super::*;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use tonic_supervisor::testing::{Answer, Script, ScriptedServer};

const SERVERS: usize = 5;

/// How a run went.
#[derive(Debug)]
struct Run {
    p95: f64,
    p99: f64,
    /// Of all calls, by server.
    shares: Vec<f64>,
}

/// A time to an answer, in milliseconds.
fn lognormal(rng: &mut SmallRng) -> f64 {
    // Box and Muller.
    let (one, other): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    let normal = (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos();
    5.0 * (0.4 * normal).exp()
}

/// Answers after times that are drawn, ten times as long while `slow`.
fn lognormal_script(seed: u64, slow: Arc<AtomicBool>) -> Script {
    let rng = Mutex::new(SmallRng::seed_from_u64(seed));
    Script::new(move |_| {
        let time = lognormal(&mut rng.lock().expect("no panic"));
        let times = if slow.load(Relaxed) { 10.0 } else { 1.0 };
        Answer::echo().after(SECOND.mul_f64(time * times / 1_000.0))
    })
}

/// Five servers and a channel to them, and the switches that make them slow.
async fn five(config: ConfigBuilder, slow: &[usize]) -> (Fleet, Supervisor, Vec<Arc<AtomicBool>>) {
    let network = MemoryNetwork::new();
    let options = ScriptedServer::builder().record_arrivals(false);
    let fleet = Fleet::with_options(&network, SERVERS, options).await;
    let switches: Vec<_> =
        (0..SERVERS).map(|place| Arc::new(AtomicBool::new(slow.contains(&place)))).collect();
    for (place, switch) in switches.iter().enumerate() {
        fleet.server(place).script(lognormal_script(place as u64, switch.clone()));
    }
    let supervisor = supervise_fleet(&fleet, config);
    links_up(&supervisor, SERVERS).await;
    (fleet, supervisor, switches)
}

/// Calls that arrive at random, so many a second; how long each took, in milliseconds.
async fn arrivals(channel: &SupervisedChannel, per_second: f64, time: Duration) -> Vec<f64> {
    let (mut rng, start, mut calls) =
        (SmallRng::seed_from_u64(7), tokio::time::Instant::now(), Vec::new());
    let mut at = 0.0;
    loop {
        at -= (1.0 - rng.random::<f64>()).ln() / per_second;
        if at >= time.as_secs_f64() {
            break;
        }
        tokio::time::sleep_until(start + SECOND.mul_f64(at)).await;
        calls.push(start_many(channel, CallOptions::new(), 1).remove(0));
    }
    let ended = join(calls).await;
    ended
        .into_iter()
        .map(|(took, answer)| {
            answer.expect("answered");
            took.as_secs_f64() * 1_000.0
        })
        .collect()
}

async fn run(config: ConfigBuilder, slow: &[usize]) -> Run {
    let (fleet, supervisor, _) = five(config, slow).await;
    let mut times = arrivals(&supervisor.channel(), 1_000.0, secs(8)).await;
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[(share * times.len() as f64) as usize];
    let shares = fleet.handled().iter().map(|calls| *calls as f64 / times.len() as f64).collect();
    Run { p95: at(0.95), p99: at(0.99), shares }
}

fn least_request() -> ConfigBuilder {
    Config::builder().balancing_policy(Balancing::LeastRequest)
}

fn peak_ewma() -> ConfigBuilder {
    Config::builder().balancing_policy(Balancing::PeakEwma)
}

#[tokio::test(start_paused = true)]
async fn e06_under_least_request_a_slow_server_of_five_leaves_the_95th_percentile_as_it_is() {
    let (well, slow) = (run(least_request(), &[]).await, run(least_request(), &[4]).await);
    assert!(slow.p95 <= 1.6 * well.p95, "{slow:?}, and without it {well:?}");
    assert!(slow.shares[4] <= 0.055, "{slow:?}");
    assert!(well.shares.iter().all(|share| (0.17..0.23).contains(share)), "{well:?}");
}

#[tokio::test(start_paused = true)]
async fn e06_under_peak_ewma_slow_servers_of_five_are_hardly_felt() {
    let well = run(peak_ewma(), &[]).await;
    let one = run(peak_ewma(), &[4]).await;
    assert!(one.p99 <= 1.2 * well.p99, "{one:?}, and without it {well:?}");
    assert!(one.shares[4] <= 0.01, "{one:?}");
    let two = run(peak_ewma(), &[1, 4]).await;
    assert!(two.p95 <= 1.2 * well.p95, "{two:?}, and without them {well:?}");
}

/// At 300 calls a second: the figure comes down with time, whatever the rate.
#[tokio::test(start_paused = true)]
async fn e06_a_server_that_is_slow_no_more_has_its_share_again_within_20_seconds() {
    let (fleet, supervisor, switches) = five(peak_ewma(), &[4]).await;
    let channel = supervisor.channel();
    arrivals(&channel, 300.0, secs(10)).await;
    let before = fleet.handled();
    assert!(before[4] <= 60, "{before:?}");
    switches[4].store(false, Relaxed);
    arrivals(&channel, 300.0, secs(15)).await;
    let before = fleet.handled();
    arrivals(&channel, 300.0, secs(5)).await;
    let calls: Vec<_> = fleet.handled().iter().zip(before).map(|(now, then)| now - then).collect();
    assert!(calls[4] * 10 >= calls.iter().sum(), "from the 15th to the 20th second: {calls:?}");
}

/// An answer too large to be held back is handed on as it comes, to whoever reads it when.
#[tokio::test(start_paused = true)]
async fn peak_ewma_measures_servers_and_not_those_who_read_slowly() {
    for config in [peak_ewma(), peak_ewma().refuse_late(false)] {
        let (_network, fleet, supervisor) = fleet_of(2, config).await;
        fleet.servers().iter().for_each(|server| server.script(Answer::big(3 << 20)));
        let options = CallOptions::new();
        let stream = generated_stream(&supervisor.channel(), options).await;
        let mut stream = stream.expect("its head");
        tokio::time::sleep(secs(5)).await;
        let _ = stream.message().await;
        drop(stream);
        settle().await;
        let latency = |place: usize| supervisor.snapshot().endpoints[place].latency;
        assert!((0..2).all(|place| latency(place).expect("known") < ms(100)));
    }
}

/// Calls with the same value of the header go to the same server, those without it anywhere.
#[tokio::test(start_paused = true)]
async fn calls_with_the_same_value_of_the_sticky_header_go_to_the_same_server() {
    let config = round_robin().balancing_sticky_header("x-user");
    let (_network, fleet, supervisor) = fleet_of(5, config).await;
    let channel = supervisor.channel();
    let ask = async |user| server_of(&fleet, &channel, user).await;
    let mut homes = Vec::new();
    for user in 0..40 {
        let home = ask(user).await;
        for _ in 0..3 {
            assert_eq!(ask(user).await, home, "user {user}");
        }
        homes.push(home);
    }
    assert!((0..5).all(|place| homes.contains(&place)), "{homes:?}");
    // Only those whose server is gone move.
    fleet.server(homes[0]).kill().await;
    links_up(&supervisor, 4).await;
    for (user, home) in homes.iter().enumerate() {
        let now = ask(user).await;
        assert_eq!(now == *home, *home != homes[0], "user {user}");
    }
    let before = fleet.handled();
    for _ in 0..40 {
        echo(&channel, "x").await.expect("answered");
    }
    let calls: Vec<_> = fleet.handled().iter().zip(before).map(|(now, then)| now - then).collect();
    assert_eq!(calls.iter().filter(|calls| **calls == 10).count(), 4, "{calls:?}");
}

/// A retry goes elsewhere, whatever its header says.
#[tokio::test(start_paused = true)]
async fn a_retry_of_a_sticky_call_goes_to_another_server() {
    let config = round_robin().balancing_sticky_header("x-user");
    let (_network, fleet, supervisor) = fleet_of(3, config).await;
    fleet.servers().iter().for_each(|server| server.script(Script::fail_times(1, UNAVAILABLE)));
    let mut request = request("x", CallOptions::new());
    request.metadata_mut().insert("x-user", "one".parse().expect("text"));
    supervisor.channel().unary::<String, String>(SAY, request).await.expect("answered");
    assert_eq!(fleet.handled().iter().filter(|calls| **calls > 0).count(), 3);
}

const UNAVAILABLE: tonic::Code = tonic::Code::Unavailable;

/// No policy leaves a call waiting where there is room.
#[tokio::test(start_paused = true)]
async fn under_each_policy_calls_take_whatever_room_there_is() {
    for config in [least_request(), peak_ewma(), round_robin().balancing_sticky_header("x-user")] {
        let (_network, fleet, supervisor) = fleet_of(5, config.max_in_flight(4)).await;
        fleet.servers().iter().for_each(|server| server.script(Script::delay(secs(1))));
        let channel = supervisor.channel();
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let channel = channel.clone();
                tokio::spawn(async move {
                    let mut request = request("x", CallOptions::new());
                    request.metadata_mut().insert("x-user", "one".parse().expect("text"));
                    timed(channel.unary::<String, String>(SAY, request)).await
                })
            })
            .collect();
        let ended = join(calls).await;
        assert!(ended.iter().all(|(took, answer)| answer.is_ok() && *took <= ms(1_010)));
        assert_eq!(fleet.handled(), [4; 5]);
    }
}
