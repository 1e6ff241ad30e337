//! What to write in place of an unknown key: the key with the same letters, whatever the case and
//! the unit in its name (`maxBackoffMs`); the one that another program's name stands for; or the
//! nearest in spelling.

use super::{
    keys::{KEYS, Key, Shape, find, method_keys},
    other_names::{self, Meaning},
    suggest::did_you_mean,
    value::Value,
};

/// Units that people put into the names of times, longest first.
const UNITS: [(&str, &str); 10] = [
    ("milliseconds", "ms"),
    ("millis", "ms"),
    ("msecs", "ms"),
    ("msec", "ms"),
    ("ms", "ms"),
    ("seconds", "s"),
    ("secs", "s"),
    ("sec", "s"),
    ("minutes", "m"),
    ("s", "s"),
];

/// The end of the sentence about `name` below `section`, which is empty at the top.
pub(super) fn for_key(section: &str, name: &str, value: &Value) -> String {
    let near = |path: &str| section.is_empty() != path.contains('.') && path.starts_with(section);
    // What stands in the same section is meant first.
    let mut keys: Vec<&Key> = KEYS.iter().collect();
    keys.sort_by_key(|key| !near(key.path));
    let inside = KEYS.iter().filter_map(|key| match section {
        "" => key.path.split('.').next(),
        section => key.path.strip_prefix(section)?.strip_prefix('.'),
    });
    let inside = inside.chain(section.is_empty().then_some("methods"));
    if section.is_empty()
        && let Some(own) = inside.clone().find(|own| letters(own) == letters(name))
        && find(own).is_none()
    {
        return format!("; write `{own}:`");
    }
    if section == "tls" && ["enabled", "enable"].contains(&letters(name).as_str()) {
        return write("use_tls", value, None);
    }
    if let Some(advice) = known_advice(name, value, &keys) {
        return advice;
    }
    did_you_mean(name, inside)
}

/// The end of the sentence about `name` in the rule for a method.
pub(super) fn for_method_key(name: &str, value: &Value) -> String {
    let keys: Vec<&Key> = method_keys().collect();
    match known_advice(name, value, &keys) {
        Some(advice) => advice,
        None if find(name).is_some() => {
            "; it holds for all calls: write it directly under `grpc:`".into()
        }
        None => did_you_mean(name, method_keys().map(|key| key.path)),
    }
}

/// Whether the letters of `name` are known, without any guess at its spelling.
pub(super) fn is_known(name: &str) -> bool {
    let keys: Vec<&Key> = KEYS.iter().collect();
    name.starts_with("grpc.") && known_advice(name, &Value::Null, &keys).is_some()
}

/// Whether `name` is a section whose keys stand one level higher here.
pub(super) fn is_flat(name: &str, value: &Value) -> bool {
    let known = other_names::meaning(&letters(name));
    is_section(value) && matches!(known, Some(Meaning::Flat | Meaning::Key(_)))
}

/// What is certain about `name` among `keys`.
fn known_advice(name: &str, value: &Value, keys: &[&Key]) -> Option<String> {
    if name == "<<" {
        return Some(
            ", but a merge key of YAML, which is not read: write the keys themselves here".into(),
        );
    }
    // Channel arguments begin so.
    let name = name.strip_prefix("grpc.").unwrap_or(name);
    let bare = letters(name);
    let whole = |bare: &str| {
        let near = in_first_section(keys, bare);
        near.or_else(|| keys.iter().copied().find(|key| letters(key.path) == bare))
    };
    let elsewhere = |bare: &str| keys.iter().copied().find(|key| letters(last(key.path)) == bare);
    if let Some(key) = whole(&bare) {
        return Some(write(key.path, value, None));
    }
    if let Some(meaning) = other_names::meaning(&bare) {
        return Some(advice_for_other_name(meaning, value, keys));
    }
    if let Some(key) = elsewhere(&bare) {
        return Some(write(key.path, value, None));
    }
    UNITS.iter().find_map(|(ending, unit)| {
        let stem = bare.strip_suffix(ending)?;
        let key = match other_names::meaning(stem) {
            Some(Meaning::Key(path)) => find(path),
            _ => whole(stem).or_else(|| elsewhere(stem)),
        };
        let key = key.filter(|key| matches!(key.kind.shape, Shape::Time { .. }))?;
        Some(write(key.path, value, Some(*unit)))
    })
}

/// The key with these letters in the section that comes first, if a section does.
fn in_first_section<'a>(keys: &[&'a Key], bare: &str) -> Option<&'a Key> {
    let first = keys.first()?;
    let section = first.path.split_once('.').map(|(section, _)| section)?;
    let inside = keys.iter().take_while(|key| key.path.starts_with(section));
    inside.copied().find(|key| letters(last(key.path)) == bare)
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn advice_for_other_name(meaning: Meaning, value: &Value, keys: &[&Key]) -> String {
    let retries = "max_retry_attempts";
    match (meaning, value) {
        (Meaning::Advice(words), _) => format!("; {words}"),
        (Meaning::Flat, _) => "; its keys stand one level higher here".into(),
        (Meaning::Key(_), value) if is_section(value) => {
            "; its keys stand one level higher here".into()
        }
        (Meaning::Key(path), Value::Bool(false)) if path == retries => {
            "; write `max_retry_attempts: 0`".into()
        }
        (Meaning::Key(path), _) if keys.iter().all(|key| key.path != path) => {
            format!(
                "; it holds for all calls: {} directly under `grpc:`",
                &write(path, value, None)[2..]
            )
        }
        (Meaning::Key(path), _) => write(path, value, None),
        (Meaning::Attempts, Value::Integer(attempts)) => {
            let number = Value::Integer(attempts.saturating_sub(1).max(0));
            format!("{}, which does not count the first attempt", write(retries, &number, None))
        }
        (Meaning::Attempts, _) => {
            "; write `max_retry_attempts`, which does not count the first attempt".into()
        }
    }
}

fn is_section(value: &Value) -> bool {
    matches!(value, Value::Map(_))
}

/// `; write `queue: {max_calls: 3}``.
pub(super) fn write(path: &str, value: &Value, unit: Option<&str>) -> String {
    let shown: String = match (value, unit) {
        (Value::Null | Value::List(_) | Value::Map(_), _) => "...".into(),
        (Value::Integer(_) | Value::Float(_), Some(unit)) => format!("{value}{unit}"),
        (value, _) => value.to_string(),
    };
    match path.split_once('.') {
        Some((section, name)) => format!("; write `{section}: {{{name}: {shown}}}`"),
        None => format!("; write `{path}: {shown}`"),
    }
}

/// A name without case and punctuation.
fn letters(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_by_their_letters_and_units() {
        let number = Value::Integer(30_000);
        for (section, name, advice) in [
            ("", "maxBackoff", "; write `max_backoff: 30000`"),
            ("", "MAX-BACKOFF", "; write `max_backoff: 30000`"),
            ("reconnect", "maxBackoff", "; write `reconnect: {max_backoff: 30000}`"),
            ("", "reconnect.max_backoff", "; write `reconnect: {max_backoff: 30000}`"),
            ("", "max_calls", "; write `queue: {max_calls: 30000}`"),
            ("", "keepalive_time_ms", "; write `keepalive_time: 30000ms`"),
            ("", "grpc.keepalive_time_ms", "; write `keepalive_time: 30000ms`"),
            ("", "timeoutSeconds", "; write `timeout: 30000s`"),
            (
                "",
                "grpc.initial_reconnect_backoff_ms",
                "; write `reconnect: {initial_backoff: 30000ms}`",
            ),
            ("", "retryThrottle", "; write `retry_throttle:`"),
            ("", "max_backof", "; did you mean `max_backoff`?"),
            ("queue", "max_cals", "; did you mean `max_calls`?"),
            ("", "colour", ""),
        ] {
            assert_eq!(for_key(section, name, &number), advice, "{section} {name}");
        }
    }

    #[test]
    fn every_key_is_known_in_the_ways_of_other_languages() {
        for key in KEYS {
            let (section, name) = key.path.split_once('.').unwrap_or(("", key.path));
            let mut parts = name.split('_');
            let mut camel = parts.next().unwrap_or_default().to_owned();
            parts.for_each(|part| camel += &(part[..1].to_uppercase() + &part[1..]));
            let kebab = name.replace('_', "-");
            for written in
                [camel, kebab, name.to_uppercase()].iter().filter(|written| **written != name)
            {
                let advice = for_key(section, written, &Value::Null);
                assert_eq!(advice, write(key.path, &Value::Null, None), "{written}");
            }
        }
    }
}
