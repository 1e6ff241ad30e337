//! The metrics that were recorded while something ran.

use super::paused_runtime;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use std::collections::BTreeMap;

/// All that was recorded: `name{label=value,...}`, labels in order, to its value; a histogram's
/// values in order.
pub(crate) type Recorded = BTreeMap<String, Vec<f64>>;

/// Runs `test` on a runtime of its own, with paused time, and returns what it recorded.
pub(crate) fn record<F: Future<Output = ()>>(test: impl FnOnce() -> F) -> Recorded {
    // The runtime lives on until all is read: what ends with it is not counted.
    let (recorder, runtime) = (DebuggingRecorder::new(), paused_runtime());
    metrics::with_local_recorder(&recorder, || runtime.block_on(test()));
    let recorded = recorder.snapshotter().snapshot().into_vec();
    let entry = |(key, value): (metrics_util::CompositeKey, DebugValue)| {
        let mut labels: Vec<_> =
            key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort();
        let values = match value {
            DebugValue::Counter(count) => vec![count as f64],
            DebugValue::Gauge(value) => vec![value.into_inner()],
            DebugValue::Histogram(values) => values.into_iter().map(f64::from).collect(),
        };
        (format!("{}{{{}}}", key.key().name(), labels.join(",")), values)
    };
    recorded.into_iter().map(|(key, _, _, value)| entry((key, value))).collect()
}
