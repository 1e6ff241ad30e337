//! Configuration: keys, sources, rules.

pub(crate) mod keys;
