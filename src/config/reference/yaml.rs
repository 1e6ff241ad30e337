//! `config/grpc.yaml`: every key with its meaning and its default.

use crate::config::keys::{KEYS, Shape, method_keys};
use std::fmt::Write;

const YAML_HEAD: &str = "\
# Every key of the supervisor, with its default: an empty file says the same, but for
# wait_for_ready, whose default waits less when nobody has said it.
# Times are seconds, or text such as 250ms or 1m30s; sizes are bytes, or text such as 64KiB or 4MiB.
# Authority: defaults < this file < environment (TONIC_SUPERVISOR_GRPC_MAX_BACKOFF) < code.
grpc:
";

const YAML_METHODS: &str = "
  # --- Methods ---
  # Rules for \"pkg.Service/Method\", \"pkg.Service/*\" or \"*\"; for each key, the narrowest \
                pattern
  # that sets it holds. For example:
  #   \"pkg.Service/Method\":
";

/// `config/grpc.yaml`.
pub(super) fn page() -> String {
    let mut page = YAML_HEAD.to_owned();
    let (mut group, mut section) = ("", "");
    for key in KEYS {
        let (own_section, name) = key.path.split_once('.').unwrap_or(("", key.path));
        if key.group != group {
            let blank = if group.is_empty() { "" } else { "\n" };
            writeln!(page, "{blank}  # --- {} ---", key.group).unwrap();
        }
        if own_section != section && !own_section.is_empty() {
            writeln!(page, "  {own_section}:").unwrap();
        }
        (group, section) = (key.group, own_section);
        let indent = if section.is_empty() { "  " } else { "    " };
        for line in wrapped(&key.doc.replace('`', ""), 100 - indent.len() - 2) {
            writeln!(page, "{indent}# {line}").unwrap();
        }
        match key.kind.shape {
            Shape::Codes => {
                writeln!(page, "{indent}{name}:").unwrap();
                key.default
                    .split(", ")
                    .for_each(|code| writeln!(page, "{indent}  - {code}").unwrap());
            }
            _ => writeln!(page, "{indent}{name}: {}", key.default).unwrap(),
        }
    }
    page += YAML_METHODS;
    for key in method_keys() {
        let example = match key.kind.shape {
            Shape::Word(words) => words[0],
            Shape::Codes => "[UNAVAILABLE]",
            _ => key.default,
        };
        writeln!(page, "  #     {}: {example}", key.path).unwrap();
    }
    page + "  methods: {}\n"
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().unwrap();
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + word.len() < width {
            write!(line, " {word}").unwrap();
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
