//! E12: what peers do to those who ask for their health, by accident or out of spite.

use super::{health::changes, *};
use tonic_supervisor::{
    Fact, Health,
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
