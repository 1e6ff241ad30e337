//! Retries: what is sent again, when, and how often.

mod codes;
mod counts;
mod deadlines;
mod idempotency;
mod message_sizes;
#[cfg(feature = "yaml")]
mod planned;
mod pushback;
mod seed;
mod streams;
mod throttle;
