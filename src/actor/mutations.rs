//! Deliberate bugs, by which the simulation shows that it would find such bugs. Compiled to nothing
//! without the feature `sim`.
//!
//! They enter where it is decided what follows on a failed attempt, where a timer is set, where a
//! list of endpoints is taken in, where a link is dialled, and where one has room again.

use crate::{
    call::Avoid,
    model::{Cause, EndpointId, Failure, GoAway, Incarnation, LinkEnd},
    policy::{Decision, Place, Rules},
    transport::AttemptFailure,
};
use std::time::Instant;

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
    /// A retry is counted, but made like a resend: at once, and announced to nobody.
    HideRetries,
    /// What may have been processed is repeated although that does harm.
    RetryNotIdempotent,
    /// Streams are retried by policy.
    RetryStreams,
    /// A retry is sent as soon as it is decided on.
    ForgetRetryWait,
    /// Links are left open after the grace of a shutdown.
    LeaveLinksOpen,
    /// An endpoint that is listed no more is kept, with its links, and gets calls.
    KeepRemovedEndpoints,
    /// Of a list the last endpoint that is new is announced, and not taken in.
    ForgetLastAddition,
    /// Nobody hears of room on the newest of several links.
    ForgetRoom,
    /// A call forgets where its attempts failed.
    ForgetFailedEndpoints,
    /// A link of several that was lost is waited for, and not dialled.
    ForgetFurtherLinks,
    /// An ejected endpoint never gets a call again.
    EjectForEver,
}

#[cfg(not(feature = "sim"))]
pub(crate) use off::Mutations;
#[cfg(feature = "sim")]
pub use on::Mutations;

impl Mutations {
    /// The first place: what is known of a failed attempt, before it is decided what follows.
    pub(super) fn misjudge<'a>(
        &self,
        mut ended: Box<AttemptFailure>,
        mut rules: Rules<'a>,
    ) -> (Box<AttemptFailure>, Rules<'a>) {
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
        rules.link_answered = ended.link_answered;
        rules.by_policy |= self.has(Mutation::RetryStreams);
        rules.idempotent |= self.has(Mutation::RetryNotIdempotent);
        (ended, rules)
    }

    /// The same place: the decision, before it is carried out. None: nobody carries it out.
    pub(super) fn misdecide(&self, decision: Decision, now: Instant) -> Option<Decision> {
        match decision {
            Decision::Retry { .. } if self.has(Mutation::HideRetries) => {
                Some(Decision::Resend { place: Place::Own })
            }
            Decision::Retry { delay, number, .. } if self.has(Mutation::ForgetRetryWait) => {
                Some(Decision::Retry { at: now, delay, number })
            }
            Decision::Surface | Decision::Throttled if self.has(Mutation::DropReply) => None,
            decision => Some(decision),
        }
    }

    /// The same place: where the call's attempts have failed.
    pub(super) fn forget_failed_endpoints(&self, avoid: &mut Avoid) {
        if self.has(Mutation::ForgetFailedEndpoints) {
            *avoid = Avoid::default();
        }
    }

    /// The third place: the endpoints that a list adds and removes.
    pub(super) fn misapply(&self, added: &mut Vec<EndpointId>, removed: &mut Vec<EndpointId>) {
        if self.has(Mutation::KeepRemovedEndpoints) {
            removed.clear();
        }
        if self.has(Mutation::ForgetLastAddition) {
            added.pop();
        }
    }

    /// The fourth place: whether this dial is not made, of an endpoint that `has_links` or not.
    pub(super) fn forgets_dial(&self, cause: &str, has_links: impl FnOnce() -> bool) -> bool {
        let forgets = self.has(Mutation::ForgetFurtherLinks);
        // The first dial of a further link follows on the link before it.
        forgets && cause == "a redial was due" && has_links()
    }

    /// The fifth place: whether nobody is told that this link of these has room.
    pub(super) fn forgets_room(
        &self,
        link: Incarnation,
        links: impl FnOnce() -> Vec<Incarnation>,
    ) -> bool {
        self.has(Mutation::ForgetRoom) && {
            let links = links();
            links.len() > 1 && links.iter().max() == Some(&link)
        }
    }

    /// The second place: whether the timer of this message is forgotten. Messages are known by
    /// name here; under another name the simulation would not find the bug, and its test fails.
    pub(super) fn forgets(&self, message: &str) -> bool {
        match message {
            "RedialDue" => self.has(Mutation::ForgetRedialTimer),
            "TimerDue" => self.has(Mutation::ForgetCallTimer),
            "ProbationDue" => self.has(Mutation::EjectForEver),
            "HangUp" => self.has(Mutation::LeaveLinksOpen),
            _ => false,
        }
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

        pub(super) fn has(&self, mutation: Mutation) -> bool {
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
        pub(super) fn has(&self, _: super::Mutation) -> bool {
            false
        }
    }
}
