//! Files: what stands under `grpc:` becomes settings, and what cannot is named with the likely
//! intention.

use super::{
    advice,
    error::Problem,
    keys::{KEYS, method_keys},
    layers::{KeyPath, Layers, Source},
    location::Location,
    suggest::distance,
    value::Value,
    yaml::File,
};
use std::{path::Path, sync::Arc};

/// The file's text, without the mark that some editors put at the start.
pub(super) fn open(path: &Path) -> Result<File, Problem> {
    let name = path.display().to_string();
    let problem = |at, text: String| Problem {
        location: Location::File { name: name.clone(), at },
        key: None,
        text,
    };
    let read = std::fs::read(path);
    let bytes = read.map_err(|error| problem(None, format!("cannot be read: {error}")))?;
    match String::from_utf8(bytes) {
        Ok(text) => {
            Ok(File { name: name.clone(), text: text.trim_start_matches('\u{feff}').to_owned() })
        }
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let good = String::from_utf8_lossy(good);
            let last = good.rsplit('\n').next().unwrap_or_default();
            let at = (1 + good.matches('\n').count(), 1 + last.chars().count());
            let wide = error.as_bytes().starts_with(&[0xff, 0xfe])
                || error.as_bytes().starts_with(&[0xfe, 0xff]);
            let hint = if wide { ", but UTF-16: save it as UTF-8" } else { "" };
            Err(problem(Some(at), format!("is not UTF-8 text{hint}")))
        }
    }
}

/// Adds all settings of `file`. If `whole`, it must have our section.
pub(super) fn add(layers: &mut Layers, file: File, whole: bool) {
    match file.parse("grpc") {
        Ok(root) => Section { layers, file: Arc::new(file) }.root(root, whole),
        Err((location, text)) => layers.problem(location, None, text),
    }
}

struct Section<'a> {
    layers: &'a mut Layers,
    file: Arc<File>,
}

impl Section<'_> {
    fn root(&mut self, root: Value, whole: bool) {
        let sections = match root {
            Value::Null => Vec::new(),
            Value::Map(sections) => sections,
            _ => return self.wrong(&[], "must have a section `grpc`, but has no sections"),
        };
        let before = self.layers.problems.len();
        match sections.iter().find(|(name, _)| name == "grpc") {
            Some((_, content)) => self.top(content),
            None => sections.iter().for_each(|(name, _)| self.not_ours(name)),
        }
        for (name, _) in sections.iter().filter(|(name, _)| advice::is_known(name)) {
            let advice = advice::for_key("", name, &Value::Null);
            self.wrong(
                &[name],
                &format!("is not read: below `grpc:`{}", advice.trim_start_matches(';')),
            );
        }
        let missing =
            sections.iter().all(|(name, _)| name != "grpc") && self.layers.problems.len() == before;
        let text = "has no section `grpc`, so that every key has its default";
        if missing && whole {
            self.wrong(&[], text);
        } else if missing && !sections.is_empty() {
            self.layers.remarks.push(format!("{}: {text}", self.file.at(None)));
        }
    }

    /// There is no `grpc`: was this meant to be it, or a part of it?
    fn not_ours(&mut self, name: &str) {
        let ours = |key: &&str| key.split('.').next() == Some(name);
        if distance(name, "grpc") <= 1 {
            self.wrong(&[name], "is not a section that is known; did you mean `grpc`?");
        } else if name == "methods" || KEYS.iter().map(|key| key.path).any(|path| ours(&path)) {
            self.wrong(
                &[name],
                "belongs under `grpc:`; write that line above it, and indent this one",
            );
        }
    }

    fn top(&mut self, content: &Value) {
        let methods = "methods";
        for (name, value) in self.entries(content, &["grpc"]) {
            if name != methods {
                self.entry("", &name, value);
                continue;
            }
            for (pattern, keys) in self.entries(&value, &["grpc", methods]) {
                if pattern == "<<" {
                    self.unknown("methods", &pattern, &keys);
                    continue;
                }
                self.layers.methods.insert(pattern.clone(), Source::File(self.file.clone()));
                for (name, value) in self.entries(&keys, &["grpc", methods, &pattern]) {
                    self.method_entry(&pattern, &name, value);
                }
            }
        }
    }

    /// A key or a section of keys.
    fn entry(&mut self, section: &str, name: &str, value: Value) {
        let path = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
        let children = format!("{path}.");
        if name.contains('.') {
            self.unknown(section, name, &value);
        } else if let Some(key) = KEYS.iter().find(|key| key.path == path) {
            let key = KeyPath { method: None, path: key.path };
            self.layers.set(key, value, Source::File(self.file.clone()));
        } else if KEYS.iter().any(|key| key.path.starts_with(&children)) {
            if name == "tls" && value.bool().is_ok() {
                let text = format!(
                    "is {value}, but must be a section of keys{}",
                    advice::write("use_tls", &value, None)
                );
                return self.wrong(&["grpc", name], &text);
            }
            let entries = self.entries(&value, &["grpc", name]);
            // Who writes it wants TLS, and must not get plaintext.
            if name == "tls" && entries.is_empty() && matches!(value, Value::Null | Value::Map(_)) {
                self.wrong(
                    &["grpc", name],
                    "is empty; for TLS with the system's authorities write `use_tls: true`",
                );
            }
            for (child, value) in entries {
                self.entry(name, &child, value);
            }
        } else {
            self.unknown(section, name, &value);
        }
    }

    fn method_entry(&mut self, pattern: &str, name: &str, value: Value) {
        if let Some(key) = method_keys().find(|key| key.path == name) {
            let key = KeyPath { method: Some(pattern.to_owned()), path: key.path };
            return self.layers.set(key, value, Source::File(self.file.clone()));
        }
        let hint = advice::for_method_key(name, &value);
        self.wrong(&["grpc", "methods", pattern, name], &format!("is not a key of a method{hint}"));
    }

    fn unknown(&mut self, section: &str, name: &str, value: &Value) {
        let mut steps = vec!["grpc"];
        steps.extend((!section.is_empty()).then_some(section));
        steps.push(name);
        let hint = advice::for_key(section, name, value);
        match name {
            "<<" => self.wrong(&steps, &format!("is not a key{hint}")),
            _ => self.wrong(&steps, &format!("is not a key that is known{hint}")),
        }
        // There is advice for its keys as well.
        let Value::Map(entries) = value else { return };
        if section.is_empty() && advice::is_flat(name, value) {
            for (child, value) in
                entries.iter().filter(|(child, _)| KEYS.iter().all(|key| key.path != child))
            {
                let hint = advice::for_key("", child, value);
                self.wrong(&["grpc", name, child], &format!("is not a key that is known{hint}"));
            }
        }
    }

    /// The entries of what must be a section; an empty one has none.
    fn entries(&mut self, value: &Value, steps: &[&str]) -> Vec<(String, Value)> {
        match value {
            Value::Null => Vec::new(),
            Value::Map(entries) => entries.clone(),
            other => {
                let hint = match (steps, other) {
                    (["grpc", "methods"], Value::List(_)) => {
                        ", such as `\"pkg.Service/Method\": {kind: unary}`".to_owned()
                    }
                    (["grpc", "methods", _], kind) if kind.call_kind().is_ok() => {
                        advice::write("kind", kind, None)
                    }
                    (_, Value::Text(text)) if text.contains(':') => {
                        "; write a space after each `:`".to_owned()
                    }
                    _ => String::new(),
                };
                self.wrong(steps, &format!("is {other}, but must be a section of keys{hint}"));
                Vec::new()
            }
        }
    }

    fn wrong(&mut self, steps: &[&str], text: &str) {
        let key = match steps {
            ["grpc", "methods", pattern, rest @ ..] => {
                let rest: String = rest.iter().map(|name| format!(".{name}")).collect();
                Some(format!("grpc.methods.{pattern:?}{rest}"))
            }
            [] => None,
            steps => Some(steps.join(".")),
        };
        let location =
            if steps.is_empty() { self.file.at(None) } else { self.file.location(steps, None) };
        self.layers.problem(location, key, text);
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
