//! Where a call's time goes: each wait has its reason, and they add up with the time on the wire to
//! the time that the call took.

use crate::support::{ADDRESS, LONG, Rig, SAY, config, ms, record, say, secs, supervise};
use std::time::Duration;
use tonic::{Code, Request, Status, metadata::MetadataMap};
use tonic_supervisor::{
    CallOptions, CallReport, ConfigBuilder, Story, Supervisor, Waits,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};

/// The story of a call that is answered, or of one that fails.
async fn story(supervisor: &Supervisor, options: CallOptions) -> (Waits, Duration, Duration) {
    let mut request = Request::new("hello".to_owned());
    request.extensions_mut().insert(options.story());
    match supervisor.channel().unary::<String, String>(SAY, request).await {
        Ok(answer) => {
            let story = answer.extensions().get::<Story>().expect("a story");
            (story.waits, story.on_wire, story.elapsed)
        }
        Err(status) => {
            let report = CallReport::of(&status).expect("a report");
            (report.waits, report.on_wire, report.elapsed)
        }
    }
}

/// Waits as link, room, credentials and retry, then the time on the wire, in milliseconds. They add
/// up.
#[track_caller]
fn check((waits, on_wire, elapsed): (Waits, Duration, Duration), expected: [u64; 5]) {
    let [link, room, credentials, retry] = waits.by_reason().map(|(_, time)| time);
    let near = |time: Duration, millis: u64| time.abs_diff(ms(millis)) <= ms(5);
    let all = [link, room, credentials, retry, on_wire];
    let fits = all.into_iter().zip(expected).all(|(time, millis)| near(time, millis));
    assert!(fits, "{all:?} instead of {expected:?} ms");
    assert!((waits.total() + on_wire).abs_diff(elapsed) <= ms(5), "{all:?} are not {elapsed:?}");
}

fn slow(millis: u64) -> Script {
    Script::delay(ms(millis))
}

async fn ready(script: Script, config: ConfigBuilder) -> Rig {
    Rig::with_script(script, config).await.ready().await
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_out_at_once_waits_for_nothing() {
    let rig = ready(slow(400), config()).await;
    check(story(&rig.supervisor, CallOptions::new()).await, [0, 0, 0, 0, 400]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_link_is_its_own() {
    let network = MemoryNetwork::new();
    network.black_hole(true);
    let supervisor = supervise(&network, config().connect_timeout(secs(3)));
    let _server = ScriptedServer::builder().script(slow(100)).on_memory(&network, ADDRESS).await;
    let reachable = async {
        tokio::time::sleep(secs(1)).await;
        network.black_hole(false);
    };
    let told = tokio::join!(story(&supervisor, CallOptions::new()), reachable).0;
    assert!(told.0.link >= secs(1) && told.0.room.is_zero(), "{told:?}");
    assert!((told.0.total() + told.1).abs_diff(told.2) <= ms(5), "{told:?}");
    check((told.0, told.1, told.2), [told.0.link.as_millis() as u64, 0, 0, 0, 100]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_room_is_its_own() {
    let rig = ready(slow(600), config().max_in_flight(1)).await;
    let (first, second) = tokio::join!(
        story(&rig.supervisor, CallOptions::new()),
        story(&rig.supervisor, CallOptions::new())
    );
    check(first, [0, 0, 0, 0, 600]);
    check(second, [0, 600, 0, 0, 600]);
}

/// While a call waits for room its link is lost: the rest of the wait is for a link.
#[tokio::test(start_paused = true)]
async fn a_wait_for_room_becomes_one_for_a_link_when_that_is_lost() {
    let rig = ready(Script::hang(), config().max_in_flight(1).connect_timeout(secs(2))).await;
    let lost = async {
        tokio::time::sleep(ms(700)).await;
        rig.network.black_hole(true);
        rig.server.kill().await;
        tokio::time::sleep(ms(1_500)).await;
        rig.server.script(slow(100));
        rig.network.black_hole(false);
        rig.server.restart().await;
    };
    let one = || story(&rig.supervisor, CallOptions::new().idempotent(false));
    let (_, second, ()) = tokio::join!(one(), one(), lost);
    assert!(second.0.room.abs_diff(ms(700)) <= ms(5), "{second:?}");
    assert!(second.0.link >= ms(1_500), "{second:?}");
    assert!((second.0.total() + second.1).abs_diff(second.2) <= ms(5), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn the_wait_between_attempts_is_its_own_and_each_attempt_counts_as_on_the_wire() {
    let failed = || Answer::status(Code::Unavailable).after(ms(200));
    let script = Script::sequence(vec![failed(), failed()], Answer::echo().after(ms(300)));
    let rig = ready(script, config()).await;
    // The waits are 1 s and 2 s (seed).
    check(story(&rig.supervisor, CallOptions::new()).await, [0, 0, 0, 3_000, 700]);
}

#[tokio::test(start_paused = true)]
async fn a_pushback_is_a_wait_for_the_retry() {
    let script =
        Script::sequence(vec![Answer::status(Code::Unavailable).pushback("250")], Answer::echo());
    let rig = ready(script, config()).await;
    check(story(&rig.supervisor, CallOptions::new()).await, [0, 0, 0, 250, 0]);
}

/// The hook of a channel whose server echoes: it takes so long, and fails the first time.
async fn with_hook(wait: Duration, fails_first: bool) -> Supervisor {
    struct Slow(Duration, std::sync::atomic::AtomicBool);
    impl tonic_supervisor::CallCredentials for Slow {
        fn metadata(
            &self,
            _: tonic_supervisor::CredentialsRequest,
        ) -> futures::future::BoxFuture<'static, Result<MetadataMap, Status>> {
            let (wait, fails) = (self.0, self.1.swap(false, std::sync::atomic::Ordering::Relaxed));
            Box::pin(async move {
                tokio::time::sleep(wait).await;
                if fails {
                    Err(Status::unavailable("no token yet"))
                } else {
                    Ok(MetadataMap::new())
                }
            })
        }
    }
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().script(slow(100)).on_memory(&network, ADDRESS).await;
    let supervisor = Supervisor::builder(config().build().expect("valid"))
        .connector(network.connector())
        .allow_plaintext(true)
        .call_credentials(Slow(wait, fails_first.into()))
        .spawn();
    // The server lives for as long as the test does.
    std::mem::forget(server);
    supervisor.wait_ready(LONG).await.expect("Ready");
    supervisor
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_credentials_is_its_own() {
    let supervisor = with_hook(ms(350), false).await;
    check(story(&supervisor, CallOptions::new()).await, [0, 0, 350, 0, 100]);
}

#[tokio::test(start_paused = true)]
async fn credentials_that_could_not_be_had_count_each_time() {
    let supervisor = with_hook(ms(350), true).await;
    check(story(&supervisor, CallOptions::new()).await, [0, 0, 700, 1_000, 100]);
}

/// A call that ends while it waits: what it waited is told, and no more.
async fn ended(rig: &Rig, after: u64) -> (Waits, Duration, Duration) {
    story(&rig.supervisor, CallOptions::new().timeout(ms(after))).await
}

#[tokio::test(start_paused = true)]
async fn a_deadline_cuts_each_wait_where_it_is() {
    let network = MemoryNetwork::new();
    network.black_hole(true);
    let supervisor = supervise(&network, config());
    let unconnected = story(&supervisor, CallOptions::new().timeout(ms(800))).await;
    check(unconnected, [800, 0, 0, 0, 0]);

    let rig = ready(Script::hang(), config().max_in_flight(1)).await;
    let (first, second) = tokio::join!(ended(&rig, 900), ended(&rig, 500));
    check(first, [0, 0, 0, 0, 900]);
    check(second, [0, 500, 0, 0, 0]);

    let supervisor = with_hook(LONG, false).await;
    let asked = story(&supervisor, CallOptions::new().timeout(ms(450))).await;
    check(asked, [0, 0, 450, 0, 0]);
}

/// The wait for a retry is known when it begins; a shutdown in the middle takes the rest away.
#[tokio::test(start_paused = true)]
async fn a_shutdown_cuts_the_wait_for_a_retry_where_it_is() {
    let rig = ready(Script::always(Code::Unavailable), config()).await;
    let shutdown = async {
        tokio::time::sleep(ms(300)).await;
        rig.supervisor.shutdown(Duration::ZERO).await;
    };
    let (told, ()) = tokio::join!(story(&rig.supervisor, CallOptions::new()), shutdown);
    check(told, [0, 0, 0, 300, 0]);
}

/// What is recorded for operators is the same, by reason; zeroes are not recorded.
#[test]
fn each_wait_is_recorded_by_its_reason() {
    let recorded = record(|| async {
        let script =
            Script::sequence(vec![Answer::status(Code::Unavailable)], Answer::echo().after(ms(50)));
        let rig = ready(script, config()).await;
        say(&rig.channel(), "hello", CallOptions::new()).await.expect("answered");
    });
    let of_waits =
        |(name, _): &(&String, &Vec<f64>)| name.starts_with("tonic_supervisor.call.wait");
    let waits: Vec<_> = recorded.iter().filter(of_waits).collect();
    assert_eq!(waits.len(), 1, "only the retry was waited for: {waits:?}");
    assert!(waits[0].0.contains("reason=retry"), "{waits:?}");
    assert_eq!(waits[0].1, &[1.0]);
}
