//! A seed tells one story only: what happens does not depend on the process it happens in. Most of
//! the stories are of several servers.

use crate::{draw, panic_hook::hide_injected_panics, run::run, seeds::say};
use std::{env, process::Command};

const SEEDS: u64 = 100;

/// One process's account of all seeds.
fn told_by_a_fresh_process() -> String {
    let test = env::current_exe().expect("a test knows its own program");
    let teller = Command::new(test)
        .args(["--exact", "determinism::prints_its_trace", "--ignored", "--nocapture"])
        .output();
    let teller = teller.expect("this program can be run once more");
    let words = String::from_utf8(teller.stderr).expect("traces are text");
    assert!(teller.status.success(), "{words}");
    words
}

/// Tells what happens in each seed's life. For the test below, in processes of its own.
#[test]
#[ignore = "a part of another test"]
fn prints_its_trace() {
    hide_injected_panics();
    for seed in 0..SEEDS {
        say(&format!("=== seed {seed}"));
        run(draw::script(seed)).trace.iter().for_each(|line| say(line));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_in_two_fresh_processes() {
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(told_by_a_fresh_process);
        (told_by_a_fresh_process(), other.join().expect("it was told"))
    });
    let stories =
        |told: &'_ str| told.split("=== seed ").skip(1).map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (stories(&first), stories(&second));
    assert_eq!((first.len(), second.len()), (SEEDS as usize, SEEDS as usize));
    let differs = |(one, other): &(String, String)| one != other;
    let different: Vec<_> = first.into_iter().zip(second).filter(differs).collect();
    if let Some((one, other)) = different.first() {
        let line = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        let seed = one.lines().next().unwrap_or_default();
        panic!("{} of {SEEDS} seeds, such as {seed}, tell two stories: {line:#?}", different.len());
    }
}
