//! The supervisor's handle: spawn, observe, shut down.

#[cfg(all(test, feature = "test-util"))]
#[path = "retired_tests.rs"]
mod retired_tests;

use super::{
    channel::SupervisedChannel, mailbox::Mailbox, not_ready::NotReady, token_file::TokenFile,
};
#[cfg(feature = "test-util")]
use crate::actor::Panics;
use crate::{
    actor::{self, CallCredentials, Core, Credentials, SupervisorMsg, within},
    clock,
    config::Config,
    model::{ConnectivityState, Snapshot},
    telemetry::EventStream,
    transport::{Connector, GuardedConnector, NetConnector},
};
use ractor::{ActorCell, SpawnErr};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{runtime, sync::watch};

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

/// What is left to choose when a supervisor is spawned.
#[must_use = "a builder does nothing until `spawn`"]
pub struct Builder {
    config: Config,
    connector: Option<Arc<dyn Connector>>,
    credentials: Option<Arc<dyn CallCredentials>>,
    allow_plaintext: bool,
    seed: Option<u64>,
}

/// What a spawn says that no runtime would run.
const OUTSIDE: &str = "a supervisor needs a tokio runtime to live on, and there is none here: \
                       spawn it in an async fn (under #[tokio::main], say), or after `let _guard = \
                       runtime.enter();`";

/// Keeps the supervisor alive; its drop begins the drain.
pub(super) struct Handle {
    core: Arc<Core>,
}

impl Supervisor {
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
    pub async fn spawn_linked(config: Config, supervisor: ActorCell) -> Result<Self, SpawnErr> {
        Self::builder(config).spawn_linked(supervisor).await
    }

    /// To spawn with another connector.
    pub fn builder(config: Config) -> Builder {
        Builder { config, connector: None, credentials: None, allow_plaintext: false, seed: None }
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
    /// a link by themselves. Cancel safe.
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
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), NotReady> {
        let (mut state, began) = (self.watch_state(), clock::now());
        let settled = async {
            let settled =
                |state: &_| matches!(state, ConnectivityState::Ready | ConnectivityState::Shutdown);
            // A copy: who keeps the state borrowed holds up whoever announces the next one, and
            // that one holds what a snapshot waits for.
            state.wait_for(settled).await.map(|state| *state)
        };
        match within(&self.core().runtime, timeout, settled).await {
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
        let _ = within(&self.core().runtime, time, std::future::pending::<()>()).await;
    }

    /// A snapshot, then every event in order. A reader that falls more than 512 events behind is
    /// told how many it missed.
    pub fn events(&self) -> EventStream {
        self.core().telemetry.subscribe()
    }

    /// The supervisor at this moment.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { streams: self.core().streams(), ..self.core().telemetry.snapshot() }
    }

    /// Starts the backoff over: a wait ends now, and a dial that fails is followed by another at
    /// once (gRPC `ResetConnectBackoff`).
    ///
    /// While Ready, the link is replaced without a gap: a successor is dialled, with the TLS files
    /// and the addresses as they are now; when it is up, new calls go there, and the old link
    /// closes when its last call has ended. If that dial fails, the old link stays and `DialFailed`
    /// says why.
    pub fn reconnect_now(&self) {
        self.core().tell_supervisor(SupervisorMsg::ResetBackoff);
    }

    /// Closes for good: nothing new is accepted, what waits ends with CANCELLED now, and what runs
    /// after `grace`. Returns when everything has ended. Of several shutdowns the shortest grace
    /// holds. Cancel safe: the shutdown goes on without its future.
    pub async fn shutdown(&self, grace: Duration) {
        self.core().begin_drain(Some(grace));
        self.core().closed().await;
    }

    /// Waits until the supervisor is closed, whatever closes it. Cancel safe.
    pub async fn closed(&self) {
        self.core().closed().await;
    }

    /// The switch that makes actors panic.
    #[cfg(feature = "test-util")]
    pub fn panics(&self) -> &Panics {
        &self.core().panics
    }

    /// The switch that makes actors err.
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    pub fn mutations(&self) -> &crate::actor::Mutations {
        &self.core().mutations
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }
}

impl Builder {
    /// Opens byte streams with `connector` instead of dialling the target. TLS, where configured,
    /// is spoken over them.
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = Some(connector);
        self
    }

    /// Adds what `credentials` give to the metadata of every attempt of every call. Needs TLS, or
    /// [`allow_plaintext`](Self::allow_plaintext): without either, calls fail with UNAUTHENTICATED
    /// and the hook is never asked. It goes before `credentials.token_file`.
    pub fn call_credentials(mut self, credentials: impl CallCredentials) -> Self {
        self.credentials = Some(Arc::new(credentials));
        self
    }

    /// Lets call credentials go out in clear, where TLS is not configured: to a Unix socket, to a
    /// proxy on this machine, or through a [`connector`](Self::connector) that encrypts by itself.
    /// On a network anyone can read them.
    pub fn allow_plaintext(mut self) -> Self {
        self.allow_plaintext = true;
        self
    }

    /// Seeds the dice for jitter and spread, for tests that must repeat.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts supervising; see [`Supervisor::spawn`], also for when it panics.
    #[track_caller]
    pub fn spawn(self) -> Supervisor {
        assert!(runtime::Handle::try_current().is_ok(), "{OUTSIDE}");
        let core = self.core();
        actor::spawn(core.clone());
        Supervisor { handle: Arc::new(Handle { core }) }
    }

    /// Starts supervising under an actor; see [`Supervisor::spawn_linked`].
    pub async fn spawn_linked(self, supervisor: ActorCell) -> Result<Supervisor, SpawnErr> {
        if runtime::Handle::try_current().is_err() {
            return Err(SpawnErr::StartupFailed(OUTSIDE.into()));
        }
        let core = self.core();
        actor::spawn_linked(core.clone(), supervisor).await?;
        Ok(Supervisor { handle: Arc::new(Handle { core }) })
    }

    fn core(self) -> Arc<Core> {
        for warning in self.config.warnings() {
            log_line!(warn, "{warning}");
        }
        // Where a connector of the caller's goes is not known here.
        let stays = self.connector.is_none() && self.config.target().is_on_this_machine();
        let connector: Arc<dyn Connector> = match self.connector {
            Some(connector) => Arc::new(GuardedConnector(connector)),
            None => Arc::new(NetConnector::new(self.config.target().clone())),
        };
        let credentials = match (self.credentials, self.config.token_file()) {
            (Some(hook), _) => Some(Credentials { hook, allow_plaintext: self.allow_plaintext }),
            (None, Some(path)) => {
                let hook = Arc::new(TokenFile::new(path));
                Some(Credentials { hook, allow_plaintext: self.allow_plaintext || stays })
            }
            (None, None) => None,
        };
        Arc::new(Core::new(self.config, connector, credentials, self.seed))
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

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
