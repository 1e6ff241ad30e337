//! Calls a second: N links to one server against tonic over N copies of its endpoint, and one link
//! to each of three servers against tonic over the three, and against its bare channel to one of
//! them: that is what `.ci/ginepro` compares ginepro with. The sides take turns.

use super::{balance, links_up, supervise};
use crate::common::{Run, client, client::Echo, row::Row, server};
use std::time::Duration;
use tokio::time::Instant;
use tonic_supervisor::Supervisor;

const BALANCED: &str = "tonic_balance_list";
const PAYLOAD: usize = 64;
const IN_FLIGHT: [usize; 3] = [16, 128, 1_024];

pub(crate) async fn rows(how: Run) -> Vec<Row> {
    let mut rows = Vec::new();
    let server = server::Child::start();
    for connections in [2, 4] {
        let supervisor = match connections {
            2 => supervise(&[server.address], |config| config.connections(2)),
            _ => supervise(&[server.address], |config| config.connections(4)),
        };
        links_up(&supervisor, connections).await;
        let theirs = balance(&vec![server.address; connections]);
        let name = format!("connections_{connections}.calls_per_s");
        rows.extend(compare(&name, BALANCED, &theirs, supervisor, &IN_FLIGHT, how).await);
    }
    let servers = [(); 3].map(|()| server::Child::start());
    let addresses = servers.each_ref().map(|server| server.address);
    let supervised = async || {
        let supervisor = supervise(&addresses, |config| config);
        links_up(&supervisor, servers.len()).await;
        supervisor
    };
    let name = "endpoints_3.calls_per_s";
    let theirs = balance(&addresses);
    rows.extend(compare(name, BALANCED, &theirs, supervised().await, &[128], how).await);
    let bare = client::plain(addresses[0]).await;
    rows.extend(compare(name, "tonic", &bare, supervised().await, &[128], how).await);
    rows
}

/// Each number of calls in flight.
async fn compare(
    name: &str,
    peer: &'static str,
    theirs: &impl Echo,
    supervisor: Supervisor,
    in_flights: &[usize],
    how: Run,
) -> Vec<Row> {
    let (rounds, window) = match how.quick {
        true => (2, Duration::from_millis(100)),
        false => (45, Duration::from_millis(140)),
    };
    let ours = client::over(supervisor.channel());
    let mut rows = Vec::new();
    for in_flight in in_flights.iter().copied().filter(|n| !how.quick || *n <= 128) {
        let mut samples: [Vec<f64>; 2] = Default::default();
        for round in 0..=rounds {
            let neighbours =
                [calls(&ours, in_flight, window).await, calls(theirs, in_flight, window).await];
            // The first round warms up.
            if round > 0 {
                samples.iter_mut().zip(neighbours).for_each(|(all, one)| all.push(one));
            }
        }
        let [ours, theirs] = &samples;
        let row = Row::new("fleet", name, "1/s", ours).against(peer, ours, theirs);
        rows.push(row.at(PAYLOAD, in_flight));
    }
    supervisor.shutdown(Duration::from_secs(1)).await;
    rows
}

/// Calls a second while so many are kept in flight.
async fn calls(echo: &impl Echo, in_flight: usize, window: Duration) -> f64 {
    let start = Instant::now();
    let workers: Vec<_> = (0..in_flight)
        .map(|_| {
            let mut echo = echo.clone();
            tokio::spawn(async move {
                let mut calls = 0_u32;
                while start.elapsed() < window {
                    assert_eq!(echo.echo(vec![7; PAYLOAD]).await.expect("OK"), PAYLOAD);
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0.0;
    for worker in workers {
        calls += f64::from(worker.await.expect("every call is answered"));
    }
    calls / start.elapsed().as_secs_f64()
}
