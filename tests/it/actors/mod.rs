//! Actors: panics, restarts, mailboxes, and how a supervisor and its runtime end.

mod caller_panics;
mod configured_news;
mod crash_loops;
mod first_calls;
mod found_by_simulation;
mod mailbox;
mod no_runtime;
mod panics;
mod ractor;
mod runtimes;
mod shutdown;
mod task_panics;
mod user_code_panics;
