//! Runs the scripts of many seeds, as many at once as there are processors, and says how many.

use crate::{draw, panic_hook::hide_injected_panics, run::run};
use std::{
    io::Write as _,
    num::NonZero,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};
use tokio::time::Instant;

/// How many seeds are run unless `SIM_SEEDS` says otherwise.
const SEEDS: u64 = 2_000;

#[test]
fn whatever_happens_the_laws_hold() {
    hide_injected_panics();
    if let Some(seed) = variable("SIM_SEED") {
        return replay(seed);
    }
    let (first, seeds) =
        (variable("SIM_FROM").unwrap_or(0), variable("SIM_SEEDS").unwrap_or(SEEDS));
    let (began, next, lasted) = (Instant::now(), AtomicU64::new(first), AtomicU64::new(0));
    let failed = parking_lot::Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    let outcome = run(draw::script(seed));
                    lasted.fetch_add(outcome.lasted.as_millis() as u64, Relaxed);
                    if let Some(law) = outcome.broken {
                        say(&format!("SIM_SEED={seed} breaks a law: {law}"));
                        failed.lock().push(seed);
                    }
                }
            });
        }
    });
    let (failed, lasted) = (failed.into_inner(), Duration::from_millis(lasted.into_inner()));
    let failures = failed.len();
    say(&format!(
        "simulated {seeds} seeds, {lasted:.0?} of life, in {:.0?}: {failures} failed",
        began.elapsed()
    ));
    assert!(
        failed.is_empty(),
        "laws were broken; SIM_SEED=n with n of {failed:?} shows what happened"
    );
}

/// Shows all that happened in one seed's life.
fn replay(seed: u64) {
    let script = draw::script(seed);
    say(&format!("{script:#?}"));
    let outcome = run(script);
    outcome.trace.iter().for_each(|line| say(line));
    assert_eq!(outcome.broken, None, "SIM_SEED={seed} breaks a law");
    say(&format!("SIM_SEED={seed} breaks no law"));
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

/// Shown even if the test passes: the test harness holds back only what `println!` prints.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error can be written to");
}
