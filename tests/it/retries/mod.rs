//! Retries: what is sent again, when, and how often.

mod idempotency;
mod policy;
mod seed;
mod streams;
