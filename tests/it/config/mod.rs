//! Configuration: keys, sources, rules.

pub(crate) mod keys;
mod problems;
mod sources;
