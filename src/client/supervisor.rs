//! The supervisor's handle: spawn, observe, shut down.

#[cfg(all(test, feature = "test-util"))]
#[path = "retired_tests.rs"]
mod retired_tests;

use super::{
    builder::SupervisorBuilder, channel::SupervisedChannel, mailbox::Mailbox, not_ready::NotReady,
    observer::Observer,
};
#[cfg(feature = "test-util")]
use crate::call::Panics;
use crate::{
    actor::{Core, SupervisorMsg},
    call::within,
    clock,
    config::Config,
    model::{ConnectivityState, Snapshot},
    telemetry::EventStream,
};
use ractor::{ActorCell, SpawnErr};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::watch;

/// A supervised channel's owner.
///
/// Spawning never fails because of the peer: dialling begins at once, and goes on for as long as
/// the supervisor lives. It lives while a `Supervisor`, a [`SupervisedChannel`] or a call on one
/// does; when the last is dropped it drains: nothing new is accepted, what waits ends with
/// CANCELLED, links close as their last stream ends. Mailboxes and event streams do not keep it
/// alive.
///
/// ```no_run
/// use tonic_supervisor::{Config, Supervisor};
/// # async fn example() {
/// let supervisor = Supervisor::spawn(Config::default());
/// let channel = supervisor.channel(); // for any generated client
/// let mailbox = supervisor.mailbox(); // for actors
/// # }
/// ```
#[derive(Clone)]
pub struct Supervisor {
    handle: Arc<Handle>,
}

/// Keeps the supervisor alive; its drop begins the drain.
pub(super) struct Handle {
    core: Arc<Core>,
}

impl Supervisor {
    pub(super) fn over(core: Arc<Core>) -> Self {
        Self { handle: Arc::new(Handle { core }) }
    }

    /// Starts supervising.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does. The runtime must have time and I/O enabled,
    /// as those of `#[tokio::main]` and `#[tokio::test]` have.
    ///
    /// # Where it lives
    ///
    /// The supervisor lives on that runtime; calls may be made on any other, or on a thread without
    /// one. When the runtime ends, every open and every later call ends with UNAVAILABLE, and the
    /// state is SHUTDOWN. A current-thread runtime must be driven, by a `block_on` that is under
    /// way: while nobody does, no link moves. Calls then end at their deadlines, those without one
    /// not at all.
    #[track_caller]
    pub fn spawn(config: Config) -> Self {
        Self::builder(config).spawn()
    }

    /// Starts supervising under `supervisor`, an actor of the caller's. If the actors inside keep
    /// failing, past the configured intensity, the failure reaches it as a `SupervisionEvent`; if
    /// it ends, so does this supervisor, and every call is answered.
    ///
    /// # Errors
    ///
    /// There is no tokio runtime here, or `supervisor` has ended.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropped before it returns, a supervisor may run under `supervisor` to which
    /// nobody has a handle.
    pub async fn spawn_linked(config: Config, supervisor: ActorCell) -> Result<Self, SpawnErr> {
        Self::builder(config).spawn_linked(supervisor).await
    }

    /// To spawn with descriptors, credentials or a connector.
    pub fn builder(config: Config) -> SupervisorBuilder {
        SupervisorBuilder::new(config)
    }

    /// A channel for generated clients. Any number may be used at once.
    pub fn channel(&self) -> SupervisedChannel {
        SupervisedChannel::new(self.handle.clone())
    }

    /// A mailbox for actors.
    pub fn mailbox(&self) -> Mailbox {
        Mailbox::new(self.core().clone())
    }

    /// The configuration that it was spawned with.
    pub fn config(&self) -> &Config {
        &self.core().config
    }

    /// The connectivity state now.
    pub fn state(&self) -> ConnectivityState {
        self.core().telemetry.state()
    }

    /// The state now and every later one. Quick changes may coalesce; [`events`](Self::events) has
    /// them all. Copy what you borrow: as long as it is borrowed, the supervisor cannot go on.
    pub fn watch_state(&self) -> watch::Receiver<ConnectivityState> {
        self.core().telemetry.watch()
    }

    /// Waits until the channel is Ready, for at most `timeout`. Nothing needs this: calls wait for
    /// a link by themselves. Where the channel is idle (`idle_timeout`), it connects, and as long
    /// as this waits it does not become idle.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), tonic_supervisor::NotReady> {
    /// # let supervisor = tonic_supervisor::Supervisor::spawn(tonic_supervisor::Config::default());
    /// supervisor.wait_ready(std::time::Duration::from_secs(5)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotReady`] says in a sentence why there is no link, after `timeout`, or at once when the
    /// channel is shut down. The supervisor goes on as before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing changes by it.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), NotReady> {
        let (mut state, began) = (self.watch_state(), clock::now());
        let _awaiting = self.core().await_ready();
        let settled = async {
            let settled = |state: &_| {
                if *state == ConnectivityState::Idle {
                    // Nobody has called for long: this is as good as a call.
                    self.core().tell_supervisor(SupervisorMsg::LeaveIdle);
                }
                matches!(state, ConnectivityState::Ready | ConnectivityState::Shutdown)
            };
            // A copy: who keeps the state borrowed holds up whoever announces the next one, and
            // that one holds what a snapshot waits for.
            state.wait_for(settled).await.map(|state| *state)
        };
        match within(&self.core().calls.runtime, timeout, settled).await {
            Some(Ok(ConnectivityState::Ready)) => Ok(()),
            _ => {
                let waited = clock::now().saturating_duration_since(began);
                Err(NotReady { waited, now: Box::new(self.snapshot()) })
            }
        }
    }

    /// Does nothing for `time`, on any thread. Cancel safe.
    #[cfg(feature = "agent-queue")]
    pub(crate) async fn rest(&self, time: Duration) {
        let _ = within(&self.core().calls.runtime, time, std::future::pending::<()>()).await;
    }

    /// A snapshot, then every event in order. A reader that falls more than 512 events behind is
    /// told how many it missed.
    pub fn events(&self) -> EventStream {
        self.core().telemetry.subscribe()
    }

    /// The supervisor at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.observer().snapshot()
    }

    /// A look at it that does not keep it alive.
    pub fn observer(&self) -> Observer {
        Observer::new(self.core().clone())
    }

    /// Starts the backoff over: a wait ends now, and a dial that fails is followed by another at
    /// once (gRPC `ResetConnectBackoff`).
    ///
    /// While Ready, the link is replaced without a gap: a successor is dialled, with the TLS files
    /// and the addresses as they are now; when it is up, new calls go there, and the old link
    /// closes when its last call has ended. If that dial fails, the old link stays and `DialFailed`
    /// says why. While Idle, it connects.
    pub fn reconnect_now(&self) {
        self.core().tell_supervisor(SupervisorMsg::ResetBackoff);
    }

    /// Closes for good: nothing new is accepted, what waits ends with CANCELLED now, and what runs
    /// after `grace`. Returns when everything has ended. Of several shutdowns the shortest grace
    /// holds.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the shutdown goes on without its future.
    pub async fn shutdown(&self, grace: Duration) {
        self.core().begin_drain(Some(grace));
        self.core().calls.shutdown.closed().await;
    }

    /// Waits until the supervisor is closed, whatever closes it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing changes by it.
    pub async fn closed(&self) {
        self.core().calls.shutdown.closed().await;
    }

    /// The switch that makes actors panic.
    #[cfg(feature = "test-util")]
    pub fn panics(&self) -> &Panics {
        &self.core().calls.panics
    }

    /// The switch for deliberate bugs.
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    pub fn mutations(&self) -> &crate::actor::Mutations {
        &self.core().mutations
    }

    /// Learns the methods of an encoded descriptor set of this crate's own, for the client of its
    /// own service: users give theirs to the builder.
    #[cfg(feature = "agent-queue")]
    pub(crate) fn describe(&self, own: &[u8]) {
        let kinds = super::descriptors::kinds(own);
        self.core().calls.describe(kinds.expect("the generated descriptors can be read"));
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }
}

impl Handle {
    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.begin_drain(None);
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("state", &self.state()).finish()
    }
}
