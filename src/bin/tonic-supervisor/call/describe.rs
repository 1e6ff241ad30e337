//! What services, methods, messages and enums look like, in the words of a `.proto` file.

use super::schema::Symbol;
use prost_reflect::{
    Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor, Syntax,
};
use serde_json::{Value, json};

impl Symbol {
    /// Its lines.
    pub(super) fn lines(&self) -> Vec<String> {
        match self {
            Self::Service(service) => service_lines(service),
            Self::Method(method) => {
                let mut lines = vec![rpc(method)];
                let (input, output) = (method.input(), method.output());
                lines.extend(message_lines(&input));
                if input != output {
                    lines.extend(message_lines(&output));
                }
                lines
            }
            Self::Message(message) => message_lines(message),
            Self::Enum(kind) => enum_lines(kind),
        }
    }

    /// The same for programs.
    pub(super) fn object(&self) -> Value {
        let (kind, name) = match self {
            Self::Service(service) => ("service", service.full_name().to_owned()),
            Self::Method(method) => ("method", path(method)),
            Self::Message(message) => ("message", message.full_name().to_owned()),
            Self::Enum(kind) => ("enum", kind.full_name().to_owned()),
        };
        json!({ "kind": kind, "name": name, "text": self.lines().join("\n") })
    }
}

/// A method for programs.
pub(super) fn method_object(method: &MethodDescriptor) -> Value {
    json!({
        "kind": "method",
        "name": path(method),
        "client_streaming": method.is_client_streaming(),
        "server_streaming": method.is_server_streaming(),
        "input": method.input().full_name(),
        "output": method.output().full_name(),
    })
}

/// `pkg.Service/Method`.
pub(super) fn path(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

/// What kind of method it is.
pub(super) fn kind(method: &MethodDescriptor) -> &'static str {
    match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => "unary",
        (true, false) => "a client stream",
        (false, true) => "a server stream",
        (true, true) => "a stream both ways",
    }
}

fn rpc(method: &MethodDescriptor) -> String {
    let side = |streams, message: MessageDescriptor| {
        format!("({}{})", if streams { "stream " } else { "" }, message.full_name())
    };
    format!(
        "rpc {}{} returns {};",
        method.name(),
        side(method.is_client_streaming(), method.input()),
        side(method.is_server_streaming(), method.output())
    )
}

fn service_lines(service: &ServiceDescriptor) -> Vec<String> {
    let methods = service.methods().map(|method| format!("  {}", rpc(&method)));
    block(format!("service {}", service.full_name()), methods)
}

fn enum_lines(kind: &EnumDescriptor) -> Vec<String> {
    let values = kind.values().map(|value| format!("  {} = {};", value.name(), value.number()));
    block(format!("enum {}", kind.full_name()), values)
}

fn message_lines(message: &MessageDescriptor) -> Vec<String> {
    let mut inside = Vec::new();
    for field in message.fields().filter(|field| real_oneof(field).is_none()) {
        inside.push(format!("  {}", field_line(&field)));
    }
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        inside.push(format!("  oneof {} {{", oneof.name()));
        inside.extend(oneof.fields().map(|field| format!("    {}", field_line(&field))));
        inside.push("  }".into());
    }
    block(format!("message {}", message.full_name()), inside)
}

fn block(head: String, inside: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines = vec![format!("{head} {{")];
    lines.extend(inside);
    lines.push("}".into());
    lines
}

fn real_oneof(field: &FieldDescriptor) -> Option<prost_reflect::OneofDescriptor> {
    field.containing_oneof().filter(|oneof| !oneof.is_synthetic())
}

fn field_line(field: &FieldDescriptor) -> String {
    let proto2 = field.parent_file().syntax() == Syntax::Proto2;
    let label = match field.cardinality() {
        _ if field.is_map() => "",
        Cardinality::Repeated => "repeated ",
        Cardinality::Required => "required ",
        Cardinality::Optional => {
            let said = field.containing_oneof().is_some_and(|oneof| oneof.is_synthetic());
            if said || (proto2 && real_oneof(field).is_none()) { "optional " } else { "" }
        }
    };
    format!("{label}{} {} = {};", type_of(field), field.name(), field.number())
}

fn type_of(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => format!(
            "map<{}, {}>",
            type_of(&entry.map_entry_key_field()),
            type_of(&entry.map_entry_value_field())
        ),
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(kind) => kind.full_name().to_owned(),
        // The names of the others are those of protobuf: `Sfixed32` is `sfixed32`.
        kind => format!("{kind:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use crate::call::schema::Schema;
    use tonic_supervisor::agent_queue::DESCRIPTORS;

    fn lines(name: &str) -> Vec<String> {
        let schema = Schema::of_set(DESCRIPTORS).expect("a set");
        schema.symbol(name).expect("there").lines()
    }

    #[test]
    fn a_service_and_its_methods_are_shown_as_in_their_file() {
        let service = lines("agent_queue.v1.AgentQueue");
        assert_eq!(service[0], "service agent_queue.v1.AgentQueue {");
        let watch = "rpc WatchQueue(agent_queue.v1.WatchQueueRequest) returns (stream \
                     agent_queue.v1.WatchQueueResponse);";
        assert!(service.contains(&format!("  {watch}")), "{service:#?}");
        for name in
            ["agent_queue.v1.AgentQueue/WatchQueue", ".agent_queue.v1.AgentQueue.WatchQueue"]
        {
            assert_eq!(lines(name)[0], watch);
        }
    }

    #[test]
    fn messages_and_enums_are_shown_with_their_numbers() {
        let task = lines("agent_queue.v1.Task");
        for field in [
            "  string task_id = 1;",
            "  agent_queue.v1.TaskStatus status = 7;",
            "  google.protobuf.Timestamp created_at = 10;",
        ] {
            assert!(task.contains(&field.to_owned()), "{task:#?}");
        }
        assert!(lines("agent_queue.v1.TaskStatus").contains(&"  TASK_STATUS_PENDING = 1;".into()));
        let map = lines("google.protobuf.Struct");
        assert_eq!(map[1], "  map<string, google.protobuf.Value> fields = 1;");
        let oneof = lines("google.protobuf.Value");
        assert!(oneof.contains(&"  oneof kind {".into()), "{oneof:#?}");
        let old = lines("google.protobuf.DescriptorProto");
        assert!(old.contains(&"  optional string name = 1;".into()), "{old:#?}");
    }
}
