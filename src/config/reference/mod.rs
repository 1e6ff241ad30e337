//! The files that are written from the table of keys, and the tests that hold them to it. With
//! UPDATE=1 the tests write them anew.
//!
//! | file | made in |
//! |---|---|
//! | `config/grpc.yaml` | `yaml` |
//! | `config/grpc.schema.json` | `schema` |
//! | `docs/configuration.md`, `docs/defaults.md` | `pages` |
#![allow(clippy::unwrap_used)]

mod pages;
mod schema;
mod tests;
mod yaml;

use super::keys::{Kind, Shape};
use std::{fs, path::Path};

/// What a key's values are counted in, or may be, as text.
fn unit(kind: Kind) -> String {
    let unit = match kind.shape {
        Shape::Switch => "true or false".into(),
        Shape::Whole { unit: "port", least, most } => format!("{least} to {most}"),
        Shape::Whole { unit, .. } | Shape::Number { unit, .. } => unit.into(),
        Shape::Retries => "retries, or `unlimited`".into(),
        Shape::Time { .. } => "seconds".into(),
        Shape::Size { .. } => "bytes".into(),
        Shape::Text => "text".into(),
        Shape::File => "path".into(),
        Shape::Word(words) => {
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        Shape::Codes => "status codes".into(),
        Shape::Addresses => "addresses".into(),
        Shape::Period { .. } => "seconds, or `auto`".into(),
        Shape::Shuffle => "true, false or `auto`".into(),
    };
    if kind.none { format!("{unit}, or `none`") } else { unit }
}

/// Holds the page at `path` to `text`.
fn held(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(
        there == text,
        "{} differs from the table of keys; UPDATE=1 writes it anew",
        path.display()
    );
}
