//! The protocol on one page: every message that any actor takes. Commands are imperative, facts
//! past tense, timers end in `Due`.

#[cfg(feature = "test-util")]
use crate::call::Child;
use crate::{
    call::{Call, Picker, UnaryResult},
    model::{CallId, CallOptions, GoAway, Health, Incarnation, LinkEnd, StepTimes},
    transport::{FailedDial, Judged, Link, Resolution},
};
use bytes::Bytes;
use ractor::{ActorId, RpcReplyPort};
use std::{fmt, sync::Arc, time::Duration};
use tonic::metadata::MetadataMap;

/// A message that is known by its name: in metrics, in log lines, and to tests.
pub(super) trait Named {
    fn name(&self) -> &'static str;
}

/// Makes a message's type, its name and the list of all names from one line for each message.
macro_rules! messages {
    (
        $(#[$about:meta])*
        $type:ident {
            $(
                $(#[$doc:meta])*
                $name:ident $( ( $($inner:ty),* ) )? $( { $($field:ident: $of:ty),* $(,)? } )?,
            )*
        }
    ) => {
        $(#[$about])*
        pub(crate) enum $type {
            $( $(#[$doc])* $name $( ( $($inner),* ) )? $( { $($field: $of),* } )?, )*
        }

        #[cfg(feature = "test-util")]
        impl $type {
            const NAMES: &[&str] = &[$(stringify!($name)),*];
        }

        impl Named for $type {
            fn name(&self) -> &'static str {
                match self {
                    $( Self::$name { .. } => stringify!($name), )*
                }
            }
        }
    };
}

messages! {
    /// To the actor that owns the channel's lifecycle.
    SupervisorMsg {
        /// Begin: for the first time, or over, after a failure.
        Begin,
        /// A dial gave a link.
        LinkUp { incarnation: Incarnation, link: Arc<Link>, took: Duration, steps: Box<StepTimes> },
        /// The peer said GOAWAY on a link.
        GoAwayReceived { incarnation: Incarnation, goaway: GoAway },
        /// A link answered a call or has lived long enough.
        LinkProven(Incarnation),
        /// A link can take no new streams although nobody said GOAWAY.
        LinkRetired(Incarnation),
        /// A link takes no more calls, for whatever reason. News of the reason follow, or the
        /// link's actor is in trouble.
        LinkShut,
        /// The news of a link that shut are due.
        LinkCheckDue,
        /// h2 will end the link soon; it still takes calls.
        LinkWornOut(Incarnation),
        /// What is known of the health of a link's server changed.
        HealthHeard { incarnation: Incarnation, health: Health, cause: Arc<str> },
        /// A link's peer owes the answer to a PING, or has been heard again.
        LinkSuspect { incarnation: Incarnation, suspect: bool },
        /// A link has reached its greatest age.
        LinkAged(Incarnation),
        /// It is time to see whether the channel has been idle for long.
        IdleDue,
        /// Somebody wants a link, and may have found the channel idle.
        LeaveIdle,
        /// Another list of endpoints was given.
        EndpointsGiven,
        /// A lookup of the name ended, after so long.
        Resolved(Box<(Result<Resolution, String>, Duration)>),
        /// The name is to be looked up again.
        LookupDue,
        /// The wait before the next dial is over.
        RedialDue,
        /// Too many calls in a row failed at an endpoint, or the one call of its probation ended.
        EndpointJudged(Judged),
        /// The time of an ejection is over.
        ProbationDue,
        /// A call needs a request actor, and there was none for it so far.
        RequestActorWanted { shard: usize },
        /// A request actor may be restarted.
        RestartDue { shard: usize },
        /// Calls began, or ceased, to wait at a request actor.
        CallsWaiting { actor: ActorId, waiting: bool },
        /// Dial now, and start the backoff over.
        ResetBackoff,
        /// Accept nothing new, end what waits, let what runs finish; for at most the core's grace.
        Drain,
        /// The grace is over.
        GraceDue,
    }
}

messages! {
    /// To the actor of one life of one link.
    ConnectionMsg {
        /// The dial ended.
        Dialled(Box<Result<(Arc<Link>, Box<StepTimes>), FailedDial>>),
        /// The supervisor has heard that the link is up.
        Established,
        /// The peer said GOAWAY.
        GoAwayReceived(GoAway),
        /// The link ended.
        Ended(LinkEnd),
        /// The link takes no more calls.
        Shut,
        /// The link has lived for `reconnect.stable_after`.
        StableDue,
        /// Let what runs finish, then close.
        Drain,
        /// Close now.
        HangUp,
    }
}

messages! {
    /// To an actor that queues, starts and retries calls.
    RequestMsg {
        /// Take over the calls in the ledger that a former actor left.
        Adopt,
        /// Start the new calls, which are in the inbox, as soon as possible.
        Submit,
        /// Forget this call.
        Cancel(CallId),
        /// An attempt failed; the failure is in the call.
        AttemptFailed(Arc<Call>),
        /// The credentials of the next attempt are in the call.
        CredentialsFetched(Arc<Call>),
        /// Where calls go out changed.
        PickerChanged(Picker),
        /// The peer is the wrong one, and there was no link yet: the calls that wait end with these
        /// words, unless they were told to wait.
        WrongPeer(Arc<str>),
        /// The link has room again.
        RoomFreed,
        /// A retry is due, or a deadline has passed.
        TimerDue,
        /// Look for callers that went away without a word.
        SweepDue,
        /// End what waits.
        Drain,
    }
}

/// A unary call as a message, for [`Mailbox`](crate::Mailbox).
///
/// With `ractor::call!` the reply port comes last:
/// `call!(mailbox, UnaryCall::new, "/pkg.Service/Method", &message)`.
///
/// `{:?}` prints neither metadata nor message.
#[must_use = "a message does nothing until it is sent"]
pub struct UnaryCall {
    pub(crate) path: String,
    pub(crate) metadata: MetadataMap,
    pub(crate) body: Bytes,
    pub(crate) options: CallOptions,
    pub(crate) reply: Option<RpcReplyPort<UnaryResult>>,
}

impl fmt::Debug for UnaryCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnaryCall")
            .field("path", &self.path)
            .field("message_bytes", &self.body.len())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "test-util")]
impl Child {
    /// Every message that this kind of actor takes, by name; of tasks, their names.
    pub fn messages(self) -> &'static [&'static str] {
        match self {
            Self::Supervisor => SupervisorMsg::NAMES,
            Self::Connection => ConnectionMsg::NAMES,
            Self::Request => RequestMsg::NAMES,
            Self::Task => Child::TASKS,
        }
    }
}

// With `ractor/cluster` on, somewhere in the build, message types must say that they are local.
#[cfg(feature = "ractor-cluster")]
mod cluster {
    impl ractor::Message for super::SupervisorMsg {}
    impl ractor::Message for super::ConnectionMsg {}
    impl ractor::Message for super::RequestMsg {}
    impl ractor::Message for super::UnaryCall {}
}

/// A link, and how long its dial and the steps of that took.
pub(super) type NewLink = (Arc<Link>, Duration, Box<StepTimes>);

/// How a connection actor's work ended.
pub(super) enum ConnectionEnd {
    DialFailed(FailedDial),
    /// `news`: the link, if the supervisor has perhaps not heard of it: it hears of an actor's end
    /// before it hears what the actor said before.
    Lost {
        end: LinkEnd,
        lived: Duration,
        news: Option<NewLink>,
    },
}
