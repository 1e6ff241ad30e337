//! One of three servers is killed while 500 calls a second go to them in turns: how long until the
//! next call is answered by another, how long the calls took that the kill caught, and how many
//! failed. Both sides live through the same kill.

use super::{balance, links_up, supervise};
use crate::common::{Run, client, client::Echo, row::Row, server};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

const EVERY: Duration = Duration::from_millis(2);
/// Calls go on for so long after the kill.
const AFTER: Duration = Duration::from_secs(3);
/// Calls that begin so soon after it count as caught by it.
const CAUGHT: Duration = Duration::from_millis(50);

/// When a call began and ended, and whether it was answered.
type Calls = Arc<Mutex<Vec<(Instant, Instant, bool)>>>;

pub(crate) async fn rows(how: Run) -> Vec<Row> {
    let rounds = if how.quick { 1 } else { 9 };
    let mut samples: [[Vec<f64>; 3]; 2] = Default::default();
    for _ in 0..rounds {
        for (samples, figures) in samples.iter_mut().zip(kill_one().await) {
            samples.iter_mut().zip(figures).for_each(|(all, one)| all.push(one));
        }
    }
    let [ours, theirs] = &samples;
    let measures =
        [("first_ok_after", "ms"), ("longest_of_those_caught", "ms"), ("failed", "calls")];
    let sides = ours.iter().zip(theirs);
    let row = |((measure, unit), (ours, theirs)): (_, (&Vec<f64>, &Vec<f64>))| {
        let name = |side: &str| format!("one_of_3_killed.{measure}{side}");
        [
            Row::new("fleet", name(""), unit, ours).against("tonic_balance_list", ours, theirs),
            Row::new("fleet", name(".tonic_balance_list"), unit, theirs),
        ]
    };
    measures.into_iter().zip(sides).flat_map(row).collect()
}

/// The figures of ours, then of tonic.
async fn kill_one() -> [[f64; 3]; 2] {
    let mut servers = [(); 3].map(|()| server::Child::start());
    let addresses = servers.each_ref().map(|server| server.address);
    let supervisor = supervise(&addresses, |config| config);
    links_up(&supervisor, addresses.len()).await;
    let logs: [Calls; 2] = Default::default();
    let callers = [
        tokio::spawn(call_on(client::over(supervisor.channel()), logs[0].clone())),
        tokio::spawn(call_on(balance(&addresses), logs[1].clone())),
    ];
    sleep(Duration::from_secs(1)).await;
    let killed = Instant::now();
    servers[0].kill();
    sleep(AFTER).await;
    callers.iter().for_each(|caller| caller.abort());
    // Those that are under way may still be answered.
    sleep(Duration::from_secs(1)).await;
    let figures = logs.map(|log| figures(&log.lock().expect("no panic"), killed));
    supervisor.shutdown(Duration::ZERO).await;
    figures
}

/// A call every two milliseconds, whatever became of those before.
async fn call_on(echo: impl Echo, log: Calls) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        ticks.tick().await;
        let (mut echo, log) = (echo.clone(), log.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            let ok = echo.echo(vec![7; 64]).await.is_ok();
            log.lock().expect("no panic").push((began, Instant::now(), ok));
        });
    }
}

fn figures(calls: &[(Instant, Instant, bool)], killed: Instant) -> [f64; 3] {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let after = calls.iter().filter(|(began, _, ok)| *ok && *began >= killed);
    let first = after.map(|(_, ended, _)| ended.duration_since(killed)).min();
    let caught =
        calls.iter().filter(|(began, ended, _)| *ended >= killed && *began <= killed + CAUGHT);
    let longest = caught.map(|(began, ended, _)| ended.duration_since(*began)).max();
    let failed = calls.iter().filter(|(.., ok)| !ok).count();
    [first.map_or(f64::NAN, ms), longest.map_or(f64::NAN, ms), failed as f64]
}
