//! What can be seen of a supervisor, by whoever looks: where a call's time went, why it was not
//! retried, what is the matter, and who is there.

mod open_calls;
mod registry;
mod stories;
mod stream_stories;
mod verdicts;
#[cfg(feature = "tls-ring")]
mod verdicts_of_tls;
mod waits;
