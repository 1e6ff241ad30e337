//! The story of one call: what became of it, attempt by attempt, and where its time went. Unlike a
//! report it is there for calls that ended well, too.

use super::{
    code::code_name,
    endpoint::EndpointId,
    failure::Failure,
    report::{AttemptReport, CallReport, NotRetried},
    text::{printable, readable},
    waits::Waits,
};
use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};
use tonic::Code;

/// What became of one call. `{}` tells it in one line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Story {
    /// When the call ended.
    pub at: SystemTime,
    /// `pkg.Service/Method`.
    pub method: Arc<str>,
    /// The code it ended with.
    pub code: Code,
    /// Why it ended; none where it was answered with OK.
    pub outcome: Option<Failure>,
    /// What was said of its failure, if it failed: the peer's own words where it sent some, or else
    /// the reason in a sentence; printable, and cut at 300 characters.
    pub words: Option<Arc<str>>,
    /// The failed attempts, oldest first; no more than [`CallReport::KEPT`].
    pub attempts: Vec<AttemptReport>,
    /// How many attempts there were, with the one that was answered.
    pub attempts_made: u32,
    /// How many of them were policy retries.
    pub retries: u32,
    /// How many of them were transparent retries.
    pub transparent_retries: u32,
    /// Where the last attempt went; 0 if none got a link.
    pub endpoint: EndpointId,
    /// Why no retry followed the last attempt, where it failed.
    pub not_retried: Option<NotRetried>,
    /// What it was waiting for when it ended, if it was waiting.
    pub waiting: Option<Arc<str>>,
    /// What it waited for, and how long.
    pub waits: Waits,
    /// How long its attempts were on the wire.
    pub on_wire: Duration,
    /// When the head of its answer came, counted from submission, if the answer was passed on as it
    /// came: a stream's, say.
    pub head: Option<Duration>,
    /// From submission to the end.
    pub elapsed: Duration,
    /// Whether the server may have acted on it although it failed.
    pub maybe_processed: bool,
}

/// The story of a call whose answer is passed on as it comes: it is there once the call has ended.
/// [`CallOptions::story`](crate::CallOptions::story) puts it into the extensions of the answer.
#[derive(Clone, Debug, Default)]
pub struct StreamStory(Arc<OnceLock<Story>>);

impl StreamStory {
    /// The story; none while the call goes on.
    pub fn get(&self) -> Option<&Story> {
        self.0.get()
    }

    /// The call has ended, which it does once.
    pub(crate) fn tell(&self, story: Story) {
        let _ = self.0.set(story);
    }
}

impl Story {
    /// The report of a call that failed.
    pub(crate) fn into_report(self) -> Option<CallReport> {
        Some(CallReport {
            method: self.method.to_string(),
            attempts: self.attempts,
            attempts_made: self.attempts_made,
            retries: self.retries,
            transparent_retries: self.transparent_retries,
            outcome: self.outcome?,
            not_retried: self.not_retried,
            waiting: self.waiting,
            waits: self.waits,
            on_wire: self.on_wire,
            elapsed: self.elapsed,
            maybe_processed: self.maybe_processed,
            head: None,
        })
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, elapsed) = (code_name(self.code), readable(self.elapsed));
        write!(f, "{}: {code} after {elapsed}", printable(&self.method))?;
        if self.attempts_made > 1 {
            write!(f, ", {} attempts", self.attempts_made)?;
        }
        if let Some(head) = self.head {
            write!(f, ", answered after {}", readable(head))?;
        }
        let wire = readable(self.on_wire);
        match self.waits.to_string().as_str() {
            "" => write!(f, " (wire {wire})")?,
            waits => write!(f, " ({waits}, wire {wire})")?,
        }
        if let Some(words) = &self.words {
            write!(f, ": {words}")?;
        }
        if let Some(reason) = &self.not_retried {
            write!(f, "; not retried: {reason}")?;
        }
        if self.maybe_processed {
            f.write_str("; the server may have processed it")?;
        }
        Ok(())
    }
}
