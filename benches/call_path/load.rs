//! The load that every shape puts on a channel: so many calls in flight for a while; and the rows
//! that are made of what it gave.

use crate::common::{client::Echo, row, row::Row};
use std::time::Duration;
use tokio::time::Instant;

/// One point of the grid.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) payload: usize,
    pub(crate) in_flight: usize,
}

/// What one window gave.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) cpu_us: f64,
    pub(crate) calls_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
}

/// What a row can be about. CPU comes first: calls/s on shared cores measure the server, too.
const FIGURES: [(&str, &str, fn(&Sample) -> f64); 5] = [
    ("cpu_per_call", "us", |sample| sample.cpu_us),
    ("calls_per_s", "1/s", |sample| sample.calls_per_s),
    ("p50", "us", |sample| sample.p50_us),
    ("p99", "us", |sample| sample.p99_us),
    ("p999", "us", |sample| sample.p999_us),
];

impl Cell {
    /// Keeps `in_flight` calls going for `window`.
    pub(crate) async fn run(self, echo: &impl Echo, window: Duration) -> Sample {
        let (cpu, start) = (row::cpu_us(), Instant::now());
        let callers: Vec<_> = (0..self.in_flight)
            .map(|_| {
                let mut echo = echo.clone();
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while start.elapsed() < window {
                        let begun = Instant::now();
                        self.call(&mut echo).await;
                        times.push(begun.elapsed().as_nanos() as u32);
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for caller in callers {
            times.extend(caller.await.expect("every call is answered"));
        }
        let (took, cpu) = (start.elapsed(), row::cpu_us() - cpu);
        times.sort_unstable();
        let at = |share: f64| f64::from(times[((times.len() - 1) as f64 * share) as usize]) / 1e3;
        Sample {
            cpu_us: cpu / times.len() as f64,
            calls_per_s: times.len() as f64 / took.as_secs_f64(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
        }
    }

    /// Makes so many calls.
    pub(crate) async fn make(self, echo: &impl Echo, calls: usize) {
        let callers: Vec<_> = (0..self.in_flight)
            .map(|_| {
                let mut echo = echo.clone();
                tokio::spawn(async move {
                    for _ in 0..calls / self.in_flight {
                        self.call(&mut echo).await;
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("every call is answered");
        }
    }

    async fn call(self, echo: &mut impl Echo) {
        assert_eq!(echo.echo(vec![7; self.payload]).await.expect("OK"), self.payload);
    }

    /// A row for each figure.
    pub(crate) fn rows(self, prefix: &str, ours: &[Sample], theirs: &[Sample]) -> Vec<Row> {
        let row = |figure: &(&str, _, _)| self.row(prefix, figure.0, ours, theirs);
        FIGURES.iter().map(row).collect()
    }

    /// One figure against tonic's.
    pub(crate) fn row(self, prefix: &str, figure: &str, ours: &[Sample], theirs: &[Sample]) -> Row {
        let (_, unit, read) =
            FIGURES.into_iter().find(|(name, ..)| *name == figure).expect("one of these");
        let [ours, theirs] =
            [ours, theirs].map(|samples| samples.iter().map(read).collect::<Vec<_>>());
        let row = Row::new("call_path", format!("{prefix}{figure}"), unit, &ours);
        row.against("tonic", &ours, &theirs).at(self.payload, self.in_flight)
    }
}
