//! Reads the file of `--auth`: YAML becomes [`Grants`], or a list of at most 100 problems.
//!
//! ```yaml
//! auth:
//!   identities:
//!     - { name: agent_001, token_sha256: "9f2c..." }
//!     - { name: agent_002, certificate: "spiffe://prod/agent/002" }
//!     - name: front
//!       token_sha256: ["0c1d...", "77aa..."]
//!       grants: [{ queues: "agent_*", may: [submit, look, cancel] }]
//! ```
//!
//! What stands at `token_sha256` is never repeated: it might be a token. On Unix only the owner may
//! be able to write the file: whoever can write it can let themselves in.

use super::{
    Action, Grants, TokenHash,
    grants::{Grant, Rules},
};
use crate::config::{ConfigError, Problem, Value, YamlFile, did_you_mean, small_file};
use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
};

/// No file is larger, in bytes.
const MOST_BYTES: u64 = 1 << 20;
/// No more problems are looked for: to find the place of one the text is read again.
const MOST_PROBLEMS: usize = 100;
/// So many tokens may stand for an identity: the former and the next.
const MOST_TOKENS: usize = 2;
/// No name is longer, in bytes: a queue's may not be, either.
const MOST_NAME: usize = 256;
/// No name of a certificate is longer, in bytes.
const MOST_CERTIFICATE: usize = 2048;

impl Grants {
    /// Reads a file: a regular one of at most 1 MiB that only its owner may write. Blocking.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let text = only_its_owner_may_write(path)
            .and_then(|()| small_file::read(path, MOST_BYTES))
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "must be UTF-8 text".into()));
        match text {
            Ok(text) => Self::parse(&name, text.trim_start_matches('\u{feff}')),
            Err(text) => {
                let location = YamlFile { name, text: String::new() }.at(None);
                Err(ConfigError::of(Problem { location, key: None, text }))
            }
        }
    }

    /// Reads the section `auth` of a text, which errors call `name`.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        let file = YamlFile { name: name.into(), text: text.into() };
        let root = match file.parse("auth") {
            Ok(root) => root,
            Err((location, text)) => {
                return Err(ConfigError::of(Problem { location, key: None, text }));
            }
        };
        let mut reading = Reading { file, ..Reading::default() };
        let identities = reading.root(&root);
        ConfigError::check(reading.problems)?;
        Ok(Self { identities })
    }
}

/// Whoever can write it can let themselves in.
#[cfg(unix)]
fn only_its_owner_may_write(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path)
        .map_err(|error| format!("cannot be read: {error}"))?
        .permissions()
        .mode()
        & 0o777;
    match mode & 0o022 {
        0 => Ok(()),
        _ => Err(format!("can be written by others than its owner (mode {mode:o}): chmod go-w it")),
    }
}

#[cfg(not(unix))]
fn only_its_owner_may_write(_: &Path) -> Result<(), String> {
    Ok(())
}

#[derive(Default)]
struct Reading {
    file: YamlFile,
    problems: Vec<Problem>,
    /// What proves an identity already.
    hashes: HashSet<[u8; 32]>,
    certificates: HashSet<String>,
}

/// The way to a key: names, and numbers of items.
type Steps<'a> = [&'a str];

impl Reading {
    fn root(&mut self, root: &Value) -> BTreeMap<Arc<str>, Rules> {
        let sections = match root {
            Value::Map(sections) => &sections[..],
            _ => &[],
        };
        let Some((_, auth)) = sections.iter().find(|(name, _)| name == "auth") else {
            self.wrong(&[], "must have a section `auth`");
            return BTreeMap::new();
        };
        let [identities] = self.keys(&["auth"], auth, ["identities"]);
        let mut all = BTreeMap::new();
        for (number, one) in self.items(&["auth", "identities"], identities).iter().enumerate() {
            self.identity(&number.to_string(), one, &mut all);
        }
        all
    }

    fn identity(&mut self, number: &str, one: &Value, all: &mut BTreeMap<Arc<str>, Rules>) {
        let at = ["auth", "identities", number];
        let keys = ["name", "token_sha256", "certificate", "grants"];
        let [name, tokens, certificate, grants] = self.keys(&at, one, keys);
        let below = |key| [at[0], at[1], at[2], key];
        let rules = Rules {
            tokens: tokens
                .map(|tokens| self.tokens(&below("token_sha256"), tokens))
                .unwrap_or_default(),
            certificate: certificate.and_then(|name| self.certificate(&below("certificate"), name)),
            grants: grants.map(|grants| self.grants(&below("grants"), grants)),
        };
        if tokens.is_none() && certificate.is_none() && matches!(one, Value::Map(_)) {
            self.wrong(
                &at,
                "must have `token_sha256` or `certificate`: nobody could prove to be it",
            );
        }
        let name = match name {
            Some(name) => self.name(&below("name"), name),
            None if matches!(one, Value::Map(_)) => return self.wrong(&at, "must have a `name`"),
            None => return,
        };
        let Some(name) = name else { return };
        if all.contains_key(&*name) {
            return self
                .wrong(&below("name"), &format!("is {name:?}, which stands here a second time"));
        }
        all.insert(name.into(), rules);
    }

    fn name(&mut self, at: &Steps<'_>, value: &Value) -> Option<String> {
        let name = self.text(at, value)?;
        if name.is_empty()
            || name.len() > MOST_NAME
            || name.trim() != name
            || name.contains(char::is_control)
        {
            let rule = "must have 1 to 256 bytes, without control characters or spaces around it";
            self.wrong(at, &format!("is {value}, but {rule}"));
            return None;
        }
        Some(name)
    }

    fn tokens(&mut self, at: &Steps<'_>, value: &Value) -> Vec<TokenHash> {
        let items = match value {
            Value::List(items) => &items[..],
            one => std::slice::from_ref(one),
        };
        if items.is_empty() || items.len() > MOST_TOKENS {
            self.wrong(at, "must be one hash, or a list of two while a token is replaced");
        }
        let mut hashes: Vec<TokenHash> = Vec::new();
        for item in items {
            let read =
                if let Value::Text(text) = item { TokenHash::read(text.trim()) } else { None };
            let Some(hash) = read else {
                let rule = "must be the SHA-256 of a token, 64 hexadecimal digits in quotes";
                self.wrong(at, &format!("{rule}: `tonic-supervisor token NAME` makes both"));
                continue;
            };
            match self.hashes.insert(hash.bytes()) {
                true => hashes.push(hash),
                false => self.wrong(
                    at,
                    "has a hash that stands here a second time: each token is of one identity",
                ),
            }
        }
        hashes
    }

    fn certificate(&mut self, at: &Steps<'_>, value: &Value) -> Option<String> {
        let name = self.text(at, value)?;
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == '*';
        if name.is_empty() || name.len() > MOST_CERTIFICATE || name.contains(odd) {
            let rule = "must be a URI or DNS name of the certificate's subject alternative names, \
                        letter for letter";
            self.wrong(at, &format!("is {value}, but {rule}: without spaces or `*`"));
            return None;
        }
        if !self.certificates.insert(name.clone()) {
            self.wrong(
                at,
                &format!(
                    "is {value}, which stands here a second time: each name is of one identity"
                ),
            );
        }
        Some(name)
    }

    fn grants(&mut self, at: &[&str; 4], value: &Value) -> Vec<Grant> {
        let mut grants = Vec::new();
        for (number, one) in self.items(at, Some(value)).iter().enumerate() {
            let number = number.to_string();
            let at = [at[0], at[1], at[2], at[3], &number];
            let below = |key| [at[0], at[1], at[2], at[3], at[4], key];
            let [queues, may] = self.keys(&at, one, ["queues", "may"]);
            let whole = queues.is_some() && may.is_some();
            let queues = queues.and_then(|queues| self.name(&below("queues"), queues));
            let may = may.map(|may| self.actions(&below("may"), may));
            match queues.zip(may) {
                Some((queues, may)) => grants.push(Grant { queues, may }),
                None if !whole && matches!(one, Value::Map(_)) => {
                    self.wrong(&at, "must have `queues` and `may`")
                }
                None => {}
            }
        }
        grants
    }

    fn actions(&mut self, at: &Steps<'_>, value: &Value) -> Vec<Action> {
        let mut actions = Vec::new();
        let names: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
        for item in self.items(at, Some(value)).iter() {
            match item {
                Value::Text(name) if Action::named(name).is_some() => {
                    actions.extend(Action::named(name))
                }
                other => {
                    let hint = match other {
                        Value::Text(name) => did_you_mean(name, names.iter().copied()),
                        _ => String::new(),
                    };
                    let all = names.join(", ");
                    self.wrong(at, &format!("has {other}, but must have some of {all}{hint}"));
                }
            }
        }
        actions
    }

    fn text(&mut self, at: &Steps<'_>, value: &Value) -> Option<String> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.wrong(at, &format!("is {value}, but must be text: put it in quotes"));
                None
            }
        }
    }

    /// The items of what must be a list, with at least one.
    fn items<'v>(&mut self, at: &Steps<'_>, value: Option<&'v Value>) -> &'v [Value] {
        match value {
            Some(Value::List(items)) if !items.is_empty() => items,
            _ => {
                self.wrong(at, "must be a list of at least one");
                &[]
            }
        }
    }

    /// The values of these keys of what must be a section that has no others.
    fn keys<'v, const N: usize>(
        &mut self,
        at: &Steps<'_>,
        value: &'v Value,
        known: [&'static str; N],
    ) -> [Option<&'v Value>; N] {
        let Value::Map(entries) = value else {
            self.wrong(at, "must be a section of keys");
            return [None; N];
        };
        for (name, _) in entries.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            let steps: Vec<&str> = at.iter().copied().chain([name.as_str()]).collect();
            self.wrong(&steps, &format!("is not a key that is known{}", did_you_mean(name, known)));
        }
        known.map(|key| entries.iter().find(|(name, _)| name == key).map(|(_, value)| value))
    }

    fn wrong(&mut self, steps: &Steps<'_>, text: &str) {
        if self.problems.len() >= MOST_PROBLEMS {
            return;
        }
        let mut key = String::new();
        for step in steps {
            match step.parse::<usize>() {
                Ok(number) => key.push_str(&format!("[{number}]")),
                Err(_) if key.is_empty() => key.push_str(step),
                Err(_) => key.push_str(&format!(".{step}")),
            }
        }
        let location =
            if steps.is_empty() { self.file.at(None) } else { self.file.location(steps, None) };
        let key = (!key.is_empty()).then_some(key);
        self.problems.push(Problem { location, key, text: text.into() });
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
