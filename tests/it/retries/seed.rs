//! Each promise of the seed document as a sentence, in virtual time and exact.

use crate::support::{
    EventLog, LONG, LogLines, Rig, SAY, config, echo, millis, seconds, supervise_checked, timed,
};
use http::uri::PathAndQuery;
use std::time::Duration;
use tokio::time::sleep;
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallKind, Config, ConnectivityState, Fact, SupervisedChannel,
    config::MethodOptions,
    testing::{Answer, MemoryNetwork, Script},
};

const SIX: [Code; 6] = [
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::ResourceExhausted,
    Code::Aborted,
    Code::Internal,
    Code::Unknown,
];

/// A rig whose server answers everything with `code`, and the outcome of one call on it.
async fn call_that_fails(
    config: tonic_supervisor::ConfigBuilder,
    code: Code,
) -> (Rig, Duration, Status) {
    let rig = Rig::new(config).await;
    rig.server.script(Script::always(code));
    let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
    (rig, took, outcome.expect_err("the server fails every call"))
}

fn delay(fact: &Fact) -> Option<Duration> {
    match fact {
        Fact::RetryScheduled { delay, .. } => Some(*delay),
        _ => None,
    }
}

fn became(state: ConnectivityState) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::StateChanged { to, .. } if *to == state)
}

// --- retries ---

/// 指数退避策略, max_retry_attempts: 3, min(initial_backoff * multiplier^attempt, max_backoff)
#[tokio::test(start_paused = true)]
async fn with_defaults_an_unavailable_server_sees_four_attempts_at_0_1_3_and_7_seconds() {
    let (rig, took, status) = call_that_fails(config(), Code::Unavailable).await;
    assert_eq!(rig.arrivals_at(), seconds(&[0.0, 1.0, 3.0, 7.0]));
    assert_eq!((status.code(), took), (Code::Unavailable, Duration::from_secs(7)));
}

#[tokio::test(start_paused = true)]
async fn six_retries_wait_1_2_4_8_10_and_10_seconds() {
    let rig = Rig::new(config().max_retry_attempts(6)).await;
    rig.server.script(Script::always(Code::Unavailable));
    let events = EventLog::of(&rig.supervisor);
    echo(&rig.supervisor.channel(), "x").await.expect_err("the server fails every call");
    assert_eq!(events.facts(delay).await, seconds(&[1.0, 2.0, 4.0, 8.0, 10.0, 10.0]));
    assert_eq!(rig.arrivals_at(), seconds(&[0.0, 1.0, 3.0, 7.0, 15.0, 25.0, 35.0]));
}

/// 自定义重试配置: 5 retries, from 2 s to 20 s, times 1.5
#[tokio::test(start_paused = true)]
async fn the_custom_example_waits_2_3_4_5_6_75_and_10_125_seconds() {
    let config = config()
        .max_retry_attempts(5)
        .initial_backoff(Duration::from_secs(2))
        .max_backoff(Duration::from_secs(20))
        .backoff_multiplier(1.5);
    let rig = Rig::new(config).await;
    rig.server.script(Script::always(Code::Unavailable));
    let events = EventLog::of(&rig.supervisor);
    echo(&rig.supervisor.channel(), "x").await.expect_err("the server fails every call");
    assert_eq!(events.facts(delay).await, seconds(&[2.0, 3.0, 4.5, 6.75, 10.125]));
    assert_eq!(rig.arrivals_at(), seconds(&[0.0, 2.0, 5.0, 9.5, 16.25, 26.375]));
}

/// 禁用重试
#[tokio::test(start_paused = true)]
async fn max_retry_attempts_0_disables_retries() {
    for code in SIX {
        let (rig, took, status) = call_that_fails(config().max_retry_attempts(0), code).await;
        assert_eq!((rig.arrivals_at().len(), took, status.code()), (1, Duration::ZERO, code));
    }
}

/// 智能状态码判断
#[tokio::test(start_paused = true)]
async fn each_of_the_six_codes_is_retried_and_no_other_is() {
    for code in (1..17).map(Code::from) {
        let (rig, _, status) = call_that_fails(config(), code).await;
        let attempts = if SIX.contains(&code) { 4 } else { 1 };
        assert_eq!((rig.arrivals_at().len(), status.code()), (attempts, code), "{code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_succeeds_on_its_last_attempt_succeeds() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::fail_times(3, Code::Unavailable));
    assert_eq!(echo(&rig.supervisor.channel(), "x").await.expect("the fourth attempt"), "x");
    let header = |n: &str| Some(n.to_owned());
    assert_eq!(rig.previous_attempts(), [None, header("1"), header("2"), header("3")]);
}

/// 详细日志记录
#[tokio::test(start_paused = true)]
async fn every_retry_is_logged_with_method_code_attempt_delay_and_cause() {
    let log = LogLines::listen();
    let rig = Rig::new(config()).await;
    rig.server.script(Answer::status(Code::Aborted).text("try later"));
    echo(&rig.supervisor.channel(), "x").await.expect_err("the server fails every call");
    let lines = log.saying("retry scheduled");
    let said = |names: [&str; 6]| {
        lines.iter().map(|line| names.map(|name| line.field(name).to_owned())).collect::<Vec<_>>()
    };
    let expected = [("1", "1000"), ("2", "2000"), ("3", "4000")].map(|(retry, delay)| {
        ["test.Echo/Say", "ABORTED", retry, "3", delay, "try later"].map(str::to_owned)
    });
    assert_eq!(said(["method", "code_name", "retry", "of", "delay_ms", "cause"]), expected);
    assert!(lines.iter().all(|line| line.level <= tracing::Level::INFO), "shown by default");
}

// --- reconnecting ---

/// Keepalive 检测: keepalive_time 30, keepalive_timeout 5, permitted without calls
#[tokio::test(start_paused = true)]
async fn keepalive_finds_a_dead_link_without_calls_and_redials_by_itself() {
    let rig = Rig::new(config()).await;
    let events = EventLog::of(&rig.supervisor);
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
    sleep(Duration::from_secs(15)).await;
    rig.network.freeze_all();
    let lost = events.first(|fact| matches!(fact, Fact::KeepaliveLost { .. })).await;
    assert_eq!(
        lost,
        Duration::from_secs(35),
        "silent from the start: asked after 30 s, given up 5 s later"
    );
    let ready = events.nth(2, became(ConnectivityState::Ready)).await;
    assert!(ready - lost <= Duration::from_millis(20), "ready again after {:?}", ready - lost);
    assert_eq!((rig.server.connections(), rig.arrivals_at().len()), (2, 0));
}

/// 自动重连, 重连成功后，后续调用会自动使用新连接
#[tokio::test(start_paused = true)]
async fn a_lost_link_is_redialled_without_calls_and_later_calls_use_the_new_one() {
    let rig = Rig::new(config()).await;
    let events = EventLog::of(&rig.supervisor);
    echo(&rig.supervisor.channel(), "before").await.expect("the server is up");
    rig.server.kill().await;
    events.first(became(ConnectivityState::TransientFailure)).await;
    sleep(Duration::from_secs(5)).await;
    rig.server.restart().await;
    events.nth(2, became(ConnectivityState::Ready)).await;
    assert_eq!(rig.arrivals_at().len(), 1, "no call was needed");
    echo(&rig.supervisor.channel(), "after").await.expect("the server is up");
    let connections: Vec<usize> =
        rig.server.arrivals().iter().map(|arrival| arrival.connection).collect();
    assert_eq!(connections, [1, 2]);
}

/// 重连使用指数退避策略
#[tokio::test(start_paused = true)]
async fn redials_back_off_exponentially() {
    let network = MemoryNetwork::new();
    let supervisor =
        supervise_checked(&network, config().reconnect_jitter(0.0).build().expect("valid"));
    EventLog::of(&supervisor).nth(7, |fact| matches!(fact, Fact::DialFailed { .. })).await;
    let gaps: Vec<Duration> =
        network.dials().windows(2).map(|dials| millis(dials[1] - dials[0])).collect();
    for (gap, expected) in gaps.into_iter().zip(seconds(&[1.0, 1.6, 2.56, 4.096, 6.5536, 10.0])) {
        assert!(gap.abs_diff(expected) <= Duration::from_millis(2), "{gap:?} and not {expected:?}");
    }
}

// --- notes ---

#[derive(Clone, Copy, Debug)]
enum Streaming {
    Server,
    Client,
    Both,
}

/// One streaming call, read to its end.
async fn stream(channel: SupervisedChannel, how: Streaming) -> Result<Vec<String>, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await?;
    let (path, codec) = (PathAndQuery::from_static(SAY), ProstCodec::<String, String>::default());
    let messages = || Request::new(tokio_stream::iter(["a".to_owned(), "b".to_owned()]));
    let response = match how {
        Streaming::Server => {
            grpc.server_streaming(Request::new("a".to_owned()), path, codec).await?
        }
        Streaming::Both => grpc.streaming(messages(), path, codec).await?,
        Streaming::Client => {
            return grpc
                .client_streaming(messages(), path, codec)
                .await
                .map(|one| vec![one.into_inner()]);
        }
    };
    let (mut answers, mut got) = (response.into_inner(), Vec::new());
    while let Some(answer) = answers.message().await? {
        got.push(answer);
    }
    Ok(got)
}

/// 流式调用不重试
#[tokio::test(start_paused = true)]
async fn known_streams_are_never_retried_and_without_retry_undescribed_no_stream_is() {
    let declared = config().method("test.Echo/Say", MethodOptions::new().kind(CallKind::Streaming));
    let to_the_letter = config().retry_undescribed(false);
    for (config, code) in [to_the_letter, declared]
        .into_iter()
        .flat_map(|config| SIX.map(|code| (config.clone(), code)))
    {
        for how in [Streaming::Server, Streaming::Client, Streaming::Both] {
            let rig = Rig::new(config.clone()).await;
            rig.server.script(Script::always(code));
            let (took, outcome) = timed(stream(rig.supervisor.channel(), how)).await;
            assert_eq!(outcome.expect_err("the server fails every call").code(), code);
            assert_eq!((rig.previous_attempts(), took), (vec![None], Duration::ZERO), "{how:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_after_its_first_message_is_not_retried() {
    let rig = Rig::new(config()).await;
    rig.server.script(Answer::stream(
        [prost::Message::encode_to_vec(&"a".to_owned())],
        Code::Unavailable,
    ));
    for how in [Streaming::Server, Streaming::Both] {
        let status =
            stream(rig.supervisor.channel(), how).await.expect_err("the server fails every call");
        assert_eq!(status.code(), Code::Unavailable);
    }
    assert_eq!(rig.arrivals_at().len(), 2);
}

/// A stream that the server refused unprocessed is sent again, which is no retry: no attempt is
/// counted, no header says so.
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_never_processed_is_sent_again_without_counting() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::sequence(vec![Answer::reset(7)], Answer::echo_stream()));
    let (took, outcome) = timed(stream(rig.supervisor.channel(), Streaming::Server)).await;
    assert_eq!(
        (outcome.expect("answered the second time"), took),
        (vec!["a".to_owned()], Duration::ZERO)
    );
    assert_eq!(rig.previous_attempts(), [None, None]);
    let snapshot = rig.supervisor.snapshot();
    assert_eq!((snapshot.retries, snapshot.transparent_retries), (0, 1));
}

/// 超时设置: the overall time never grows past `timeout`
#[tokio::test(start_paused = true)]
async fn the_whole_call_ends_within_timeout_retries_and_waits_included() {
    let rig = Rig::new(config().timeout(Duration::from_secs(5))).await;
    rig.server.script(Script::hang());
    let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
    assert_eq!(
        (took, outcome.expect_err("no answer").code()),
        (Duration::from_secs(5), Code::DeadlineExceeded)
    );

    rig.server.script(Script::always(Code::Unavailable));
    let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
    let status = outcome.expect_err("the server fails every call");
    assert_eq!(
        (took, status.code()),
        (Duration::from_secs(3), Code::Unavailable),
        "a wait until 7 s is pointless"
    );
}

#[tokio::test(start_paused = true)]
async fn by_default_a_call_that_is_never_answered_ends_after_a_minute() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::hang());
    let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
    assert_eq!(
        (took, outcome.expect_err("no answer").code()),
        (Duration::from_secs(60), Code::DeadlineExceeded)
    );
}

// --- configuration ---

/// The seed's two texts, as they stand there; and with values changed, so that they are seen to
/// act.
#[cfg(feature = "yaml")]
mod snippets {
    use super::*;
    use crate::{
        config::keys::{SEED_KEEPALIVE as KEEPALIVE, SEED_RETRY as RETRY},
        support::DEFAULT_ADDRESS as ADDRESS,
    };
    use tokio::time::Instant;
    use tonic_supervisor::testing::ScriptedServer;

    async fn attempts(yaml: &str, code: Code) -> Vec<Duration> {
        let network = MemoryNetwork::new();
        let server = ScriptedServer::on_memory(&network, ADDRESS).await;
        server.script(Script::always(code));
        let supervisor =
            supervise_checked(&network, Config::from_yaml(yaml).expect("the seed's own text"));
        echo(&supervisor.channel(), "x").await.expect_err("the server fails every call");
        server.arrivals().iter().map(|arrival| millis(arrival.at)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_retry_snippet_parses_and_acts() {
        assert_eq!(attempts(RETRY, Code::Unknown).await, seconds(&[0.0, 1.0, 3.0, 7.0]));
        let changed = RETRY
            .replace("max_backoff: 10.0", "max_backoff: 3.0")
            .replace("attempts: 3", "attempts: 4");
        assert_eq!(attempts(&changed, Code::Unknown).await, seconds(&[0.0, 1.0, 3.0, 6.0, 9.0]));
        let shorter = RETRY.replace("    - UNKNOWN\n", "");
        assert_eq!(attempts(&shorter, Code::Unknown).await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_keepalive_snippet_parses_and_acts() {
        let slower = KEEPALIVE.replace("time: 30", "time: 40").replace("timeout: 5", "timeout: 7");
        for (yaml, dead_after) in [(KEEPALIVE, 35), (&slower, 47)] {
            assert_eq!(death_noticed(yaml).await, Some(Duration::from_secs(dead_after)));
        }
        let only_with_calls = KEEPALIVE.replace("without_calls: true", "without_calls: false");
        assert_eq!(death_noticed(&only_with_calls).await, None);
    }

    /// When the loss of a link that froze at once, with no call on it, is noticed, if it is within
    /// ten minutes.
    async fn death_noticed(yaml: &str) -> Option<Duration> {
        let network = MemoryNetwork::new();
        let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
        let supervisor =
            supervise_checked(&network, Config::from_yaml(yaml).expect("the seed's own text"));
        supervisor.wait_ready(LONG).await.expect("Ready");
        let frozen = Instant::now();
        network.freeze_all();
        let mut state = supervisor.watch_state();
        let lost = state.wait_for(|state| *state != ConnectivityState::Ready);
        let lost = tokio::time::timeout(Duration::from_secs(600), lost).await.is_ok();
        lost.then(|| millis(frozen.elapsed()))
    }
}
