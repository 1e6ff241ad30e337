//! Which methods are unary, as descriptors say it: read once, when a supervisor is built.

use crate::model::CallKind;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use std::fmt;

/// The bytes that a builder was given as descriptors are not an encoded `FileDescriptorSet`. `{}`
/// says so, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptorError(String);

/// The kinds of all methods in an encoded `FileDescriptorSet`, by `pkg.Service/Method`.
pub(super) fn kinds(encoded: &[u8]) -> Result<Vec<(String, CallKind)>, DescriptorError> {
    let set = prost_types::FileDescriptorSet::decode(encoded)
        .map_err(|error| DescriptorError(error.to_string()))?;
    Ok(set.file.iter().flat_map(kinds_of).collect())
}

/// The same for one encoded `FileDescriptorProto`.
#[cfg(feature = "bridge")]
pub(crate) fn kinds_in(file: &[u8]) -> Result<Vec<(String, CallKind)>, DescriptorError> {
    let file = FileDescriptorProto::decode(file);
    Ok(kinds_of(&file.map_err(|error| DescriptorError(error.to_string()))?))
}

fn kinds_of(file: &FileDescriptorProto) -> Vec<(String, CallKind)> {
    let dot = if file.package().is_empty() { "" } else { "." };
    let mut kinds = Vec::new();
    for service in &file.service {
        for method in &service.method {
            let streaming = method.client_streaming() || method.server_streaming();
            let kind = if streaming { CallKind::Streaming } else { CallKind::Unary };
            let name = format!("{}{dot}{}/{}", file.package(), service.name(), method.name());
            kinds.push((name, kind));
        }
    }
    kinds
}

impl fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an encoded FileDescriptorSet: {}", self.0)
    }
}

impl std::error::Error for DescriptorError {}
