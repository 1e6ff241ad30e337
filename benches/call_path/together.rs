//! The first shape: both channels in one process, on one runtime, in short turns; over TLS, too. So
//! few things differ between neighbours that small differences show.

use crate::{
    common::{Run, client, client::Echo, row::Row, server},
    load::{Cell, Sample},
};
use std::time::Duration;
use tonic_supervisor::Supervisor;

/// Request and answer sizes, each with the numbers of calls in flight.
const CELLS: [(usize, &[usize]); 2] = [(64, &[1, 16, 128, 1024]), (64 << 10, &[1, 16, 128])];

/// The same over TLS.
#[cfg(feature = "cli")]
const TLS_CELLS: [(usize, &[usize]); 2] = [(64, &[1, 16, 128]), (64 << 10, &[16])];

pub(crate) async fn rows(how: Run) -> Vec<Row> {
    let server = server::Child::start();
    let plain = client::plain(server.address).await;
    let mut rows = compare("", &plain, client::supervise(server.address).await, &CELLS, how).await;
    if !std::env::args().any(|argument| argument == "--tcp") {
        rows.extend(secured(how).await);
    }
    rows
}

#[cfg(not(feature = "cli"))]
async fn secured(_: Run) -> Vec<Row> {
    Vec::new()
}

/// A certificate made for the occasion.
#[cfg(feature = "cli")]
async fn secured(how: Run) -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a place for the certificate");
    let certificate = folder.path().join("server.pem").to_str().expect("text").to_owned();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(format!("{certificate}.key"), made.signing_key.serialize_pem())
        .expect("written");
    let server = server::Child::start_secured(&certificate);
    let plain = client::plain_secured(server.address, &certificate).await;
    let supervisor = client::supervise_secured(server.address, &certificate).await;
    compare("tls_", &plain, supervisor, &TLS_CELLS, how).await
}

/// Every cell, one side after the other.
async fn compare(
    prefix: &str,
    plain: &impl Echo,
    supervisor: Supervisor,
    cells: &[(usize, &[usize])],
    how: Run,
) -> Vec<Row> {
    let (rounds, window) =
        if how.quick { (2, Duration::from_millis(150)) } else { (45, Duration::from_millis(140)) };
    let supervised = client::over(supervisor.channel());
    let mailbox = client::Mailboxed(supervisor.mailbox());
    let mut rows = Vec::new();
    for (payload, in_flights) in cells.iter().copied() {
        for in_flight in in_flights.iter().copied().filter(|n| crate::is_wanted(*n, how)) {
            let cell = Cell { payload, in_flight };
            let mut samples: [Vec<Sample>; 3] = Default::default();
            for round in 0..=rounds {
                let neighbours = [
                    cell.run(plain, window).await,
                    cell.run(&supervised, window).await,
                    cell.run(&mailbox, window).await,
                ];
                // The first round warms up.
                if round > 0 {
                    samples.iter_mut().zip(neighbours).for_each(|(all, one)| all.push(one));
                }
            }
            let [theirs, ours, by_mailbox] = &samples;
            rows.extend(cell.rows(prefix, ours, theirs));
            let prefix = format!("{prefix}mailbox_");
            rows.push(cell.row(&prefix, "calls_per_s", by_mailbox, theirs));
        }
    }
    supervisor.shutdown(Duration::from_secs(1)).await;
    rows
}
