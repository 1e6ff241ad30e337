//! What holds for each key, and who said so: for people who ask why a program behaves as it does.

#[cfg(feature = "tls")]
use super::error::Problem;
use super::{
    keys::{self, KEYS, Shape},
    layers::{KeyPath, Layers, Setting},
    place::Place,
    settings::Config,
    value::Value,
};
use std::fmt;

/// A key, the value that holds for it, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    key: KeyPath,
    value: String,
    place: Place,
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

    /// Who said it: `grpc.yaml:4:3` (file, line, column), the name of a variable, a builder
    /// method, or `default`.
    pub fn place(&self) -> String {
        self.place.to_string()
    }
}

impl fmt::Display for Effective {
    /// `grpc.max_backoff is 10.0 (default)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} ({})", self.key, self.value, self.place)
    }
}

impl Config {
    /// Every key with the value that holds for it and who said so; then what was said for methods,
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
            match self.told.said.iter().find(|said| said.key == path) {
                Some(said) => said.clone(),
                None => Effective { key: path, value: default(key), place: Place::Default },
            }
        });
        let for_methods = self.methods.iter().flat_map(|rule| {
            let ours =
                |said: &&Effective| said.key.method.as_deref() == Some(rule.pattern.as_str());
            self.told.said.iter().filter(ours).cloned()
        });
        everywhere.chain(for_methods).collect()
    }

    /// A problem with what was said at `path`.
    #[cfg(feature = "tls")]
    pub(crate) fn problem_with(&self, path: &str, rule: &str) -> Problem {
        let of_all = |said: &&Effective| said.key.method.is_none() && said.key.path == path;
        let said = self.told.said.iter().find(of_all);
        let (value, place) = match said {
            Some(said) => (said.value.as_str(), said.place.clone()),
            None => ("none", Place::Default),
        };
        Problem {
            place,
            key: Some(format!("grpc.{path}")),
            text: format!("is {value}, but {rule}"),
        }
    }
}

/// What somebody said, with the places found: the files themselves are not kept.
pub(super) fn said(layers: &Layers) -> Vec<Effective> {
    let one = |(key, setting): (&KeyPath, &Setting)| Effective {
        key: key.clone(),
        value: yaml(&setting.value),
        place: setting.source.place(key, None),
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
