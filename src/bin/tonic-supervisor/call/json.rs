//! Messages as protobuf's JSON, and examples of them.

use super::any::{ANY, DEEPEST, Inside};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, SerializeOptions, Value,
};
use serde_json::Serializer;

/// How deep an example goes.
const EXAMPLE: usize = 3;
/// How many fields it has: those of the server's messages may be any number.
const FIELDS: usize = 10_000;

/// The message in one line. The error says why it has no such form.
pub(super) fn line(message: &DynamicMessage) -> Result<String, String> {
    if Inside::of(message).depth > DEEPEST {
        return Err(format!("it has messages in an Any more than {DEEPEST} deep"));
    }
    let mut text = Vec::new();
    message
        .serialize_with_options(&mut Serializer::new(&mut text), &SerializeOptions::new())
        .map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}

/// An example of such a message, over several lines: every field is there, and one of each `oneof`.
pub(super) fn example(kind: &MessageDescriptor) -> Result<String, String> {
    let mut text = Vec::new();
    let options = SerializeOptions::new().skip_default_fields(false);
    let mut room = FIELDS;
    example_of(kind, EXAMPLE, &mut room)
        .serialize_with_options(&mut Serializer::pretty(&mut text), &options)
        .map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}

fn example_of(kind: &MessageDescriptor, deeper: usize, room: &mut usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(kind.clone());
    match kind.full_name() {
        ANY => {
            let url = "type.googleapis.com/google.protobuf.Empty".to_owned();
            message.set_field_by_name("type_url", Value::String(url));
            return message;
        }
        // They have a form of their own, which is shortest where they are empty.
        "google.protobuf.Struct" | "google.protobuf.ListValue" => return message,
        "google.protobuf.Value" => {
            message.set_field_by_name("null_value", Value::EnumNumber(0));
            return message;
        }
        _ => {}
    }
    for field in kind.fields() {
        let chosen = field.containing_oneof().is_none_or(|oneof| {
            oneof.fields().next().is_some_and(|first| first.number() == field.number())
        });
        if let Some(value) = chosen.then(|| example_value(&field, deeper, room)).flatten() {
            message.set_field(&field, value);
        }
    }
    message
}

/// None where it would go too deep, or become too large: the field is left out then.
fn example_value(field: &FieldDescriptor, deeper: usize, room: &mut usize) -> Option<Value> {
    *room = room.checked_sub(1)?;
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return None };
        let key = match entry.map_entry_key_field().kind() {
            Kind::Bool => MapKey::Bool(false),
            Kind::String => MapKey::String("key".into()),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => MapKey::I32(0),
            Kind::Uint32 | Kind::Fixed32 => MapKey::U32(0),
            Kind::Uint64 | Kind::Fixed64 => MapKey::U64(0),
            _ => MapKey::I64(0),
        };
        let value = example_one(&entry.map_entry_value_field(), deeper, room)?;
        return Some(Value::Map([(key, value)].into()));
    }
    let one = example_one(field, deeper, room)?;
    Some(if field.is_list() { Value::List(vec![one]) } else { one })
}

fn example_one(field: &FieldDescriptor, deeper: usize, room: &mut usize) -> Option<Value> {
    Some(match field.kind() {
        Kind::Message(kind) => Value::Message(example_of(&kind, deeper.checked_sub(1)?, room)),
        // A list's own default is an empty list, so the default is asked of the kind.
        kind => kind.default_value(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::schema::{Schema, Symbol};
    use prost::Message as _;
    use prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
        field_descriptor_proto::{Label, Type},
    };
    use tonic_supervisor::agent_queue::DESCRIPTORS;

    fn kind(name: &str) -> MessageDescriptor {
        match Schema::of_set(DESCRIPTORS).expect("a set").symbol(name) {
            Some(Symbol::Message(message)) => message,
            _ => panic!("{name} is no message"),
        }
    }

    #[test]
    fn every_example_is_read_as_what_it_shows() {
        let schema = Schema::of_set(DESCRIPTORS).expect("a set");
        let service = schema.service("agent_queue.v1.AgentQueue").expect("there");
        let standard = [
            "Any",
            "Struct",
            "Value",
            "Timestamp",
            "Duration",
            "FieldMask",
            "Empty",
            "Int64Value",
            "BytesValue",
            "ListValue",
            "FileDescriptorProto",
            "Api",
        ];
        let standard = standard.map(|name| kind(&format!("google.protobuf.{name}")));
        for kind in service.methods().flat_map(|m| [m.input(), m.output()]).chain(standard) {
            let text = example(&kind).expect("it has a form");
            let mut reader = serde_json::Deserializer::from_str(&text);
            let read = DynamicMessage::deserialize(kind.clone(), &mut reader);
            assert!(read.is_ok(), "{}: {read:?} {text}", kind.full_name());
        }
        let text = example(&kind("agent_queue.v1.SubmitTaskRequest")).expect("it has a form");
        assert!(text.contains("\"clientRequestId\": \"\"") && text.contains("\"priority\": 0"));
    }

    #[test]
    fn an_example_of_a_wide_message_ends() {
        let field = |number| FieldDescriptorProto {
            name: Some(format!("field_{number}")),
            number: Some(number),
            label: Some(Label::Optional.into()),
            r#type: Some(Type::Message.into()),
            type_name: Some(".Wide".into()),
            ..Default::default()
        };
        let name = Some("Wide".to_owned());
        let wide =
            DescriptorProto { name, field: (1..=500).map(field).collect(), ..Default::default() };
        let name = Some("wide.proto".to_owned());
        let file = FileDescriptorProto { name, message_type: vec![wide], ..Default::default() };
        let set = FileDescriptorSet { file: vec![file] }.encode_to_vec();
        let Some(Symbol::Message(wide)) = Schema::of_set(&set).expect("a set").symbol("Wide")
        else {
            panic!("Wide is a message");
        };
        let text = example(&wide).expect("it has a form");
        assert!((1..=FIELDS).contains(&text.matches("field").count()));
    }

    #[test]
    fn messages_in_an_any_go_only_so_deep() {
        let kind = kind(ANY);
        let any = |name: &str, inner: Vec<u8>| {
            let mut any = DynamicMessage::new(kind.clone());
            any.set_field_by_name("type_url", Value::String(format!("type.googleapis.com/{name}")));
            any.set_field_by_name("value", Value::Bytes(inner.into()));
            any
        };
        let nested = |times: usize| {
            let first = any("google.protobuf.Empty", Vec::new());
            line(&(0..times).fold(first, |inner, _| any(ANY, inner.encode_to_vec())))
        };
        assert!(nested(3).is_ok_and(|text| text.contains("google.protobuf.Empty")));
        assert!(nested(2_000).is_err_and(|error| error.contains("deep")));
    }
}
