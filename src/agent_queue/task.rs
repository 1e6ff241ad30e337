//! Tasks, as an agent holds them: work to submit, a claim, and what becomes of it.

use crate::proto::agent_queue::{NewTask, Task, TaskStatus, TaskType};
use std::time::Duration;

/// The longest result that the server takes, in bytes.
const LONGEST_RESULT: usize = 1 << 20;
/// The longest error message or reason that the server takes, in bytes.
const LONGEST_TEXT: usize = 16 << 10;
/// What is said in place of a text that the server refuses.
const REFUSED: &str = "the server refused the text that says why";

/// A task that this client holds, for as long as the lease goes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Claim {
    /// The task as it was claimed. Its `claims` grows with each claim of it, so it can fence off an
    /// older holder's effects elsewhere.
    pub task: Task,
    /// The claim's name: what says to the server who holds the task.
    pub claim_id: String,
    /// How long the claim held when it was answered: 1 s to 24 h, whatever the server said. Each
    /// [`Update::Processing`] starts the lease anew.
    pub lease: Duration,
}

/// What the holder of a claim says of its task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// The work goes on: the lease starts anew.
    Processing,
    /// It is given back: PENDING again, for anyone to claim.
    Pending,
    /// It is done, with this result: JSON text of at most 1 MiB.
    Completed(String),
    /// It failed, for this reason: at most 16 KiB.
    Failed(String),
    /// It is given up, for this reason: at most 16 KiB.
    Cancelled(String),
}

impl Update {
    /// The status that the task takes.
    pub fn status(&self) -> TaskStatus {
        match self {
            Self::Processing => TaskStatus::Processing,
            Self::Pending => TaskStatus::Pending,
            Self::Completed(_) => TaskStatus::Completed,
            Self::Failed(_) => TaskStatus::Failed,
            Self::Cancelled(_) => TaskStatus::Cancelled,
        }
    }

    /// The same, as the server takes it: a text is without NULs and cut where it is long, a result
    /// that is too long is a failure.
    pub(super) fn within_limits(self) -> Self {
        match self {
            Self::Completed(result) if result.len() > LONGEST_RESULT => Self::Failed(format!(
                "the result has {} bytes, at most {LONGEST_RESULT} are taken",
                result.len()
            )),
            Self::Failed(text) => Self::Failed(clean(text)),
            Self::Cancelled(text) => Self::Cancelled(clean(text)),
            other => other,
        }
    }

    /// The same end of the work in fewer words, for a server that refuses these with this text;
    /// none where there are none to leave out.
    pub(super) fn plainer(&self, refusal: &str) -> Option<Self> {
        let shorter = |text: &str| match text {
            "" => None,
            REFUSED => Some(String::new()),
            _ => Some(REFUSED.to_owned()),
        };
        match self {
            Self::Completed(_) => {
                Some(Self::Failed(clean(format!("the result was refused: {refusal}"))))
            }
            Self::Failed(text) => shorter(text).map(Self::Failed),
            Self::Cancelled(text) => shorter(text).map(Self::Cancelled),
            Self::Processing | Self::Pending => None,
        }
    }
}

/// An error's text as every store can keep it: PostgreSQL's text holds no NUL.
fn clean(text: String) -> String {
    let mut text = if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text };
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

impl NewTask {
    /// Work of this kind; `payload` is JSON text of at most 1 MiB. Its priority is 5.
    pub fn new(kind: TaskType, payload: impl Into<String>) -> Self {
        Self { r#type: kind as i32, payload: payload.into(), ..Self::default() }
    }

    /// Work of a kind of your own.
    pub fn custom(kind: impl Into<String>, payload: impl Into<String>) -> Self {
        Self { custom_type: kind.into(), ..Self::new(TaskType::Custom, payload) }
    }

    /// With this priority: 0 to 9, 9 first.
    pub fn with_priority(mut self, priority: u32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// With a name of your own, 1 to 256 bytes. Without, the client makes one up, which covers
    /// retries; a name of your own covers your program's restart as well: submitting it again gives
    /// the same task.
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.client_request_id = id.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_between_two_characters() {
        let Update::Failed(text) = Update::Failed("é".repeat(LONGEST_TEXT)).within_limits() else {
            unreachable!()
        };
        assert_eq!(text, "é".repeat(LONGEST_TEXT / 2));
        let Update::Failed(text) =
            Update::Failed(format!("a{}", "é".repeat(LONGEST_TEXT))).within_limits()
        else {
            unreachable!()
        };
        assert_eq!(text.len(), LONGEST_TEXT - 1);
    }

    #[test]
    fn a_result_that_no_server_takes_fails_its_task() {
        let fits = Update::Completed("1".repeat(LONGEST_RESULT));
        assert_eq!(fits.clone().within_limits(), fits);
        let failed = Update::Completed("1".repeat(LONGEST_RESULT + 1)).within_limits();
        assert_eq!(
            failed,
            Update::Failed("the result has 1048577 bytes, at most 1048576 are taken".into())
        );
    }

    #[test]
    fn a_text_loses_its_nuls_and_then_its_end() {
        let Update::Failed(text) = Update::Failed("a\0b".into()).within_limits() else {
            unreachable!()
        };
        assert_eq!(text, "a\u{fffd}b");
        let Update::Cancelled(text) = Update::Cancelled("\0".repeat(LONGEST_TEXT)).within_limits()
        else {
            unreachable!()
        };
        assert!(text.len() <= LONGEST_TEXT && text.starts_with('\u{fffd}') && !text.contains('\0'));
    }

    #[test]
    fn what_is_refused_is_said_in_fewer_words_until_there_are_none() {
        let mut said = vec![Update::Completed("{".into())];
        while let Some(next) = said[said.len() - 1].plainer("not\0JSON") {
            said.push(next);
        }
        let texts = ["the result was refused: not\u{fffd}JSON", REFUSED, ""];
        assert_eq!(said[1..], texts.map(|text| Update::Failed(text.into())));
        assert_eq!((Update::Pending.plainer(""), Update::Processing.plainer("")), (None, None));
    }
}
