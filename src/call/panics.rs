//! A switch for tests: makes an actor panic at a chosen message, or a task at its next step.
//! Compiled to nothing without the feature `test-util`.

#[cfg(feature = "test-util")]
pub use on::Panics;

/// A kind of actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "test-util"), allow(unreachable_pub))]
pub enum Child {
    /// The actor that owns the channel's lifecycle.
    Supervisor,
    /// The actor of one link.
    Connection,
    /// An actor that queues and starts calls.
    Request,
    /// A task beside the actors. Its "messages" are the tasks' names; it panics at its next
    /// step.
    Task,
}

impl Child {
    /// As metrics and log lines call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Connection => "connection",
            Self::Request => "request",
            Self::Task => "task",
        }
    }

    /// The tasks whose end is always reported (`task`), and the watch over deadlines.
    #[cfg(feature = "test-util")]
    pub(crate) const TASKS: &[&str] =
        &["Begin", "Dial", "Driver", "Health", "Runner", "Credentials", "Pump", "Watch"];
}

#[cfg(feature = "test-util")]
mod on {
    use super::Child;
    use parking_lot::Mutex;
    use pin_project_lite::pin_project;
    use std::{
        collections::HashMap,
        future::Future,
        pin::Pin,
        sync::Arc,
        task::{Context, Poll},
    };

    /// Panics to come, and those that came.
    #[derive(Clone, Debug, Default)]
    pub struct Panics(Arc<Inner>);

    #[derive(Debug, Default)]
    struct Inner {
        armed: Mutex<HashMap<(Child, &'static str), u32>>,
        injected: Mutex<Vec<(Child, &'static str)>>,
    }

    impl Panics {
        /// The next `times` handlings of `message` by an actor of this kind panic.
        pub fn arm(&self, child: Child, message: &'static str, times: u32) {
            self.0.armed.lock().insert((child, message), times);
        }

        /// No more panics.
        pub fn disarm(&self) {
            self.0.armed.lock().clear();
        }

        /// The panics so far, in order.
        pub fn injected(&self) -> Vec<(Child, &'static str)> {
            self.0.injected.lock().clone()
        }

        pub(crate) fn inject(&self, child: Child, message: &'static str) {
            let mut armed = self.0.armed.lock();
            if armed.is_empty() {
                return;
            }
            let Some(left) = armed.get_mut(&(child, message)).filter(|left| **left > 0) else {
                return;
            };
            *left -= 1;
            drop(armed);
            self.0.injected.lock().push((child, message));
            panic!("injected by a test into {child:?} at {message}");
        }

        /// The task's work, which panics where that is asked for.
        pub(crate) fn at_work<W: Future>(&self, task: &'static str, work: W) -> AtWork<W> {
            AtWork { panics: self.clone(), task, work }
        }
    }

    pin_project! {
        /// A task's work under the switch.
        pub(crate) struct AtWork<W> {
            panics: Panics,
            task: &'static str,
            #[pin]
            work: W,
        }
    }

    impl<W: Future> Future for AtWork<W> {
        type Output = W::Output;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<W::Output> {
            let me = self.project();
            me.panics.inject(Child::Task, me.task);
            me.work.poll(cx)
        }
    }
}

#[cfg(not(feature = "test-util"))]
#[derive(Clone, Debug, Default)]
pub(crate) struct Panics(());

#[cfg(not(feature = "test-util"))]
impl Panics {
    #[inline(always)]
    pub(crate) fn inject(&self, _: Child, _: &'static str) {}

    #[inline(always)]
    pub(crate) fn at_work<W>(&self, _: &'static str, work: W) -> W {
        work
    }
}
