//! Wakes within a task. A part of a task that wakes another part of the same task while it is
//! polled is to be polled again at once: told to the runtime, that would make it queue the task
//! once more, and have another thread take it, for what is done by then.

use futures::task::AtomicWaker;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

/// So many turns are taken at once; then the runtime's other tasks have theirs.
const TURNS: usize = 32;

/// The task, as its parts see it: nothing is there to be woken while it is polled.
#[derive(Debug, Default)]
pub(super) struct Parts(Arc<AtomicWaker>);

/// A part of the task, and whether it is to be polled.
#[derive(Debug)]
pub(super) struct Part {
    woken: AtomicBool,
    task: Arc<AtomicWaker>,
}

impl Parts {
    /// One more part, to be polled.
    pub(super) fn part(&self) -> Arc<Part> {
        Arc::new(Part { woken: AtomicBool::new(true), task: self.0.clone() })
    }

    /// Polls the parts with `turn`, which says whether one of them is to be polled again, until it
    /// has ended or none is.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        parts: &[&Part],
        mut turn: impl FnMut() -> Poll<T>,
    ) -> Poll<T> {
        self.0.take();
        for _ in 0..TURNS {
            if let Poll::Ready(end) = turn() {
                return Poll::Ready(end);
            }
            if parts.iter().any(|part| part.is_woken()) {
                continue;
            }
            self.0.register(cx.waker());
            if !parts.iter().any(|part| part.is_woken()) {
                return Poll::Pending;
            }
            self.0.take();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Part {
    /// It is to be polled.
    pub(super) fn note(&self) {
        self.woken.store(true, SeqCst);
    }

    /// Whether it is to be polled; then it is, by who asks.
    pub(super) fn take(&self) -> bool {
        self.woken.swap(false, SeqCst)
    }

    fn is_woken(&self) -> bool {
        self.woken.load(SeqCst)
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(self.clone())
    }
}

impl Wake for Part {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.note();
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, sync::atomic::AtomicUsize};

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Task {
        fn wakes(&self) -> usize {
            self.0.load(SeqCst)
        }
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn what_a_part_wakes_is_polled_at_once_and_the_task_is_not_woken() {
        let (parts, task) = (Parts::default(), Arc::new(Task::default()));
        let (one, other) = (parts.part(), parts.part());
        let waker = Waker::from(task.clone());
        let mut cx = Context::from_waker(&waker);
        let (ones, others) = (Cell::new(0), Cell::new(0));
        let mut poll = || {
            parts.poll(&mut cx, &[&one, &other], || {
                if other.take() {
                    others.set(others.get() + 1);
                }
                if one.take() {
                    ones.set(ones.get() + 1);
                    other.waker().wake();
                }
                Poll::<()>::Pending
            })
        };
        assert!(poll().is_pending());
        assert_eq!((ones.get(), others.get(), task.wakes()), (1, 2, 0));
        assert!(poll().is_pending(), "nothing is to be polled");
        assert_eq!((ones.get(), others.get(), task.wakes()), (1, 2, 0));
        one.waker().wake();
        assert_eq!(task.wakes(), 1, "from outside");
        assert!(poll().is_pending());
        assert_eq!((ones.get(), others.get(), task.wakes()), (2, 3, 1));
        other.waker().wake();
        other.waker().wake();
        assert_eq!(task.wakes(), 2, "once is enough");
    }

    #[test]
    fn parts_that_wake_each_other_without_end_leave_room_for_other_tasks() {
        let (parts, task) = (Parts::default(), Arc::new(Task::default()));
        let part = parts.part();
        let waker = Waker::from(task.clone());
        let mut turns = 0;
        let polled = parts.poll(&mut Context::from_waker(&waker), &[&part], || {
            assert!(part.take());
            part.waker().wake();
            turns += 1;
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((turns, task.wakes()), (TURNS, 1));
    }

    #[test]
    fn an_end_ends_it() {
        let parts = Parts::default();
        let part = parts.part();
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(parts.poll(&mut cx, &[&part], || Poll::Ready(7)), Poll::Ready(7));
    }
}
