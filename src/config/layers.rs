//! Settings from all sources. For each key only the one with the highest precedence is kept.

use super::{
    error::Problem,
    keys::{KEYS, Key, PREFIX, variable},
    location::Location,
    suggest::did_you_mean,
    value::Value,
};
use std::collections::BTreeMap;
#[cfg(feature = "yaml")]
use std::sync::Arc;

/// Where a setting comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// It is the default.
    Default,
    /// A line of a file.
    #[cfg(feature = "yaml")]
    File(Arc<super::yaml::File>),
    /// The environment variable of this name.
    Variable(String),
    /// The builder method of this name.
    Builder(String),
}

impl Source {
    /// Later sources overrule earlier ones.
    pub(super) fn precedence(&self) -> u8 {
        match self {
            Self::Default => 0,
            #[cfg(feature = "yaml")]
            Self::File(_) => 1,
            Self::Variable(_) => 2,
            Self::Builder(_) => 3,
        }
    }

    /// Where `key` was set, or one `item` of its list.
    pub(super) fn location(&self, key: &KeyPath, item: Option<usize>) -> Location {
        let _ = (key, item);
        match self {
            Self::Default => Location::Default,
            #[cfg(feature = "yaml")]
            Self::File(file) => file.location(&key.steps(), item),
            Self::Variable(name) => Location::Variable(name.clone()),
            Self::Builder(method) => Location::Builder(method.clone()),
        }
    }

    /// Where the method `pattern` was mentioned.
    pub(super) fn section_location(&self, pattern: &str) -> Location {
        match self {
            #[cfg(feature = "yaml")]
            Self::File(file) => file.location(&["grpc", "methods", pattern], None),
            other => other.location(&KeyPath { method: Some(pattern.to_owned()), path: "" }, None),
        }
    }
}

/// A key, for all calls or for those that match a method pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath {
    pub(super) method: Option<String>,
    pub(super) path: &'static str,
}

impl KeyPath {
    /// The names to go through in a file, from the top.
    pub(super) fn steps(&self) -> Vec<&str> {
        let method = self.method.iter().flat_map(|pattern| ["methods", pattern]);
        ["grpc"].into_iter().chain(method).chain(self.path.split('.')).collect()
    }
}

impl std::fmt::Display for KeyPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.method {
            Some(pattern) => write!(f, "grpc.methods.{pattern:?}.{}", self.path),
            None => write!(f, "grpc.{}", self.path),
        }
    }
}

/// A value and who gave it.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) source: Source,
}

/// All settings, and what could not even become one.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) settings: BTreeMap<KeyPath, Setting>,
    /// Patterns that were mentioned, with or without keys.
    pub(super) methods: BTreeMap<String, Source>,
    pub(super) problems: Vec<Problem>,
    /// Remarks that become warnings.
    pub(super) remarks: Vec<String>,
}

impl Layers {
    /// Sources must come in the order of their precedence.
    pub(super) fn set(&mut self, key: KeyPath, value: Value, source: Source) {
        self.settings.insert(key, Setting { value, source });
    }

    pub(super) fn problem(
        &mut self,
        location: Location,
        key: Option<String>,
        text: impl Into<String>,
    ) {
        self.problems.push(Problem { location, key, text: text.into() });
    }

    /// The variables of `environment` that concern us.
    pub(super) fn add_environment(&mut self, environment: &BTreeMap<String, String>) {
        for (name, text) in environment.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            match KEYS.iter().find(|key| variable(key.path) == *name) {
                Some(Key { path, .. }) => {
                    let key = KeyPath { method: None, path };
                    self.set(key, Value::Text(text.clone()), Source::Variable(name.clone()));
                }
                None if name.starts_with(&variable("methods")) => {
                    self.problem(
                        Location::Variable(name.clone()),
                        None,
                        "is not a variable: methods can be configured in files and by the builder \
                         only",
                    );
                }
                None => {
                    let names: Vec<String> = KEYS.iter().map(|key| variable(key.path)).collect();
                    let hint = did_you_mean(name, names.iter().map(String::as_str));
                    let location = Location::Variable(name.clone());
                    self.problem(location, None, format!("is not a variable that is known{hint}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Layers {
        let mut layers = Layers::default();
        layers.add_environment(
            &variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        );
        layers
    }

    #[test]
    fn other_programs_variables_are_none_of_our_business() {
        let layers = environment(&[
            ("PATH", "/bin"),
            ("TONIC_SUPERVISOR_LOG", "x"),
            ("TONIC_SUPERVISOR_GRPC_PORT", "1"),
        ]);
        assert_eq!((layers.settings.len(), layers.problems.len()), (1, 0));
    }

    #[test]
    fn a_misspelt_variable_is_named_with_the_right_one() {
        let layers = environment(&[("TONIC_SUPERVISOR_GRPC_QUEUE_MAX_CALLS", "1")]);
        let problem = layers.problems[0].to_string();
        assert!(
            problem.contains("did you mean `TONIC_SUPERVISOR_GRPC_QUEUE__MAX_CALLS`?"),
            "{problem}"
        );
        let layers = environment(&[("TONIC_SUPERVISOR_GRPC_METHODS__X", "1")]);
        assert!(layers.problems[0].to_string().contains("files and by the builder only"));
    }
}
