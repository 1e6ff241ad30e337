//! Runs one cell and makes rows of the samples: medians, and the spread of the ratios between neighbours.

use super::Echo;
use std::time::Duration;
use tokio::time::Instant;

/// One point of the grid.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) payload: usize,
    pub(crate) in_flight: usize,
}

/// What one window gave.
pub(crate) struct Sample {
    calls_per_s: f64,
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

/// One line of the report.
pub(crate) struct Row {
    measure: &'static str,
    cell: Cell,
    value: f64,
    unit: &'static str,
    ratio: f64,
    ratio_min: f64,
    ratio_max: f64,
}

impl Cell {
    /// Keeps `in_flight` calls going for `window`.
    pub(crate) async fn run(self, echo: &impl Echo, window: Duration) -> Sample {
        let (cpu, start) = (cpu(), Instant::now());
        let workers: Vec<_> = (0..self.in_flight)
            .map(|_| {
                let mut echo = echo.clone();
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while start.elapsed() < window {
                        let begun = Instant::now();
                        assert_eq!(echo.echo(vec![7; self.payload]).await, self.payload);
                        times.push(begun.elapsed().as_nanos() as u32);
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for worker in workers {
            times.extend(worker.await.expect("every call is answered"));
        }
        let took = start.elapsed();
        times.sort_unstable();
        let at = |share: f64| f64::from(times[((times.len() - 1) as f64 * share) as usize]) / 1e3;
        Sample {
            calls_per_s: times.len() as f64 / took.as_secs_f64(),
            cpu_us: (super::measure::cpu() - cpu) / times.len() as f64,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
        }
    }
}

/// This process's CPU time in microseconds, where the system tells.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(11).take(2);
    // Ticks of 10 ms on Linux.
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() * 10_000.0
}

/// The rows of one cell: the supervised channel, and the mailbox, against tonic.
pub(crate) fn rows(cell: Cell, samples: &[Vec<Sample>; 3]) -> Vec<Row> {
    type Read = fn(&Sample) -> f64;
    let measures: [(&'static str, &'static str, Read, usize); 6] = [
        ("calls_per_s", "1/s", |s| s.calls_per_s, 1),
        ("cpu_per_call", "us", |s| s.cpu_us, 1),
        ("p50", "us", |s| s.p50_us, 1),
        ("p99", "us", |s| s.p99_us, 1),
        ("p999", "us", |s| s.p999_us, 1),
        ("mailbox_calls_per_s", "1/s", |s| s.calls_per_s, 2),
    ];
    let row = |(measure, unit, read, side): (&'static str, &'static str, Read, usize)| {
        let mut values: Vec<f64> = samples[side].iter().map(read).collect();
        let pairs = samples[side].iter().zip(&samples[0]);
        let mut ratios: Vec<f64> = pairs.map(|(ours, plain)| read(ours) / read(plain)).collect();
        values.sort_by(f64::total_cmp);
        ratios.sort_by(f64::total_cmp);
        Row {
            measure,
            cell,
            unit,
            value: values[values.len() / 2],
            ratio: ratios[ratios.len() / 2],
            ratio_min: ratios[0],
            ratio_max: ratios[ratios.len() - 1],
        }
    };
    measures.into_iter().map(row).collect()
}

impl Row {
    pub(crate) fn json(&self) -> String {
        let Cell { payload, in_flight } = self.cell;
        format!(
            "{{\"bench\":\"call_path\",\"measure\":\"{}\",\"payload\":{payload},\"in_flight\":{in_flight},\"connections\":1,\
             \"peer\":\"tonic\",\"value\":{:.3},\"unit\":\"{}\",\"ratio\":{:.3},\"ratio_min\":{:.3},\"ratio_max\":{:.3}}}",
            self.measure, self.value, self.unit, self.ratio, self.ratio_min, self.ratio_max
        )
    }

    pub(crate) fn text(&self) -> String {
        let Cell { payload, in_flight } = self.cell;
        format!(
            "{payload:>6} B {in_flight:>5} in flight  {:<20} {:>12.1} {:<4} {:.2} x tonic ({:.2}-{:.2})",
            self.measure, self.value, self.unit, self.ratio, self.ratio_min, self.ratio_max
        )
    }
}
