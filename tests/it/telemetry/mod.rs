//! Events and metrics: what is announced, when, and that it adds up.

mod events;
mod link_events;
mod metrics;
