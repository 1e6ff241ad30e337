//! What is announced adds up: every link that came is told to have gone, whatever became of the
//! actors.

use crate::support::stage::{LONG, echo, stage};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::{collections::BTreeSet, time::Duration};
use tokio::sync::mpsc;
use tonic_supervisor::{
    Child, Config, EventItem, EventStream, Fact, Supervisor, testing::MemoryNetwork,
};

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
    let stage = stage(Config::builder()).await;
    let events = stage.supervisor.events();
    for round in 1..=3 {
        stage.supervisor.wait_ready(LONG).await.expect("Ready");
        echo(&stage.supervisor.channel(), "hello").await.expect("OK");
        let mut state = stage.supervisor.watch_state();
        state.mark_unchanged();
        stage.supervisor.panics().arm(Child::Supervisor, "ResetBackoff", 1);
        stage.supervisor.reconnect_now();
        state.changed().await.expect("the crash shows");
        assert_eq!(stage.supervisor.panics().injected().len(), round);
    }
    stage.supervisor.wait_ready(LONG).await.expect("Ready");
    stage.supervisor.shutdown(Duration::from_secs(1)).await;
    assert_eq!(left_open(events).await, BTreeSet::new());
}

/// A user's supervisor that tells how its children ended.
struct Parent;

impl Actor for Parent {
    type Msg = ();
    type State = mpsc::UnboundedSender<String>;
    type Arguments = Self::State;

    async fn pre_start(
        &self,
        _: ActorRef<()>,
        heard: Self::State,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(heard)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        heard: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            heard.send(error.to_string())?;
        }
        Ok(())
    }
}

/// semantics, decision 11: under `spawn_linked` an exhausted restart intensity fails upward,
/// whichever actor exhausted it.
#[tokio::test(start_paused = true)]
async fn a_linked_supervisor_whose_connection_actors_keep_failing_fails_upward() {
    let network = MemoryNetwork::new();
    let server = tonic_supervisor::testing::ScriptedServer::on_memory(
        &network,
        crate::support::stage::ADDRESS,
    )
    .await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let (parent, _) = Actor::spawn(None, Parent, sender).await.expect("starts");
    let builder =
        Supervisor::builder(Config::builder().intensity_restarts(2).build().expect("valid"));
    let supervisor = builder
        .connector(network.connector())
        .spawn_linked(parent.get_cell())
        .await
        .expect("starts");
    let events = supervisor.events();
    supervisor.panics().arm(Child::Connection, "Dialled", 100);
    let said = heard.recv().await.expect("the parent hears");
    assert!(said.contains("keep failing"), "{said}");
    supervisor.closed().await;
    assert_eq!(supervisor.panics().injected().len(), 3, "two are luck, the third is too many");
    assert_eq!(left_open(events).await, BTreeSet::new());
    assert!(echo(&supervisor.channel(), "too late").await.is_err());
    drop(server);
}
