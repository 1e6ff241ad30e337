//! Names: servers that come, move and go are found, and nothing that goes wrong with names takes a
//! healthy channel down.

use super::*;
use tonic_supervisor::{
    Address, Endpoint, Fact, Supervisor,
    config::Period,
    testing::{MemoryNetwork, NameAnswer, Script},
    transport::{Resolution, Resolver},
};

/// A supervisor that asks for the servers of `fleet`.
fn supervise_named(fleet: &Fleet, config: ConfigBuilder, seed: u64) -> Supervisor {
    let config = config.build().expect("a test's configuration is valid");
    let builder = Supervisor::builder(config).connector(fleet.connector());
    builder.resolver(fleet.resolver()).rng_seed(seed).spawn()
}

async fn named_fleet(servers: usize, config: ConfigBuilder) -> (MemoryNetwork, Fleet, Supervisor) {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, servers).await;
    let supervisor = supervise_named(&fleet, config, 1);
    (network, fleet, supervisor)
}

#[tokio::test(start_paused = true)]
async fn e01_a_server_that_is_added_has_its_share_within_a_period() {
    let config = round_robin().resolve_period(secs(10));
    let (_network, mut fleet, supervisor) = named_fleet(3, config).await;
    links_up(&supervisor, 3).await;
    let log = EventLog::of(&supervisor);
    let channel = supervisor.channel();
    let traffic = tokio::spawn(async move { calls_at(&channel, 500, secs(26)).await });
    tokio::time::sleep(secs(3)).await;
    let added = fleet.grow().await;
    fleet.list([0, 1, 2, added]);
    let first = timed(fleet.server(added).arrived(1)).await.0;
    assert!(first <= secs(12) + ms(10), "{first:?}");
    let before = fleet.handled();
    tokio::time::sleep(secs(10)).await;
    let calls: Vec<_> = fleet.handled().iter().zip(before).map(|(now, was)| now - was).collect();
    let share = calls[added] as f64 / calls.iter().sum::<usize>() as f64;
    assert!((0.24..=0.26).contains(&share), "{calls:?}");
    assert_eq!(failed(traffic.await.expect("no panic")).await, 0);
    let now = supervisor.snapshot();
    let lost = log.count(|fact| matches!(fact, Fact::LinkLost { .. }));
    assert_eq!((lost, now.retries, now.transparent_retries), (0, 0, 0));
}

/// Pain 21 and E2, the graceful half: all servers are replaced, one after another.
#[tokio::test(start_paused = true)]
async fn e02_a_rollout_with_goaways_costs_no_call_anything() {
    for policy in [round_robin(), Config::builder()] {
        let (_network, mut fleet, supervisor) = named_fleet(3, policy.clone()).await;
        links_up(
            &supervisor,
            if policy.clone().build().unwrap() == Config::default() { 1 } else { 3 },
        )
        .await;
        let channel = supervisor.channel();
        let traffic = tokio::spawn(async move { calls_at(&channel, 500, secs(10)).await });
        let mut listed = vec![0, 1, 2];
        for old in 0..3 {
            tokio::time::sleep(secs(2)).await;
            let new = fleet.grow().await;
            listed.retain(|place| *place != old);
            listed.push(new);
            fleet.list(listed.iter().copied());
            fleet.server(old).goaway().await;
            tokio::time::sleep(ms(200)).await;
            fleet.server(old).kill().await;
        }
        assert_eq!(failed(traffic.await.expect("no panic")).await, 0);
        assert_eq!(supervisor.snapshot().retries, 0);
        let handled = fleet.handled();
        assert!(handled[3..].iter().sum::<usize>() > 1_000, "{handled:?}");
    }
}

/// E2, the other half: the servers vanish without a word, and their addresses swallow dials.
#[tokio::test(start_paused = true)]
async fn e02_servers_that_vanish_are_looked_up_within_a_second_and_left() {
    let (network, mut fleet, supervisor) = named_fleet(1, Config::builder()).await;
    links_up(&supervisor, 1).await;
    tokio::time::sleep(secs(20)).await;
    let new = fleet.grow().await;
    fleet.list([new]);
    let old = fleet.address(0).to_string();
    network.only(&old).black_hole(true);
    let lost = fleet.lookups().len();
    network.only(&old).cut_all();
    let (took, ()) = timed(fleet.server(new).accepted(1)).await;
    assert!(took <= ms(1_050), "{took:?}");
    assert!(fleet.lookups().len() > lost);
    let answered = timed(echo(&supervisor.channel(), "x")).await;
    answered.1.expect("the new one answers");
}

/// Dials to an address that a name no longer has are cut, and calls go on to the new one.
#[tokio::test(start_paused = true)]
async fn e02_a_dial_to_an_address_that_has_moved_is_cut() {
    let network = MemoryNetwork::new();
    let mut fleet = Fleet::on_memory(&network, 1).await;
    network.only(&fleet.address(0).to_string()).black_hole(true);
    let supervisor = supervise_named(&fleet, Config::builder().connect_timeout(secs(60)), 1);
    let channel = supervisor.channel();
    let call = start_many(&channel, CallOptions::new(), 1);
    tokio::time::sleep(secs(5)).await;
    let new = fleet.grow().await;
    fleet.list([new]);
    supervisor.reconnect_now();
    let ended = join(call).await;
    assert!(ended[0].1.is_ok());
    assert!(ended[0].0 <= secs(6), "{:?}", ended[0].0);
}

/// E8: errors, empty answers and silence take no link down and no call, and are said now and then.
#[tokio::test(start_paused = true)]
async fn e08_ten_minutes_without_names_fail_no_call() {
    let nothing = [
        NameAnswer::Fails("cannot resolve queue: server failure".into()),
        NameAnswer::Empty,
        NameAnswer::Hangs,
    ];
    for answer in nothing {
        let config = round_robin().resolve_period(secs(30));
        let (_network, mut fleet, supervisor) = named_fleet(2, config).await;
        links_up(&supervisor, 2).await;
        let log = EventLog::of(&supervisor);
        fleet.name_answers(answer.clone());
        let channel = supervisor.channel();
        let traffic = tokio::spawn(async move { calls_at(&channel, 4, secs(600)).await });
        tokio::time::sleep(secs(300)).await;
        // Even a link that is lost meanwhile comes back, at the address that is known.
        fleet.server(0).restart().await;
        assert_eq!(failed(traffic.await.expect("no panic")).await, 0, "{answer:?}");
        let lost = log.count(|fact| matches!(fact, Fact::LinkLost { .. }));
        assert_eq!(lost, 1, "{answer:?}");
        let failures = log.all(|fact| match fact {
            Fact::ResolveFailed { failures, .. } => Some(*failures),
            _ => None,
        });
        assert!(failures.len() >= 15, "{answer:?}: {failures:?}");
        let written = failures.iter().filter(|(_, failures)| failures.is_power_of_two()).count();
        assert!(written <= 7, "{answer:?}: {failures:?}");
        // The first good answer applies.
        let added = fleet.grow().await;
        fleet.list([0, 1, added]);
        fleet.name_answers(NameAnswer::Listed);
        links_up(&supervisor, 3).await;
    }
}

/// E9: answers that flap close no link.
#[tokio::test(start_paused = true)]
async fn e09_answers_that_flap_close_no_link() {
    let config = round_robin().resolve_period(secs(10));
    let (_network, fleet, supervisor) = named_fleet(3, config).await;
    fleet.list([0, 1]);
    links_up(&supervisor, 2).await;
    let log = EventLog::of(&supervisor);
    for n in 0..20 {
        let asked = fleet.lookups().len();
        fleet.list(if n % 2 == 0 { [0, 2] } else { [0, 1] });
        eventually("it is asked again", || fleet.lookups().len() > asked).await;
    }
    assert_eq!(log.count(|fact| matches!(fact, Fact::LinkLost { .. })), 0);
    // Gone from two answers running, it drains, and its calls finish.
    fleet.server(1).script(Script::delay(secs(30)));
    let riders = start_many(&supervisor.channel(), CallOptions::new(), 3);
    fleet.server(1).arrived(1).await;
    fleet.list([0, 2]);
    links_up(&supervisor, 2).await;
    assert!(join(riders).await.iter().all(|(_, answer)| answer.is_ok()));
}

/// E10: a thousand servers, of which twenty are used.
#[tokio::test(start_paused = true)]
async fn e10_a_subset_of_a_thousand_servers_keeps_its_links_when_one_vanishes() {
    let config = round_robin().balancing_subset(20).resolve_period(secs(10));
    let (_network, fleet, supervisor) = named_fleet(1_000, config).await;
    links_up(&supervisor, 20).await;
    tokio::time::sleep(secs(1)).await;
    let connected = || -> Vec<usize> {
        let servers = fleet.servers().iter().enumerate();
        servers.filter(|(_, it)| it.open_connections() > 0).map(|(place, _)| place).collect()
    };
    let before = connected();
    assert_eq!(before.len(), 20);
    let log = EventLog::of(&supervisor);
    let gone = before[7];
    fleet.list((0..1_000).filter(|place| *place != gone));
    tokio::time::sleep(secs(30)).await;
    let after = connected();
    assert_eq!(after.len(), 20);
    assert_eq!(before.iter().filter(|place| after.contains(place)).count(), 19);
    assert_eq!(log.count(|fact| matches!(fact, Fact::LinkEstablished { .. })), 1);
}

/// E10: without a subset all are connected, and never more than 64 are dialled at once.
#[tokio::test(start_paused = true)]
async fn e10_a_thousand_servers_are_dialled_64_at_a_time() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 1_000).await;
    network.dial_takes(ms(10));
    let supervisor = supervise_named(&fleet, round_robin(), 1);
    let mut events = supervisor.events();
    let watching = tokio::spawn(async move {
        let (mut under_way, mut most) = (0_i64, 0);
        while let Some(item) = events.next().await {
            let tonic_supervisor::EventItem::Event(event) = item else { continue };
            under_way += match event.fact {
                Fact::DialStarted { .. } => 1,
                Fact::LinkEstablished { .. } | Fact::DialFailed { .. } => -1,
                _ => 0,
            };
            most = most.max(under_way);
        }
        most
    });
    let (took, ()) = timed(links_up(&supervisor, 1_000)).await;
    assert!(took <= secs(5), "{took:?}");
    supervisor.shutdown(secs(1)).await;
    let most = bounded("the events end", watching).await.expect("no panic");
    assert!((32..=64).contains(&most), "{most}");
}

/// E11: the addresses of a name are tried in a random order, those that a person wrote in theirs.
#[tokio::test(start_paused = true)]
async fn e11_four_hundred_channels_spread_over_the_four_addresses_of_a_name() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 4).await;
    for seed in 1..=400 {
        let supervisor = supervise_named(&fleet, Config::builder(), seed);
        supervisor.wait_ready(secs(1)).await.expect("Ready");
        supervisor.shutdown(Duration::ZERO).await;
    }
    let connections: Vec<_> = fleet.servers().iter().map(|server| server.connections()).collect();
    assert!(connections.iter().all(|one| one.abs_diff(100) <= 35), "{connections:?}");
    let list: Vec<_> = (0..4).map(|place| fleet.address(place).to_string()).collect();
    for _ in 0..20 {
        let supervisor = supervise(&network, Config::builder().endpoints(list.clone()));
        supervisor.wait_ready(secs(1)).await.expect("Ready");
        supervisor.shutdown(Duration::ZERO).await;
    }
    assert_eq!(fleet.server(0).connections() - connections[0], 20);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_at_the_start_once_in_a_period_and_a_second_after_a_loss() {
    let config = round_robin().resolve_period(secs(100));
    let (network, fleet, supervisor) = named_fleet(2, config).await;
    links_up(&supervisor, 2).await;
    tokio::time::sleep(secs(50)).await;
    assert_eq!(fleet.lookups().len(), 1);
    let before = tokio::time::Instant::now();
    network.only(&fleet.address(0).to_string()).cut_all();
    links_up(&supervisor, 1).await;
    links_up(&supervisor, 2).await;
    assert_eq!(fleet.lookups().len(), 2, "{:?}", before.elapsed());
    tokio::time::sleep(secs(130)).await;
    assert_eq!(fleet.lookups().len(), 3);
    // Never: only where there is a reason.
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    let quiet = supervise_named(&fleet, round_robin().resolve_period(Period::Never), 1);
    links_up(&quiet, 2).await;
    tokio::time::sleep(secs(10_000)).await;
    assert_eq!(fleet.lookups().len(), 1);
}

/// Under pick_first the link stays while its address is listed, and is replaced without a gap when
/// it is not.
#[tokio::test(start_paused = true)]
async fn under_pick_first_a_name_that_moves_takes_its_calls_along() {
    let config = Config::builder().resolve_period(secs(10)).balancing_shuffle(false);
    let (_network, mut fleet, supervisor) = named_fleet(1, config).await;
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    let log = EventLog::of(&supervisor);
    let added = fleet.grow().await;
    fleet.list([added, 0]);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(
        log.count(|fact| matches!(fact, Fact::DialStarted { .. })),
        0,
        "its address is there"
    );
    let channel = supervisor.channel();
    let traffic = tokio::spawn(async move { calls_at(&channel, 100, secs(60)).await });
    fleet.list([added]);
    let (took, ()) = timed(fleet.server(added).accepted(1)).await;
    assert!(took <= secs(25), "{took:?}");
    assert_eq!(failed(traffic.await.expect("no panic")).await, 0);
    assert_eq!(supervisor.snapshot().retries, 0);
    assert_eq!(supervisor.snapshot().endpoints.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_a_name_was_never_resolved_calls_are_told_so() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 1).await;
    fleet.name_answers(NameAnswer::Fails("cannot resolve queue: no such name".into()));
    let supervisor = supervise_named(&fleet, round_robin(), 1);
    let log = EventLog::of(&supervisor);
    tokio::time::sleep(secs(20)).await;
    assert_eq!(supervisor.state().as_str(), "TRANSIENT_FAILURE");
    let options = CallOptions::new().timeout(secs(1));
    let status = say(&supervisor.channel(), "x", options).await.expect_err("nobody is there");
    assert!(status.message().contains("cannot resolve queue: no such name"), "{status:?}");
    assert!(log.count(|fact| matches!(fact, Fact::ResolveFailed { .. })) >= 3);
    fleet.name_answers(NameAnswer::Listed);
    bounded("Ready", supervisor.wait_ready(secs(15))).await.expect("the name is there now");
    echo(&supervisor.channel(), "x").await.expect("answered");
}

/// A lookup that says what is known is no news; the first, another list and the end of failures
/// are, each with how long it took.
#[tokio::test(start_paused = true)]
async fn a_lookup_is_told_when_it_says_something_new() {
    let config = round_robin().resolve_period(secs(10)).connect_timeout(secs(3));
    let (_network, fleet, supervisor) = named_fleet(3, config).await;
    let log = EventLog::of(&supervisor);
    let resolved = |fact: &Fact| match fact {
        Fact::NameResolved { endpoints, took, .. } => Some((*endpoints, *took)),
        _ => None,
    };
    links_up(&supervisor, 3).await;
    tokio::time::sleep(secs(100)).await;
    assert!(fleet.lookups().len() > 8);
    assert_eq!(log.facts(resolved).await, [(3, Duration::ZERO)], "the first");
    fleet.list([0, 1]);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(log.facts(resolved).await[1..], [(2, Duration::ZERO)], "another list");
    fleet.name_answers(NameAnswer::Hangs);
    tokio::time::sleep(secs(60)).await;
    fleet.name_answers(NameAnswer::Listed);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(log.facts(resolved).await[2..], [(2, Duration::ZERO)], "the same, after failures");
    let silent = |fact: &Fact| match fact {
        Fact::ResolveFailed { took, .. } => Some(*took),
        _ => None,
    };
    let took = log.facts(silent).await;
    assert!(took.len() > 3 && took.iter().all(|time| *time == secs(3)), "{took:?}");
}

/// A resolver is other people's code.
#[tokio::test(start_paused = true)]
async fn a_resolver_that_panics_is_a_lookup_that_failed() {
    struct Panics(Endpoint, std::sync::atomic::AtomicUsize);
    impl Resolver for Panics {
        fn resolve(&self) -> futures::future::BoxFuture<'static, Result<Resolution, String>> {
            let times = self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let endpoint = self.0.clone();
            assert_ne!(times, 1, "injected by a test: the call panics");
            Box::pin(async move {
                assert_ne!(times, 2, "injected by a test: the future panics");
                Ok(Resolution::new([endpoint]).fresh_for(secs(5)))
            })
        }
    }
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 1).await;
    let config = Config::builder().build().expect("valid");
    let builder = Supervisor::builder(config).connector(fleet.connector());
    let endpoint = fleet.endpoint(0);
    let supervisor = builder.resolver(Panics(endpoint, Default::default())).rng_seed(1).spawn();
    let log = EventLog::of(&supervisor);
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    tokio::time::sleep(secs(60)).await;
    assert_eq!(log.count(|fact| matches!(fact, Fact::ChildFailed { .. })), 0);
    let failed = log.facts(|fact| match fact {
        Fact::ResolveFailed { cause, .. } => Some(cause.to_string()),
        _ => None,
    });
    let failed = failed.await;
    assert!(failed.len() == 2 && failed.iter().all(|it| it.contains("panic")), "{failed:?}");
    echo(&supervisor.channel(), "x").await.expect("answered");
}

/// The system's names: `localhost` has addresses, and each is a server of its own under
/// round_robin.
#[tokio::test]
async fn a_real_name_is_resolved_under_each_policy() {
    let fleet = Fleet::on_tcp(1).await;
    let port = fleet.address(0).port();
    for config in [Config::builder(), round_robin()] {
        let supervisor = supervise_tcp(config.host("localhost").port(port));
        supervisor.wait_ready(secs(20)).await.expect("Ready");
        echo(&supervisor.channel(), "x").await.expect("answered");
        let peer = supervisor.snapshot().endpoints.iter().flat_map(|it| it.links.clone()).next();
        let peer = peer.expect("a link").peer;
        assert_eq!(peer, Some(Address::new("127.0.0.1", port)));
        supervisor.shutdown(secs(1)).await;
    }
}
