//! The recorder of `/metrics`: gRPC's bounds for histograms, units and `_total` in the names.

use super::error::AdminError;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use std::{thread, time::Duration};

/// gRPC A66's bounds for durations, in seconds.
const SECONDS: &[f64] = &[
    0.0, 1e-5, 5e-5, 1e-4, 3e-4, 6e-4, 8e-4, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01,
    0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4,
    0.5, 0.65, 0.8, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
];
/// gRPC A66's bounds for sizes, in bytes.
const BYTES: &[f64] = &[
    0.0,
    1024.0,
    2048.0,
    4096.0,
    16384.0,
    65536.0,
    262144.0,
    1048576.0,
    4194304.0,
    16777216.0,
    67108864.0,
    268435456.0,
    1073741824.0,
    4294967296.0,
];
/// gRPC A96's bounds.
const RETRIES: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0];
const TRANSPARENT_RETRIES: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 10.0];

/// How often the recorder is told to tidy up.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The handle of the recorder that this process installed here.
static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Installs the recorder of `/metrics` for the process. Call it before the first supervisor is
/// spawned: what was counted before is not in it. A thread of its own tidies it up. Done twice it
/// changes nothing.
///
/// # Errors
///
/// Another recorder is installed already: metrics go there, and `/metrics` says so.
pub fn install_recorder() -> Result<(), AdminError> {
    let mut installed = INSTALLED.lock();
    if installed.is_some() {
        return Ok(());
    }
    let of = |suffix: &str| Matcher::Suffix(suffix.into());
    let builder = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets_for_metric(of("duration"), SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(of("retry_delay"), SECONDS))
        .and_then(|builder| builder.set_buckets_for_metric(of("call.wait"), SECONDS))
        .and_then(|builder| builder.set_buckets_for_metric(of("queue.wait"), SECONDS))
        .and_then(|builder| builder.set_buckets_for_metric(of("queue.run"), SECONDS))
        .and_then(|builder| builder.set_buckets_for_metric(of("message_size"), BYTES))
        .and_then(|builder| builder.set_buckets_for_metric(of("call.retries"), RETRIES))
        .and_then(|builder| {
            builder.set_buckets_for_metric(of("transparent_retries"), TRANSPARENT_RETRIES)
        })
        .map_err(|error| AdminError::Recorder(error.to_string()))?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .map_err(|_| AdminError::Recorder("another recorder is installed already".into()))?;
    tidy_up(handle.clone())?;
    *installed = Some(handle);
    Ok(())
}

/// Without it histograms grow while nobody scrapes; whether there are pages or not.
fn tidy_up(handle: PrometheusHandle) -> Result<(), AdminError> {
    let tidying = move || {
        loop {
            thread::park_timeout(UPKEEP_EVERY);
            handle.run_upkeep();
        }
    };
    let thread = thread::Builder::new().name("metrics-upkeep".into()).spawn(tidying);
    thread.map(drop).map_err(|error| AdminError::Recorder(error.to_string()))
}

/// The handle, where the recorder is ours.
pub(super) fn installed() -> Option<PrometheusHandle> {
    INSTALLED.lock().clone()
}
