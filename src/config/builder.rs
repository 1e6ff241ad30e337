//! The builder: collects settings from files, the environment and code, and has them checked.
//!
//! It stands above the rules, the settings and the configuration, and is the one way to a
//! [`Config`]: that is why the functions that make one are here, too.

use super::{
    balancing::Balancing,
    check,
    error::{ConfigError, Problem},
    keys::{PREFIX, key_doc, key_setters, link_key_doc, link_key_setters, setter},
    layers::{KeyPath, Layers, Source},
    location::Location,
    method::MethodOptions,
    resolve::{Period, Shuffle},
    settings::Config,
    value::Value,
};
use crate::policy::RetryLimit;
#[cfg(feature = "yaml")]
use std::path::PathBuf;
use std::{collections::BTreeMap, time::Duration};
use tonic::Code;

/// Builds a [`Config`]: defaults, overruled by files, overruled by the environment, overruled by
/// methods of this builder, in whatever order they are called.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ConfigBuilder {
    #[cfg(feature = "yaml")]
    files: Vec<Input>,
    #[cfg(feature = "yaml")]
    section_required: bool,
    environment: BTreeMap<String, String>,
    unreadable: Vec<Problem>,
    settings: Vec<(KeyPath, Value, Source)>,
    methods: Vec<(String, Source)>,
}

#[cfg(feature = "yaml")]
#[derive(Clone, Debug)]
enum Input {
    Path(PathBuf),
    Text(String),
}

impl ConfigBuilder {
    /// Reads the section `grpc` of a YAML file; where several files set one key, the last one
    /// holds.
    #[cfg(feature = "yaml")]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(Input::Path(path.into()));
        self
    }

    /// Reads the section `grpc` of a YAML text, as [`file`](Self::file) does.
    #[cfg(feature = "yaml")]
    pub fn yaml(mut self, text: impl Into<String>) -> Self {
        self.files.push(Input::Text(text.into()));
        self
    }

    /// Whether a file without the section `grpc` is an error. Otherwise, which is the default,
    /// every key has its default then, and a file that is not empty is a
    /// [warning](Config::warnings).
    #[cfg(feature = "yaml")]
    pub fn require_section(mut self, required: bool) -> Self {
        self.section_required = required;
        self
    }

    /// Reads the variables `TONIC_SUPERVISOR_GRPC_...` of this process: the key in capitals, `__`
    /// between section and key, commas between the items of a list. A variable of that name that no
    /// key has is an error.
    pub fn environment(mut self) -> Self {
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            match value.into_string() {
                _ if !name.starts_with(PREFIX) => {}
                Ok(value) => {
                    self.environment.insert(name, value);
                }
                Err(_) => {
                    let location = Location::Variable(name);
                    self.unreadable.push(Problem {
                        location,
                        key: None,
                        text: "is not UTF-8 text".into(),
                    });
                }
            }
        }
        self
    }

    /// Reads variables as [`environment`](Self::environment) does, from anywhere.
    pub fn environment_from(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Options for the methods that `pattern` names: `pkg.Service/Method`, `pkg.Service/*` or `*`.
    pub fn method(mut self, pattern: impl Into<String>, options: MethodOptions) -> Self {
        let pattern = pattern.into();
        let source = Source::Builder(format!("method({pattern:?}, ..)"));
        for (path, value) in options.settings {
            self.settings.push((
                KeyPath { method: Some(pattern.clone()), path },
                value,
                source.clone(),
            ));
        }
        self.methods.push((pattern, source));
        self
    }

    /// Checks everything together; the error names every problem at once.
    pub fn build(self) -> Result<Config, ConfigError> {
        let mut layers = Layers::default();
        #[cfg(feature = "yaml")]
        for input in self.files {
            use super::{file, yaml::File};
            let opened = match input {
                Input::Path(path) => file::open(&path),
                Input::Text(text) => Ok(File { name: "yaml".into(), text }),
            };
            match opened {
                Ok(file) => file::add(&mut layers, file, self.section_required),
                Err(problem) => layers.problems.push(problem),
            }
        }
        layers.problems.extend(self.unreadable);
        layers.add_environment(&self.environment);
        for (key, value, source) in self.settings {
            layers.set(key, value, source);
        }
        layers.methods.extend(self.methods);
        check::config(layers)
    }

    /// Keeps a value that the builder method `method` was given.
    pub(crate) fn set(mut self, path: &'static str, method: &str, value: Value) -> Self {
        let source = Source::Builder(format!("{method}(..)"));
        self.settings.push((KeyPath { method: None, path }, value, source));
        self
    }
}

/// A method for each key of the table.
impl ConfigBuilder {
    key_setters! { each key }

    link_key_setters! { each key }
}

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// The file at `path`, overruled by the environment (`TONIC_SUPERVISOR_GRPC_...`).
    #[cfg(feature = "yaml")]
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        Self::builder().file(path).environment().build()
    }

    /// The text of a file, and nothing else.
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        Self::builder().yaml(text).build()
    }
}

impl Default for Config {
    fn default() -> Self {
        check::config(Layers::default()).expect("defaults keep the rules")
    }
}

impl From<u32> for RetryLimit {
    fn from(retries: u32) -> Self {
        Self::AtMost(retries)
    }
}
