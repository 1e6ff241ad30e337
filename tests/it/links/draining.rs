//! Links that only finish their calls are bounded: a peer that says GOAWAY on every link and
//! finishes none keeps the newest.

use crate::support::{ADDRESS, EventLog, bounded, cause, config, report, secs, start, supervise};
use tonic::Code;
use tonic_supervisor::{
    CallOptions, Cause, Fact, LinkEnd, Phase,
    testing::{MemoryNetwork, RawPeer},
};

/// Each link answers a call, keeps one, and says goodbye.
#[tokio::test(start_paused = true)]
async fn above_max_draining_links_the_oldest_ends_and_says_why() {
    const LINKS: usize = 40;
    const MOST: usize = 5;
    let network = MemoryNetwork::new();
    let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config().max_draining_links(MOST));
    let (channel, events) = (supervisor.channel(), EventLog::of(&supervisor));
    let (mut kept, mut links) = (Vec::new(), Vec::new());
    for n in 0..LINKS {
        let mut link = peer.accept().await;
        link.send_settings(&[]).await;
        let answered = start(&channel, "answered", CallOptions::new());
        let (stream, body) = link.next_whole_request().await.expect("a call");
        link.answer(stream, &body[5..]).await;
        assert!(answered.await.expect("no panic").1.is_ok());
        kept.push(start(&channel, "kept", CallOptions::new().retry(false).timeout(secs(10_000))));
        let (stream, _) = link.next_whole_request().await.expect("a call");
        link.goaway(stream, 0, "").await;
        links.push((link, stream));
        tokio::time::sleep(secs(1)).await;
        let streams = supervisor.snapshot().streams;
        assert!(streams <= MOST, "{streams} calls are open after {n} links");
    }
    let oldest: Vec<_> = kept.drain(..LINKS - MOST).collect();
    for call in oldest {
        let status = call.await.expect("no panic").1.expect_err("its link was ended");
        assert_eq!(
            (status.code(), report(&status).outcome.phase),
            (Code::Unavailable, Phase::MaybeProcessed)
        );
        let Cause::LinkLost(end) = cause(&status) else { panic!("{status:?}") };
        assert_eq!(**end, LinkEnd::TooManyDraining(MOST));
        assert!(status.message().contains("max_draining_links (5)"), "{status:?}");
    }
    let ended = events
        .count(|fact| matches!(fact, Fact::LinkLost { end: LinkEnd::TooManyDraining(_), .. }));
    assert_eq!(ended, LINKS - MOST);
    for (mut link, _) in links.drain(..LINKS - MOST) {
        // Its connection is closed.
        assert!(bounded("the end", link.skip_to(|_| false)).await.is_none());
    }
    // Those that were left finish.
    for ((mut link, stream), call) in links.into_iter().zip(kept) {
        link.answer(stream, b"\n\x02ok").await;
        assert_eq!(call.await.expect("no panic").1.as_deref().ok(), Some("ok"));
    }
}
