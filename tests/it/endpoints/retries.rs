//! Where a call's later attempts go.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tonic::{Code, metadata::MetadataMap};
use tonic_supervisor::{
    CallReport, CredentialsRequest,
    testing::{Answer, Script},
};

/// Each attempt of a call that fails everywhere goes to another endpoint, while there is one.
#[tokio::test(start_paused = true)]
async fn the_attempts_of_a_call_go_to_one_endpoint_after_another() {
    // Nor is any ejected.
    let config = round_robin().ejection_consecutive_failures(0);
    let (_network, fleet, supervisor) = fleet_of(3, config).await;
    fleet.servers().iter().for_each(|server| server.script(Script::always(Code::Unavailable)));
    for _ in 0..20 {
        let before = fleet.handled();
        let status = echo(&supervisor.channel(), "x").await.expect_err("all fail");
        let report = CallReport::of(&status).expect("a report");
        let of: Vec<_> = report.attempts.iter().map(|attempt| attempt.endpoint.0).collect();
        let mut first: Vec<_> = of[..3].to_vec();
        first.sort();
        assert_eq!((of.len(), first), (4, vec![1, 2, 3]), "{of:?}");
        let now = fleet.handled();
        assert!((0..3).all(|place| now[place] > before[place]), "{now:?}");
    }
}

/// An endpoint that is avoided is better than none: no call waits while one has room.
#[tokio::test(start_paused = true)]
async fn where_no_other_endpoint_has_room_a_retry_goes_to_the_same() {
    let config = round_robin().max_in_flight(1);
    let (_network, fleet, supervisor) = fleet_of(2, config).await;
    let channel = supervisor.channel();
    // One is busy for long.
    fleet.server(0).script(Script::delay(secs(30)));
    fleet.server(1).script(Script::delay(secs(30)));
    let long = start_many(&channel, CallOptions::new(), 1);
    eventually("it runs", || fleet.servers().iter().any(|it| !it.arrivals().is_empty())).await;
    let busy = fleet.servers().iter().position(|it| !it.arrivals().is_empty()).expect("one");
    let free = 1 - busy;
    fleet.server(free).script(Script::fail_times(1, Code::Unavailable));
    let (took, answer) = timed(echo(&channel, "x")).await;
    answer.expect("answered by the one that failed it before");
    assert_time(took, secs(1));
    assert_eq!(fleet.server(free).arrivals().len(), 2);
    drop(long);
}

/// A call on a link that is lost goes on elsewhere.
#[tokio::test(start_paused = true)]
async fn a_call_whose_server_dies_is_answered_by_another() {
    let (_network, fleet, supervisor) = fleet_of(2, round_robin()).await;
    let channel = supervisor.channel();
    for place in 0..2 {
        fleet.server(place).script(Script::new(|_: &_| Answer::cut_after_processing()));
        fleet.server(1 - place).script(Script::echo());
        for _ in 0..10 {
            echo(&channel, "x").await.expect("answered by the other");
        }
    }
}

/// No call is parked while a candidate has room: 200 calls at once, one link of which is full.
#[tokio::test(start_paused = true)]
async fn a_call_waits_only_where_every_link_is_full() {
    let config = round_robin().max_in_flight(10);
    let (_network, fleet, supervisor) = fleet_of(3, config).await;
    // The first never answers: its ten places are taken for good.
    fleet.server(0).script(Script::delay(secs(40)));
    fleet.server(1).script(Script::delay(ms(10)));
    fleet.server(2).script(Script::delay(ms(10)));
    let calls = start_many(&supervisor.channel(), CallOptions::new(), 210);
    let ended = join(calls).await;
    let quick = ended.iter().filter(|(took, _)| *took <= ms(110)).count();
    assert!(ended.iter().all(|(_, answer)| answer.is_ok()));
    assert_eq!((quick, fleet.handled()[0]), (200, 10));
}

/// An attempt whose credentials fail never got a link: it names no endpoint, and not the one where
/// the attempt before it went.
#[tokio::test(start_paused = true)]
async fn an_attempt_without_credentials_went_to_no_endpoint() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    fleet.servers().iter().for_each(|server| server.script(Script::always(Code::Unavailable)));
    let asked = AtomicU32::new(0);
    let hook = move |_: CredentialsRequest| {
        let first = asked.fetch_add(1, Relaxed) == 0;
        async move { if first { Ok(MetadataMap::new()) } else { Err(Status::unavailable("away")) } }
    };
    let config = round_robin().max_retry_attempts(1).build().expect("valid");
    let builder = Supervisor::builder(config).connector(fleet.connector());
    let builder = builder.endpoints(fleet.endpoints()).call_credentials(hook).allow_plaintext(true);
    let supervisor = builder.spawn();
    let status = echo(&supervisor.channel(), "x").await.expect_err("both attempts fail");
    let report = CallReport::of(&status).expect("a report");
    let of: Vec<_> = report.attempts.iter().map(|attempt| attempt.endpoint.0).collect();
    assert!(matches!(of[..], [1 | 2, 0]), "{report}");
}
