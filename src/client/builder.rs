//! How a supervisor is spawned: its configuration, and what only code can give.
//!
//! A configuration file cannot hold a connector, credentials or descriptors.

use super::{
    descriptors::{self, DescriptorError},
    supervisor::Supervisor,
    token_file::TokenFile,
};
use crate::{
    actor::{self, Core},
    call::{CallCredentials, Credentials},
    config::Config,
    model::CallKind,
    transport::{Connector, GuardedConnector, NetConnector},
};
use ractor::{ActorCell, SpawnErr};
use std::{fmt, sync::Arc};
use tokio::runtime;

/// Spawns a [`Supervisor`] with more than its configuration; see [`Supervisor::builder`].
#[must_use = "a builder does nothing until `spawn`"]
pub struct SupervisorBuilder {
    config: Config,
    connector: Option<Arc<dyn Connector>>,
    credentials: Option<Arc<dyn CallCredentials>>,
    allow_plaintext: bool,
    described: Vec<(String, CallKind)>,
    rng_seed: Option<u64>,
}

/// What a spawn says that no runtime would run.
const OUTSIDE: &str = "a supervisor needs a tokio runtime to live on, and there is none here: \
                       spawn it in an async fn (under #[tokio::main], say), or after \
                       `let _guard = runtime.enter();`";

impl SupervisorBuilder {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            connector: None,
            credentials: None,
            allow_plaintext: false,
            described: Vec::new(),
            rng_seed: None,
        }
    }

    /// Tells which methods are unary and which stream: give it what `file_descriptor_set_path` of
    /// tonic's build crates wrote. May be called once for each set; of two that name the same
    /// method, the later one holds.
    ///
    /// Calls of a method that descriptors call unary are retried until their status is known
    /// ([`CallKind::Unary`](crate::CallKind)). Descriptors go before everything else that says what
    /// kind a call is.
    ///
    /// ```
    /// # #[cfg(feature = "agent-queue")]
    /// # async fn example() -> Result<(), tonic_supervisor::DescriptorError> {
    /// # use tonic_supervisor::{Config, Supervisor, agent_queue::DESCRIPTORS};
    /// let builder = Supervisor::builder(Config::default()).descriptor_set(DESCRIPTORS)?;
    /// let supervisor = builder.spawn();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The bytes are not an encoded `FileDescriptorSet`.
    pub fn descriptor_set(mut self, encoded: &[u8]) -> Result<Self, DescriptorError> {
        self.described.extend(descriptors::kinds(encoded)?);
        Ok(self)
    }

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

    /// Whether call credentials may go out in clear, where TLS is not configured: to a Unix socket,
    /// to a proxy on this machine, or through a [`connector`](Self::connector) that encrypts by
    /// itself. On a network anyone can read them. Default: false.
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// How many bytes of answers that nobody has read a link may hold, over all its calls; one call
    /// holds at most 2 MiB. Default: 5 MiB, which is right where whoever makes calls reads the
    /// answers. Where calls are made for others, three that read nothing would stop all the rest,
    /// so give it more, as the command `proxy` does. At most 2 GiB.
    pub fn unread_answers(mut self, bytes: usize) -> Self {
        const MOST: u32 = (1 << 31) - 1;
        let bytes = u32::try_from(bytes).unwrap_or(MOST);
        // Below what HTTP/2 begins with there is nothing to set.
        self.config.unread_answers = Some(bytes.clamp(1 << 16, MOST));
        self
    }

    /// Seeds the random numbers for jitter and spread, for tests that must repeat. By default the
    /// seed is random.
    pub fn rng_seed(mut self, seed: u64) -> Self {
        self.rng_seed = Some(seed);
        self
    }

    /// Starts supervising; see [`Supervisor::spawn`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as [`Supervisor::spawn`] does.
    #[track_caller]
    pub fn spawn(self) -> Supervisor {
        assert!(runtime::Handle::try_current().is_ok(), "{OUTSIDE}");
        let core = self.core();
        actor::spawn(core.clone());
        Supervisor::over(core)
    }

    /// Starts supervising under an actor; see [`Supervisor::spawn_linked`].
    ///
    /// # Errors
    ///
    /// There is no tokio runtime here, or `supervisor` has ended.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe, as [`Supervisor::spawn_linked`].
    pub async fn spawn_linked(self, supervisor: ActorCell) -> Result<Supervisor, SpawnErr> {
        if runtime::Handle::try_current().is_err() {
            return Err(SpawnErr::StartupFailed(OUTSIDE.into()));
        }
        let core = self.core();
        actor::spawn_linked(core.clone(), supervisor).await?;
        Ok(Supervisor::over(core))
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
        let core = Core::new(self.config, connector, credentials, self.rng_seed);
        core.calls.describe(self.described);
        Arc::new(core)
    }
}

impl fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorBuilder")
            .field("config", &self.config)
            .field("rng_seed", &self.rng_seed)
            .finish_non_exhaustive()
    }
}
