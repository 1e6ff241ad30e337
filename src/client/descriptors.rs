//! Which methods are unary, as descriptors say it: read once, when a supervisor is built.

use crate::model::CallKind;
use prost::Message;
use std::fmt;

/// The bytes that a builder was given as descriptors are not an encoded `FileDescriptorSet`. `{}`
/// says so, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptorError(String);

/// What is read of descriptors. The rest is skipped: a server may send any amount of it.
#[derive(Clone, PartialEq, Message)]
struct FileSet {
    #[prost(message, repeated, tag = "1")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<Method>,
}

#[derive(Clone, PartialEq, Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bool, tag = "5")]
    client_streaming: bool,
    #[prost(bool, tag = "6")]
    server_streaming: bool,
}

/// The kinds of all methods in an encoded `FileDescriptorSet`, by `pkg.Service/Method`.
pub(super) fn kinds(encoded: &[u8]) -> Result<Vec<(String, CallKind)>, DescriptorError> {
    let set = FileSet::decode(encoded).map_err(|error| DescriptorError(error.to_string()))?;
    let mut kinds = Vec::new();
    for File { package, services } in &set.files {
        let dot = if package.is_empty() { "" } else { "." };
        for service in services {
            kinds.extend(kinds_of(&format!("{package}{dot}{}", service.name), service));
        }
    }
    Ok(kinds)
}

/// The same for the methods of one service, `pkg.Service`, in an encoded `FileDescriptorProto`.
/// Where it has more than `most`, those are left out.
#[cfg(feature = "bridge")]
pub(crate) fn kinds_in(
    file: &[u8],
    name: &str,
    most: usize,
) -> Result<Vec<(String, CallKind)>, DescriptorError> {
    let file = File::decode(file).map_err(|error| DescriptorError(error.to_string()))?;
    let (package, own) = name.rsplit_once('.').unwrap_or(("", name));
    let services = file.services.iter().filter(|it| it.name == own && file.package == package);
    Ok(services.flat_map(|service| kinds_of(name, service)).take(most).collect())
}

fn kinds_of(name: &str, service: &Service) -> impl Iterator<Item = (String, CallKind)> {
    service.methods.iter().map(move |method| {
        let streaming = method.client_streaming || method.server_streaming;
        let kind = if streaming { CallKind::Streaming } else { CallKind::Unary };
        (format!("{name}/{}", method.name), kind)
    })
}

impl fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an encoded FileDescriptorSet: {}", self.0)
    }
}

impl std::error::Error for DescriptorError {}

#[cfg(all(test, feature = "bridge"))]
mod tests {
    use super::*;
    use prost_types::{FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};

    /// A file of one service, whose methods have no names.
    fn file(package: &str, service: &str, methods: usize) -> Vec<u8> {
        let method = vec![MethodDescriptorProto::default(); methods];
        let service =
            ServiceDescriptorProto { name: Some(service.into()), method, ..Default::default() };
        let package = Some(package.into());
        FileDescriptorProto { package, service: vec![service], ..Default::default() }
            .encode_to_vec()
    }

    #[test]
    fn of_a_servers_file_the_service_that_was_asked_for_is_taken_and_no_more_than_there_is_room() {
        let huge = "p".repeat(1 << 20);
        assert_eq!(kinds_in(&file(&huge, "S", 1_000_000), "a.S", 10), Ok(Vec::new()));
        let found = kinds_in(&file("a.b", "S", 1_000_000), "a.b.S", 10).expect("a file");
        assert_eq!((found.len(), &*found[0].0), (10, "a.b.S/"));
        let found = kinds_in(&file("", "S", 1), "S", 10).expect("a file");
        assert_eq!(found, [("S/".to_owned(), CallKind::Unary)]);
        assert_eq!(kinds_in(&file("a", "b.S", 1), "a.b.S", 10), Ok(Vec::new()), "no such name");
        assert!(kinds_in(b"\xff", "a.S", 10).is_err());
    }
}
