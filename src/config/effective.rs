//! The effective value of each key, and where it comes from: for people who ask why a program
//! behaves as it does.

#[cfg(feature = "tls")]
use super::error::Problem;
use super::{
    keys::{self, KEYS, Shape},
    layers::{KeyPath, Layers, Setting},
    location::Location,
    settings::Config,
    value::Value,
};
use std::fmt;

/// A key, its effective value, and where the value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    key: KeyPath,
    value: String,
    location: Location,
}

impl Effective {
    /// The sections and the name, from the top of a file: `grpc`, `queue`, `max_calls`.
    pub fn path(&self) -> Vec<&str> {
        self.key.steps()
    }

    /// The value, as it would be written in a YAML file.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Where it comes from: `grpc.yaml:4:3` (file, line, column), the name of a variable, a builder
    /// method, or `default`.
    pub fn location(&self) -> String {
        self.location.to_string()
    }
}

impl fmt::Display for Effective {
    /// `grpc.max_backoff is 10.0 (default)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} ({})", self.key, self.value, self.location)
    }
}

impl Config {
    /// Every key with its effective value and where that comes from; then what was set for methods,
    /// the narrowest pattern first.
    ///
    /// ```
    /// use tonic_supervisor::Config;
    /// let config = Config::builder().max_in_flight(100).build()?;
    /// let lines: Vec<String> = config.effective().iter().map(|one| one.to_string()).collect();
    /// let line = "grpc.max_in_flight is 100 (builder method max_in_flight(..))";
    /// assert!(lines.contains(&line.into()));
    /// assert!(lines.contains(&"grpc.max_backoff is 10.0 (default)".into()));
    /// # Ok::<(), tonic_supervisor::ConfigError>(())
    /// ```
    pub fn effective(&self) -> Vec<Effective> {
        let everywhere = KEYS.iter().map(|key| {
            let path = KeyPath { method: None, path: key.path };
            match self.provenance.explicit.iter().find(|said| said.key == path) {
                Some(said) => said.clone(),
                None => Effective { key: path, value: default(key), location: Location::Default },
            }
        });
        let for_methods = self.methods.iter().flat_map(|rule| {
            let ours =
                |said: &&Effective| said.key.method.as_deref() == Some(rule.pattern.as_str());
            self.provenance.explicit.iter().filter(ours).cloned()
        });
        everywhere.chain(for_methods).collect()
    }

    /// A problem with the value of the key at `path`.
    #[cfg(feature = "tls")]
    pub(crate) fn problem_with(&self, path: &str, rule: &str) -> Problem {
        let of_all = |said: &&Effective| said.key.method.is_none() && said.key.path == path;
        let said = self.provenance.explicit.iter().find(of_all);
        let (value, location) = match said {
            Some(said) => (said.value.as_str(), said.location.clone()),
            None => ("none", Location::Default),
        };
        Problem {
            location,
            key: Some(format!("grpc.{path}")),
            text: format!("is {value}, but {rule}"),
        }
    }
}

/// The settings that are not defaults, with their locations: the files themselves are not kept.
pub(super) fn explicit(layers: &Layers) -> Vec<Effective> {
    let one = |(key, setting): (&KeyPath, &Setting)| Effective {
        key: key.clone(),
        value: yaml(&setting.value),
        location: setting.source.location(key, None),
    };
    layers.settings.iter().map(one).collect()
}

fn default(key: &keys::Key) -> String {
    match key.kind.shape {
        Shape::Codes => format!("[{}]", key.default),
        _ => key.default.to_owned(),
    }
}

/// A value as YAML has it, on one line.
fn yaml(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Text(text) if is_plain(text) => text.clone(),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Time(time) => format!("{time:?}").replace('µ', "u"),
        Value::List(items) => {
            format!("[{}]", items.iter().map(yaml).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Whether text needs no quotes: nothing in it means something to YAML.
fn is_plain(text: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':');
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && !text.ends_with(':')
        && text.chars().all(harmless)
}
