//! One slow server of five, under `peak_ewma` and beside tonic's `balance_list`: how long the
//! slowest hundredth of the calls takes. Answers take times that are lognormal, with a median of 5
//! ms, and ten times that at the slow one. The sides take turns.

use super::{balance, links_up, supervise};
use crate::common::{Run, client, client::Echo, row::Row, server};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic_supervisor::config::Balancing;

const MEDIAN: Duration = Duration::from_millis(5);
const EVERY: Duration = Duration::from_millis(2);

pub(crate) async fn rows(how: Run) -> Vec<Row> {
    let (rounds, calls) = if how.quick { (1, 500) } else { (7, 2_000) };
    let servers: Vec<_> = (0..5)
        .map(|n| server::Child::start_slow(if n == 4 { 10 * MEDIAN } else { MEDIAN }))
        .collect();
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let supervisor = supervise(&addresses, |config| config.balancing_policy(Balancing::PeakEwma));
    links_up(&supervisor, addresses.len()).await;
    let (ours, theirs) = (client::over(supervisor.channel()), balance(&addresses));
    let mut samples: [[Vec<f64>; 2]; 2] = Default::default();
    for round in 0..=rounds {
        let figures = [measure(&ours, calls).await, measure(&theirs, calls).await];
        // The first round warms up.
        if round > 0 {
            for (samples, figures) in samples.iter_mut().zip(figures) {
                samples.iter_mut().zip(figures).for_each(|(all, one)| all.push(one));
            }
        }
    }
    supervisor.shutdown(Duration::from_secs(1)).await;
    let [ours, theirs] = &samples;
    let sides = ["p50", "p99"].into_iter().zip(ours.iter().zip(theirs));
    let row = |(measure, (ours, theirs)): (_, (&Vec<f64>, &Vec<f64>))| {
        let name = |side: &str| format!("one_of_5_slow.{measure}{side}");
        [
            Row::new("fleet", name(""), "ms", ours).against("tonic_balance_list", ours, theirs),
            Row::new("fleet", name(".tonic_balance_list"), "ms", theirs),
        ]
    };
    sides.flat_map(row).collect()
}

/// So many calls, one every two milliseconds, whatever became of those before: the median and the
/// 99th percentile of how long they took, in milliseconds.
async fn measure(echo: &impl Echo, calls: usize) -> [f64; 2] {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut running = Vec::new();
    for _ in 0..calls {
        ticks.tick().await;
        let mut echo = echo.clone();
        running.push(tokio::spawn(async move {
            let began = Instant::now();
            echo.echo(vec![7; 64]).await.expect("OK");
            began.elapsed().as_secs_f64() * 1e3
        }));
    }
    let mut times = Vec::new();
    for call in running {
        times.push(call.await.expect("every call is answered"));
    }
    times.sort_by(f64::total_cmp);
    [0.5, 0.99].map(|share: f64| times[(share * times.len() as f64) as usize])
}
