//! Files: what stands under `grpc:` becomes settings, and what cannot is named with the likely intention.

use super::{
    error::Problem,
    keys::{KEYS, METHOD_KEYS},
    layers::{KeyPath, Layers, Source},
    suggest::{did_you_mean, distance},
    value::Value,
    yaml::File,
};
use std::{path::Path, sync::Arc};

/// The file's text, without the mark that some editors put at the start.
pub(super) fn open(path: &Path) -> Result<File, Problem> {
    let name = path.display().to_string();
    let problem = |place: String, text: String| Problem { place, key: None, text };
    let bytes = std::fs::read(path).map_err(|error| problem(name.clone(), format!("cannot be read: {error}")))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(File { name, text: text.trim_start_matches('\u{feff}').to_owned() }),
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
            Err(problem(format!("{name}:{line}"), "is not UTF-8 text".into()))
        }
    }
}

/// Adds everything that `file` says.
pub(super) fn add(layers: &mut Layers, file: File) {
    match file.parse("grpc") {
        Ok(root) => Section { layers, file: Arc::new(file) }.root(root),
        Err((place, text)) => layers.problem(place, None, text),
    }
}

struct Section<'a> {
    layers: &'a mut Layers,
    file: Arc<File>,
}

impl Section<'_> {
    fn root(&mut self, root: Value) {
        let sections = match root {
            Value::Null => return,
            Value::Map(sections) => sections,
            _ => return self.wrong(&[], "must have a section `grpc`, but has no sections"),
        };
        match sections.iter().find(|(name, _)| name == "grpc") {
            Some((_, content)) => self.top(content),
            None => sections.iter().for_each(|(name, _)| self.not_ours(name)),
        }
    }

    /// There is no `grpc`: was this meant to be it, or a part of it?
    fn not_ours(&mut self, name: &str) {
        if distance(name, "grpc") <= 1 {
            self.wrong(&[name], "is not a section that is known; did you mean `grpc`?");
        } else if name.contains('_') && KEYS.iter().any(|key| key.path == name) {
            self.wrong(&[name], "belongs under `grpc:`");
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
            self.unknown(section, name);
        } else if let Some(key) = KEYS.iter().find(|key| key.path == path) {
            let key = KeyPath { method: None, path: key.path };
            self.layers.set(key, value, Source::File(self.file.clone()));
        } else if KEYS.iter().any(|key| key.path.starts_with(&children)) {
            let entries = self.entries(&value, &["grpc", name]);
            // Who writes it wants TLS, and must not get plaintext.
            if name == "tls" && entries.is_empty() && matches!(value, Value::Null | Value::Map(_)) {
                self.wrong(&["grpc", name], "is empty; for TLS with the system's authorities write `use_tls: true`");
            }
            for (child, value) in entries {
                self.entry(name, &child, value);
            }
        } else {
            self.unknown(section, name);
        }
    }

    fn method_entry(&mut self, pattern: &str, name: &str, value: Value) {
        let known = METHOD_KEYS.iter().map(|(key, _)| *key);
        if let Some(path) = known.clone().find(|key| *key == name) {
            let key = KeyPath { method: Some(pattern.to_owned()), path };
            return self.layers.set(key, value, Source::File(self.file.clone()));
        }
        let hint = did_you_mean(name, known);
        self.wrong(&["grpc", "methods", pattern, name], &format!("is not a key of a method{hint}"));
    }

    fn unknown(&mut self, section: &str, name: &str) {
        let inside = KEYS.iter().filter_map(|key| {
            let rest =
                if section.is_empty() { Some(key.path) } else { key.path.strip_prefix(section)?.strip_prefix('.') };
            rest?.split('.').next()
        });
        let inside = inside.chain(section.is_empty().then_some("methods"));
        let elsewhere =
            KEYS.iter().map(|key| key.path).filter(|path| path.rsplit('.').next() == Some(name) || *path == name);
        let hint = match did_you_mean(name, inside) {
            none if none.is_empty() => {
                elsewhere.map(|path| format!("; did you mean `grpc.{path}`?")).next().unwrap_or_default()
            }
            hint => hint,
        };
        let mut steps = vec!["grpc"];
        steps.extend((!section.is_empty()).then_some(section));
        steps.push(name);
        self.wrong(&steps, &format!("is not a key that is known{hint}"));
    }

    /// The entries of what must be a section; an empty one has none.
    fn entries(&mut self, value: &Value, steps: &[&str]) -> Vec<(String, Value)> {
        match value {
            Value::Null => Vec::new(),
            Value::Map(entries) => entries.clone(),
            other => {
                self.wrong(steps, &format!("is {other}, but must be a section of keys"));
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
        let place = if steps.is_empty() { self.file.name.clone() } else { self.file.place(steps, None) };
        self.layers.problem(place, key, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut layers = Layers::default();
        add(&mut layers, File { name: "f".into(), text: text.into() });
        layers.problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn an_empty_file_or_one_for_other_programs_says_nothing() {
        for text in ["", "# nothing\n", "---\n", "grpc:\n", "web: {port: 80}\nhost: x\n", "grpc: {queue: }\nrpc: 1\n"] {
            assert_eq!(problems(text), Vec::<String>::new(), "{text:?}");
        }
    }

    #[test]
    fn keys_that_nobody_knows_are_named_with_the_likely_one() {
        let cases = [
            ("grcp: {}", "f:1:1: grcp is not a section that is known; did you mean `grpc`?"),
            ("max_backoff: 3", "f:1:1: max_backoff belongs under `grpc:`"),
            ("- 1", "f: must have a section `grpc`, but has no sections"),
            ("grpc: 7", "f:1:1: grpc is 7, but must be a section of keys"),
            (
                "grpc:\n  max_backof: 3",
                "f:2:3: grpc.max_backof is not a key that is known; did you mean `max_backoff`?",
            ),
            (
                "grpc:\n  max_calls: 3",
                "f:2:3: grpc.max_calls is not a key that is known; did you mean `grpc.queue.max_calls`?",
            ),
            (
                "grpc:\n  queue.max_calls: 3",
                "f:2:3: grpc.queue.max_calls is not a key that is known; did you mean `grpc.queue.max_calls`?",
            ),
            (
                "grpc:\n  queue: {max_cals: 3}",
                "f:2:11: grpc.queue.max_cals is not a key that is known; did you mean `max_calls`?",
            ),
            ("grpc:\n  queue: 3", "f:2:3: grpc.queue is 3, but must be a section of keys"),
            ("grpc:\n  colour: red", "f:2:3: grpc.colour is not a key that is known"),
            (
                "grpc:\n  methods: {a/b: {kin: unary}}",
                "f:2:19: grpc.methods.\"a/b\".kin is not a key of a method; did you mean `kind`?",
            ),
        ];
        for (text, problem) in cases {
            assert_eq!(problems(text), [problem], "{text:?}");
        }
    }
}
