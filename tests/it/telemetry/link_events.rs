//! What is announced adds up: every link that came is told to have gone, whatever became of the
//! actors.

use crate::support::{ADDRESS, LONG, Rig, bounded, config, echo, linked, settle};
use std::{collections::BTreeSet, time::Duration};
use tonic_supervisor::{Child, EventItem, EventStream, Fact, testing::MemoryNetwork};

/// The links announced and not ended, once the stream has ended.
async fn left_open(mut events: EventStream) -> BTreeSet<u64> {
    let mut open = BTreeSet::new();
    while let Some(item) = events.next().await {
        let EventItem::Event(event) = item else { continue };
        match event.fact {
            Fact::LinkEstablished { incarnation, .. } => {
                assert!(open.insert(incarnation.0), "established twice")
            }
            Fact::LinkLost { incarnation, .. } => {
                assert!(open.remove(&incarnation.0), "lost without being established")
            }
            _ => {}
        }
    }
    open
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_the_supervisor_actor_announces_the_end_of_the_links_it_takes_along() {
    let rig = Rig::new(config()).await;
    let events = rig.supervisor.events();
    for round in 1..=3 {
        rig.supervisor.wait_ready(LONG).await.expect("Ready");
        echo(&rig.supervisor.channel(), "hello").await.expect("OK");
        let mut state = rig.supervisor.watch_state();
        state.mark_unchanged();
        rig.supervisor.panics().arm(Child::Supervisor, "ResetBackoff", 1);
        rig.supervisor.reconnect_now();
        state.changed().await.expect("the crash shows");
        assert_eq!(rig.supervisor.panics().injected().len(), round);
    }
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
    rig.supervisor.shutdown(Duration::from_secs(1)).await;
    assert_eq!(left_open(events).await, BTreeSet::new());
}

/// Under `spawn_linked` an exhausted restart intensity fails upward,
/// whichever actor exhausted it.
#[tokio::test(start_paused = true)]
async fn a_linked_supervisor_whose_connection_actors_keep_failing_fails_upward() {
    let network = MemoryNetwork::new();
    let server = tonic_supervisor::testing::ScriptedServer::on_memory(&network, ADDRESS).await;
    let (_parent, heard, supervisor) = linked(&network, config().intensity_restarts(2)).await;
    let events = supervisor.events();
    supervisor.panics().arm(Child::Connection, "Dialled", 100);
    bounded("it gives up", supervisor.closed()).await;
    settle().await;
    let heard = heard.lock().clone();
    assert!(heard.len() == 1 && heard[0].contains("keep failing"), "{heard:?}");
    assert_eq!(supervisor.panics().injected().len(), 3, "two are luck, the third is too many");
    assert_eq!(left_open(events).await, BTreeSet::new());
    assert!(echo(&supervisor.channel(), "too late").await.is_err());
    drop(server);
}
