//! The wishes: YAML, environment and builder become one checked [`Config`], or an error that names
//! every problem.
//!
//! The way: each source becomes settings (`layers`), the settings with most authority are read
//! (`scope`) under the rules (`check`). The keys are said once, in `keys`. Nothing here panics,
//! whatever is written in a file.

#[cfg(feature = "yaml")]
mod advice;
mod builder;
mod check;
mod doubts;
mod effective;
mod error;
#[cfg(feature = "yaml")]
mod file;
#[cfg(feature = "yaml")]
mod foreign;
mod host;
mod keys;
mod layers;
mod method;
mod place;
mod placeholders;
#[cfg(all(test, feature = "yaml"))]
mod reference;
mod scope;
mod settings;
#[cfg(feature = "yaml")]
mod slips;
pub(crate) mod small_file;
mod suggest;
mod target;
mod tls;
mod value;
#[cfg(feature = "yaml")]
mod yaml;

pub use builder::ConfigBuilder;
pub use effective::Effective;
pub use error::{ConfigError, Problem};
#[cfg(feature = "agent-queue")]
pub(crate) use keys::key_doc;
pub use method::{MethodOptions, MethodRule};
pub use settings::{Config, Keepalive, Queue, Reconnect};
#[cfg(feature = "auth-file")]
pub(crate) use suggest::did_you_mean;
pub use target::Target;
pub use tls::{Roots, Tls};
#[cfg(feature = "agent-queue")]
pub(crate) use value::Value;
#[cfg(feature = "auth-file")]
pub(crate) use yaml::File as YamlFile;
