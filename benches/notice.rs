//! How soon a link's end is an event: from the moment the peer sends GOAWAY, FIN or RST to the
//! moment a reader of the event stream has it, with a call in flight and without. Peer and reader
//! are in one process, so the figure is one-way.
//!
//! `cargo bench --bench notice --features test-util -- [--quick] [--json]`

#[path = "common/mod.rs"]
mod common;

use common::{Run, client, client::Echo, row::Row};
use std::{process::ExitCode, time::Duration};
use tokio::time::Instant;
use tonic_supervisor::{
    Config, EventItem, EventStream, Fact, Supervisor,
    testing::{RawLink, RawPeer},
};

fn main() -> ExitCode {
    common::main(run)
}

#[derive(Clone, Copy)]
enum End {
    GoAway,
    Fin,
    Rst,
}

async fn run(how: Run) -> Vec<Row> {
    let rounds = if how.quick { 3 } else { 51 };
    let mut rows = Vec::new();
    for (name, end) in [("goaway", End::GoAway), ("fin", End::Fin), ("rst", End::Rst)] {
        for (place, busy) in [("idle", false), ("with_a_call", true)] {
            let mut times = Vec::new();
            for _ in 0..rounds {
                times.push(notice(end, busy).await);
            }
            times.sort_by(f64::total_cmp);
            rows.push(Row::new("notice", format!("{name}_to_event.{place}"), "us", &times));
            rows.push(Row::new(
                "notice",
                format!("{name}_to_event_worst.{place}"),
                "us",
                &times[times.len() - 1..],
            ));
        }
    }
    rows
}

/// Microseconds from the peer's word, or its silence, to the event.
async fn notice(end: End, busy: bool) -> f64 {
    let mut peer = RawPeer::on_tcp().await;
    let config = Config::builder().target(peer.address()).build().expect("a valid configuration");
    let supervisor = Supervisor::spawn(config);
    let mut link = peer.accept().await;
    link.send_settings(&[]).await;
    supervisor.wait_ready(Duration::from_secs(5)).await.expect("the peer sent its SETTINGS");
    let mut echo = client::over(supervisor.channel());
    if busy {
        tokio::spawn(async move { echo.echo(vec![7; 64]).await });
        link.next_whole_request().await.expect("the call");
    }
    let events = supervisor.events();
    let heard = tokio::spawn(hear(events));
    // What the link's beginning left to do is done, and the reader waits.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let start = Instant::now();
    let _kept = act(end, link).await;
    let heard = heard.await.expect("the stream goes on");
    supervisor.shutdown(Duration::ZERO).await;
    heard.duration_since(start).as_secs_f64() * 1e6
}

/// A link that was not closed is handed back, so that nothing else ends it.
async fn act(end: End, mut link: RawLink) -> Option<RawLink> {
    match end {
        End::GoAway => {
            link.goaway(i32::MAX as u32, 0, "max_age").await;
            return Some(link);
        }
        End::Fin => link.close().await,
        End::Rst => link.reset(),
    }
    None
}

/// When the stream told of the link's end.
async fn hear(mut events: EventStream) -> Instant {
    while let Some(item) = events.next().await {
        let EventItem::Event(event) = item else { continue };
        if matches!(event.fact, Fact::GoAwayReceived { .. } | Fact::LinkLost { .. }) {
            return Instant::now();
        }
    }
    panic!("the stream ended without the link's end")
}
