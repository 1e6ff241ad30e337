//! A switch for tests: makes an actor panic at a chosen message. Compiled to nothing without the feature `test-util`.

#[cfg(feature = "test-util")]
pub use on::{Child, Panics};

#[cfg(feature = "test-util")]
mod on {
    use parking_lot::Mutex;
    use std::collections::HashMap;

    /// A kind of actor.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Child {
        /// The actor that owns the channel's lifecycle.
        Supervisor,
        /// The actor of one link.
        Connection,
        /// An actor that queues and starts calls.
        Request,
    }

    impl Child {
        /// Every message that this kind of actor takes, by name.
        pub fn messages(self) -> &'static [&'static str] {
            match self {
                Self::Supervisor => &[
                    "Begin",
                    "LinkUp",
                    "GoAwayReceived",
                    "LinkProven",
                    "LinkRetired",
                    "LinkWornOut",
                    "RedialDue",
                    "RestartDue",
                    "CallsWaiting",
                    "ResetBackoff",
                    "Drain",
                    "GraceDue",
                ],
                Self::Connection => &["Dialled", "Noticed", "Ended", "StableDue", "Drain", "HangUp"],
                Self::Request => &[
                    "Adopt",
                    "Submit",
                    "Cancel",
                    "AttemptFailed",
                    "CredentialsFetched",
                    "LinkChanged",
                    "RoomFreed",
                    "TimerDue",
                    "SweepDue",
                    "Drain",
                ],
            }
        }
    }

    /// Panics to come, and those that came.
    #[derive(Debug, Default)]
    pub struct Panics {
        armed: Mutex<HashMap<(Child, &'static str), u32>>,
        struck: Mutex<Vec<(Child, &'static str)>>,
    }

    impl Panics {
        /// The next `times` handlings of `message` by an actor of this kind panic.
        pub fn arm(&self, child: Child, message: &'static str, times: u32) {
            self.armed.lock().insert((child, message), times);
        }

        /// No more panics.
        pub fn disarm(&self) {
            self.armed.lock().clear();
        }

        /// The panics so far, in order.
        pub fn struck(&self) -> Vec<(Child, &'static str)> {
            self.struck.lock().clone()
        }

        pub(crate) fn strike(&self, child: Child, message: &'static str) {
            let mut armed = self.armed.lock();
            if armed.is_empty() {
                return;
            }
            let Some(left) = armed.get_mut(&(child, message)).filter(|left| **left > 0) else {
                return;
            };
            *left -= 1;
            drop(armed);
            self.struck.lock().push((child, message));
            panic!("injected by a test into {child:?} at {message}");
        }
    }
}

#[cfg(not(feature = "test-util"))]
#[derive(Debug, Default)]
pub(crate) struct Panics(());

#[cfg(not(feature = "test-util"))]
pub(crate) enum Child {
    Supervisor,
    Connection,
    Request,
}

#[cfg(not(feature = "test-util"))]
impl Panics {
    #[inline(always)]
    pub(crate) fn strike(&self, _: Child, _: &'static str) {}
}
