//! A fact as JSON for programs, and which facts the demo's readers can do without.

use serde_json::{Value, json};
use tonic_supervisor::{Fact, FieldValue};

/// Whether the demo's readers can do without it: dials and waits are drawn, not read.
pub(crate) fn is_quiet(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::DialStarted { .. }
            | Fact::DialFailed { .. }
            | Fact::LinkEstablished { .. }
            | Fact::BackoffStarted { .. }
    )
}

/// A fact's fields as an object.
pub(crate) fn fields(fact: &Fact) -> Value {
    fact.fields().iter().map(|field| (field.name().to_owned(), value(field.value()))).collect()
}

fn value(value: &FieldValue<'_>) -> Value {
    match value {
        FieldValue::Flag(flag) => json!(flag),
        FieldValue::Number(number) => json!(number),
        FieldValue::Text(text) => json!(text),
        _ => Value::Null,
    }
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use super::*;
    use tonic_supervisor::testing::every_fact;

    #[test]
    fn every_fact_has_all_its_fields_in_json_with_their_types() {
        for fact in every_fact() {
            let json = fields(&fact);
            let object = json.as_object().expect("an object");
            assert!(!object.is_empty(), "{fact:?}");
            assert_eq!(object.len(), fact.fields().len(), "{fact:?}: two fields of one name");
            for field in fact.fields() {
                let same = match (field.value(), &object[field.name()]) {
                    (FieldValue::None, json) => json.is_null(),
                    (FieldValue::Flag(flag), json) => json.as_bool() == Some(*flag),
                    (FieldValue::Number(number), json) => json.as_u64() == Some(*number),
                    (FieldValue::Text(text), json) => json.as_str() == Some(text),
                    _ => false,
                };
                assert!(same, "{}: {field:?} {json}", fact.name());
            }
        }
    }
}
