//! What the open calls are doing: each with its stage, oldest first.

use crate::support::{ADDRESS, LONG, Rig, config, ms, say, secs, start, supervise};
use tonic::{Code, Status, metadata::MetadataMap};
use tonic_supervisor::{
    CallOptions, CallStage, OpenCall, Supervisor,
    testing::{MemoryNetwork, Script, ScriptedServer},
};

/// What there is to see after `wait`.
async fn seen(supervisor: &Supervisor, wait: u64) -> Vec<OpenCall> {
    tokio::time::sleep(ms(wait)).await;
    supervisor.observer().open_calls(100)
}

fn words(calls: &[OpenCall]) -> Vec<String> {
    calls.iter().map(|call| call.stage.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn each_open_call_says_what_it_is_doing() {
    let network = MemoryNetwork::new();
    network.black_hole(true);
    let supervisor = supervise(&network, config());
    let _waiting = start(&supervisor.channel(), "hello", CallOptions::new().timeout(secs(20)));
    let calls = seen(&supervisor, 12_000).await;
    assert_eq!(words(&calls), ["waits for a link"]);
    let [call] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((call.age, call.left), (secs(12), Some(secs(8))));
    let waiting = call.waiting.as_deref().expect("words");
    assert!(waiting.starts_with("for a link: "), "{waiting}");
}

#[tokio::test(start_paused = true)]
async fn calls_on_the_wire_and_for_room_are_told_apart() {
    let rig = Rig::with_script(Script::hang(), config().max_in_flight(1)).await.ready().await;
    let _first = start(&rig.channel(), "hello", CallOptions::new());
    let _second = start(&rig.channel(), "hello", CallOptions::new());
    let calls = seen(&rig.supervisor, 3_100).await;
    assert_eq!(words(&calls), ["on the wire for 3.1 s", "waits for room"]);
    assert_eq!((calls[0].endpoint.0, calls[0].attempts, calls[0].waiting.clone()), (1, 1, None));
    assert!(calls[0].number < calls[1].number, "oldest first");
    assert_eq!(rig.supervisor.observer().open_calls(1).len(), 1);
    assert_eq!(rig.supervisor.observer().open_calls(0).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_retry_to_come_says_when() {
    let script = Script::always(Code::Unavailable);
    let rig = Rig::with_script(script, config()).await.ready().await;
    let _call = start(&rig.channel(), "hello", CallOptions::new());
    let calls = seen(&rig.supervisor, 200).await;
    assert!(matches!(calls[0].stage, CallStage::Retry { .. }), "{calls:?}");
    assert_eq!(words(&calls), ["waits for its retry in 800 ms"]);
    assert_eq!((calls[0].attempts, calls[0].retries), (1, 1));
    let waiting = calls[0].waiting.as_deref().expect("words");
    assert!(waiting.contains("retry 1 of 3") && waiting.contains("UNAVAILABLE"), "{waiting}");
}

#[tokio::test(start_paused = true)]
async fn credentials_that_do_not_come_are_told() {
    struct Never;
    impl tonic_supervisor::CallCredentials for Never {
        fn metadata(
            &self,
            _: tonic_supervisor::CredentialsRequest,
        ) -> futures::future::BoxFuture<'static, Result<MetadataMap, Status>> {
            Box::pin(std::future::pending())
        }
    }
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = Supervisor::builder(config().build().expect("valid"))
        .connector(network.connector())
        .allow_plaintext(true)
        .call_credentials(Never)
        .spawn();
    supervisor.wait_ready(LONG).await.expect("Ready");
    let _call = start(&supervisor.channel(), "hello", CallOptions::new());
    assert_eq!(words(&seen(&supervisor, 500).await), ["waits for its credentials since 500 ms"]);
}

#[tokio::test(start_paused = true)]
async fn calls_that_have_ended_are_open_no_more() {
    let rig = Rig::new(config()).await.ready().await;
    say(&rig.channel(), "hello", CallOptions::new()).await.expect("answered");
    assert!(rig.supervisor.observer().open_calls(100).is_empty());
}
