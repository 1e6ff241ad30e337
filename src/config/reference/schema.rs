//! `config/grpc.schema.json`: the JSON Schema (2020-12) of a configuration file, for editors.
//!
//! It takes what is written as this project's pages write it. The reader is more lenient: it also
//! takes numbers and switches as text, which is how variables give them.

use crate::config::keys::{KEYS, Key, Kind, Shape, method_keys};
use crate::policy::code_names;
use serde_json::{Map, Value, json};

/// `pkg.Service/Method`, `pkg.Service/*` or `*`.
const PATTERN: &str = r"^(\*|[^/*\s]+/(\*|[^/*\s]+))$";
/// `250ms`, `1m30s`.
const TIME: &str = concat!(
    r"^\s*([0-9]+\.?[0-9]*|\.[0-9]+)",
    r"(\s*(ns|us|ms|s|m|h|d)\s*(([0-9]+\.?[0-9]*|\.[0-9]+)\s*(ns|us|ms|s|m|h|d)\s*)*)?$",
);
/// `64KiB`, `4 MiB`.
const SIZE: &str = r"^\s*[0-9]+\s*([bB]|[kKmMgG][iI]?[bB])?\s*$";

pub(super) fn page() -> String {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tonic-supervisor",
        "description": "The section `grpc` of a configuration file; other sections are left alone.",
        "type": "object",
        "required": ["grpc"],
        "properties": { "grpc": grpc() },
    });
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

fn grpc() -> Value {
    let mut properties = Map::new();
    for key in KEYS {
        match key.path.split_once('.') {
            None => drop(properties.insert(key.path.into(), entry(key))),
            Some((section, name)) => {
                let inner = properties.entry(section).or_insert_with(|| section_of(Map::new()));
                inner["properties"][name] = entry(key);
            }
        }
    }
    let methods: Map<_, _> = method_keys().map(|key| (key.path.to_owned(), entry(key))).collect();
    let rules = json!({
        "description": "Rules for `pkg.Service/Method`, `pkg.Service/*` or `*`.",
        "type": ["object", "null"],
        "patternProperties": { PATTERN: section_of(methods) },
        "additionalProperties": false,
    });
    properties.insert("methods".into(), rules);
    section_of(properties)
}

fn section_of(properties: Map<String, Value>) -> Value {
    json!({ "type": ["object", "null"], "properties": properties, "additionalProperties": false })
}

/// A key with its meaning, values and default.
fn entry(key: &Key) -> Value {
    let mut entry = values(key.kind);
    let reason = key.reason.split("](").next().unwrap_or_default().replace('[', "");
    entry["description"] =
        format!("{} Default `{}`: {reason}.", key.doc.trim(), key.default).into();
    entry["default"] = default(key);
    entry
}

fn default(key: &Key) -> Value {
    match key.kind.shape {
        Shape::Codes => key.default.split(", ").collect(),
        _ => serde_yaml::from_str(key.default).unwrap(),
    }
}

fn values(kind: Kind) -> Value {
    let mut ways = match kind.shape {
        Shape::Switch => {
            vec![json!({ "type": "boolean" }), json!({ "enum": ["yes", "no", "on", "off"] })]
        }
        Shape::Whole { least, most, .. } => {
            vec![json!({ "type": "integer", "minimum": least, "maximum": most })]
        }
        Shape::Retries => {
            vec![
                json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
                json!({ "const": "unlimited" }),
            ]
        }
        Shape::Number { least, most: f64::MAX, .. } => {
            vec![json!({ "type": "number", "minimum": least })]
        }
        Shape::Number { least, most, .. } => {
            vec![json!({ "type": "number", "minimum": least, "maximum": most })]
        }
        Shape::Time { least } => vec![
            json!({ "type": "number", "minimum": least.as_secs_f64() }),
            json!({ "type": "string", "pattern": TIME }),
        ],
        Shape::Size { least, most } => {
            let mut bytes = json!({ "type": "integer", "minimum": least });
            if most < usize::MAX {
                bytes["maximum"] = most.into();
            }
            vec![bytes, json!({ "type": "string", "pattern": SIZE })]
        }
        Shape::Text | Shape::File => vec![json!({ "type": "string", "minLength": 1 })],
        Shape::Word(words) => vec![json!({ "enum": words })],
        Shape::Shuffle => {
            vec![
                json!({ "type": "boolean" }),
                json!({ "enum": ["auto", "yes", "no", "on", "off"] }),
            ]
        }
        Shape::Period { least } => vec![
            json!({ "type": "number", "minimum": least.as_secs_f64() }),
            json!({ "const": "auto" }),
            json!({ "type": "string", "pattern": TIME }),
        ],
        Shape::Addresses => {
            let address = json!({ "type": "string", "minLength": 1 });
            vec![
                json!({ "type": "array", "items": address, "minItems": 1, "uniqueItems": true }),
                json!({ "type": "string", "minLength": 1 }),
            ]
        }
        Shape::Codes => {
            let code = json!({ "anyOf": [
                { "enum": code_names()[1..] },
                { "type": "integer", "minimum": 1, "maximum": 16 },
            ] });
            vec![
                json!({ "type": "array", "items": code, "uniqueItems": true }),
                json!({ "type": "string" }),
            ]
        }
    };
    if kind.none {
        ways.push(json!({ "enum": ["none", null] }));
    }
    match ways.len() {
        1 => ways.remove(0),
        _ => json!({ "anyOf": ways }),
    }
}
