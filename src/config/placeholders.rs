//! Values with something in them that another program would replace, such as `${QUEUE_HOST}` or
//! `~`. Nothing here does, and taken as it stands it would fail only when it is used.

use super::{
    error::Problem,
    keys::{Shape, find, variable},
    layers::{KeyPath, Layers, Setting, Source},
    value::Value,
};

/// Turns such settings into problems.
pub(super) fn refuse(layers: &mut Layers) {
    let mut problems = Vec::new();
    layers.settings.retain(|key, setting| match rule(key, setting) {
        None => true,
        Some(rule) => {
            let text = format!("is {}, but {rule}", setting.value);
            let location = setting.source.location(key, None);
            problems.push(Problem { location, key: Some(key.to_string()), text });
            false
        }
    });
    layers.problems.extend(problems);
}

/// What is wrong, and what to do about it.
fn rule(key: &KeyPath, setting: &Setting) -> Option<String> {
    let texts: Vec<&str> = match &setting.value {
        Value::Text(text) => vec![text.as_str()],
        Value::List(items) => items.iter().filter_map(|item| item.text().ok()).collect(),
        _ => return None,
    };
    if texts.iter().any(|text| is_placeholder(text)) {
        let in_a_file = !matches!(setting.source, Source::Variable(_) | Source::Builder(_));
        return Some(match (&key.method, in_a_file) {
            (None, true) => format!(
                "variables are not replaced in a file: set {} instead, which holds over the file",
                variable(key.path)
            ),
            (Some(_), true) => {
                "variables are not replaced in a file: write the value itself".into()
            }
            (_, false) => "variables are not replaced in it: give the value itself".into(),
        });
    }
    let is_file = find(key.path).is_some_and(|key| matches!(key.kind.shape, Shape::File));
    let home = is_file && texts.iter().any(|text| text.starts_with('~'));
    home.then(|| "`~` is not replaced: write the whole path".into())
}

/// `${NAME}`, `$(command)`, `{{ name }}`, `%NAME%`, or `$NAME` alone.
fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    let whole_name = |name: &str| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let percent = text.strip_prefix('%').and_then(|rest| rest.strip_suffix('%'));
    ["${", "$(", "{{"].iter().any(|start| text.contains(start))
        || text.strip_prefix('$').is_some_and(whole_name)
        || percent.is_some_and(whole_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_programs_replace_is_known() {
        for text in
            ["${QUEUE_HOST}", "$HOST", "a-${B}-c", "{{ .Values.host }}", "%HOST%", "$(hostname)"]
        {
            assert!(is_placeholder(text), "{text}");
        }
        for text in ["queue", "fe80::1%eth0", "/etc/$x/ca.pem", "100%", "$", "a{b}"] {
            assert!(!is_placeholder(text), "{text}");
        }
    }
}
