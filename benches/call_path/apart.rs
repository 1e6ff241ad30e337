//! The second shape, and the third: each client in a process of its own, as users have it, with a
//! deadline on every call, in turns of more than a second; the server stays on one core. In the
//! third each client has one tokio worker, as in a small container.
//!
//! In the second there is one more client, with two links, against tonic's one.

use crate::{
    common::{Run, row::Row, server},
    load::{Cell, Sample},
    process::{Client, Side},
};
use std::time::Duration;

/// Request and answer sizes, each with the numbers of calls in flight.
const CELLS: [(usize, &[usize]); 2] = [(64, &[1, 16, 128, 1024]), (64 << 10, &[1, 16, 128])];
const ONE_WORKER: [(usize, &[usize]); 1] = [(64, &[1, 16, 128, 1024])];

/// The second shape.
pub(crate) fn rows(how: Run) -> Vec<Row> {
    compare("apart_", None, &CELLS, how)
}

/// The third.
pub(crate) fn rows_of_one_worker(how: Run) -> Vec<Row> {
    compare("one_worker_", Some(1), &ONE_WORKER, how)
}

fn compare(
    prefix: &str,
    workers: Option<usize>,
    cells: &[(usize, &[usize])],
    how: Run,
) -> Vec<Row> {
    let (rounds, window) =
        if how.quick { (1, Duration::from_millis(150)) } else { (5, Duration::from_millis(1_500)) };
    let server = server::Child::start_pinned();
    let start = |side| Client::start(side, server.address, workers);
    let [mut tonic, mut supervised] = [Side::Tonic, Side::Supervised].map(start);
    // One worker is the limit itself there, whatever the number of links.
    let mut two_links = workers.is_none().then(|| start(Side::TwoLinks));
    let mut rows = Vec::new();
    for (payload, in_flights) in cells.iter().copied() {
        for in_flight in in_flights.iter().copied().filter(|n| crate::is_wanted(*n, how)) {
            let cell = Cell { payload, in_flight };
            let mut two_links = two_links.as_mut().filter(|_| in_flight > 1);
            let mut samples: [Vec<Sample>; 3] = Default::default();
            for round in 0..=rounds {
                // The first round warms up.
                let window = if round == 0 { window / 5 } else { window };
                let sides = [Some(&mut tonic), Some(&mut supervised), two_links.as_deref_mut()];
                for (side, all) in sides.into_iter().zip(&mut samples) {
                    let sample = side.map(|side| side.run(cell, window));
                    all.extend(sample.filter(|_| round > 0));
                }
            }
            let [theirs, ours, with_two] = &samples;
            rows.extend(cell.rows(prefix, ours, theirs));
            if two_links.is_some() {
                let two = cell.rows(&format!("{prefix}two_links_"), with_two, theirs);
                rows.extend(two.into_iter().map(|row| row.with_connections(2)));
            }
        }
    }
    rows
}
