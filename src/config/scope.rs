//! Reading settings: each key from the source with the highest precedence, for all calls or for the
//! methods of a pattern.
//!
//! A value that breaks its rule is noted and read as the default, so that one reading finds every
//! problem.

use super::{
    address,
    error::Problem,
    keys::{self, Read},
    layers::{KeyPath, Layers, Setting, Source},
    suggest::did_you_mean,
    value::Value,
};
use crate::model::Address;
use crate::policy::{CodeSet, code_from_name, code_names};
use tonic::Code;

/// The longest list of addresses.
const MOST_ADDRESSES: usize = 10_000;

/// A view on the settings.
pub(super) struct Scope<'a> {
    layers: &'a Layers,
    /// The patterns whose settings go before the general ones, the narrowest first.
    patterns: Vec<String>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        layers: &'a Layers,
        patterns: Vec<String>,
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        Self { layers, patterns, problems }
    }

    /// The value of a key that has a default.
    pub(super) fn read<T: Read>(&mut self, path: &'static str) -> T {
        let kind = keys::find(path).expect("only keys of the table are read").kind;
        self.read_with(path, |value| kind.read(value))
    }

    /// The value of a key whose text has rules of its own.
    pub(super) fn read_with<T>(
        &mut self,
        path: &'static str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> T {
        let (key, setting) = self.find(path);
        parse(&setting.value).unwrap_or_else(|rule| {
            self.note(&key, &setting, None, format!("is {}, but {rule}", show(&setting)));
            parse(&default(path)).expect("defaults keep the rules")
        })
    }

    /// The value of a key, if a pattern sets it.
    pub(super) fn read_own<T: Read>(&mut self, path: &'static str) -> Option<T> {
        let (key, setting) = self.find(path);
        key.method.as_ref()?;
        let kind = keys::find(path).expect("only keys of the table are read").kind;
        let rule = match kind.read(&setting.value) {
            Ok(value) => return Some(value),
            Err(rule) => rule,
        };
        self.note(&key, &setting, None, format!("is {}, but {rule}", show(&setting)));
        None
    }

    /// A list of status codes.
    pub(super) fn read_codes(&mut self, path: &'static str) -> CodeSet {
        let items: Vec<Value> = self.read(path);
        let (key, setting) = self.find(path);
        let mut codes = CodeSet::default();
        for (n, item) in items.iter().enumerate() {
            let name = match item {
                Value::Text(name) => name.clone(),
                other => other.to_string(),
            };
            let text = match code_from_name(&name) {
                None => format!(
                    "has {item}, which is not a gRPC status code{}",
                    did_you_mean(&name, code_names().iter().copied())
                ),
                Some(Code::Ok) if path.starts_with("ejection") => {
                    format!("has {item}, but a call that succeeded has not failed")
                }
                Some(Code::Ok) => format!("has {item}, but a call that succeeded is never retried"),
                Some(code) if !codes.insert(code) => {
                    format!("has {item}, which is in the list already")
                }
                Some(_) => continue,
            };
            let item = matches!(setting.value, Value::List(_)).then_some(n);
            self.note(&key, &setting, item, text);
        }
        codes
    }

    /// A list of addresses; none where there is none.
    pub(super) fn read_addresses(&mut self, path: &'static str) -> Option<Vec<Address>> {
        let items: Vec<Value> = self.read::<Option<_>>(path)?;
        let (key, setting) = self.find(path);
        if items.is_empty() || items.len() > MOST_ADDRESSES {
            let text =
                format!("has {} addresses, but must have 1 to {MOST_ADDRESSES}", items.len());
            self.note(&key, &setting, None, text);
            return None;
        }
        let mut addresses = Vec::new();
        for (n, item) in items.iter().enumerate() {
            let text = match item.text().and_then(address::read) {
                Err(rule) => format!("has {item}, but each {rule}"),
                Ok(address) if addresses.contains(&address) => {
                    format!("has {item}, which is in the list already")
                }
                Ok(address) => {
                    addresses.push(address);
                    continue;
                }
            };
            let item = matches!(setting.value, Value::List(_)).then_some(n);
            self.note(&key, &setting, item, text);
        }
        Some(addresses).filter(|addresses| !addresses.is_empty())
    }

    /// Notes that `first` breaks a `rule` about it and `second`, such as "must not be below".
    /// Silent if one of them is wrong in itself already.
    pub(super) fn conflict(&mut self, first: &'static str, rule: &str, second: &'static str) {
        let ((key, setting), (other_key, other)) = (self.find(first), self.find(second));
        let known = [key.to_string(), other_key.to_string()];
        if self
            .problems
            .iter()
            .any(|problem| problem.key.as_ref().is_some_and(|key| known.contains(key)))
        {
            return;
        }
        let location = |key: &KeyPath, setting: &Setting| setting.source.location(key, None);
        let (own_location, other_location) =
            (location(&key, &setting), location(&other_key, &other));
        let own = format!("is {}", show(&setting));
        let text =
            format!("{own}, but {rule} {other_key}, which is {} ({other_location})", show(&other));
        // Where the first is a default, the second is what a person can change.
        let location = if self.explicit(first) { own_location } else { other_location };
        self.push(Problem { location, key: Some(key.to_string()), text });
    }

    /// Notes that a setting is not possible, for the reason given.
    pub(super) fn refuse(&mut self, path: &'static str, reason: &str) {
        let (key, setting) = self.find(path);
        self.note(&key, &setting, None, format!("is {}, but {reason}", show(&setting)));
    }

    /// Whether it is set anywhere.
    pub(super) fn explicit(&self, path: &'static str) -> bool {
        self.precedence(path) > Source::Default.precedence()
    }

    /// The precedence of the source that set it.
    pub(super) fn precedence(&self, path: &'static str) -> u8 {
        self.find(path).1.source.precedence()
    }

    /// A sentence about a key, at the location where it is set.
    pub(super) fn sentence(&self, path: &'static str, text: &str) -> String {
        let (key, setting) = self.find(path);
        Self::sentence_about(&key, &setting, text)
    }

    /// A sentence about a setting, at its place.
    pub(super) fn sentence_about(key: &KeyPath, setting: &Setting, text: &str) -> String {
        let location = setting.source.location(key, None);
        Problem {
            location,
            key: Some(key.to_string()),
            text: format!("is {}, {text}", show(setting)),
        }
        .to_string()
    }

    /// Everything that is set, in the order of the keys' names.
    pub(super) fn explicit_settings(&self) -> impl Iterator<Item = (&KeyPath, &Setting)> {
        self.layers.settings.iter()
    }

    fn find(&self, path: &'static str) -> (KeyPath, Setting) {
        let scopes = self.patterns.iter().cloned().map(Some).chain([None]);
        let mut keys = scopes.map(|method| KeyPath { method, path });
        let found = keys
            .find_map(|key| self.layers.settings.get(&key).map(|setting| (key, setting.clone())));
        found.unwrap_or_else(|| {
            (
                KeyPath { method: None, path },
                Setting { value: default(path), source: Source::Default },
            )
        })
    }

    fn note(&mut self, key: &KeyPath, setting: &Setting, item: Option<usize>, text: String) {
        self.push(Problem {
            location: setting.source.location(key, item),
            key: Some(key.to_string()),
            text,
        });
    }

    /// Problems of what methods inherit show up once.
    fn push(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// The key's default, as a user would write it; a method's own keys have none.
fn default(path: &str) -> Value {
    keys::find(path).map_or(Value::Null, |key| Value::Text(key.default.into()))
}

fn show(setting: &Setting) -> String {
    match (&setting.value, &setting.source) {
        (Value::Text(text), Source::Default) => text.clone(),
        (value, _) => value.to_string(),
    }
}
