//! What a server does with one arrival of a call: it has many ways to fail.

use prost::Message as _;
use std::time::Duration;
use tonic::Code;
use tonic_supervisor::testing::Answer;

/// What a server does with one arrival of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Echo {
        after: Duration,
    },
    Status {
        after: Duration,
        code: Code,
        pushback: Option<i64>,
    },
    /// Each message of the request as it comes.
    Converse,
    HeadersThenError(Code),
    /// OK, with so many bytes.
    Big(usize),
    /// RST_STREAM before it is processed, with REFUSED_STREAM.
    Refuse,
    /// RST_STREAM after it was processed.
    Reset(u32),
    /// Processed, then the connection is cut.
    Cut,
    Hang,
    /// So many messages, then what.
    Stream {
        messages: usize,
        every: Duration,
        ending: Ending,
    },
}

/// How a stream of answers ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    Status(Code),
    Reset(u32),
    Cut,
    Hang,
}

impl Fate {
    pub(crate) fn echo(after: Duration) -> Self {
        Self::Echo { after }
    }

    pub(crate) fn status(code: Code) -> Self {
        Self::Status { after: Duration::ZERO, code, pushback: None }
    }

    /// Whether the server refuses the call instead of processing it.
    pub(crate) fn refuses(self) -> bool {
        matches!(self, Self::Refuse)
    }

    pub(crate) fn answer(self) -> Answer {
        match self {
            Self::Echo { after } => Answer::echo().after(after),
            Self::Status { after, code, pushback } => {
                let answer = Answer::status(code).after(after);
                pushback
                    .into_iter()
                    .fold(answer, |answer, millis| answer.pushback(&millis.to_string()))
            }
            Self::Converse => Answer::echo_stream(),
            Self::HeadersThenError(code) => Answer::headers_then_error(code),
            Self::Big(size) => Answer::message("x".repeat(size).encode_to_vec()),
            Self::Refuse => Answer::reset(7),
            Self::Reset(code) => Answer::reset(code),
            Self::Cut => Answer::cut_after_processing(),
            Self::Hang => Answer::hang(),
            Self::Stream { messages, every, ending } => {
                let answer =
                    Answer::stream((0..messages).map(|n| n.to_string()), Code::Ok).every(every);
                match ending {
                    Ending::Status(code) => answer.then_status(code),
                    Ending::Reset(code) => answer.then_reset(code),
                    Ending::Cut => answer.then_cut(),
                    Ending::Hang => answer.then_hang(),
                }
            }
        }
    }
}
