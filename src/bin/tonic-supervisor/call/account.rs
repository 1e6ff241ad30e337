//! What became of the call that is explained, once it is over: each attempt that failed, why there
//! was no further one, and where its time went. It stands in the call's story as in its report.

use super::explain::{code_name, counted, seconds};
use std::time::Duration;
use tonic_supervisor::{AttemptReport, CallReport, Cause, NotRetried, Story, Waits};

/// What a story and a report tell alike.
pub(super) struct Account<'a> {
    /// Those that failed.
    attempts: &'a [AttemptReport],
    made: u32,
    retries: u32,
    resent: u32,
    /// Why the call failed, if it did.
    cause: Option<&'a Cause>,
    not_retried: Option<NotRetried>,
    maybe_processed: bool,
    waits: &'a Waits,
    on_wire: Duration,
    /// When a stream's answer began.
    head: Option<Duration>,
    elapsed: Duration,
}

impl<'a> Account<'a> {
    pub(super) fn of_story(story: &'a Story) -> Self {
        Self {
            attempts: &story.attempts,
            made: story.attempts_made,
            retries: story.retries,
            resent: story.transparent_retries,
            cause: story.outcome.as_ref().map(|outcome| &outcome.cause),
            not_retried: story.not_retried,
            maybe_processed: story.maybe_processed,
            waits: &story.waits,
            on_wire: story.on_wire,
            head: story.head,
            elapsed: story.elapsed,
        }
    }

    pub(super) fn of_report(report: &'a CallReport) -> Self {
        Self {
            attempts: &report.attempts,
            made: report.attempts_made,
            retries: report.retries,
            resent: report.transparent_retries,
            cause: Some(&report.outcome.cause),
            not_retried: report.not_retried,
            maybe_processed: report.maybe_processed,
            waits: &report.waits,
            on_wire: report.on_wire,
            head: None,
            elapsed: report.elapsed,
        }
    }

    /// Of a call that began at `began`.
    pub(super) fn lines(&self, began: Duration) -> Vec<String> {
        let attempts = self.attempts.iter();
        let mut lines: Vec<_> = attempts.map(|attempt| attempt_line(began, attempt)).collect();
        // The last one of a call that ended well has not failed.
        let failed = self.made.saturating_sub(u32::from(self.cause.is_none()));
        let left_out = (failed as usize).saturating_sub(self.attempts.len());
        if left_out > 0 {
            lines.push(format!("and {} more that failed", counted(left_out, "attempt")));
        }
        lines.extend(self.not_retried.map(|reason| match reason {
            NotRetried::LimitReached(0) => "not retried: retries are off".into(),
            NotRetried::MaybeProcessed => {
                "not retried: it is not idempotent, and the server may have acted on it".into()
            }
            reason => format!("not retried: {reason}"),
        }));
        if self.made == 0 {
            lines.push("it was never sent".into());
        } else if self.cause.is_some_and(|cause| *cause != Cause::Status)
            && self.not_retried != Some(NotRetried::MaybeProcessed)
        {
            lines.push(match self.maybe_processed {
                true => "the server may have acted on it".into(),
                false => "the server certainly did not act on it".into(),
            });
        }
        lines.extend(self.head.map(|head| format!("its answer began after {} s", seconds(head))));
        lines.push(self.total());
        lines
    }

    /// Where the time went, and how many attempts there were.
    fn total(&self) -> String {
        let waits = self.waits.by_reason().into_iter().filter(|(_, time)| !time.is_zero());
        let waits: String =
            waits.map(|(reason, time)| format!("{reason} {}, ", seconds(time))).collect();
        let resent = match self.resent {
            0 => String::new(),
            resent => format!(", {resent} resent at once"),
        };
        let retries = match self.retries {
            1 => "1 retry".into(),
            retries => format!("{retries} retries"),
        };
        let (total, wire) = (seconds(self.elapsed), seconds(self.on_wire));
        let made = counted(self.made as usize, "attempt");
        format!("total {total} s: {waits}wire {wire}; {made}, {retries}{resent}")
    }
}

fn attempt_line(began: Duration, attempt: &AttemptReport) -> String {
    let failure = &attempt.failure;
    let why = match failure.cause {
        Cause::Status => "the server's own answer".to_owned(),
        _ => failure.to_string(),
    };
    let then = if attempt.transparent { "; sent again at once" } else { "" };
    format!(
        "attempt {} ended at {}: {}, {why}{then}",
        attempt.attempt + 1,
        seconds(began.saturating_add(attempt.elapsed)),
        code_name(failure.code),
    )
}
