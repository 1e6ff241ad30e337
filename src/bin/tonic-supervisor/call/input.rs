//! `-d`: the messages to send, as JSON, one after the other with any space between.
//!
//! What stands in the argument or in a file is read whole, before anything is sent. Standard input
//! is read in a thread of its own and message by message, so that a stream can be typed.

use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::de::{Deserializer, IoRead, Read, StrRead};
use std::{fs, io, path::PathBuf, thread};
use tokio::sync::mpsc;
use tonic_supervisor::printable;

/// How many messages of standard input may be waiting to be sent.
const AHEAD: usize = 16;

/// Where the messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Nobody said.
    Nothing,
    /// This text.
    Text(String),
    /// Standard input.
    Stdin,
}

/// What came of one: a message, or what is wrong with it.
pub(super) type Read1 = Result<DynamicMessage, String>;

impl Input {
    /// Reads the argument, and the file that it names.
    pub(super) fn of(argument: Option<&str>) -> Result<Self, String> {
        match argument {
            None => Ok(Self::Nothing),
            Some("-" | "@" | "@-") => Ok(Self::Stdin),
            Some(text) => match text.strip_prefix('@') {
                None => Ok(Self::Text(text.into())),
                Some(file) => match fs::read_to_string(PathBuf::from(file)) {
                    Ok(text) => Ok(Self::Text(text)),
                    Err(error) => Err(format!("-d: cannot read {file}: {error}")),
                },
            },
        }
    }

    /// All messages, where they can be had at once.
    pub(super) fn at_once(
        &self,
        kind: &MessageDescriptor,
    ) -> Option<Result<Vec<DynamicMessage>, String>> {
        match self {
            Self::Nothing => Some(Ok(Vec::new())),
            Self::Text(text) => {
                Some(Messages::new(Deserializer::from_str(text), kind.clone()).collect())
            }
            Self::Stdin => None,
        }
    }
}

/// The messages of standard input, as they come. The thread ends with it, or with the process.
pub(super) fn stdin(kind: MessageDescriptor) -> mpsc::Receiver<Read1> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    thread::spawn(move || {
        let reader = Deserializer::from_reader(io::stdin().lock());
        for message in Messages::new(reader, kind) {
            if sender.blocking_send(message).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Reads one message after the other; after a mistake there is none.
struct Messages<R> {
    reader: Deserializer<R>,
    kind: MessageDescriptor,
    read: usize,
    over: bool,
}

impl<R> Messages<R> {
    fn new(reader: Deserializer<R>, kind: MessageDescriptor) -> Self {
        Self { reader, kind, read: 0, over: false }
    }
}

impl<'de, R: Read<'de>> Iterator for Messages<R> {
    type Item = Read1;

    fn next(&mut self) -> Option<Read1> {
        // At the end there is nothing but space.
        if self.over || self.reader.end().is_ok() {
            return None;
        }
        self.read += 1;
        let read = DynamicMessage::deserialize(self.kind.clone(), &mut self.reader);
        Some(read.map_err(|error| {
            self.over = true;
            let error = error.to_string();
            let which = if self.read > 1 { format!("message {}", self.read) } else { "it".into() };
            format!("-d: {which} is not a {}: {}", self.kind.full_name(), printable(&error))
        }))
    }
}

// What the two kinds of input are read by; named so that the bounds above are seen to hold.
const _: fn(Messages<StrRead<'static>>, Messages<IoRead<io::StdinLock<'static>>>) = |_, _| {};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::schema::{Schema, Symbol};
    use tonic_supervisor::agent_queue::DESCRIPTORS;

    fn kind(name: &str) -> MessageDescriptor {
        match Schema::of_set(DESCRIPTORS).expect("a set").symbol(name) {
            Some(Symbol::Message(message)) => message,
            _ => panic!("{name} is no message"),
        }
    }

    fn read(text: &str) -> Result<Vec<DynamicMessage>, String> {
        let kind = kind("agent_queue.v1.CreateQueueRequest");
        Input::Text(text.into()).at_once(&kind).expect("at once")
    }

    #[test]
    fn messages_follow_each_other_with_any_space_between() {
        let lengths = |text| read(text).map(|all| all.len());
        assert_eq!(lengths(""), Ok(0));
        assert_eq!(lengths(" \n"), Ok(0));
        assert_eq!(lengths("{}"), Ok(1));
        assert_eq!(lengths(r#"{"agentId":"a"}{"agent_id":"b"}"#), Ok(2));
        assert_eq!(lengths("\n{}\n\n{} {}\n"), Ok(3));
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for (text, part) in [
            ("{", "line 1"),
            ("{}\n{\"agentld\": 1}", "message 2 is not a agent_queue.v1.CreateQueueRequest"),
            ("{\"agentId\": 7}", "line 1 column"),
            ("[]", "is not a"),
            ("{},{}", "message 2"),
            ("{} x", "message 2"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn an_argument_is_text_a_file_or_standard_input() {
        for text in ["-", "@", "@-"] {
            assert_eq!(Input::of(Some(text)), Ok(Input::Stdin));
        }
        assert_eq!(Input::of(Some("{}")), Ok(Input::Text("{}".into())));
        assert_eq!(Input::of(None), Ok(Input::Nothing));
        let error = Input::of(Some("@/nowhere/task.json")).expect_err("no file");
        assert!(error.contains("/nowhere/task.json"), "{error}");
    }
}
