//! Times at the edge of what can be written in a file or said by a caller or a peer: nothing
//! overflows, whatever adds them up.

use crate::support::{ADDRESS, EventLog, SAY, config, ms, paused_runtime, post, secs};
use proptest::{prelude::*, sample::select};
use std::time::Duration;
use tonic::{Code, Request, Status};
use tonic_supervisor::{
    CallOptions, ConfigBuilder, Fact, SupervisedChannel, Supervisor,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};

fn time() -> impl Strategy<Value = Duration> {
    select(vec![
        Duration::from_millis(1),
        Duration::from_secs(1),
        Duration::from_secs(30),
        Duration::from_secs(i32::MAX as u64),
        Duration::from_secs(100 * 365 * 86_400),
        Duration::from_secs(i64::MAX as u64),
        Duration::from_secs(u64::MAX / 2),
        Duration::MAX,
    ])
}

fn odd_config() -> impl Strategy<Value = ConfigBuilder> {
    let factor = select(vec![1.0, 2.0, 1e300, f64::MAX]);
    let share = select(vec![0.0, 0.2, 1.0]);
    (proptest::collection::vec(time(), 14), factor, share).prop_map(|(t, factor, share)| {
        config()
            .initial_backoff(t[0].min(t[1]))
            .max_backoff(t[0].max(t[1]))
            .backoff_multiplier(factor)
            .backoff_jitter(share)
            .keepalive_time(t[2])
            .keepalive_timeout(t[3])
            .keepalive_floor(t[4])
            .timeout(t[5])
            .attempt_timeout(t[6])
            .connect_timeout(t[7])
            .credentials_timeout(t[8])
            .reconnect_initial_backoff(t[9].min(t[10]))
            .reconnect_max_backoff(t[9].max(t[10]))
            .reconnect_backoff_multiplier(factor)
            .reconnect_jitter(share)
            .reconnect_spread(t[11])
            .reconnect_stable_after(t[12])
            .intensity_period(t[13])
    })
}

async fn say(channel: &SupervisedChannel, options: CallOptions) -> Result<String, Status> {
    let mut request = Request::new("x".to_owned());
    request.extensions_mut().insert(options);
    // The caller's patience is bounded, whatever the options say.
    match tokio::time::timeout(ms(200), channel.unary::<String, String>(SAY, request)).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::cancelled("the test gave up")),
    }
}

/// A link's life: up, lost, refused, sent away, complained of, idle for long, with calls of odd
/// times on it.
async fn live(config: ConfigBuilder, options: CallOptions, wait: Duration) -> Result<(), String> {
    let config = config.build().map_err(|error| error.to_string())?;
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let builder = Supervisor::builder(config).connector(network.connector()).rng_seed(1);
    let hook = |_| async { Ok(tonic::metadata::MetadataMap::new()) };
    let supervisor = builder.call_credentials(hook).allow_plaintext(true).spawn();
    let log = EventLog::of(&supervisor);
    let channel = supervisor.channel();
    let scripts = [
        Script::echo(),
        Script::always(Code::Unavailable),
        Answer::status(Code::Unavailable).pushback("2147483647").into(),
        Answer::status(Code::Unavailable).retry_info(Duration::from_secs(i64::MAX as u64)).into(),
        Script::delay(secs(10)),
    ];
    for script in scripts {
        server.script(script);
        let _ = say(&channel, options).await;
        drop(post(&supervisor.mailbox(), "x", options));
        network.reset_all();
        tokio::time::sleep(ms(1)).await;
        supervisor.reconnect_now();
        let _ = say(&channel, options).await;
        server.goaway().await;
        tokio::time::sleep(wait).await;
        supervisor.reconnect_now();
        server.kill().await;
        let _ = say(&channel, options.wait_for_ready(false)).await;
        tokio::time::sleep(wait).await;
        server.restart().await;
        supervisor.reconnect_now();
        tokio::time::sleep(ms(10)).await;
    }
    server.script(Script::echo());
    let plain = say(&channel, CallOptions::new().timeout(secs(2))).await;
    let failed = log.all(|fact| match fact {
        Fact::ChildFailed { child, error, .. } => Some(format!("{child}: {error}")),
        _ => None,
    });
    supervisor.shutdown(secs(1)).await;
    match (failed.first(), plain) {
        (Some((_, failed)), _) => Err(failed.clone()),
        (None, Err(status)) if status.code() == Code::Internal => Err(status.to_string()),
        _ => Ok(()),
    }
}

/// Everything as long as it can be.
#[test]
fn a_channel_whose_times_are_all_as_long_as_can_be_spawns_fails_and_redials() {
    let longest = Duration::MAX;
    let config = config()
        .initial_backoff(longest)
        .max_backoff(longest)
        .keepalive_time(longest)
        .keepalive_timeout(longest)
        .connect_timeout(longest)
        .credentials_timeout(longest)
        .timeout(longest)
        .reconnect_initial_backoff(longest)
        .reconnect_max_backoff(longest)
        .reconnect_spread(longest)
        .reconnect_jitter(1.0)
        .reconnect_stable_after(longest);
    let options = CallOptions::new().timeout(longest).attempt_timeout(longest).long_poll(longest);
    paused_runtime().block_on(live(config, options, secs(100_000))).expect("no panic");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_times_are_configured_and_asked_for_no_actor_fails(
        config in odd_config(),
        timeout in time(),
        attempt in time(),
        long_poll in time(),
    ) {
        let options = CallOptions::new().timeout(timeout).attempt_timeout(attempt);
        let options = options.long_poll(long_poll);
        if let Err(problem) = paused_runtime().block_on(live(config, options, ms(200))) {
            prop_assert!(false, "{problem}");
        }
    }
}
