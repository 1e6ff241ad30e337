//! One line of a report: a figure, and its ratio to a peer measured beside it in the same run.

/// One figure.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    bench: &'static str,
    measure: String,
    payload: usize,
    in_flight: usize,
    connections: usize,
    peer: &'static str,
    unit: &'static str,
    value: f64,
    ratios: Option<[f64; 3]>,
}

impl Row {
    /// A row whose figure is the median of `values`.
    pub(crate) fn new(
        bench: &'static str,
        measure: impl Into<String>,
        unit: &'static str,
        values: &[f64],
    ) -> Self {
        let value = sorted(values).get(values.len() / 2).copied().unwrap_or(f64::NAN);
        Self {
            bench,
            measure: measure.into(),
            payload: 0,
            in_flight: 0,
            connections: 1,
            peer: "none",
            unit,
            value,
            ratios: None,
        }
    }

    /// At this point of a grid.
    pub(crate) fn at(mut self, payload: usize, in_flight: usize) -> Self {
        (self.payload, self.in_flight) = (payload, in_flight);
        self
    }

    /// With so many links, where the peer has one.
    pub(crate) fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Against a peer, pair by pair: `values[n]` and `theirs[n]` are neighbours in time.
    pub(crate) fn against(mut self, peer: &'static str, values: &[f64], theirs: &[f64]) -> Self {
        let pairs = values.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0);
        let ratios = sorted(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>());
        self.peer = peer;
        self.ratios = (!ratios.is_empty())
            .then(|| [ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]]);
        self
    }

    pub(crate) fn json(&self) -> String {
        let number = |n: f64| if n.is_finite() { format!("{n:.3}") } else { "null".to_owned() };
        let [ratio, least, most] = self.ratios.map_or([f64::NAN; 3], |ratios| ratios).map(number);
        let Self { bench, measure, payload, in_flight, connections, peer, unit, value, .. } = self;
        format!(
            "{{\"bench\":\"{bench}\",\"measure\":\"{measure}\",\"payload\":{payload},\
             \"in_flight\":{in_flight},\"connections\":{connections},\"peer\":\"{peer}\",\
             \"value\":{},\"unit\":\"{unit}\",\"ratio\":{ratio},\"ratio_min\":{least},\
             \"ratio_max\":{most}}}",
            number(*value)
        )
    }

    pub(crate) fn text(&self) -> String {
        let place = match (self.payload, self.in_flight) {
            (0, 0) => String::new(),
            (payload, in_flight) => format!("{payload:>6} B {in_flight:>5} in flight"),
        };
        let ratio = self.ratios.map_or(String::new(), |[ratio, least, most]| {
            format!("{ratio:.2} x {} ({least:.2}-{most:.2})", self.peer)
        });
        format!("{place:24} {:<44} {:>12.1} {:<8} {ratio}", self.measure, self.value, self.unit)
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// This process's CPU time so far in microseconds, where the system tells.
#[cfg(unix)]
pub(crate) fn cpu_us() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

#[cfg(not(unix))]
pub(crate) fn cpu_us() -> f64 {
    f64::NAN
}

/// This process's resident memory in bytes, where the system tells.
pub(crate) fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) * 1024.0
}
