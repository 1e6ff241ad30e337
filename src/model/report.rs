//! The report of a failed call: every attempt with its code, cause and time.
//!
//! It is the source of the `Status` that the call ends with.

use super::{
    cause::Cause,
    code::code_name,
    endpoint::EndpointId,
    failure::{Failure, Phase},
    text::printable,
    waits::Waits,
};
use http::HeaderMap;
use std::{fmt, sync::Arc, time::Duration};
use tonic::Code;

/// One attempt of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptReport {
    /// Its number, from 0; transparent retries are numbered too.
    pub attempt: u32,
    /// Where it went; 0 if it never got a link.
    pub endpoint: EndpointId,
    /// The failure it ended with.
    pub failure: Failure,
    /// What the peer said, where it sent words: printable, and cut at 300 characters.
    pub said: Option<Arc<str>>,
    /// When it ended, counted from the call's submission.
    pub elapsed: Duration,
    /// Whether it was followed by a retry that cost nothing (the server never saw it).
    pub transparent: bool,
}

/// Why no retry followed the last attempt of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotRetried {
    /// A repetition would fail the same: a message above a limit, a request that cannot be sent or
    /// whose shape is refused, an answer that cannot be used, a call that does not wait for a link.
    Final,
    /// Part of the request is gone: it is larger than `max_replay_bytes`, or still being sent.
    NotReplayable,
    /// The supervisor is shutting down.
    ShuttingDown,
    /// The method streams (seed: streams are passed through).
    Streaming,
    /// The answer was being passed on already: it is large, or nobody said that the method is
    /// unary.
    AnswerBegan,
    /// Nobody said that the method is unary, and `retry_undescribed` is false.
    Undescribed,
    /// The code is not one of those that are retried (`retryable_status_codes`).
    CodeNotListed(Code),
    /// The server may have acted on the call, and running it twice could do harm.
    MaybeProcessed,
    /// All the retries were made.
    LimitReached(u32),
    /// The server said that the call must not be retried.
    Forbidden,
    /// The wait before the retry would have ended with the call's deadline or after it.
    OutlivesDeadline(Duration),
    /// Too many retries were made of late, over all calls.
    Throttled,
}

/// What happened to a call that failed. Find it with [`CallReport::of`].
///
/// `{:?}` prints what `{}` does: a [`tonic::Status`] shows its source by `Debug`, so `{status}`
/// ends with the story in words.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallReport {
    /// `pkg.Service/Method`.
    pub method: String,
    /// The failed attempts, oldest first. Past [`CallReport::KEPT`] the middle ones are only
    /// counted.
    pub attempts: Vec<AttemptReport>,
    /// How many attempts there were, kept or not.
    pub attempts_made: u32,
    /// How many of the attempts were policy retries.
    pub retries: u32,
    /// How many of the attempts were transparent retries.
    pub transparent_retries: u32,
    /// Why the call ended.
    pub outcome: Failure,
    /// Why no retry followed the last attempt. None where the call did not end by an attempt that
    /// failed: its deadline passed, it was cancelled, shut down or refused.
    pub not_retried: Option<NotRetried>,
    /// What the call was waiting for when its deadline, a shutdown or the end of supervision ended
    /// it, if it was waiting: "for a link: ..." and the like.
    pub waiting: Option<Arc<str>>,
    /// What the call waited for, and how long.
    pub waits: Waits,
    /// How long its attempts were on the wire.
    pub on_wire: Duration,
    /// From submission to the end.
    pub elapsed: Duration,
    /// Whether the server may have acted on the call, in any attempt, although it failed.
    pub maybe_processed: bool,
    /// The head of the answer whose trailers ended the call: metadata that `tonic::Status`, which
    /// has one map for all, could not tell from the trailers'.
    pub(crate) head: Option<Arc<HeaderMap>>,
}

impl NotRetried {
    /// The same, more exactly where the call is taken for a stream only because nobody said what it
    /// is.
    pub(crate) fn of_undescribed(self, is_undescribed: bool) -> Self {
        match self {
            Self::Streaming if is_undescribed => Self::Undescribed,
            reason => reason,
        }
    }
}

impl CallReport {
    /// How many attempts a report keeps in full.
    pub const KEPT: usize = 32;

    /// The report inside a status that a supervised call ended with.
    pub fn of(status: &tonic::Status) -> Option<&Self> {
        std::error::Error::source(status)?.downcast_ref()
    }

    /// What it was waiting for, where its outcome does not say so itself, as a deadline does.
    pub(crate) fn waiting_unsaid(&self) -> Option<&str> {
        match self.outcome.cause {
            Cause::Deadline(_) => None,
            _ => self.waiting.as_deref(),
        }
    }

    /// Whether the server certainly did not act on the call.
    pub fn certainly_unprocessed(&self) -> bool {
        !self.maybe_processed
    }
}

impl AttemptReport {
    /// The gRPC code of this attempt.
    pub fn code(&self) -> Code {
        self.failure.code
    }

    /// How far this attempt can have come.
    pub fn phase(&self) -> Phase {
        self.failure.phase
    }
}

impl std::error::Error for CallReport {}

impl fmt::Debug for CallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ended after {} attempts in {:.3} s: {}",
            self.method,
            self.attempts_made,
            self.elapsed.as_secs_f64(),
            self.outcome
        )?;
        for attempt in &self.attempts {
            write!(
                f,
                "; attempt {} at {:.3} s: {:?}, {}",
                attempt.attempt,
                attempt.elapsed.as_secs_f64(),
                attempt.failure.code,
                attempt.failure
            )?;
        }
        if let Some(reason) = self.not_retried {
            write!(f, "; no retry followed: {reason}")?;
        }
        if self.waits != Waits::default() {
            write!(f, "; it waited: {}", self.waits)?;
        }
        if let Some(what) = self.waiting_unsaid() {
            write!(f, "; the call was waiting {}", printable(what))?;
        }
        if self.maybe_processed {
            f.write_str("; the server may have processed it")?;
        }
        Ok(())
    }
}

impl fmt::Display for NotRetried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Final => "a repetition would fail the same",
            Self::NotReplayable => {
                "part of the request is gone (it is larger than max_replay_bytes, or still being \
                 sent)"
            }
            Self::ShuttingDown => "the supervisor is shutting down",
            Self::Streaming => "the method streams",
            Self::AnswerBegan => "its answer was being passed on already",
            Self::Undescribed => {
                "nobody said that the method is unary, and retry_undescribed is false"
            }
            Self::CodeNotListed(code) => {
                let code = code_name(*code);
                return write!(f, "{code} is not one of retryable_status_codes");
            }
            Self::MaybeProcessed => {
                "the server may have processed the call, which is not idempotent: running it twice \
                 could do harm"
            }
            Self::LimitReached(0) => "retries are turned off for the call",
            Self::LimitReached(made) => {
                return write!(f, "all {made} retries were made (max_retry_attempts)");
            }
            Self::Forbidden => "the server said that the call must not be retried",
            Self::OutlivesDeadline(wait) => {
                let seconds = (wait.as_secs_f64() * 1_000.0).round() / 1_000.0;
                return write!(f, "a wait of {seconds} s would outlive the deadline");
            }
            Self::Throttled => "the retry throttle did not allow it",
        })
    }
}
