//! What `Config::plan` says is what happens: 50 configurations, drawn from seeds, are planned and
//! then played in virtual time, and every time is compared to the millisecond.

use crate::support::*;
use rand::{
    RngExt as _, SeedableRng as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, IteratorRandom as _},
};
use std::{fmt::Debug, time::Duration};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};
use tonic_supervisor::{
    CallOptions, Config, ConnectivityState, Supervisor,
    config::Plan,
    policy::{CallPlan, DialPlan, PlannedEnd, code_names},
    testing::{MemoryNetwork, Script, ScriptedServer},
};

const CONFIGURATIONS: u64 = 50;

/// What every call is made of, without the slash of its path.
const METHOD: &str = "test.Echo/Say";

/// A configuration as text: the keys of methods stand at random for all calls, or in one of the
/// patterns that name the method, before others that must not count.
fn drawn(seed: u64) -> String {
    let mut rng = StdRng::seed_from_u64(seed);
    let time = |rng: &mut StdRng, least: u64, most: u64| -> f64 {
        // Half of them are no whole milliseconds.
        let micros = rng.random_range(least * 1_000..=most * 1_000);
        let micros = if rng.random() { micros } else { micros.div_ceil(1_000) * 1_000 };
        micros as f64 / 1e6
    };
    let mut keys: Vec<(&str, String)> = Vec::new();
    let unlimited = rng.random_bool(0.3);
    let initial = if unlimited || rng.random_bool(0.9) { time(&mut rng, 50, 3_000) } else { 0.0 };
    let factor = rng.random_range(10..=30) as f64 / 10.0;
    keys.push(("initial_backoff", initial.to_string()));
    keys.push(("backoff_multiplier", factor.to_string()));
    keys.push(("max_backoff", (initial + time(&mut rng, 0, 20_000)).to_string()));
    keys.push((
        "max_retry_attempts",
        match unlimited {
            true => "unlimited".into(),
            false => rng.random_range(0..=6).to_string(),
        },
    ));
    let codes = code_names()[1..].iter().copied().filter(|_| rng.random_bool(0.4));
    let mut codes: Vec<_> = codes.collect();
    for likely in ["UNAVAILABLE", "DEADLINE_EXCEEDED"] {
        if !codes.contains(&likely) && rng.random_bool(0.6) {
            codes.push(likely);
        }
    }
    keys.push(("retryable_status_codes", format!("[{}]", codes.join(", "))));
    let limited = unlimited || rng.random_bool(0.7);
    let limit = if limited { time(&mut rng, 1, 60_000).to_string() } else { "none".into() };
    keys.push(("timeout", limit));
    let limited = rng.random_bool(0.6);
    let limit = if limited { time(&mut rng, 1, 10_000).to_string() } else { "none".into() };
    keys.push(("attempt_timeout", limit));
    keys.push(("wait_for_ready", rng.random_bool(0.8).to_string()));

    let pattern = ["test.Echo/Say", "test.Echo/*", "*"].choose(&mut rng).expect("three");
    let (mut general, mut own) = (Vec::new(), Vec::new());
    for (key, value) in keys {
        if rng.random() { &mut general } else { &mut own }.push(format!("{key}: {value}"));
    }
    let kinds = ["", "kind: unary", "kind: unary", "kind: auto", "kind: streaming"];
    let twice = ["", "idempotent: true", "idempotent: false"];
    own.extend(kinds.choose(&mut rng).map(|kind| (*kind).to_owned()));
    own.extend(twice.choose(&mut rng).map(|idempotent| (*idempotent).to_owned()));
    own.retain(|key| !key.is_empty());
    general.push(format!("retry_undescribed: {}", rng.random_bool(0.7)));
    let throttle = [
        "{}",
        "{enabled: false}",
        "{ratio: 0.1, floor: 0.3}",
        "{ratio: 0, floor: 0}",
        "{max_tokens: 6, token_ratio: 0.1}",
    ];
    general.push(format!("retry_throttle: {}", throttle.choose(&mut rng).expect("some")));
    let quick = time(&mut rng, 1, 2_000);
    let slowest = quick + time(&mut rng, 0, 5_000);
    let factor = rng.random_range(10..=30) as f64 / 10.0;
    general.push(format!(
        "reconnect: {{jitter: 0, initial_backoff: 9, max_backoff: 9, \
         waiting_initial_backoff: {quick}, waiting_backoff_multiplier: {factor}, \
         waiting_max_backoff: {slowest}}}"
    ));
    general.push(format!("connect_timeout: {}", time(&mut rng, 1, 20_000)));
    general.push(format!("keepalive_time: {}", time(&mut rng, 1, 60_000)));
    general.push(format!("keepalive_timeout: {}", time(&mut rng, 1, 20_000)));
    general.push(format!("keepalive_floor: {}", (1..=20).choose(&mut rng).expect("some")));
    let lines: String = general.iter().map(|key| format!("  {key}\n")).collect();
    format!(
        "grpc:\n  host: server\n  port: 50051\n{lines}  methods:\n    other.Echo/Say: \
         {{max_retry_attempts: 9}}\n    \"{pattern}\": {{{}}}\n",
        own.join(", ")
    )
}

/// What happened, beside what was planned.
struct Case {
    seed: u64,
    yaml: String,
    config: Config,
    plan: Plan,
}

impl Case {
    fn new(seed: u64) -> Self {
        let yaml = drawn(seed);
        let config = Config::from_yaml(&yaml).unwrap_or_else(|error| panic!("{yaml}\n{error}"));
        let plan = config.plan(METHOD).expect("a method");
        Self { seed, yaml, config, plan }
    }

    #[track_caller]
    fn same<T: Debug + PartialEq>(&self, what: &str, happened: T, planned: T) {
        let Self { seed, yaml, plan, .. } = self;
        assert_eq!(happened, planned, "seed {seed}, {what} (happened, planned)\n{yaml}\n{plan}");
    }

    /// A call that ended as it was planned to.
    #[track_caller]
    fn ended(&self, what: &str, ended: (Duration, Status), end: PlannedEnd) {
        let (took, status) = ended;
        let why = report(&status).not_retried;
        let planned = (end.at, end.code, end.not_retried);
        self.same(what, (took, status.code(), why), planned);
    }

    /// A server in memory that does one thing, and a call on a link to it.
    async fn on_link(&self, what: &str, script: Script, planned: &CallPlan) {
        let network = MemoryNetwork::new();
        let server = ScriptedServer::builder().script(script).on_memory(&network, ADDRESS).await;
        let supervisor = supervise_checked(&network, self.config.clone());
        supervisor.wait_ready(LONG).await.expect("Ready");
        let made = Instant::now();
        match (call(&supervisor, planned.end, LONG).await, planned.end) {
            (Some(ended), Some(end)) => self.ended(what, ended, end),
            (None, None) => {}
            (happened, _) => {
                self.same(what, happened.map(|(at, _)| at), planned.end.map(|it| it.at))
            }
        }
        let ago = millis(made.elapsed());
        let arrivals: Vec<_> = server.arrivals().iter().map(|arrival| millis(arrival.at)).collect();
        self.same(what, arrivals.len(), planned.made as usize);
        // Everything up to the call took no time.
        let begins: Vec<_> = planned.attempts.iter().map(|attempt| attempt.at).collect();
        self.same(what, arrivals[..begins.len()].to_vec(), begins);
        assert!(ago >= *arrivals.last().expect("one attempt at least"));
    }

    /// Nobody listens, or nobody answers.
    async fn without_link(&self, what: &str, dropped: bool, planned: &DialPlan) {
        let network = MemoryNetwork::new();
        network.black_hole(dropped);
        let supervisor = supervise_checked(&network, self.config.clone());
        // Dials may follow each other by milliseconds: no longer than what is listed.
        let listed = planned.dials.last().copied().unwrap_or_default() + SECOND;
        match (call(&supervisor, planned.end, listed).await, planned.end) {
            (Some(ended), Some(end)) => self.ended(what, ended, end),
            (None, None) => {}
            (happened, _) => {
                self.same(what, happened.map(|(at, _)| at), planned.end.map(|it| it.at))
            }
        }
        let before = |at: &Duration| planned.end.is_none_or(|end| *at < end.at || at.is_zero());
        let dials = network.dials().into_iter().map(millis).filter(before);
        let dials: Vec<_> = dials.take(CallPlan::LISTED).collect();
        self.same(what, dials, planned.dials.clone());
    }

    /// The server's machine is gone, and nobody says so.
    async fn dead_path(&self) {
        let network = MemoryNetwork::new();
        let server =
            ScriptedServer::builder().script(Script::hang()).on_memory(&network, ADDRESS).await;
        let supervisor = supervise_checked(&network, self.config.clone());
        supervisor.wait_ready(LONG).await.expect("Ready");
        network.freeze_all();
        let calling = start(&supervisor.channel(), "hello", CallOptions::new());
        let mut state = supervisor.watch_state();
        let lost = state.wait_for(|state| *state != ConnectivityState::Ready);
        let (took, _) = timed(async { lost.await.map(|state| *state) }).await;
        self.same("dead path", Some(took), self.plan.dead_path);
        calling.abort();
        drop(server);
    }
}

/// How a call ended, after how long; none: it had not long after it was to end, if it was.
async fn call(
    supervisor: &Supervisor,
    end: Option<PlannedEnd>,
    long: Duration,
) -> Option<(Duration, Status)> {
    let channel = supervisor.channel();
    let call = timed(generated_unary(&channel, CallOptions::new()));
    let (took, answer) =
        timeout(long + end.map_or(Duration::ZERO, |end| end.at), call).await.ok()?;
    Some((took, answer.expect_err("nobody answers with OK")))
}

#[test]
fn fifty_random_configurations_do_to_the_millisecond_what_their_plans_say() {
    let mut ends = std::collections::BTreeSet::new();
    for seed in 0..CONFIGURATIONS {
        let case = Case::new(seed);
        let plan = &case.plan;
        paused_runtime().block_on(async {
            let busy = Script::always(Code::Unavailable);
            case.on_link("UNAVAILABLE at once", busy, &plan.unavailable).await;
            case.on_link("a retried code", Script::always(plan.retried_code()), &plan.retried)
                .await;
            case.on_link("silence", Script::hang(), &plan.silent).await;
            case.dead_path().await;
        });
        paused_runtime().block_on(case.without_link("refused", false, &plan.refused));
        paused_runtime().block_on(case.without_link("dropped", true, &plan.dropped));
        let end =
            |end: Option<PlannedEnd>| end.map(|end| (end.code as i32, end.not_retried.map(kind)));
        ends.extend([plan.unavailable.end, plan.silent.end, plan.refused.end].map(end));
    }
    // The seeds reach every kind of end.
    for why in ["MaybeProcessed", "LimitReached", "OutlivesDeadline", "Throttled"] {
        assert!(ends.iter().flatten().any(|(_, said)| said.as_deref() == Some(why)), "{ends:?}");
    }
    assert!(ends.contains(&None) && ends.contains(&Some((4, None))), "{ends:?}");
}

/// A reason without its numbers.
fn kind(why: tonic_supervisor::NotRetried) -> String {
    format!("{why:?}").split('(').next().unwrap_or_default().to_owned()
}
