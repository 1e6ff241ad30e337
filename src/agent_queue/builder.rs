//! The builder of a `PrivateAgentTasksQueue`, with the seed's names: each `grpc_...` sets the key
//! of that name below `grpc:`.

use super::PrivateAgentTasksQueue;
use crate::{
    client::Supervisor,
    config::{Config, ConfigBuilder, ConfigError, Value, key_doc},
};
#[cfg(feature = "yaml")]
use std::path::PathBuf;
use tonic::Code;

/// Builds a [`PrivateAgentTasksQueue`]. Times are in seconds, as in the seed and in YAML; `None`:
/// no limit, or no keepalive. Waiting for a task counts on top of `grpc_timeout`.
///
/// ```no_run
/// use tonic_supervisor::agent_queue::PrivateAgentTasksQueue;
///
/// # async fn example() -> Result<(), tonic_supervisor::ConfigError> {
/// let queue = PrivateAgentTasksQueue::builder()
///     .grpc_max_retry_attempts(5)
///     .grpc_initial_backoff(2.0)
///     .grpc_max_backoff(20.0)
///     .grpc_backoff_multiplier(1.5)
///     .build()?;
/// # drop(queue); Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct QueueBuilder {
    config: ConfigBuilder,
}

/// Clients configured by a file, or in code.
impl PrivateAgentTasksQueue {
    /// A client configured by a YAML file, overruled by the environment
    /// (`TONIC_SUPERVISOR_GRPC_...`). Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Every problem of the file at once, with line, key and rule.
    #[cfg(feature = "yaml")]
    pub fn from_config(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        Self::builder().file(path).environment().build()
    }

    /// To configure in code.
    pub fn builder() -> QueueBuilder {
        QueueBuilder::default()
    }
}

macro_rules! settings {
    ($($method:ident($type:ty $(as $target:ty)?) = $path:literal $key:ident;)+) => {
        /// The seed's settings. None of them fails: what is wrong with a value is said by
        /// [`build`](QueueBuilder::build).
        impl QueueBuilder {
            $(
                #[doc = key_doc!($key)]
                pub fn $method(mut self, value: $type) -> Self {
                    $(let value: $target = value.into();)?
                    self.config = self.config.set($path, stringify!($method), Value::from(value));
                    self
                }
            )+
        }
    };
}

settings! {
    grpc_host(impl Into<String> as String) = "host" host;
    grpc_port(u16) = "port" port;
    grpc_target(impl Into<String> as String) = "target" target;
    grpc_timeout(impl Into<Option<f64>> as Option<f64>) = "timeout" timeout;
    grpc_use_tls(bool) = "use_tls" use_tls;
    grpc_max_retry_attempts(u32) = "max_retry_attempts" max_retry_attempts;
    grpc_initial_backoff(f64) = "initial_backoff" initial_backoff;
    grpc_max_backoff(f64) = "max_backoff" max_backoff;
    grpc_backoff_multiplier(f64) = "backoff_multiplier" backoff_multiplier;
    grpc_retryable_status_codes(impl Into<Vec<Code>> as Vec<Code>) =
        "retryable_status_codes" retryable_status_codes;
    grpc_keepalive_time(impl Into<Option<f64>> as Option<f64>) = "keepalive_time" keepalive_time;
    grpc_keepalive_timeout(f64) = "keepalive_timeout" keepalive_timeout;
    grpc_keepalive_permit_without_calls(bool) =
        "keepalive_permit_without_calls" keepalive_permit_without_calls;
}

impl QueueBuilder {
    /// Reads the section `grpc` of a YAML file. What is set in code holds over it.
    #[cfg(feature = "yaml")]
    pub fn file(self, path: impl Into<PathBuf>) -> Self {
        self.configure(|grpc| grpc.file(path))
    }

    /// Reads the variables `TONIC_SUPERVISOR_GRPC_...`. They hold over files; what is set in code
    /// holds over them.
    pub fn environment(self) -> Self {
        self.configure(ConfigBuilder::environment)
    }

    /// Sets anything else that a channel can be told.
    ///
    /// ```
    /// # use tonic_supervisor::agent_queue::PrivateAgentTasksQueue;
    /// let builder =
    ///     PrivateAgentTasksQueue::builder().configure(|grpc| grpc.queue_max_calls(1_000));
    /// # drop(builder);
    /// ```
    pub fn configure(mut self, change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Self {
        self.config = change(self.config);
        self
    }

    /// Checks everything and starts to dial. Must be called within a tokio runtime, and panics
    /// outside one, as `tokio::spawn` does. A server that is not there is no error: calls wait for
    /// it.
    ///
    /// # Errors
    ///
    /// Every wrong setting at once, each with its place, value and rule.
    pub fn build(self) -> Result<PrivateAgentTasksQueue, ConfigError> {
        self.config().map(|config| PrivateAgentTasksQueue::over(Supervisor::spawn(config)))
    }

    /// Only checks. For a supervisor that needs a connector or credentials of your own; see
    /// [`PrivateAgentTasksQueue::over`].
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn config(self) -> Result<Config, ConfigError> {
        self.config.build()
    }
}
