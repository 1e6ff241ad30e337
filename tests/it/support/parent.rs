//! A user's actor above a supervisor, which keeps what it is told of its children.

use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::sync::Arc;
use tonic_supervisor::{ConfigBuilder, Supervisor, testing::MemoryNetwork};

/// The errors of the children that failed.
pub(crate) type Heard = Arc<Mutex<Vec<String>>>;

struct Parent;

impl Actor for Parent {
    type Msg = ();
    type State = Heard;
    type Arguments = Heard;

    async fn pre_start(&self, _: ActorRef<()>, heard: Heard) -> Result<Heard, ActorProcessingErr> {
        Ok(heard)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        heard: &mut Heard,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            heard.lock().push(error.to_string());
        }
        Ok(())
    }
}

/// A parent, what it hears, and a supervisor below it.
pub(crate) async fn linked(
    network: &MemoryNetwork,
    config: ConfigBuilder,
) -> (ActorRef<()>, Heard, Supervisor) {
    let heard = Heard::default();
    let (parent, _) = Actor::spawn(None, Parent, heard.clone()).await.expect("starts");
    let builder = Supervisor::builder(config.build().expect("a test's configuration is valid"))
        .connector(network.connector())
        .rng_seed(1);
    let supervisor = builder.spawn_linked(parent.get_cell()).await.expect("starts");
    (parent, heard, supervisor)
}
