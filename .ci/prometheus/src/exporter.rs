use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

const SECONDS: &[f64] = &[
    0.0, 1e-5, 5e-5, 1e-4, 3e-4, 6e-4, 8e-4, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01,
    0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4,
    0.5, 0.65, 0.8, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
];
const BYTES: &[f64] = &[
    0.0, 1024.0, 2048.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0,
    67108864.0, 268435456.0, 1073741824.0, 4294967296.0,
];
const RETRIES: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0];
const TRANSPARENT_RETRIES: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 10.0];

/// A recorder with gRPC's bounds; units and `_total` stand in the names, as Prometheus has it.
fn exporter() -> Result<PrometheusBuilder, metrics_exporter_prometheus::BuildError> {
    PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets_for_metric(Matcher::Suffix("duration".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("retry_delay".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("call.wait".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("queue.wait".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("queue.run".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("message_size".into()), BYTES)?
        .set_buckets_for_metric(Matcher::Full("grpc.client.call.retries".into()), RETRIES)?
        .set_buckets_for_metric(
            Matcher::Full("grpc.client.call.transparent_retries".into()),
            TRANSPARENT_RETRIES,
        )
}
