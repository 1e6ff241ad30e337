//! How a plan writes lines, times and numbers.

use crate::policy::CallPlan;
use std::time::Duration;

/// No line has more columns, if it can be broken.
const COLUMNS: usize = 100;

const ORDINALS: [&str; 12] = [
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth",
];

/// Breaks a line at blanks; what follows is indented.
pub(super) fn folded(line: &str) -> String {
    let (mut lines, mut rest) = (String::new(), line.to_owned());
    while let Some((end, _)) = rest.char_indices().nth(COLUMNS) {
        let words = rest.len() - rest.trim_start().len();
        let blank = rest[words..end].rfind(' ').map(|at| words + at);
        let Some(blank) = blank.or(rest[end..].find(' ').map(|at| end + at)) else { break };
        lines.push_str(rest[..blank].trim_end());
        lines.push('\n');
        rest = format!("    {}", rest[blank..].trim_start());
    }
    lines + &rest
}

/// Seconds, in whole milliseconds.
fn in_millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000.0).round() / 1_000.0
}

/// `60`, as a person writes a setting.
pub(super) fn number(time: Duration) -> String {
    in_millis(time).to_string()
}

/// `7.0`, as a time that was computed.
pub(super) fn decimal(time: Duration) -> String {
    format!("{:?}", in_millis(time))
}

pub(super) fn percent(share: f64) -> f64 {
    (share * 1_000.0).round() / 10.0
}

pub(super) fn nth(made: u32) -> String {
    match ORDINALS.get(made as usize - 1) {
        Some(ordinal) => format!("{ordinal} answer"),
        None => format!("answer to attempt {made}"),
    }
}

/// How many attempts, as far as they were counted.
pub(super) fn count(plan: &CallPlan) -> String {
    match plan.made {
        CallPlan::FOLLOWED if plan.end.is_none() => format!("{} or more", CallPlan::FOLLOWED),
        made => made.to_string(),
    }
}
