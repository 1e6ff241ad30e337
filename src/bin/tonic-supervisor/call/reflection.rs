//! Asks a server by `grpc.reflection.v1`, or else `v1alpha`, what services it has, and for the
//! files that describe them.
//!
//! The messages of both versions are the same, and few: they are written here, since the crate that
//! has them brings a server along. What a server says is bounded: one answer a question, so many
//! files and bytes, and an end in time.

use super::explain::code_name;
use prost::Message;
use prost_types::FileDescriptorProto;
use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};
use tonic::{Code, Request, Status, client::Grpc, metadata::MetadataMap};
use tonic_supervisor::{CallOptions, SupervisedChannel, printable};

/// How many files may describe one symbol; and how many may be known.
pub(super) const FILES: usize = 1_000;
/// How many bytes they may have together.
const BYTES: usize = 16 << 20;
/// How many services a server may list.
const SERVICES: usize = 10_000;

/// Both versions, the newer one first.
const VERSIONS: [&str; 2] = ["v1", "v1alpha"];

/// The server's reflection.
pub(super) struct Reflection {
    grpc: Grpc<SupervisedChannel>,
    metadata: MetadataMap,
    /// Which version it speaks, by its place in [`VERSIONS`].
    version: usize,
    options: CallOptions,
}

/// Why nothing was learnt.
pub(super) enum Unknown {
    /// The server has no reflection.
    NoReflection,
    /// It has none of this name.
    NotFound(String),
    /// It did not answer, or what it said cannot be used.
    Failed(String),
}

/// The files that describe a symbol.
pub(super) struct Described {
    /// Of which version the answers were.
    pub(super) version: &'static str,
    pub(super) files: Vec<FileDescriptorProto>,
}

impl Reflection {
    /// `timeout` is for each question.
    pub(super) fn new(
        channel: SupervisedChannel,
        metadata: MetadataMap,
        timeout: Duration,
    ) -> Self {
        let options = CallOptions::new().timeout(timeout);
        Self { grpc: Grpc::new(channel), metadata, version: 0, options }
    }

    /// The names of all services, sorted.
    pub(super) async fn services(&mut self) -> Result<Vec<String>, Unknown> {
        let question = Question { list_services: Some("*".into()), ..Question::default() };
        let listed = self.ask(question).await?.services.unwrap_or_default().services;
        if listed.len() > SERVICES {
            return Err(too_much(&format!("{} services, and {SERVICES} may be", listed.len())));
        }
        let names: BTreeSet<_> = listed.into_iter().map(|service| service.name).collect();
        Ok(names.into_iter().collect())
    }

    /// The file with `symbol`, and all that it imports. What the server does not have of the files
    /// that come with protobuf itself is left to the caller.
    pub(super) async fn describe(&mut self, symbol: &str) -> Result<Described, Unknown> {
        let question =
            Question { file_containing_symbol: Some(symbol.into()), ..Question::default() };
        let mut found = Found::default();
        let first = self.ask(question).await?;
        found.take(first.files.unwrap_or_default().descriptors)?;
        if found.files.is_empty() {
            return Err(Unknown::Failed("the server's reflection answered without a file".into()));
        }
        while let Some(name) = found.wanted() {
            let question = Question { file_by_filename: Some(name.clone()), ..Question::default() };
            match self.ask(question).await {
                Ok(answer) => found.take(answer.files.unwrap_or_default().descriptors)?,
                Err(Unknown::NotFound(_)) if name.starts_with("google/protobuf/") => {}
                Err(Unknown::NotFound(said)) => {
                    let name = printable(&name);
                    return Err(Unknown::Failed(format!(
                        "the server's reflection does not have the file {name:?}, which another of \
                         its files imports: {said}"
                    )));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(Described { version: VERSIONS[self.version], files: found.files })
    }

    async fn ask(&mut self, question: Question) -> Result<Reply, Unknown> {
        loop {
            match self.ask_version(&question).await {
                Ok(Reply { error: Some(Refusal { code, message }), .. }) => {
                    let said = printable(&message).into_owned();
                    return Err(match Code::from(code) {
                        Code::NotFound => Unknown::NotFound(said),
                        code => Unknown::Failed(format!("reflection: {}: {said}", code_name(code))),
                    });
                }
                Ok(reply) => return Ok(reply),
                Err(status) if status.code() == Code::Unimplemented => {
                    if self.version + 1 == VERSIONS.len() {
                        return Err(Unknown::NoReflection);
                    }
                    self.version += 1;
                }
                // Some servers refuse a name in this way.
                Err(status) if status.code() == Code::NotFound => {
                    return Err(Unknown::NotFound(printable(status.message()).into_owned()));
                }
                Err(status) => {
                    let said = printable(status.message());
                    return Err(Unknown::Failed(format!(
                        "the server's reflection did not answer: {}: {said}",
                        code_name(status.code())
                    )));
                }
            }
        }
    }

    /// A stream for one question: its first message is the answer, and it is given up then.
    async fn ask_version(&mut self, question: &Question) -> Result<Reply, Status> {
        let version = VERSIONS[self.version];
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let path = path.parse().map_err(|_| Status::internal("no path"))?;
        let mut request = Request::new(question.clone());
        *request.metadata_mut() = self.metadata.clone();
        request.extensions_mut().insert(self.options);
        let codec = tonic_prost::ProstCodec::default();
        let mut answers = self.grpc.server_streaming(request, path, codec).await?.into_inner();
        answers.message().await?.ok_or_else(|| Status::internal("it ended without an answer"))
    }
}

/// The files so far.
#[derive(Default)]
struct Found {
    files: Vec<FileDescriptorProto>,
    names: HashSet<String>,
    /// What was asked for by name: whatever comes, no name is asked for twice.
    asked: HashSet<String>,
    bytes: usize,
}

impl Found {
    fn take(&mut self, descriptors: Vec<Vec<u8>>) -> Result<(), Unknown> {
        for bytes in descriptors {
            let file = FileDescriptorProto::decode(&*bytes).map_err(|error| {
                Unknown::Failed(format!("the server's reflection sent no descriptor: {error}"))
            })?;
            if !self.names.insert(file.name().to_owned()) {
                continue;
            }
            self.bytes += bytes.len();
            if self.files.len() == FILES || self.bytes > BYTES {
                return Err(too_much(&format!("more than {FILES} files, or {BYTES} bytes")));
            }
            self.files.push(file);
        }
        Ok(())
    }

    /// A file that another one imports, and that was not asked for yet.
    fn wanted(&mut self) -> Option<String> {
        if self.asked.len() > FILES {
            return None;
        }
        let imported = self.files.iter().flat_map(|file| &file.dependency);
        let mut missing = imported.filter(|name| !self.names.contains(*name));
        let next = missing.find(|name| !self.asked.contains(*name))?.clone();
        self.asked.insert(next.clone());
        Some(next)
    }
}

fn too_much(what: &str) -> Unknown {
    Unknown::Failed(format!("the server's reflection says too much: {what}"))
}

#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(string, optional, tag = "3")]
    file_by_filename: Option<String>,
    #[prost(string, optional, tag = "4")]
    file_containing_symbol: Option<String>,
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Reply {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
    #[prost(message, optional, tag = "6")]
    services: Option<Services>,
    #[prost(message, optional, tag = "7")]
    error: Option<Refusal>,
}

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    descriptors: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Refusal {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, imports: &[&str]) -> Vec<u8> {
        let dependency = imports.iter().map(|import| (*import).to_owned()).collect();
        let file =
            FileDescriptorProto { name: Some(name.into()), dependency, ..Default::default() };
        file.encode_to_vec()
    }

    #[test]
    fn no_file_is_asked_for_twice_whatever_comes_in_its_place() {
        let mut found = Found::default();
        assert!(found.take(vec![file("a", &["b", "c"]), file("b", &["a"])]).is_ok());
        assert_eq!(found.wanted().as_deref(), Some("c"));
        assert!(found.take(vec![file("another", &["c"])]).is_ok());
        assert_eq!(found.wanted(), None);
    }

    #[test]
    fn a_server_that_always_imports_one_more_file_comes_to_an_end() {
        let mut found = Found::default();
        let mut asked = 0;
        let mut next = "0".to_owned();
        let refused = loop {
            let import = (asked + 1).to_string();
            if let Err(refused) = found.take(vec![file(&next, &[&import])]) {
                break refused;
            }
            next = found.wanted().expect("it is imported");
            asked += 1;
        };
        assert!(matches!(refused, Unknown::Failed(said) if said.contains("too much")));
        assert_eq!(asked, FILES);
    }
}
