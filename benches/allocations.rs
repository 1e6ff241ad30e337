//! How often a call asks the allocator for memory: bare tonic, the supervised channel, the mailbox.
//! A program of its own, because the allocator is the program's, and counting costs time.
//!
//! `cargo bench --bench allocations -- [--quick] [--json]`

#[path = "common/mod.rs"]
mod common;

use common::{Run, client, client::Echo, row::Row, server};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::{alloc::System, process::ExitCode, time::Duration};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Request and answer size, and calls in flight.
const CELLS: [(usize, usize); 4] = [(64, 1), (64, 16), (64, 128), (64 << 10, 16)];

fn main() -> ExitCode {
    common::main(run)
}

async fn run(how: Run) -> Vec<Row> {
    let (rounds, calls) = if how.quick { (2, 500) } else { (5, 20_000) };
    let server = server::Child::start();
    let plain = client::plain(server.address).await;
    let supervisor = client::supervise(server.address).await;
    let supervised = client::over(supervisor.channel());
    let mailbox = client::Mailboxed(supervisor.mailbox());
    let mut rows = Vec::new();
    for (payload, in_flight) in CELLS {
        let mut counted: [Vec<Counted>; 3] = Default::default();
        for round in 0..=rounds {
            let neighbours = [
                count(&plain, payload, in_flight, calls).await,
                count(&supervised, payload, in_flight, calls).await,
                count(&mailbox, payload, in_flight, calls).await,
            ];
            // The first round fills what is kept.
            if round > 0 {
                counted.iter_mut().zip(neighbours).for_each(|(all, one)| all.push(one));
            }
        }
        type Read = fn(&Counted) -> f64;
        let measures: [(&str, &'static str, Read, usize); 4] = [
            ("allocations_per_call", "allocs", |c| c.allocations, 1),
            ("allocated_bytes_per_call", "B", |c| c.bytes, 1),
            ("mailbox_allocations_per_call", "allocs", |c| c.allocations, 2),
            ("mailbox_allocated_bytes_per_call", "B", |c| c.bytes, 2),
        ];
        rows.extend(measures.map(|(measure, unit, read, side)| {
            let [theirs, ours] =
                [0, side].map(|side| counted[side].iter().map(read).collect::<Vec<_>>());
            Row::new("allocations", measure, unit, &ours)
                .against("tonic", &ours, &theirs)
                .at(payload, in_flight)
        }));
    }
    supervisor.shutdown(Duration::from_secs(1)).await;
    rows
}

/// Per call; an enlargement counts as an allocation.
struct Counted {
    allocations: f64,
    bytes: f64,
}

async fn count(echo: &impl Echo, payload: usize, in_flight: usize, calls: usize) -> Counted {
    let region = Region::new(ALLOCATOR);
    let workers: Vec<_> = (0..in_flight)
        .map(|_| {
            let mut echo = echo.clone();
            tokio::spawn(async move {
                for _ in 0..calls / in_flight {
                    assert_eq!(echo.echo(vec![7; payload]).await.expect("OK"), payload);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("every call is answered");
    }
    let (stats, calls) = (region.change(), (calls / in_flight * in_flight) as f64);
    Counted {
        allocations: (stats.allocations + stats.reallocations) as f64 / calls,
        bytes: stats.bytes_allocated as f64 / calls,
    }
}
