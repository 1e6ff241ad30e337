//! What the server's methods and messages are: from a file of descriptors, or from files that the
//! server's reflection sent.
//!
//! The files that come with protobuf itself are there in any case: some servers do not send them,
//! and an `Any` may hold one of their messages although nothing imports it.

use super::reflection::Described;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, MessageDescriptor, MethodDescriptor,
    ReflectMessage as _, ServiceDescriptor,
};
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic_supervisor::printable;

/// What is known.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    pool: DescriptorPool,
}

/// What a name stands for.
pub(super) enum Symbol {
    Service(ServiceDescriptor),
    Method(MethodDescriptor),
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
}

impl Schema {
    /// Reads an encoded `FileDescriptorSet`. The error says what is wrong with it.
    pub(super) fn of_set(set: &[u8]) -> Result<Self, String> {
        let set = FileDescriptorSet::decode(set).map_err(|error| {
            format!(
                "it is no set of descriptors, as `protoc --descriptor_set_out --include_imports` \
                 or `buf build -o` writes it: {error}"
            )
        })?;
        Self::of_files(set.file)
    }

    /// Takes what reflection sent when it was asked for `symbol`.
    pub(super) fn of_reflection(described: Described, symbol: &str) -> Result<Self, String> {
        let wrong = "what the server's reflection sent does not fit";
        let schema =
            Self::of_files(described.files).map_err(|error| format!("{wrong}: {error}"))?;
        if schema.symbol(symbol).is_none() {
            return Err(format!("{wrong}: there is no {:?} in it", printable(symbol)));
        }
        Ok(schema)
    }

    /// The same with what reflection sent besides. Files that are known already stay as they are.
    pub(super) fn with(&self, described: Described) -> Result<Self, String> {
        let mut pool = self.pool.clone();
        let is_new = |file: &FileDescriptorProto| self.pool.get_file_by_name(file.name()).is_none();
        let files = described.files.into_iter().filter(is_new);
        let added = pool.add_file_descriptor_protos(files);
        added.map_err(|error| printable(&error.to_string()).into_owned())?;
        Ok(Self { pool })
    }

    /// The same message, with what is known now.
    pub(super) fn read_again(&self, message: &DynamicMessage) -> DynamicMessage {
        let kind = self.pool.get_message_by_name(message.descriptor().full_name());
        let again = kind.map(|kind| DynamicMessage::decode(kind, &*message.encode_to_vec()));
        again.and_then(Result::ok).unwrap_or_else(|| message.clone())
    }

    /// Whether there is such a message.
    pub(super) fn has_message(&self, name: &str) -> bool {
        self.pool.get_message_by_name(name).is_some()
    }

    fn of_files(files: Vec<FileDescriptorProto>) -> Result<Self, String> {
        let standard = DescriptorPool::global();
        let own: Vec<_> = files.iter().map(|file| file.name().to_owned()).collect();
        let has = |name: &str| own.iter().any(|own| own == name);
        let mut rest: Vec<_> =
            standard.file_descriptor_protos().filter(|file| !has(file.name())).cloned().collect();
        let imported = |file: &FileDescriptorProto| {
            files.iter().any(|one| one.dependency.iter().any(|name| name == file.name()))
        };
        let mut all: Vec<_> = rest.iter().filter(|file| imported(file)).cloned().collect();
        all.extend(files.iter().cloned());
        let mut pool = DescriptorPool::new();
        let built = pool.add_file_descriptor_protos(all);
        built.map_err(|error| printable(&error.to_string()).into_owned())?;
        // One that cannot be added has its names from a file of the server's.
        rest.retain(|file| !imported(file));
        for file in rest {
            let _ = pool.add_file_descriptor_proto(file);
        }
        Ok(Self { pool })
    }

    /// How many files are known, without those that come with protobuf.
    pub(super) fn files(&self) -> usize {
        self.pool.files().filter(|file| !file.name().starts_with("google/protobuf/")).count()
    }

    /// The names of all services, sorted.
    pub(super) fn services(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.pool.services().map(|service| service.full_name().to_owned()).collect();
        names.sort_unstable();
        names
    }

    pub(super) fn service(&self, name: &str) -> Option<ServiceDescriptor> {
        self.pool.get_service_by_name(name)
    }

    /// The method, or a sentence that says what there is instead.
    pub(super) fn method(&self, method: &MethodName) -> Result<MethodDescriptor, String> {
        let service = self.service(&method.service).ok_or_else(|| {
            let known = listed(self.services());
            format!("there is no service {:?}; there is {known}", printable(&method.service))
        })?;
        let found = service.methods().find(|known| known.name() == method.method);
        found.ok_or_else(|| {
            let known = listed(service.methods().map(|method| method.name().to_owned()));
            format!(
                "the service {} has no method {:?}; it has {known}",
                printable(service.full_name()),
                printable(&method.method)
            )
        })
    }

    /// What `name` stands for: `pkg.Service`, `pkg.Service/Method`, `pkg.Message`.
    pub(super) fn symbol(&self, name: &str) -> Option<Symbol> {
        let name = name.trim_start_matches(['.', '/']);
        let method = || self.method(&name.parse().ok()?).ok();
        None.or_else(|| self.service(name).map(Symbol::Service))
            .or_else(|| self.pool.get_message_by_name(name).map(Symbol::Message))
            .or_else(|| self.pool.get_enum_by_name(name).map(Symbol::Enum))
            .or_else(|| method().map(Symbol::Method))
    }
}

/// Names, with commas between: no sentence has more than a dozen.
fn listed(names: impl IntoIterator<Item = String>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    let shown: Vec<_> = names.iter().take(12).map(|name| printable(name)).collect();
    match (names.len(), names.len() - shown.len()) {
        (0, _) => "none".into(),
        (_, 0) => shown.join(", "),
        (_, more) => format!("{}, and {more} more", shown.join(", ")),
    }
}

/// A method's name: `pkg.Service/Method`, or with a dot in place of the slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MethodName {
    pub(super) service: String,
    pub(super) method: String,
}

impl std::str::FromStr for MethodName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.trim_start_matches('/');
        let parts = name.split_once('/').or_else(|| name.rsplit_once('.'));
        match parts {
            Some((service, method))
                if !service.is_empty()
                    && !method.is_empty()
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/".contains(&b))
                    && !method.contains('/') =>
            {
                Ok(Self { service: service.into(), method: method.into() })
            }
            _ => Err(format!(
                "{text:?} is no method: write pkg.Service/Method, or `list`, or `describe SYMBOL`"
            )),
        }
    }
}

impl std::fmt::Display for MethodName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.service, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_supervisor::agent_queue::DESCRIPTORS;

    #[test]
    fn a_method_is_named_with_a_slash_or_a_dot() {
        for text in ["a.B/C", "/a.B/C", "a.B.C"] {
            assert_eq!(text.parse::<MethodName>().map(|name| name.to_string()), Ok("a.B/C".into()));
        }
        for text in ["", "C", "/", "a.B/", "/C", "a/B/C", "a b/C", "a.B/C\n", "liste"] {
            assert!(text.parse::<MethodName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let schema = Schema::of_set(DESCRIPTORS).expect("a set");
        let method = |text: &str| schema.method(&text.parse().expect("a name"));
        assert!(method("agent_queue.v1.AgentQueue/HealthCheck").is_ok());
        let error = method("agent_queue.v1.AgentQueue/Helth").expect_err("misspelt");
        assert!(error.contains("HealthCheck") && error.contains("more"), "{error}");
        let error = method("agent_queue.v1.Queue/HealthCheck").expect_err("misspelt");
        assert!(error.ends_with("there is agent_queue.v1.AgentQueue"), "{error}");
    }

    #[test]
    fn the_files_of_protobuf_itself_need_not_be_sent() {
        let set = FileDescriptorSet::decode(DESCRIPTORS).expect("a set");
        let own = |file: &FileDescriptorProto| !file.name().starts_with("google/");
        let files = set.file.into_iter().filter(own).collect();
        let schema = Schema::of_files(files).expect("they are there");
        assert!(schema.symbol("google.protobuf.Timestamp").is_some());
        assert!(schema.symbol("google.protobuf.Empty").is_some(), "for an Any");
        assert_eq!(schema.files(), 1);
    }

    #[test]
    fn files_that_do_not_fit_are_refused_in_words() {
        assert!(Schema::of_set(b"\xff").is_err());
        let file = |name: &str, import: &str| FileDescriptorProto {
            name: Some(name.into()),
            dependency: vec![import.into()],
            ..Default::default()
        };
        // A circle does no harm.
        assert!(Schema::of_files(vec![file("a", "b"), file("b", "a")]).is_ok());
        let error = Schema::of_files(vec![file("a", "\u{1b}[2J")]).expect_err("it is missing");
        assert!(error.contains("\\u{1b}[2J"), "{error:?}");
    }
}
