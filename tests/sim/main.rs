//! The simulation: the whole supervisor, its actors and its HTTP/2, over a simulated network and in
//! simulated time, under fault scripts drawn from seeds. Whatever happens, the laws of `events`,
//! `calls` and `client` hold.
//!
//! ```text
//! cargo test --features sim --test sim                    2,000 seeds, and that deliberate bugs
//! are found SIM_SEEDS=100000 cargo test --features sim --test sim   a long run SIM_SEED=1234 cargo
//! test --features sim --test sim      one seed again, with all that happened
//! ```

mod arrivals;
mod calls;
mod client;
mod determinism;
mod draw;
mod draw_fleet;
mod endpoints;
mod events;
mod fate;
mod fleet;
mod listings;
mod mutations;
mod network;
#[path = "../it/support/panic_hook.rs"]
mod panic_hook;
mod room;
mod run;
mod runtime_ends;
mod script;
mod seeds;
mod server;
mod shared;
mod told;
mod well;
mod written_scripts;
