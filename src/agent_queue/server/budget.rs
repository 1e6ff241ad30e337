//! What requests and answers may take up in memory: answers until their callers have read them.
//!
//! A caller that asks for much and reads nothing makes the server keep it. So an answer takes its
//! part of a budget before the store is asked, and gives it back when it has been handed to the
//! connection. Who finds no room waits. A connection has a budget of its own, which is half of the
//! whole, so that one that reads nothing does not stop the others; and what is not read in time is
//! thrown away.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tonic::{Extensions, Status};

/// An answer of at most so many bytes is free: how many there are is bounded by the streams of a
/// connection.
pub(super) const SMALL: usize = 16 * 1024;
/// What one task may take: its payload and its result, 1 MiB each, and words.
pub(super) const TASK: usize = 2 * 1024 * 1024 + 64 * 1024;
/// What a page may take.
pub(super) const PAGE: usize = super::page::MAX_PAGE + 64 * 1024;
/// The budget is counted in these.
const UNIT: usize = 1024;

/// The limits of a server for what it keeps of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "limits do nothing until a budget is made of them"]
pub struct AnswerLimits {
    bytes: usize,
    read_within: Duration,
}

impl AnswerLimits {
    /// Bytes of all answers under way: at least 8 MiB, 128 MiB by default.
    pub fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// How long an answer may remain unread before it is thrown away. 60 s by default.
    pub fn with_read_within(self, read_within: Duration) -> Self {
        Self { read_within, ..self }
    }
}

impl Default for AnswerLimits {
    fn default() -> Self {
        Self { bytes: 128 * 1024 * 1024, read_within: Duration::from_secs(60) }
    }
}

/// The budget of a server. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    all: Arc<Semaphore>,
    limits: AnswerLimits,
    /// In its metrics.
    kind: &'static str,
}

/// A connection: its own budget, and what its client's certificate says. A transport puts it into
/// the extensions of the connection's requests.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    answers: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    names: Arc<[String]>,
}

/// An answer's part of the budget.
#[derive(Debug)]
pub(super) struct Reservation {
    all: Option<OwnedSemaphorePermit>,
    own: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// Nothing is used of it yet.
    pub fn new(limits: AnswerLimits) -> Self {
        describe();
        let limits = AnswerLimits { bytes: limits.bytes.max(8 * 1024 * 1024), ..limits };
        Self { all: Arc::new(Semaphore::new(limits.bytes / UNIT)), limits, kind: "answer" }
    }

    /// The budget of a new connection.
    pub fn new_connection(&self) -> ConnectionInfo {
        let half = || Arc::new(Semaphore::new(self.limits.bytes / UNIT / 2));
        ConnectionInfo { answers: half(), requests: half(), names: Arc::default() }
    }

    /// One of the same size for requests.
    pub(super) fn for_requests(&self) -> Self {
        Self { kind: "request", ..Self::new(self.limits) }
    }

    pub(super) fn read_within(&self) -> Duration {
        self.limits.read_within
    }

    /// Waits for room; RESOURCE_EXHAUSTED where there is none for as long as an answer may remain
    /// unread.
    pub(super) async fn reserve(
        &self,
        connection: Option<&ConnectionInfo>,
        bytes: usize,
    ) -> Result<Reservation, Status> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let room = async {
            // The own part first: who waits for that holds nothing of the others'.
            let own = match connection {
                Some(ConnectionInfo { answers: own, .. }) => {
                    Some(own.clone().acquire_many_owned(units).await)
                }
                None => None,
            };
            let own = own.transpose().ok()?;
            let all = self.all.clone().acquire_many_owned(units).await.ok()?;
            Some(Reservation { all: Some(all), own })
        };
        let reservation = time::timeout(self.limits.read_within, room).await.ok().flatten();
        self.measure();
        reservation.ok_or_else(|| self.refusal())
    }

    /// Room at once, or RESOURCE_EXHAUSTED.
    pub(super) fn try_reserve(
        &self,
        connection: Option<&ConnectionInfo>,
        bytes: usize,
    ) -> Result<Reservation, Status> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let own = connection
            .map(|ConnectionInfo { answers: own, .. }| own.clone().try_acquire_many_owned(units))
            .transpose();
        let all = self.all.clone().try_acquire_many_owned(units);
        self.measure();
        own.and_then(|own| Ok(Reservation { all: Some(all?), own })).map_err(|_| self.refusal())
    }

    fn refusal(&self) -> Status {
        counter!("tonic_supervisor.queue.messages_refused", "kind" => self.kind).increment(1);
        let most = self.limits.bytes;
        Status::resource_exhausted(format!(
            "what has not been read yet takes up all that max-answer-bytes allows ({most}, half of \
             it for one connection): read answers sooner, or send and ask for less at once"
        ))
    }

    fn measure(&self) {
        let used = self.limits.bytes / UNIT - self.all.available_permits();
        gauge!("tonic_supervisor.queue.message_bytes", "kind" => self.kind)
            .set((used * UNIT) as f64);
    }
}

/// Tells the recorder what is counted, and begins what is known beforehand at 0.
fn describe() {
    describe_gauge!(
        "tonic_supervisor.queue.message_bytes",
        Unit::Bytes,
        "What is taken of the budget for messages, by kind."
    );
    describe_counter!(
        "tonic_supervisor.queue.messages_refused",
        Unit::Count,
        "Calls that found no room for their messages, by kind."
    );
    describe_counter!(
        "tonic_supervisor.queue.answers_thrown_away",
        Unit::Count,
        "Answers that were not read in time."
    );
    for kind in ["answer", "request"] {
        gauge!("tonic_supervisor.queue.message_bytes", "kind" => kind).increment(0.0);
        counter!("tonic_supervisor.queue.messages_refused", "kind" => kind).increment(0);
    }
    counter!("tonic_supervisor.queue.answers_thrown_away").increment(0);
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(AnswerLimits::default())
    }
}

impl Reservation {
    /// Gives back what an answer of this size does not need; nothing remains for a small one.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let needed = if bytes <= SMALL { 0 } else { bytes.div_ceil(UNIT) };
        for permit in [&mut self.all, &mut self.own].into_iter().flatten() {
            let spare = permit.num_permits().saturating_sub(needed);
            drop(permit.split(spare));
        }
    }

    /// Of an answer whose parts take their own.
    pub(super) fn none() -> Self {
        Self { all: None, own: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.as_ref().is_none_or(|all| all.num_permits() == 0)
    }
}

impl ConnectionInfo {
    /// The same, whose client has shown a certificate with these URIs and DNS names among its
    /// subject alternative names. It must have been verified.
    pub fn with_certificate_names(self, names: impl IntoIterator<Item = String>) -> Self {
        Self { names: names.into_iter().collect(), ..self }
    }

    /// The names of its client's verified certificate.
    pub fn certificate_names(&self) -> &[String] {
        &self.names
    }

    /// Its budget for requests.
    pub(super) fn requests(&self) -> Self {
        Self { answers: self.requests.clone(), ..self.clone() }
    }
}

/// The connection that a request came on, where its transport says so.
pub(super) fn connection_info(extensions: &Extensions) -> Option<ConnectionInfo> {
    extensions.get().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_and_is_refused_in_the_end() {
        let budget = Budget::new(AnswerLimits { bytes: 8 * MIB, ..AnswerLimits::default() });
        let mut first = budget.reserve(None, 6 * MIB).await.expect("room");
        let refused = budget.reserve(None, 3 * MIB).await.expect_err("no room");
        assert!(refused.message().contains("max-answer-bytes"), "{refused}");
        first.shrink(5 * MIB);
        let second = budget.reserve(None, 3 * MIB).await.expect("room again");
        first.shrink(SMALL);
        assert!(first.is_empty(), "a small answer is free");
        drop(second);
        assert_eq!(budget.all.available_permits(), 8 * MIB / UNIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_reads_nothing_leaves_half_to_the_others() {
        let budget = Budget::new(AnswerLimits { bytes: 8 * MIB, ..AnswerLimits::default() });
        let (deaf, other) = (budget.new_connection(), budget.new_connection());
        let held = budget.reserve(Some(&deaf), 3 * MIB).await.expect("room");
        let begun = crate::clock::now();
        assert!(budget.reserve(Some(&deaf), 3 * MIB).await.is_err());
        assert!(crate::clock::now() > begun);
        let begun = crate::clock::now();
        budget.reserve(Some(&other), 3 * MIB).await.expect("room");
        assert_eq!(crate::clock::now(), begun, "at once");
        drop(held);
    }
}
