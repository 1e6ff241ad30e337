//! YAML: text to values, and the line and column of a key. The only file that knows the YAML crate.
//!
//! Below the top only one section is read: the others belong to other programs. The crate gives
//! locations only in its errors, so to find one the text is walked again and the walk fails on
//! purpose where the key stands.

use super::{location::Location, value::Value, yaml_mistakes};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::fmt;

/// A text and what to call it.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl File {
    /// The whole text, with all sections but this one left out as empty; or what is wrong with it,
    /// and where.
    pub(crate) fn parse(&self, section: &str) -> Result<Value, (Location, String)> {
        if has_too_many_brackets(&self.text) {
            let text = format!("has more than {MOST_BRACKETS} brackets open at once");
            return Err((self.at(None), text));
        }
        let seed = Reader { section, depth: 0 };
        seed.deserialize(serde_yaml::Deserializer::from_str(&self.text)).map_err(|error| {
            let stopped = error.location().map(|at| (at.line(), at.column()));
            let text = error.to_string();
            if let Some((at, text)) = yaml_mistakes::explain(&self.text, &text, stopped) {
                return (self.at(Some(at)), text);
            }
            let location = self.at(stopped);
            (location, text.split(" at line ").next().unwrap_or_default().replace('\n', " "))
        })
    }

    /// This file, at a line and column.
    pub(crate) fn at(&self, at: Option<(usize, usize)>) -> Location {
        Location::File { name: self.name.clone(), at }
    }

    /// The line and column of the key that `steps` lead to, or of one `item` of its list. On the
    /// way a step may be the number of an item.
    pub(crate) fn location(&self, steps: &[&str], item: Option<usize>) -> Location {
        let found =
            Walk { steps, item }.deserialize(serde_yaml::Deserializer::from_str(&self.text));
        self.at(found.err().and_then(|error| error.location()).map(|at| (at.line(), at.column())))
    }
}

/// No configuration has so many brackets open at once; the crate takes minutes to find that a
/// hundred thousand are too many.
const MOST_BRACKETS: usize = 1_000;

fn has_too_many_brackets(text: &str) -> bool {
    let mut open = 0usize;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MOST_BRACKETS
    })
}

/// Reads any value; at the top, only one section.
#[derive(Clone, Copy)]
struct Reader<'a> {
    section: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn below(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value, list or section")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    /// An empty document.
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self.below())? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        while let Some(name) = map.next_key_seed(Name { refused: &|name| known(&entries, name) })? {
            let value = if self.depth == 0 && name != self.section {
                map.next_value::<IgnoredAny>()?;
                Value::Null
            } else {
                map.next_value_seed(self.below())?
            };
            entries.push((name, value));
        }
        Ok(Value::Map(entries))
    }
}

fn known(entries: &[(String, Value)], name: &str) -> Option<String> {
    entries
        .iter()
        .any(|(other, _)| other == name)
        .then(|| format!("the key `{name}` stands here a second time"))
}

/// Reads a key; fails at it, with a reason, if it is refused.
struct Name<'a> {
    refused: &'a dyn Fn(&str) -> Option<String>,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is text")
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        self.visit_str("null")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<String, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
        (self.refused)(value).map_or_else(|| Ok(value.to_owned()), |reason| Err(E::custom(reason)))
    }
}

/// Fails at the key that the steps lead to.
struct Walk<'a> {
    steps: &'a [&'a str],
    item: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the way to a key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (next, rest) = self.steps.split_first().ok_or_else(|| A::Error::custom("found"))?;
        let here = rest.is_empty() && self.item.is_none();
        let refused = |name: &str| (here && name == *next).then(|| "found".to_owned());
        while let Some(name) = map.next_key_seed(Name { refused: &refused })? {
            if name == *next {
                map.next_value_seed(Walk { steps: rest, item: self.item })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let (number, below) = match self.steps.split_first() {
            Some((step, rest)) => {
                (step.parse().unwrap_or(0), Walk { steps: rest, item: self.item })
            }
            None => (self.item.unwrap_or(0), Walk { steps: &[], item: None }),
        };
        for _ in 0..number {
            list.next_element::<IgnoredAny>()?;
        }
        list.next_element_seed(below)?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { name: "f".into(), text: text.into() }
    }

    #[test]
    fn keys_and_items_are_found_by_line_and_column() {
        let file = file(
            "other: {a: 1}\ngrpc:\n  host: x\n  queue:\n    max_calls: 1\n  codes:\n    - A\n    \
             - B\n  flow: [1, 2]\n",
        );
        assert_eq!(file.location(&["grpc"], None).to_string(), "f:2:1");
        assert_eq!(file.location(&["grpc", "host"], None).to_string(), "f:3:3");
        assert_eq!(file.location(&["grpc", "queue", "max_calls"], None).to_string(), "f:5:5");
        assert_eq!(file.location(&["grpc", "codes"], Some(1)).to_string(), "f:8:7");
        assert_eq!(file.location(&["grpc", "flow"], Some(1)).to_string(), "f:9:13");
        assert_eq!(file.location(&["grpc", "nowhere"], None).to_string(), "f");
        let file = self::file("auth:\n  all:\n    - name: a\n    - name: b\n      may: [x, y]\n");
        let location = |steps: &[&str], item| file.location(steps, item).to_string();
        assert_eq!(location(&["auth", "all", "1"], None), "f:4:7");
        assert_eq!(location(&["auth", "all", "1", "may"], None), "f:5:7");
        assert_eq!(location(&["auth", "all", "1", "may"], Some(1)), "f:5:16");
    }

    #[test]
    fn a_key_that_stands_twice_is_an_error_where_it_stands_again() {
        let (location, text) = file("grpc:\n  port: 1\n  port: 2\n").parse("grpc").unwrap_err();
        assert_eq!(location.to_string(), "f:3:3");
        assert!(text.contains("`port` stands here a second time"), "{text}");
    }

    #[test]
    fn the_sections_of_others_may_hold_what_they_like() {
        let value =
            file("web: {a: !tag [1, {b: 2}], a: 2}\ngrpc: {port: 1}\n").parse("grpc").unwrap();
        let section = Value::Map(vec![("port".into(), Value::Integer(1))]);
        assert_eq!(value, Value::Map(vec![("web".into(), Value::Null), ("grpc".into(), section)]));
    }

    #[test]
    fn what_is_no_yaml_is_an_error_with_a_place() {
        for text in [
            "grpc: [",
            "grpc:\n\tport: 1",
            "@",
            "grpc: *x",
            "a: 1\n---\nb: 2",
            "grpc: !x 1",
            "? {a: 1}\n: 2",
        ] {
            let (location, message) = file(text).parse("grpc").unwrap_err();
            assert!(
                location.to_string().starts_with('f') && !message.is_empty(),
                "{text:?} {location} {message}"
            );
        }
    }
}
