//! The fault matrix, as data: each way in which a peer can misbehave, and what a supervised call
//! makes of it.
//!
//! Each row of `table.rs` is played over exact links and over real sockets, for unary and
//! server-streaming calls and calls of kind `auto`, idempotent or not (`play.rs`). It needs nothing
//! of the peer but `tonic_supervisor::testing`, and nothing of tonic but its client, so that a
//! package that builds tonic without its server plays the same rows: what a failure is called must
//! not depend on tonic's cargo features. `docs/faults.md` is this table, rendered, and below it the
//! one of `fleet.rs`: what befalls one of several endpoints.

pub(crate) mod fleet;
mod play;
pub(crate) mod play_fleet;
mod table;

pub(crate) use table::{Fate, Link, Row, Then, rows};

use tonic_supervisor::testing::Misbehaviour;

/// No misbehaviour that the kit knows is missing from the table.
#[test]
fn every_misbehaviour_has_its_row() {
    let rows = rows();
    let missing: Vec<_> = Misbehaviour::all()
        .into_iter()
        .filter(|fault| !rows.iter().any(|row| row.faults.contains(fault)))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
