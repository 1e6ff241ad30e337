//! The crate's own fault matrix, without tonic's server beside it.

#[path = "../../../tests/it/faults/mod.rs"]
mod faults;
