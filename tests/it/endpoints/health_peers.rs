//! E12: what peers do to those who ask for their health, by accident or out of spite.

use super::{health::changes, *};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use tonic_supervisor::{
    ConnectivityState, Fact, Health,
    testing::{RawLink, RawPeer},
};

/// Begins to answer a watch, with one message.
async fn says(link: &mut RawLink, watch: u32, serving: bool) {
    link.answer_head(watch).await;
    link.message(watch, &[8, if serving { 1 } else { 2 }]).await;
}

/// A proxy's 404 says nothing of the server behind it, which may have health all the same.
#[tokio::test(start_paused = true)]
async fn e12_http_404_is_a_broken_watch_and_another_one_is_opened() {
    let network = MemoryNetwork::new();
    let _peer = RawPeer::on_memory(&network, ADDRESS).await.play(|mut link| async move {
        link.send_settings(&[]).await;
        let Some(watch) = link.next_request().await else { return };
        link.answer_http(watch.stream, 404, "text/html", "").await;
        let Some(watch) = link.next_request().await else { return };
        says(&mut link, watch.stream, true).await;
        while link.next_request().await.is_some() {}
    });
    let supervisor = supervise(&network, config().health_service(""));
    let log = EventLog::of(&supervisor);
    log.until("it is asked again", 2, |fact| matches!(fact, Fact::HealthChanged { .. })).await;
    assert_eq!(changes(&log), [Health::WatchBroken, Health::Serving]);
}

/// How often it changes is up to the peer, and how often that is told is not.
#[tokio::test(start_paused = true)]
async fn e12_health_that_flips_without_end_is_told_at_a_pace_and_its_last_state_is_heard() {
    let network = MemoryNetwork::new();
    let _peer = RawPeer::on_memory(&network, ADDRESS).await.play(|mut link| async move {
        link.send_settings(&[]).await;
        let Some(watch) = link.next_request().await else { return };
        says(&mut link, watch.stream, true).await;
        for n in 0..10_000_u16 {
            link.message(watch.stream, &[8, 1 + u8::from(n % 2 == 1)]).await;
            if n % 10 == 0 {
                tokio::time::sleep(ms(1)).await;
            }
        }
        link.message(watch.stream, &[8, 1]).await;
        link.message(watch.stream, &[8, 2]).await;
        while link.next_request().await.is_some() {}
    });
    let supervisor = supervise(&network, config().health_service(""));
    let log = EventLog::of(&supervisor);
    tokio::time::sleep(secs(3)).await;
    let changes = changes(&log);
    assert!((2..=15).contains(&changes.len()), "{}", changes.len());
    assert_eq!(changes.last(), Some(&Health::NotServing));
}

/// What answers for the health service may have nothing behind it that answers calls.
#[tokio::test(start_paused = true)]
async fn e12_a_server_that_answers_watches_and_drops_every_call_is_dialled_with_growing_waits() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await.play(|mut link| async move {
        link.send_settings(&[]).await;
        let Some(watch) = link.next_request().await else { return };
        says(&mut link, watch.stream, true).await;
        let Some(_) = link.next_request().await else { return };
        link.close().await;
    });
    let supervisor = supervise(&network, config().health_service(""));
    let log = EventLog::of(&supervisor);
    for _ in 0..5 {
        echo(&supervisor.channel(), "x").await.expect_err("never answered");
    }
    assert_eq!(log.count(|fact| matches!(fact, Fact::BackoffReset { .. })), 0);
    let accepts = peer.accepts();
    assert!(accepts[4] > secs(5), "{accepts:?}");
}

/// A peer may change its limit at any time: calls come first, and probes begin when they may.
#[tokio::test(start_paused = true)]
async fn e12_a_limit_that_is_lowered_to_what_is_asked_leaves_its_place_to_calls() {
    // How low, and whether there is a watch beside the probes.
    for (limit, watch) in [(1, true), (2, true), (1, false)] {
        let network = MemoryNetwork::new();
        let _peer = RawPeer::on_memory(&network, ADDRESS).await.play(move |mut link| async move {
            link.send_settings(&[(3, 10)]).await;
            if watch {
                let Some(asked) = link.next_request().await else { return };
                says(&mut link, asked.stream, true).await;
            }
            link.send_settings(&[(3, limit)]).await;
            while let Some((stream, _)) = link.next_whole_request().await {
                link.answer(stream, HELLO).await;
            }
        });
        let config = config().health_probe_period(secs(3_600)).timeout(secs(60));
        let config = if watch { config.health_service("") } else { config };
        let supervisor = supervise(&network, config);
        let log = EventLog::of(&supervisor);
        supervisor.wait_ready(secs(1)).await.expect("Ready");
        settle().await;
        let (took, answer) = timed(echo(&supervisor.channel(), "x")).await;
        answer.expect("answered");
        assert!(took <= ms(100), "{took:?} of {limit}");
        let last = if limit == 1 { Health::Unsupported } else { Health::Serving };
        assert_eq!(changes(&log).last(), watch.then_some(&last), "of {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn pain_26_a_peer_whose_limit_was_0_at_first_is_probed_once_it_is_higher() {
    let network = MemoryNetwork::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let _peer = RawPeer::on_memory(&network, ADDRESS).await.play(move |mut link| {
        let counted = counted.clone();
        async move {
            link.send_settings(&[(3, 0)]).await;
            tokio::time::sleep(secs(1)).await;
            link.send_settings(&[(3, 10)]).await;
            while let Some((stream, _)) = link.next_whole_request().await {
                counted.fetch_add(1, Relaxed);
                link.answer(stream, &[8, 1]).await;
            }
        }
    });
    let supervisor = supervise(&network, config().health_probe_period(secs(10)));
    tokio::time::sleep(secs(35)).await;
    assert_eq!((asked.load(Relaxed), supervisor.state()), (3, ConnectivityState::Ready));
}
