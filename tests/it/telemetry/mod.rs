//! Events, metrics and spans: what is announced, when, and that it adds up.

mod events;
mod link_events;
mod metrics;
mod propagation;
mod spans;
