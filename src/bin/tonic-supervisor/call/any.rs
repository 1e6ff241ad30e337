//! Which messages stand in an `Any`: as JSON they can be read and written only if they are known,
//! and nothing imports them, so that they must be asked for by name.
//!
//! An `Any` holds a message as bytes, which may hold another `Any`: each is read anew, so that
//! nothing but the message's size limits how deep they go. They are counted, because whoever writes
//! them as JSON goes as deep.

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};
use serde_json::Deserializer;
use std::{borrow::Cow, collections::BTreeSet};

/// How deep messages in an `Any` may go; prost's own limit for messages is 100.
pub(super) const DEEPEST: usize = 32;
/// How many names are taken in: each is a question to the server.
const NAMES: usize = 32;

pub(super) const ANY: &str = "google.protobuf.Any";

/// What stands in the `Any`s of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inside {
    /// How deep they go, counted up to one more than may be.
    pub(super) depth: usize,
    /// The names of messages that are not known.
    pub(super) unknown: BTreeSet<String>,
}

impl Inside {
    pub(super) fn of(message: &DynamicMessage) -> Self {
        let mut inside = Self::default();
        inside.look(message, 0);
        inside
    }

    fn look(&mut self, message: &DynamicMessage, above: usize) {
        self.depth = self.depth.max(above);
        if above > DEEPEST {
            return;
        }
        if message.descriptor().full_name() != ANY {
            message.fields().for_each(|(_, value)| self.look_at(value, above));
            return;
        }
        let field = |name| message.get_field_by_name(name).map(Cow::into_owned);
        let (Some(Value::String(url)), Some(Value::Bytes(bytes))) =
            (field("type_url"), field("value"))
        else {
            return;
        };
        let Some((_, name)) = url.rsplit_once('/') else { return };
        match message.descriptor().parent_pool().get_message_by_name(name) {
            Some(kind) => {
                // What cannot be read is told by whoever writes it.
                if let Ok(inner) = DynamicMessage::decode(kind, bytes) {
                    self.look(&inner, above + 1);
                }
            }
            None if self.unknown.len() < NAMES => drop(self.unknown.insert(name.to_owned())),
            None => {}
        }
    }

    fn look_at(&mut self, value: &Value, above: usize) {
        match value {
            Value::Message(message) => self.look(message, above),
            Value::List(values) => values.iter().for_each(|value| self.look_at(value, above)),
            Value::Map(values) => values.values().for_each(|value| self.look_at(value, above)),
            _ => {}
        }
    }
}

/// The names of messages that stand behind `@type` in a text of JSON values, as far as it is one.
pub(super) fn named_in(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for value in Deserializer::from_str(text).into_iter().map_while(Result::ok) {
        names_in(&value, &mut names);
    }
    names
}

fn names_in(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            let name = fields.get("@type").and_then(|name| name.as_str()?.rsplit_once('/'));
            if let Some((_, name)) = name
                && names.len() < NAMES
            {
                names.insert(name.to_owned());
            }
            fields.values().for_each(|value| names_in(value, names));
        }
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| names_in(value, names));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use prost_reflect::DescriptorPool;

    fn any(name: &str, inner: Vec<u8>) -> DynamicMessage {
        let kind = DescriptorPool::global().get_message_by_name(ANY).expect("it is there");
        let mut any = DynamicMessage::new(kind);
        any.set_field_by_name("type_url", Value::String(format!("type.googleapis.com/{name}")));
        any.set_field_by_name("value", Value::Bytes(inner.into()));
        any
    }

    #[test]
    fn what_is_not_known_is_named_and_how_deep_it_goes() {
        let nested = |times: usize, name: &str| {
            let first = any(name, Vec::new());
            let message = (0..times).fold(first, |inner, _| any(ANY, inner.encode_to_vec()));
            Inside::of(&message)
        };
        let known = nested(3, "google.protobuf.Empty");
        assert_eq!(known, Inside { depth: 4, unknown: BTreeSet::new() });
        assert_eq!(nested(1, "a.B"), Inside { depth: 1, unknown: ["a.B".to_owned()].into() });
        assert_eq!(nested(2_000, "a.B").depth, DEEPEST + 1);
    }

    #[test]
    fn names_are_found_in_text_as_far_as_it_is_json() {
        let text = r#"{"a": [{"@type": "x/a.B"}], "@type": "c.D"} {"@type": "y/e.F", "@"#;
        assert_eq!(named_in(text), ["a.B".to_owned()].into());
        assert_eq!(named_in(r#"{"b": {"@type": "x/a.B"}}{"@type": "/c"}"#).len(), 2);
    }
}
