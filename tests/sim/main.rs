//! The simulation: the whole supervisor, its actors and its HTTP/2, over a simulated network and in
//! simulated time, under fault scripts drawn from seeds. Whatever happens, the laws of `events`,
//! `calls` and `client` hold.
//!
//! ```text
//! cargo test --features sim --test sim                    2,000 seeds, and that deliberate bugs are found
//! SIM_SEEDS=100000 cargo test --features sim --test sim   a long run
//! SIM_SEED=1234 cargo test --features sim --test sim      one seed again, with all that happened
//! ```

mod calls;
mod client;
mod draw;
mod events;
#[path = "../it/hush.rs"]
mod hush;
mod mutations;
mod network;
mod replay;
mod run;
mod runtime_ends;
mod script;
mod seeds;
mod server;
mod stories;
mod world;
