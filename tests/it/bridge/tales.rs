//! What a bridge tells in trailers, where it is asked to.

use super::{Client, bridge};
use crate::support::{Rig, SAY, config, secs};
use tonic::Code;
use tonic_supervisor::testing::{Answer, Script};

const ORIGIN: &str = "x-tonic-supervisor-origin";
const ATTEMPTS: &str = "x-tonic-supervisor-attempts";
const WAITED: &str = "x-tonic-supervisor-waited-ms";

#[tokio::test(start_paused = true)]
async fn trailers_tell_who_said_it_after_how_many_attempts_and_how_long_the_call_waited() {
    let rig =
        Rig::with_script(Script::fail_times(2, Code::Unavailable), config()).await.ready().await;
    let mut client = Client::of(&bridge(&rig).tell(true)).await;
    let waited =
        |answer: &super::client::Answer| answer.field(WAITED)[0].parse::<u64>().expect("ms");
    let answer = client.call(SAY, &[]).await;
    assert_eq!(
        (answer.code(), answer.field(ORIGIN), answer.field(ATTEMPTS)),
        (0, vec!["peer"], vec!["3"])
    );
    assert!(waited(&answer).abs_diff(3_000) <= 30, "1 s and 2 s: {answer:?}");

    rig.server.script(Answer::headers_then_error(Code::NotFound));
    let answer = client.call(SAY, &[]).await;
    assert_eq!((answer.field(ORIGIN), answer.field(ATTEMPTS)), (vec!["peer"], vec!["1"]));
    assert!(waited(&answer) <= 10, "{answer:?}");

    rig.server.script(Script::hang());
    let answer = client.call(SAY, &[("grpc-timeout", "2S")]).await;
    assert_eq!((answer.code(), answer.field(ORIGIN)), (4, vec!["local"]));

    rig.server.kill().await;
    tokio::time::sleep(secs(1)).await;
    let answer = client.call(SAY, &[("grpc-timeout", "2S")]).await;
    assert_eq!(
        (answer.code(), answer.field(ORIGIN), answer.field(ATTEMPTS)),
        (4, vec!["local"], vec!["0"])
    );
    assert!(waited(&answer).abs_diff(2_000) <= 30, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_unless_it_is_asked_for() {
    let rig = Rig::with_script(Script::fail_times(1, Code::Unavailable), config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let answer = client.call(SAY, &[]).await;
    assert!(answer.last().keys().all(|name| !name.as_str().starts_with("x-")), "{answer:?}");
}
