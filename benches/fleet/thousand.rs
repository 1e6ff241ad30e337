//! A thousand endpoints in one channel, each number in a process of its own: how long until all are
//! READY, what each further idle link takes, and what lists cost.
//!
//! They are a thousand addresses of the loopback network, on which one server listens. How long a
//! handler takes cannot be seen from outside. The longest call that is made while a list is applied
//! is longer than the longest handler, so that is what stands here.

use super::{PATIENCE, links_up};
use crate::common::{
    Run, cell, client,
    client::Echo,
    row::{Row, cpu_us, resident},
    server,
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tonic::Code;
use tonic_supervisor::{Address, Config, Endpoint, Supervisor, config::Balancing};

/// Before and after a list is replaced.
const SETTLE: Duration = Duration::from_millis(200);

const MEASURES: [(&str, &str); 6] = [
    ("all_ready", "ms"),
    ("resident", "B"),
    ("cpu_per_idle_second", "us"),
    ("list_with_a_tenth_replaced", "ms"),
    ("longest_call_meanwhile", "ms"),
    ("failed_calls_meanwhile", "calls"),
];

pub(crate) fn rows(how: Run) -> Vec<Row> {
    let sizes = if how.quick { [10, 50] } else { [100, 1_000] };
    let rounds = if how.quick { 1 } else { 5 };
    let server = server::Child::start_on("0.0.0.0:0");
    let port = server.address.port().to_string();
    let mut samples: [[Vec<f64>; MEASURES.len()]; 2] = Default::default();
    for _ in 0..rounds {
        for (size, samples) in sizes.iter().zip(&mut samples) {
            let figures = cell::in_a_process(&[&size.to_string(), &port]);
            samples.iter_mut().zip(figures).for_each(|(all, one)| all.push(one));
        }
    }
    let [few, many] = &samples;
    let mut rows: Vec<_> = (MEASURES.into_iter().zip(many))
        .map(|((measure, unit), values)| {
            Row::new("fleet", format!("{measure}.at_{}", sizes[1]), unit, values)
        })
        .collect();
    let further = (sizes[1] - sizes[0]) as f64;
    let each: Vec<_> =
        few[1].iter().zip(&many[1]).map(|(few, many)| (many - few) / further).collect();
    rows.push(Row::new("fleet", "resident_per_further_idle_link", "B", &each));
    rows
}

/// The figures of one number of endpoints: `MEASURES`.
pub(crate) async fn measure(arguments: Vec<String>) -> Vec<f64> {
    let [size, port] = &arguments[..] else { panic!("two arguments: {arguments:?}") };
    let (size, port): (usize, u16) = (size.parse().expect("a number"), port.parse().expect("one"));
    let (lists, given) = watch::channel(list(0..size, port));
    let config = Config::builder().balancing_policy(Balancing::RoundRobin).build().expect("valid");
    let (before, start) = (resident(), Instant::now());
    let supervisor = Supervisor::builder(config).endpoints(given).spawn();
    links_up(&supervisor, size).await;
    let ready = ms(start);
    // What the dials took for a while has been given back, as far as it will be.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (resident, cpu) = (resident() - before, cpu_us());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let cpu = (cpu_us() - cpu) / 2.0;

    let old = supervisor.watch_links().borrow().newest();
    let replaced = size / 10;
    let caller = tokio::spawn(call_steadily(client::over(supervisor.channel())));
    tokio::time::sleep(SETTLE).await;
    let start = Instant::now();
    lists.send_replace(list(replaced..size + replaced, port));
    let mut links = supervisor.watch_links();
    let all_new = links.wait_for(|links| {
        let new = links.iter().filter(|link| Some(*link) > old).count();
        (new, links.iter().count()) == (replaced, size)
    });
    let all_new = tokio::time::timeout(PATIENCE, all_new).await;
    all_new.expect("the servers listen").expect("it lives");
    let applied = ms(start);
    tokio::time::sleep(SETTLE).await;
    supervisor.shutdown(Duration::from_secs(5)).await;
    let (longest, failed) = caller.await.expect("no panic");
    vec![ready, resident, cpu, applied, longest, failed]
}

/// The endpoints of these numbers.
fn list(numbers: Range<usize>, port: u16) -> Arc<[Endpoint]> {
    let address = |number: usize| {
        let [.., third, fourth] = (number as u32 + 1).to_be_bytes();
        Address::from(SocketAddr::from((Ipv4Addr::new(127, 1, third, fourth), port)))
    };
    numbers.map(|number| Endpoint::from(address(number))).collect()
}

/// Calls one after another, a millisecond apart, until the channel is shut down: how long the
/// longest took, in ms, and how many failed.
async fn call_steadily(mut echo: impl Echo) -> (f64, f64) {
    let (mut longest, mut failed) = (0.0_f64, 0.0);
    loop {
        let start = Instant::now();
        match echo.echo(vec![7; 64]).await {
            Ok(_) => longest = longest.max(ms(start)),
            Err(status) if status.code() == Code::Cancelled => return (longest, failed),
            Err(_) => failed += 1.0,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
