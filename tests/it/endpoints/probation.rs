//! The probation of a server that was ejected: which calls go there, and what they show of it.

use super::{
    ejection::{is_ejection, is_out, is_return},
    *,
};
use tonic::Code;
use tonic_supervisor::{
    CallKind,
    testing::{Answer, Script},
};

/// The text "one", as it is on the wire.
const ONE: &str = "\n\u{3}one";

/// A stream's first word ends a probation: the stream itself may last for days.
#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_ends_a_probation() {
    let config = round_robin().max_retry_attempts(0).ejection_base(SECOND);
    let (_network, fleet, supervisor) = fleet_of(2, config).await;
    let channel = supervisor.channel();
    eject_the_first(&fleet, &supervisor).await;
    fleet.server(0).script(Answer::stream([ONE], Code::Ok).then_hang());
    tokio::time::sleep(secs(2)).await;
    let mut stream = generated_stream(&channel, CallOptions::new()).await.expect("it begins");
    assert_eq!(stream.message().await.expect("its first").as_deref(), Some("one"));
    links_up(&supervisor, 2).await;
    drop(stream);
}

/// Some servers, and proxies before them, send a head before they know how the call goes.
#[tokio::test(start_paused = true)]
async fn a_stream_that_has_a_head_and_no_message_shows_nothing_of_its_server() {
    let config = round_robin().max_retry_attempts(0).ejection_base(SECOND);
    let (_network, fleet, supervisor) = fleet_of(2, config).await;
    fleet.server(0).script(Answer::headers_then_error(Code::Unavailable));
    fleet.server(1).script(Answer::stream([ONE], Code::Ok));
    let (channel, log) = (supervisor.channel(), EventLog::of(&supervisor));
    let stream = async || {
        let options = CallOptions::new().kind(CallKind::Streaming);
        let mut stream = generated_stream(&channel, options).await?;
        while stream.message().await?.is_some() {}
        Ok::<_, tonic::Status>(())
    };
    let mut failures = 0;
    for _ in 0..14 {
        failures += usize::from(stream().await.is_err());
    }
    settle().await;
    assert_eq!((failures, log.count(is_ejection), is_out(&supervisor, 0)), (7, 1, true));
    tokio::time::sleep(secs(2)).await;
    stream().await.expect_err("the call of its probation");
    settle().await;
    assert_eq!((log.count(is_ejection), log.count(is_return)), (2, 0));
}

/// Calls that wait for room wait for the place of a probation as well.
#[tokio::test(start_paused = true)]
async fn a_call_that_waits_has_the_place_of_a_probation_when_another_gives_it_back() {
    let config = round_robin().max_retry_attempts(0).ejection_base(SECOND).max_in_flight(1);
    let (_network, fleet, supervisor) = fleet_of(2, config).await;
    eject_the_first(&fleet, &supervisor).await;
    fleet.servers().iter().for_each(|server| server.script(Script::hang()));
    let channel = supervisor.channel();
    // It takes all the room of the other.
    let _hangs = start(&channel, "x", CallOptions::new());
    tokio::time::sleep(secs(2)).await;
    let probe = start(&channel, "x", CallOptions::new());
    settle().await;
    assert_eq!(fleet.handled()[0], 8, "it went to the one on probation");
    fleet.server(0).script(Script::echo());
    let waits = start(&channel, "waited", CallOptions::new());
    settle().await;
    assert!(!waits.is_finished());
    probe.abort();
    let (took, answer) = bounded("it has the place", waits).await.expect("no panic");
    assert_eq!(answer.expect("answered"), "waited");
    assert!(took < SECOND, "{took:?}");
    links_up(&supervisor, 2).await;
}

/// A call whose attempt failed at a server goes there again, before it waits with all behind it.
#[tokio::test(start_paused = true)]
async fn where_nobody_else_has_room_a_call_goes_to_a_probation_at_the_server_that_it_avoids() {
    let config = round_robin().ejection_base(SECOND).max_in_flight(1);
    let (_network, fleet, supervisor) = fleet_of(2, config.max_retry_attempts(1)).await;
    let channel = supervisor.channel();
    // Five failures, each of which is retried at the other.
    fleet.server(0).script(Script::always(Code::Unavailable));
    while fleet.handled()[0] < 5 {
        echo(&channel, "x").await.expect("answered by the other");
    }
    // One call takes all the room of the other, at once or with its retry.
    fleet.server(1).script(Script::hang());
    start(&channel, "x", CallOptions::new());
    tokio::time::sleep(secs(2)).await;
    // Each of the next fails, and waits for its retry.
    while fleet.handled()[0] < 7 {
        start(&channel, "x", CallOptions::new());
        settle().await;
    }
    links_up(&supervisor, 1).await;
    fleet.server(0).script(Script::echo());
    tokio::time::sleep(secs(3)).await;
    links_up(&supervisor, 2).await;
}

/// The place of a probation is not kept by a call that gets no answer.
#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_at_a_probation_leaves_the_place_to_another_after_a_second() {
    let config = round_robin().max_retry_attempts(0).ejection_base(SECOND);
    let (_network, fleet, supervisor) = fleet_of(2, config).await;
    eject_the_first(&fleet, &supervisor).await;
    fleet.server(0).script(Script::hang());
    tokio::time::sleep(secs(2)).await;
    let channel = supervisor.channel();
    let hangs = start(&channel, "x", CallOptions::new());
    settle().await;
    fleet.server(0).script(Script::echo());
    for _ in 0..5 {
        echo(&channel, "x").await.expect("answered by the other");
    }
    assert_eq!(fleet.handled()[0], 8);
    tokio::time::sleep(SECOND).await;
    echo(&channel, "x").await.expect("answered");
    assert_eq!(fleet.handled()[0], 9);
    links_up(&supervisor, 2).await;
    hangs.abort();
}

/// One call for each probation, also where it has no answer.
#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_at_its_probation_is_ejected_again_at_the_calls_deadline() {
    let config = round_robin().max_retry_attempts(0).ejection_base(SECOND);
    let (_network, fleet, supervisor) = fleet_of(2, config).await;
    let log = EventLog::of(&supervisor);
    eject_the_first(&fleet, &supervisor).await;
    fleet.server(0).script(Script::hang());
    tokio::time::sleep(secs(2)).await;
    let channel = supervisor.channel();
    let options = CallOptions::new().timeout(SECOND);
    say(&channel, "x", options).await.expect_err("it hangs");
    settle().await;
    assert_eq!(log.count(is_ejection), 2);
    for _ in 0..5 {
        say(&channel, "x", options).await.expect("answered by the other");
    }
    assert_eq!(fleet.handled()[0], 8);
}

/// A probation takes the next call, but none that belongs to another server.
#[tokio::test(start_paused = true)]
async fn a_sticky_call_goes_to_a_probation_only_where_it_would_go_anyway() {
    let config = round_robin().max_retry_attempts(0).ejection_base(SECOND);
    let (_network, fleet, supervisor) = fleet_of(3, config.balancing_sticky_header("x-user")).await;
    let channel = supervisor.channel();
    let ask = async |user| server_of(&fleet, &channel, user).await;
    let mut homes = Vec::new();
    for user in 0..20 {
        homes.push(ask(user).await);
    }
    eject_the_first(&fleet, &supervisor).await;
    fleet.server(0).script(Script::echo());
    tokio::time::sleep(secs(2)).await;
    for (user, home) in homes.iter().enumerate().filter(|(_, home)| **home != 0) {
        assert_eq!(ask(user).await, *home, "user {user}");
    }
    assert!(is_out(&supervisor, 0));
    let own = homes.iter().position(|home| *home == 0).expect("one of twenty");
    assert_eq!(ask(own).await, 0);
    links_up(&supervisor, 3).await;
}
