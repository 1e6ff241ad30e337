//! The crate's own fault table, without tonic's server beside it.

#[path = "../../../tests/it/fault_table.rs"]
mod fault_table;
