//! Deliberate bugs, by which the simulation shows that it would find such bugs. Compiled to nothing
//! without the feature `sim`.

use crate::{
    model::{Cause, Failure, GoAway, LinkEnd},
    transport::AttemptFailure,
};

/// A bug to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "sim"), allow(unreachable_pub))]
pub enum Mutation {
    /// A call that failed is never answered.
    DropReply,
    /// The wait before a dial is announced, and nothing ends it.
    ForgetRedialTimer,
    /// Calls that wait are not woken for their retry or their deadline.
    ForgetCallTimer,
    /// What was in flight on a link that said GOAWAY is sent again, whatever the server did with
    /// it.
    DoubleSendOnGoAway,
    /// What a peer excludes is sent again for free, as often as that happens.
    ResendWithoutEnd,
    /// A call that is parked has used up one of its retries.
    CountParkedCalls,
    /// What may have been processed is repeated although that does harm.
    RetryNotIdempotent,
    /// Streams are retried by policy.
    RetryStreams,
    /// A retry is sent as soon as it is decided on.
    ForgetRetryWait,
    /// Links are left open after the grace of a shutdown.
    LeaveLinksOpen,
}

#[cfg(not(feature = "sim"))]
pub(crate) use off::Mutations;
#[cfg(feature = "sim")]
pub use on::Mutations;

impl Mutations {
    /// The failure as it is, or as [`Mutation::DoubleSendOnGoAway`] and
    /// [`Mutation::ResendWithoutEnd`] take it.
    pub(crate) fn misread(&self, mut ended: Box<AttemptFailure>) -> Box<AttemptFailure> {
        if self.has(Mutation::DoubleSendOnGoAway)
            && let Cause::LinkLost(end) = &ended.failure.cause
            && let LinkEnd::GoAway(goaway) = &**end
        {
            ended.failure = Failure::goaway(goaway.clone().into());
            ended.link_answered = true;
        }
        if self.has(Mutation::ResendWithoutEnd)
            && let Cause::GoAway(goaway) = &ended.failure.cause
        {
            ended.failure = Failure::goaway(GoAway { code: 0, ..(**goaway).clone() }.into());
            ended.link_answered = true;
        }
        ended
    }
}

#[cfg(feature = "sim")]
mod on {
    use super::Mutation;
    use parking_lot::Mutex;

    /// The bugs of one supervisor.
    #[derive(Debug, Default)]
    pub struct Mutations(Mutex<Option<Mutation>>);

    impl Mutations {
        /// From now on this bug is committed.
        pub fn commit(&self, mutation: Mutation) {
            *self.0.lock() = Some(mutation);
        }

        pub(crate) fn has(&self, mutation: Mutation) -> bool {
            *self.0.lock() == Some(mutation)
        }
    }
}

#[cfg(not(feature = "sim"))]
mod off {
    #[derive(Debug, Default)]
    pub(crate) struct Mutations(());

    impl Mutations {
        #[inline(always)]
        pub(crate) fn has(&self, _: super::Mutation) -> bool {
            false
        }
    }
}
