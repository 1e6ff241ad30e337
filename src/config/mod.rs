//! The configuration: YAML, environment and builder become one checked [`Config`], or an error
//! that names every problem.
//!
//! Each source becomes settings (`layers`), and the settings with the highest precedence are read
//! (`scope`) under the rules (`check`). The keys are defined once, in `keys`. Nothing here panics,
//! whatever is written in a file.

mod address;
#[cfg(feature = "yaml")]
mod advice;
mod balancing;
mod builder;
mod check;
mod effective;
mod error;
#[cfg(feature = "yaml")]
mod file;
mod health;
mod host;
mod keys;
mod layers;
mod location;
mod method;
#[cfg(feature = "yaml")]
mod other_names;
mod placeholders;
mod plan;
#[cfg(all(test, feature = "yaml"))]
mod reference;
mod resolve;
mod scope;
mod servers;
mod settings;
pub(crate) mod small_file;
mod suggest;
mod target;
mod tls;
mod value;
mod warnings;
#[cfg(feature = "yaml")]
mod yaml;
#[cfg(feature = "yaml")]
mod yaml_mistakes;

pub use address::InvalidAddress;
pub use balancing::Balancing;
pub use builder::ConfigBuilder;
pub use effective::Effective;
pub use error::{ConfigError, Problem};
pub use health::HealthChecks;
#[cfg(feature = "agent-queue")]
pub(crate) use keys::key_doc;
pub use method::{MethodOptions, MethodRule};
pub use plan::{InvalidMethod, Plan};
pub use resolve::{Period, Resolve, Shuffle};
pub use settings::{Config, Keepalive, Queue, Reconnect};
#[cfg(feature = "auth-file")]
pub(crate) use suggest::did_you_mean;
pub use target::Target;
#[cfg(feature = "tls")]
pub(crate) use target::certificate_name;
pub use tls::{Roots, TlsConfig};
#[cfg(feature = "agent-queue")]
pub(crate) use value::Value;
#[cfg(feature = "auth-file")]
pub(crate) use yaml::File as YamlFile;
