//! The bars: what must hold on a quiet machine, what is aimed at, and what was measured. They stand
//! in `bars.txt`, a line each, under the names that the benches' JSON lines have; a ratio is to
//! bare tonic's.

use super::figures::Figures;
use std::fmt::Write as _;

const BARS: &str = include_str!("bars.txt");

/// A line of the table.
struct Bar<'a> {
    bench: &'a str,
    measure: &'a str,
    payload: u64,
    in_flight: u64,
    is_ratio: bool,
    at_most: bool,
    must: f64,
    aim: Option<f64>,
    unit: String,
}

impl<'a> Bar<'a> {
    fn of(line: &'a str) -> Self {
        let mut words = line.split_whitespace();
        let mut next = || words.next().expect("a line of bars.txt has eight words or nine");
        let number = |word: &str| word.parse().expect("a number");
        Self {
            bench: next(),
            measure: next(),
            payload: next().parse().expect("a size"),
            in_flight: next().parse().expect("a number of calls"),
            is_ratio: next() == "ratio",
            at_most: next() == "<=",
            must: number(next()),
            aim: Some(next()).filter(|aim| *aim != "-").map(number),
            // With its space.
            unit: words.next().map_or(String::new(), |unit| format!(" {unit}")),
        }
    }

    fn words(&self) -> String {
        match (self.payload, self.in_flight) {
            (0, 0) => format!("{}: {}", self.bench, self.measure),
            (size, calls) => format!("{}: {}, {size} B, {calls}", self.bench, self.measure),
        }
    }

    fn measured(&self, figures: &Figures) -> Option<f64> {
        let figure = figures.get(self.bench, self.measure, self.payload, self.in_flight)?;
        let number = if self.is_ratio { figure.ratio? } else { figure.value };
        number.is_finite().then_some(number)
    }

    fn verdict(&self, measured: f64) -> &'static str {
        let reaches = |bar: f64| if self.at_most { measured <= bar } else { measured >= bar };
        match self.aim {
            _ if !reaches(self.must) => "missed",
            Some(aim) if reaches(aim) => "aim reached",
            _ => "held",
        }
    }
}

/// The bars as a table of Markdown.
pub(crate) fn table(figures: &Figures) -> String {
    let mut table = "| | must | aim | measured | |\n|---|---|---|---|---|\n".to_owned();
    for bar in BARS.lines().skip(1).map(Bar::of) {
        let number = |number: f64| match bar.is_ratio || number < 100.0 {
            true => format!("{number:.2}"),
            false => format!("{number:.0}"),
        };
        let (words, unit) = (bar.words(), &bar.unit);
        let sign = if bar.at_most { "<=" } else { ">=" };
        let (must, aim) = (number(bar.must), bar.aim.map_or(String::new(), number));
        let measured = bar.measured(figures);
        let verdict = measured.map_or("", |measured| bar.verdict(measured));
        let measured = measured.map_or("not measured".to_owned(), number);
        let _ =
            writeln!(table, "| {words} | {sign} {must}{unit} | {aim} | {measured} | {verdict} |");
    }
    table
}
