//! What may be done with a queue: six actions. Each operation of the service needs one of them.

/// Something that an identity may do with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Add tasks, also the work of one that failed anew, and make the queue.
    Submit,
    /// Claim tasks, report on them, watch, and make the queue.
    Work,
    /// See the queue, its tasks and their payloads, and watch.
    Look,
    /// Give up tasks.
    Cancel,
    /// Delete tasks, all of them, or the queue.
    Delete,
    /// What an operator does. No operation of the service needs it today.
    Operate,
}

impl Action {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Submit, Self::Work, Self::Look, Self::Cancel, Self::Delete, Self::Operate];

    /// As a file names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Work => "work",
            Self::Look => "look",
            Self::Cancel => "cancel",
            Self::Delete => "delete",
            Self::Operate => "operate",
        }
    }

    /// The action of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }

    /// To stand between "may not" and "queue".
    pub(super) fn verb_phrase(self) -> &'static str {
        match self {
            Self::Submit => "submit to",
            Self::Work => "work on",
            Self::Look => "look at",
            Self::Cancel => "cancel tasks of",
            Self::Delete => "delete from",
            Self::Operate => "operate",
        }
    }
}
