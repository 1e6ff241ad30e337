//! The demo's table: what each outage cost either agent, in at most 80 columns.

use super::{
    outcome::{Harm, Outcome},
    tally::Counts,
};
use crate::stdout::{Stdout, Tone};

/// The table, a line on each side's work, and whether the supervised side came to harm.
pub(super) fn table(
    stdout: Stdout,
    faults: &[&str],
    supervised: &Outcome,
    plain: &Outcome,
    well: bool,
) -> String {
    let mut lines = vec![
        format!("{:<13}{:^27}     {:^27}", "", "supervised", "plain").trim_end().into(),
        row("", ["calls", "tasks", "run", "longest"], ["calls", "tasks", "run", "longest"]),
        row("outage", ["failed", "lost", "twice", "wait"], ["failed", "lost", "twice", "wait"]),
    ];
    let harms = supervised.outages.iter().zip(&plain.outages);
    for (fault, (left, right)) in faults.iter().zip(harms) {
        lines.push(row(fault, cells(left), cells(right)));
    }
    lines.push(row("in all", cells(&supervised.all), cells(&plain.all)));
    lines.push(String::new());
    lines.push(format!("supervised: {}", work(supervised, true)));
    lines.push(format!("plain:      {}", work(plain, false)));
    lines.push(String::new());
    lines.push(match well {
        true => stdout
            .paint(Tone::Good, "Supervised: no call failed, no task was lost, nothing ran twice."),
        false => stdout.paint(Tone::Bad, "The supervised channel did not keep its promise."),
    });
    lines.join("\n")
}

fn row<T: AsRef<str>>(name: &str, left: [T; 4], right: [T; 4]) -> String {
    let half = |cells: [T; 4]| {
        let [failed, lost, twice, longest] = cells.each_ref().map(AsRef::as_ref);
        format!("{failed:>6} {lost:>5} {twice:>5} {longest:>8}")
    };
    format!("{name:<12} {}     {}", half(left), half(right))
}

fn cells(harm: &Harm) -> [String; 4] {
    let longest = format!("{:.2} s", harm.longest.as_secs_f64());
    [harm.failed.to_string(), harm.lost.to_string(), harm.executed_twice.to_string(), longest]
}

/// A plain channel has no retries to count.
fn work(outcome: &Outcome, retries: bool) -> String {
    let Counts { retries: by_policy, transparent_retries, dials, .. } = outcome.counts;
    let again = if retries {
        format!(", {by_policy} retries, {transparent_retries} free resends")
    } else {
        String::new()
    };
    let dials = dials.map_or(String::new(), |dials| format!(", {dials} dials"));
    format!("{} of {} calls ok{again}{dials}", outcome.ok, outcome.calls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn no_line_of_the_table_is_longer_than_80_columns() {
        let harm = Harm {
            failed: 9_999,
            lost: 9_999,
            executed_twice: 9_999,
            longest: Duration::from_millis(31_234),
        };
        let counts = Counts {
            dials: Some(9_999),
            retries: 9_999,
            transparent_retries: 9_999,
            ..Counts::default()
        };
        let outcome =
            Outcome { calls: 9_999, ok: 9_999, all: harm, outages: vec![harm; 4], counts };
        let faults = ["kill", "freeze", "restart", "unavailable"];
        for well in [true, false] {
            let text = table(Stdout::plain(), &faults, &outcome, &outcome, well);
            assert!(text.lines().all(|line| line.len() <= 80), "{text}");
            let last = text
                .lines()
                .find(|line| line.starts_with("unavailable"))
                .expect("a row for each outage");
            assert_eq!(
                last.split_whitespace().filter(|cell| *cell == "31.23").count(),
                2,
                "{text}"
            );
        }
    }
}
