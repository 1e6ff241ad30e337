//! The lines that the benches print with `--json`, by what they are about.

use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// Bench, measure, payload, calls in flight.
type Key = (String, String, u64, u64);

/// One line's numbers.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    /// The median of the ratios to the peer's, and the least and the most of them.
    pub(crate) ratio: Option<f64>,
    pub(crate) range: Option<(f64, f64)>,
}

/// All lines. Of two about the same the later counts.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<Key, Figure>);

impl Figures {
    /// Reads every `.jsonl` of a folder; what is not there was not measured.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut all = Self::default();
        let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        for file in files.filter(|file| file.extension().is_some_and(|end| end == "jsonl")) {
            let text = fs::read_to_string(&file).expect("text");
            for line in text.lines().filter(|line| !line.is_empty()) {
                let line: Value = serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{}: {error}: {line}", file.display()));
                all.take(&line);
            }
        }
        all
    }

    fn take(&mut self, line: &Value) {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let count = |name: &str| line[name].as_u64().unwrap_or_default();
        let key = (text("bench"), text("measure"), count("payload"), count("in_flight"));
        let number = |name: &str| line[name].as_f64();
        let figure = Figure {
            value: number("value").unwrap_or(f64::NAN),
            ratio: number("ratio"),
            range: number("ratio_min").zip(number("ratio_max")),
        };
        self.0.insert(key, figure);
    }

    pub(crate) fn get(
        &self,
        bench: &str,
        measure: &str,
        payload: u64,
        in_flight: u64,
    ) -> Option<Figure> {
        self.0.get(&(bench.to_owned(), measure.to_owned(), payload, in_flight)).copied()
    }
}
