//! Whatever comes in, from files, environment, callers or peers: no panic, no hang, and every error
//! is a sentence.

use crate::support::{ADDRESS, LONG, config, paused_runtime, supervise};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use std::{cell::Cell, sync::Once, time::Duration};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, Config, ConfigError, SupervisedChannel, Supervisor,
    testing::{Frame, FrameKind, MemoryNetwork, RawLink, RawPeer},
};

const PATH: &str = "/input.Any/Thing";
/// No call of these tests may take longer.
const TIMEOUT: Duration = Duration::from_secs(5);
const HUNDRED_YEARS: Duration = Duration::from_secs(100 * 366 * 86_400);

// --- configuration ---

/// One line for each problem: where, which key, and what the rule is.
fn is_sentences(error: &ConfigError) -> bool {
    let text = error.to_string();
    let line =
        |line: &str| line.len() > 10 && line.contains(' ') && !line.contains(char::is_control);
    !text.is_empty() && text.lines().all(line)
}

fn well_said(config: Result<Config, ConfigError>) -> Result<(), TestCaseError> {
    if let Err(error) = config {
        prop_assert!(is_sentences(&error), "{error}");
    }
    Ok(())
}

/// gRPC's rule for `grpc-timeout`: at most 8 digits and a unit.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

proptest! {
    #[test]
    fn any_yaml_is_a_configuration_or_sentences(
        text in "\\PC{0,200}",
        lines in vec("[-a-z_0-9:.,{}\\[\\]&*!|>'\"#% \t]{0,40}", 0..6),
        key in "[a-z_.]{1,20}",
    ) {
        well_said(Config::from_yaml(&text))?;
        well_said(Config::from_yaml(&format!("grpc:\n  {}", lines.join("\n  "))))?;
        well_said(Config::from_yaml(&format!("grpc: {{{key}: {text:?}}}")))?;
    }

    #[test]
    fn any_environment_is_a_configuration_or_sentences(
        key in "[A-Z_]{0,20}",
        value in any::<String>(),
    ) {
        let known = ["MAX_BACKOFF", "PORT", "HOST", "TARGET", "KEEPALIVE_TIME"];
        for key in known.into_iter().chain(["QUEUE__MAX_BYTES", "RETRYABLE_STATUS_CODES", &key]) {
            let variable = (format!("TONIC_SUPERVISOR_GRPC_{key}"), value.clone());
            well_said(Config::builder().environment_from([variable]).build())?;
        }
    }

    #[test]
    fn any_duration_is_between_the_least_and_a_hundred_years_or_a_sentence(
        text in "[-+]?[0-9.e ]{0,12}(ns|us|ms|s|m|h|d|y)?",
        float in any::<f64>(),
    ) {
        for value in [format!("{text:?}"), format!("{float:?}")] {
            match Config::from_yaml(&format!("grpc: {{connect_timeout: {value}}}")) {
                Ok(config) => {
                    let time = config.connect_timeout();
                    let whole = Duration::from_millis(1)..=HUNDRED_YEARS;
                    prop_assert!(whole.contains(&time), "{value}: {time:?}");
                }
                Err(error) => prop_assert!(is_sentences(&error), "{error}"),
            }
        }
    }
}

/// A file that would grow without end when read, or nest without end, is an error, at once.
#[test]
fn a_yaml_bomb_is_an_error() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..30 {
        let last = vec![format!("*a{}", n - 1); 9].join(", ");
        laughs.push_str(&format!("a{n}: &a{n} [{last}]\n"));
    }
    let deep = format!("grpc: {}", "[".repeat(100_000));
    for bomb in
        [laughs + "grpc: *a29\n", deep, format!("grpc: {{host: {}}}", "{a: ".repeat(10_000))]
    {
        let error = Config::from_yaml(&bomb).expect_err("a bomb");
        assert!(is_sentences(&error), "{error}");
        assert!(error.to_string().len() < 1_000, "it does not repeat the file");
    }
}

// --- peers and callers ---

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Runs `test` on a runtime of its own, with paused time; no task in it may panic, and it may not
/// outlast an hour.
fn run<F: Future<Output = T>, T>(test: F) -> T {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.with(|panics| panics.set(panics.get() + 1));
            shown(panic);
        }));
    });
    let before = PANICS.with(Cell::get);
    let ended = paused_runtime().block_on(async { tokio::time::timeout(LONG, test).await });
    assert_eq!(PANICS.with(Cell::get), before, "a task panicked");
    ended.expect("it does not hang")
}

/// A peer that sends this to the first call of each link, whole, and from then on answers well.
async fn peer(
    network: &MemoryNetwork,
    what: impl Fn(u32) -> Bytes + Clone + Send + 'static,
) -> impl Drop {
    RawPeer::on_memory(network, ADDRESS).await.play(move |mut link: RawLink| {
        let what = what.clone();
        async move {
            link.send_settings(&[]).await;
            let Some((stream, _)) = link.next_whole_request().await else { return };
            link.send_bytes(&what(stream)).await;
            while let Some((stream, body)) = link.next_whole_request().await {
                link.answer(stream, body.get(5..).unwrap_or_default()).await;
            }
        }
    })
}

async fn unary(channel: &SupervisedChannel) -> Result<String, Status> {
    let mut request = Request::new("hello".to_owned());
    request.extensions_mut().insert(CallOptions::new().timeout(TIMEOUT));
    channel.unary::<String, String>(PATH, request).await.map(tonic::Response::into_inner)
}

async fn streaming(channel: &SupervisedChannel) -> Result<(), Status> {
    let mut request = Request::new("hello".to_owned());
    request.extensions_mut().insert(CallOptions::new().timeout(TIMEOUT));
    let (path, codec) =
        (http::uri::PathAndQuery::from_static(PATH), ProstCodec::<String, String>::default());
    let mut answer =
        Grpc::new(channel.clone()).server_streaming(request, path, codec).await?.into_inner();
    while answer.message().await?.is_some() {}
    Ok(())
}

/// Both kinds of calls end in time; what failed without the peer's own word says why in a line.
async fn calls_end(supervisor: &Supervisor) -> Result<(), TestCaseError> {
    let (channel, began) = (supervisor.channel(), tokio::time::Instant::now());
    for _ in 0..2 {
        let (unary, streaming) = tokio::join!(unary(&channel), streaming(&channel));
        for status in [unary.err(), streaming.err()].into_iter().flatten() {
            let words = status.message();
            let by_us = tonic_supervisor::CallReport::of(&status)
                .is_some_and(|report| report.outcome.cause != tonic_supervisor::Cause::Status);
            prop_assert!(
                !by_us || (words.contains(' ') && !words.contains(char::is_control)),
                "{status:?}"
            );
        }
    }
    prop_assert!(
        began.elapsed() <= TIMEOUT * 2 + Duration::from_millis(10),
        "{:?}",
        began.elapsed()
    );
    supervisor.shutdown(Duration::ZERO).await;
    prop_assert_eq!(supervisor.snapshot().calls_open, 0);
    Ok(())
}

/// What a client may hear, mostly nonsense: random frames, and good ones at the wrong time.
fn frame() -> impl Strategy<Value = Frame> {
    let stream = 0..8u32;
    let payload = vec(any::<u8>(), 0..40);
    let kind = prop_oneof![
        Just(FrameKind::Data),
        Just(FrameKind::Headers),
        Just(FrameKind::Priority),
        Just(FrameKind::RstStream),
        Just(FrameKind::Settings),
        Just(FrameKind::PushPromise),
        Just(FrameKind::Ping),
        Just(FrameKind::GoAway),
        Just(FrameKind::WindowUpdate),
        Just(FrameKind::Continuation),
        any::<u8>().prop_map(FrameKind::Other),
    ];
    let grpc = prop_oneof![Just("0"), Just("5"), Just("14"), Just("x"), Just("")];
    prop_oneof![
        (kind, any::<u8>(), stream.clone(), payload.clone())
            .prop_map(|(kind, flags, stream, payload)| Frame::new(kind, flags, stream, payload)),
        (0..8u16, any::<u32>()).prop_map(|(id, value)| Frame::settings(&[(id, value)])),
        (stream.clone(), any::<u32>())
            .prop_map(|(stream, more)| Frame::window_update(stream, more)),
        (stream.clone(), 0..20u32).prop_map(|(stream, code)| Frame::reset(stream, code)),
        (any::<u32>(), 0..20u32, payload.clone())
            .prop_map(|(last, code, debug)| Frame::goaway(last, code, &debug)),
        any::<[u8; 8]>().prop_map(Frame::ping),
        (stream.clone(), payload, any::<bool>())
            .prop_map(|(stream, bytes, end)| Frame::data(stream, bytes, end)),
        (stream, grpc, any::<bool>(), any::<bool>()).prop_map(|(stream, status, head, end)| {
            let head: &[(&str, &str)] = if head {
                &[(":status", "200"), ("content-type", "application/grpc")]
            } else {
                &[]
            };
            Frame::headers(stream, &[head, &[("grpc-status", status)]].concat(), end)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_sequence_of_frames_leaves_every_call_its_answer_in_time(frames in vec(frame(), 0..12)) {
        let bytes: Bytes = frames.iter().flat_map(Frame::to_bytes).collect();
        run(async {
            let network = MemoryNetwork::new();
            let _peer = peer(&network, move |_| bytes.clone()).await;
            calls_end(&supervise(&network, config().max_retry_attempts(1))).await
        })?;
    }

    #[test]
    fn any_bytes_leave_every_call_its_answer_in_time(bytes in vec(any::<u8>(), 0..200)) {
        run(async {
            let network = MemoryNetwork::new();
            let bytes: Bytes = bytes.into();
            let _peer = peer(&network, move |_| bytes.clone()).await;
            calls_end(&supervise(&network, config().max_retry_attempts(1))).await
        })?;
    }

    /// Trailers as bytes that a header may hold, and as bytes that it may not.
    #[test]
    fn any_trailers_are_a_status(
        status in "\\PC{0,4}",
        message in "\\PC{0,40}",
        pushback in "[-+0-9a-z ]{0,12}",
        details in "[A-Za-z0-9+/=]{0,40}",
    ) {
        run(async {
            let network = MemoryNetwork::new();
            let trailers = move |stream| {
                let fields = [
                    (":status", "200"),
                    ("content-type", "application/grpc"),
                    ("grpc-status", &*status),
                    ("grpc-message", &*message),
                    ("grpc-retry-pushback-ms", &*pushback),
                    ("grpc-status-details-bin", &*details),
                ];
                Frame::headers(stream, &fields, true).to_bytes()
            };
            let _peer = peer(&network, trailers).await;
            calls_end(&supervise(&network, config().max_retry_attempts(1))).await
        })?;
    }

    /// gRPC's percent-encoding: every text comes through, whatever is in it.
    #[test]
    fn any_status_message_comes_through_its_percent_encoding(text in any::<String>()) {
        let coded: String = text
            .bytes()
            .map(|byte| match byte {
                b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect();
        let told = run(async {
            let network = MemoryNetwork::new();
            let answer = move |stream| {
                let head = [(":status", "200"), ("content-type", "application/grpc")];
                let status = [("grpc-status", "9"), ("grpc-message", &*coded)];
                Frame::headers(stream, &[head, status].concat(), true).to_bytes()
            };
            let _peer = peer(&network, answer).await;
            let supervisor = supervise(&network, config().max_retry_attempts(1));
            unary(&supervisor.channel()).await.expect_err("the peer says so")
        });
        // A header's value has no blanks at its ends.
        prop_assert_eq!(told.code(), Code::FailedPrecondition);
        prop_assert_eq!(told.message().trim(), text.trim());
    }

    /// A caller's `grpc-timeout`, well written or not: a deadline, or none of its own.
    #[test]
    fn any_timeout_of_a_caller_ends_the_call_in_time_or_is_ignored(text in "[0-9]{0,9}[HMSmunx]?") {
        run(async {
            let network = MemoryNetwork::new();
            let supervisor = supervise(&network, config().max_retry_attempts(1));
            let mut request = Request::new("hello".to_owned());
            request.extensions_mut().insert(CallOptions::new().timeout(TIMEOUT));
            request.metadata_mut().insert("grpc-timeout", text.parse().expect("ascii"));
            let began = tokio::time::Instant::now();
            let channel = supervisor.channel();
            let outcome = channel.unary::<String, String>(PATH, request).await;
            let status = outcome.expect_err("nobody listens");
            prop_assert_eq!(status.code(), Code::DeadlineExceeded);
            let asked = grpc_timeout(&text).unwrap_or(TIMEOUT);
            let (took, asked) = (began.elapsed(), asked.min(TIMEOUT));
            prop_assert!(took.abs_diff(asked) <= Duration::from_millis(2), "{text}: {took:?}");
            Ok(())
        })?;
    }
}
