//! What is the matter with a channel: each row of the verdict, by the fault that causes it.

use crate::support::{
    ADDRESS, LONG, Rig, config, hide_injected_panics, ms, post, say, secs, start, start_many,
    supervise,
};
use std::time::Duration;
use tonic::Code;
use tonic_supervisor::{
    CallOptions, Child, ConfigBuilder, ConnectivityState, EndpointId, MethodCounts, Recent,
    Snapshot, Supervisor, Verdict, VerdictKind,
    config::Balancing,
    endpoint_verdicts,
    testing::{
        Answer, Fleet, HealthAnswer, MemoryNetwork, Misbehaviour, NameAnswer, RawPeer, Script,
    },
    verdict,
};

/// What is said now, without knowing what happened before.
fn now(supervisor: &Supervisor) -> Verdict {
    verdict(&supervisor.snapshot(), &Recent::default())
}

/// What is said after `wait`.
async fn after(supervisor: &Supervisor, wait: Duration) -> Verdict {
    tokio::time::sleep(wait).await;
    now(supervisor)
}

#[track_caller]
fn check(verdict: &Verdict, kind: VerdictKind, words: &str) {
    assert_eq!(verdict.kind, kind, "{verdict}");
    assert!(verdict.sentence.contains(words), "{verdict}");
}

/// A moment to compare a later one with.
struct Before(Snapshot, Vec<MethodCounts>);

impl Before {
    fn of(supervisor: &Supervisor) -> Self {
        Self(supervisor.snapshot(), supervisor.observer().methods())
    }

    fn verdict(&self, supervisor: &Supervisor) -> Verdict {
        let Self(snapshot, methods) = Self::of(supervisor);
        let recent = Recent::between((&self.0, &self.1), (&snapshot, &methods), secs(60));
        verdict(&snapshot, &recent)
    }
}

fn balanced() -> ConfigBuilder {
    tonic_supervisor::Config::builder().balancing_policy(Balancing::RoundRobin)
}

async fn fleet(servers: usize, config: ConfigBuilder) -> (Fleet, Supervisor) {
    let fleet = Fleet::on_memory(&MemoryNetwork::new(), servers).await;
    fleet.servers().iter().for_each(|server| server.health(HealthAnswer::Serving));
    let supervisor = Supervisor::builder(config.build().expect("valid"))
        .connector(fleet.connector())
        .endpoints(fleet.endpoints())
        .rng_seed(1)
        .spawn();
    supervisor.wait_ready(LONG).await.expect("Ready");
    tokio::time::sleep(secs(1)).await;
    (fleet, supervisor)
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_well_says_so_from_its_first_dial_to_its_end() {
    let network = MemoryNetwork::new();
    network.dial_takes(ms(200));
    let supervisor = supervise(&network, config().idle_timeout(secs(60)));
    check(&after(&supervisor, ms(100)).await, VerdictKind::Connecting, "connecting");
    let rig = Rig::new(config().idle_timeout(secs(60))).await.ready().await;
    check(&now(&rig.supervisor), VerdictKind::Healthy, "healthy, connected for");
    check(&after(&rig.supervisor, secs(120)).await, VerdictKind::Idle, "the next call connects");
    rig.server.script(Script::delay(secs(5)));
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
    let call = start(&rig.channel(), "hello", CallOptions::new());
    tokio::time::sleep(secs(1)).await;
    rig.supervisor.observer().begin_shutdown(secs(30));
    let draining = after(&rig.supervisor, secs(1)).await;
    check(&draining, VerdictKind::Draining, "1 calls run, which may take 29.0 s more");
    call.await.expect("no panic").1.expect("answered");
    rig.supervisor.closed().await;
    check(&now(&rig.supervisor), VerdictKind::Closed, "it was shut down");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_there_cannot_be_connected_to() {
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config());
    let _calls = start_many(&supervisor.channel(), CallOptions::new(), 41);
    let said = after(&supervisor, secs(5)).await;
    check(&said, VerdictKind::Connect, "cannot connect to server:50051");
    check(&said, VerdictKind::Connect, "; next dial in ");
    check(&said, VerdictKind::Connect, "; 41 calls wait");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_cannot_be_looked_up_is_told_before_and_after_the_first_answer() {
    let fleet = Fleet::on_memory(&MemoryNetwork::new(), 2).await;
    fleet.name_answers(NameAnswer::Fails("SERVFAIL".into()));
    let supervisor = Supervisor::builder(balanced().build().expect("valid"))
        .connector(fleet.connector())
        .resolver(fleet.resolver())
        .spawn();
    check(&after(&supervisor, secs(2)).await, VerdictKind::Resolve, "SERVFAIL");
    fleet.name_answers(NameAnswer::Listed);
    supervisor.wait_ready(LONG).await.expect("Ready");
    check(&after(&supervisor, secs(2)).await, VerdictKind::Healthy, "2 servers");
    fleet.name_answers(NameAnswer::Fails("SERVFAIL".into()));
    check(&after(&supervisor, secs(60)).await, VerdictKind::LookupsFail, "SERVFAIL");
    fleet.name_answers(NameAnswer::Listed);
    check(&after(&supervisor, secs(120)).await, VerdictKind::Healthy, "healthy");
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_no_endpoint() {
    let (fleet, supervisor) = fleet(2, balanced()).await;
    fleet.list([]);
    let said = after(&supervisor, secs(1)).await;
    check(&said, VerdictKind::NoEndpoints, "there is no endpoint");
}

#[tokio::test(start_paused = true)]
async fn what_speaks_no_http2_is_told_by_its_handshake() {
    let network = MemoryNetwork::new();
    let _peer = RawPeer::on_memory(&network, ADDRESS).await.play(|mut link| async move {
        link.send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        link.close().await;
    });
    let supervisor = supervise(&network, config());
    let said = after(&supervisor, secs(3)).await;
    check(&said, VerdictKind::Handshake, "cannot speak HTTP/2 with server:50051");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_greets_and_hangs_up_is_told_as_such() {
    let network = MemoryNetwork::new();
    let _peer = RawPeer::on_memory(&network, ADDRESS).await.play(|mut link| async move {
        link.send_settings(&[]).await;
        tokio::time::sleep(ms(10)).await;
        link.close().await;
    });
    let supervisor = supervise(&network, config());
    let said = after(&supervisor, secs(5)).await;
    check(&said, VerdictKind::HangsUp, "links in a row ended unused");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_told_until_there_is_a_link_again() {
    let rig = Rig::new(config().keepalive_time(secs(10)).keepalive_timeout(secs(5))).await;
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
    rig.call(CallOptions::new()).await.expect("answered");
    rig.network.freeze_all();
    rig.network.black_hole(true);
    let said = after(&rig.supervisor, ms(16_000)).await;
    check(&said, VerdictKind::KeepaliveLost, "keepalive");
    rig.network.thaw_all();
    rig.network.black_hole(false);
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
    check(&now(&rig.supervisor), VerdictKind::Healthy, "healthy");
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_is_told_while_it_is_dialled_again() {
    let rig = Rig::new(config()).await.ready().await;
    rig.call(CallOptions::new()).await.expect("answered");
    rig.network.black_hole(true);
    rig.network.cut_all();
    let said = after(&rig.supervisor, ms(50)).await;
    check(&said, VerdictKind::LinkLost, "the link was lost");
}

#[tokio::test(start_paused = true)]
async fn a_complaint_about_pings_is_told_when_nothing_else_is_the_matter() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await;
    let _peer = peer.enforce_ping_interval(secs(300), 3);
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(LONG).await.expect("Ready");
    let said = after(&supervisor, secs(300)).await;
    check(&said, VerdictKind::TooManyPings, "the server wants fewer keepalive pings");
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_room_are_told_with_whose_limit_it_is() {
    let rig = Rig::with_script(Script::hang(), config().max_in_flight(2)).await.ready().await;
    let _calls = start_many(&rig.channel(), CallOptions::new(), 5);
    let said = after(&rig.supervisor, secs(1)).await;
    check(
        &said,
        VerdictKind::NoRoom,
        "3 calls wait for room: 2 of 2 streams are open (max_in_flight)",
    );
}

#[tokio::test(start_paused = true)]
async fn refused_calls_and_throttled_retries_are_told_while_they_are_recent() {
    let rig = Rig::with_script(Script::hang(), config().queue_max_calls(1)).await.ready().await;
    let before = Before::of(&rig.supervisor);
    let _calls = start_many(&rig.channel(), CallOptions::new(), 3);
    tokio::time::sleep(secs(1)).await;
    check(&before.verdict(&rig.supervisor), VerdictKind::CallsRefused, "2 calls were refused");
    let later = Before::of(&rig.supervisor);
    check(&later.verdict(&rig.supervisor), VerdictKind::Healthy, "healthy");

    let throttled = config().retry_throttle_floor(0.0).retry_throttle_ratio(0.0);
    let rig = Rig::with_script(Script::always(Code::Unavailable), throttled).await.ready().await;
    let before = Before::of(&rig.supervisor);
    rig.call(CallOptions::new()).await.expect_err("unavailable");
    check(&before.verdict(&rig.supervisor), VerdictKind::RetriesThrottled, "1 retries were not");
}

#[tokio::test(start_paused = true)]
async fn a_method_that_fails_is_named_with_the_servers_words() {
    let rig = Rig::new(config()).await.ready().await;
    rig.server.script(Script::new(|_| Answer::status(Code::NotFound).text("<script>%1B[2J")));
    let before = Before::of(&rig.supervisor);
    for _ in 0..10 {
        rig.call(CallOptions::new()).await.expect_err("not found");
    }
    let words = "10 of 10 calls failed in the last 1 min 0 s, most with NOT_FOUND \
                 \"<script>\\u{1b}[2J\"";
    check(&before.verdict(&rig.supervisor), VerdictKind::CallsFail, words);
}

#[tokio::test(start_paused = true)]
async fn many_retries_are_told_although_every_call_succeeds() {
    let rig = Rig::new(config()).await.ready().await;
    let before = Before::of(&rig.supervisor);
    for _ in 0..30 {
        rig.server.script(Script::fail_times(1, Code::Unavailable));
        rig.call(CallOptions::new()).await.expect("answered at the second attempt");
    }
    check(&before.verdict(&rig.supervisor), VerdictKind::ManyRetries, "2.00 attempts per call");
}

#[tokio::test(start_paused = true)]
async fn actors_that_fail_are_told_for_a_minute_and_in_a_storm_as_one() {
    hide_injected_panics();
    let rig = Rig::new(config()).await.ready().await;
    let first = post(&rig.supervisor.mailbox(), "x", CallOptions::new());
    first.await.expect("answered").expect("it starts the request actor");
    rig.supervisor.panics().arm(Child::Request, "Submit", 1);
    let posted = post(&rig.supervisor.mailbox(), "x", CallOptions::new());
    posted.await.expect("answered").expect("answered all the same");
    check(&now(&rig.supervisor), VerdictKind::ActorFailed, "request: ");
    check(&after(&rig.supervisor, secs(60)).await, VerdictKind::Healthy, "healthy");
    rig.supervisor.panics().arm(Child::Connection, "Dialled", u32::MAX);
    let _waiting = start(&rig.channel(), "hello", CallOptions::new().timeout(LONG));
    rig.network.cut_all();
    rig.supervisor.reconnect_now();
    let said = after(&rig.supervisor, secs(120)).await;
    check(&said, VerdictKind::ActorsFailing, "actors keep failing");
    rig.supervisor.panics().disarm();
    rig.supervisor.wait_ready(LONG).await.expect("without help");
    check(&after(&rig.supervisor, secs(61)).await, VerdictKind::Healthy, "healthy");
}

#[tokio::test(start_paused = true)]
async fn of_several_servers_each_has_its_own_and_the_first_that_is_out_is_named() {
    let (fleet, supervisor) = fleet(3, balanced().health_service("test.Echo")).await;
    check(&now(&supervisor), VerdictKind::Healthy, "3 servers, 3 links");
    fleet.server(1).kill().await;
    fleet.server(2).health(HealthAnswer::NotServing);
    let said = after(&supervisor, secs(5)).await;
    check(&said, VerdictKind::ServersOut, "2 of 3 servers take no calls; ");
    let each: Vec<_> =
        endpoint_verdicts(&supervisor.snapshot()).iter().map(|one| one.kind).collect();
    assert_eq!(each, [VerdictKind::Healthy, VerdictKind::Connect, VerdictKind::Unhealthy]);
    fleet.server(0).kill().await;
    let said = after(&supervisor, secs(5)).await;
    check(&said, VerdictKind::Unhealthy, "none of 3 servers takes calls");
    assert_eq!(said.endpoint, EndpointId(3));
}

#[tokio::test(start_paused = true)]
async fn an_ejected_server_is_told_as_such() {
    let (fleet, supervisor) = fleet(3, balanced()).await;
    fleet.server(0).script(Script::always(Code::Unavailable));
    for _ in 0..60 {
        say(&supervisor.channel(), "hello", CallOptions::new()).await.expect("elsewhere");
    }
    check(&now(&supervisor), VerdictKind::ServersOut, "ejected, its calls kept failing");
    let each = endpoint_verdicts(&supervisor.snapshot());
    assert_eq!(each[0].kind, VerdictKind::Ejected);
}

/// No fault of a peer leaves a channel of which nothing can be said, and what is said is printable.
#[tokio::test(start_paused = true)]
async fn whatever_a_peer_does_there_is_a_verdict_fit_to_be_shown() {
    for fault in Misbehaviour::all() {
        let network = MemoryNetwork::new();
        let peer = RawPeer::on_memory(&network, ADDRESS).await;
        let _peer = peer.misbehave(fault, usize::MAX);
        let supervisor = supervise(&network, config());
        let before = Before::of(&supervisor);
        let _calls = start_many(&supervisor.channel(), CallOptions::new().timeout(secs(3)), 3);
        tokio::time::sleep(secs(5)).await;
        let said = before.verdict(&supervisor);
        assert_eq!(tonic_supervisor::printable(&said.sentence), said.sentence, "{fault:?}");
        assert!(!said.sentence.is_empty() && !said.action().is_empty(), "{fault:?}");
        if supervisor.state() == ConnectivityState::TransientFailure {
            assert!(!said.kind.is_well(), "{fault:?}: {said}");
        }
    }
}
