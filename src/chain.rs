//! Tasks of this crate that wake one another run one behind the other on one thread, while there is
//! hardly anything else to do.
//!
//! tokio runs what a task wakes right behind it, too, but at most three in a row: the next one goes
//! to the thread's queue, and another thread is woken to take it from there. That costs more than
//! what the task has to do. A call over the pipe of `Supervisor::tonic_channel` takes seven turns
//! of four tasks. Where several calls are under way this stays out of the way: then the threads
//! share the work.
//!
//! How: a task's future lies in a lock, and is polled with a waker of this crate's. Woken while
//! such a task leads a chain on the same thread, it has its turn behind those that are in it. Woken
//! from elsewhere, or by itself, it is woken as the runtime's task, whose poll is a turn, too.
//! While a turn blocks its thread, what is in the chain waits for that: no turn may.
//!
//! No wake is lost. Who wakes sets `woken`. Whoever finds it set leaves the rest to the one who set
//! it: that one puts the task into a chain, all of which have their turn or are woken as tasks, or
//! wakes it as a task. A turn clears the flag before it polls, so that a wake after that counts
//! anew. Two turns of one task may come together on two threads. The second finds the lock taken
//! and sets `missed`, and the first, which may have polled too early, sees that when it has given
//! the lock back, and wakes the task. The second looks at the lock once more when it has set the
//! flag, in case the first had looked at the flag before. Nothing but a turn takes the lock while
//! the future is not over.

use futures::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use std::{
    any::Any,
    cell::RefCell,
    collections::VecDeque,
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst, fence},
    },
    task::{Context, Poll, Wake, Waker},
};
use tokio::runtime::{Handle, Id};

/// So many turns are taken behind one poll of a task; then the runtime's other tasks have theirs.
const TURNS: usize = 32;

thread_local! {
    /// The chain of this thread, where a task leads one.
    static CHAIN: RefCell<Option<Chain>> = const { RefCell::new(None) };
}

/// The future of a task that may have its turns behind others'. Dropped, it drops what it runs; it
/// ends or panics as that does, also where that happened behind another task.
pub(crate) struct Chained<F: Future, L> {
    own: Arc<Own<F>>,
    leads: L,
}

/// What a task is to its wakers.
struct Own<F: Future> {
    work: Mutex<Work<F>>,
    is_over: AtomicBool,
    woken: AtomicBool,
    missed: AtomicBool,
    task: AtomicWaker,
    /// Whose task it is, since its first poll.
    runtime: OnceLock<Option<Id>>,
}

enum Work<F: Future> {
    /// With its own waker.
    Going(Pin<Box<F>>, Waker),
    /// What the task ends with, and what is left to drop: by the task, since that may panic.
    Over(Result<F::Output, Box<dyn Any + Send>>, Pin<Box<F>>),
    Gone,
}

trait Turn: Send + Sync {
    /// Polls the task's future.
    fn turn(&self);

    /// Leaves that to the runtime.
    fn wake_task(&self);
}

/// The tasks that come next on a thread, all of them the leader's runtime's: timers and sockets
/// that a task makes in its turn belong to the runtime whose thread it is on.
struct Chain {
    runtime: Option<Id>,
    /// Whose turn it is: the address of its `Own`.
    current: usize,
    next: VecDeque<Arc<dyn Turn>>,
}

impl<F, L> Chained<F, L>
where
    F: Future + Send + 'static,
    F::Output: Send,
    L: Fn() -> bool,
{
    /// `leads` says, whenever the runtime polls it, whether what it wakes has its turn behind it.
    pub(crate) fn new(work: F, leads: L) -> Self {
        Self { own: Own::new(work), leads }
    }
}

impl<F: Future, L> Unpin for Chained<F, L> {}

impl<F, L> Future for Chained<F, L>
where
    F: Future + Send + 'static,
    F::Output: Send,
    L: Fn() -> bool,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let own = &self.own;
        own.task.register(cx.waker());
        let here = || Handle::try_current().ok().map(|here| here.id());
        let runtime = *own.runtime.get_or_init(here);
        let leader = (self.leads)().then(|| Leader::begin(runtime, own.address())).flatten();
        own.turn();
        drop(leader);
        if !own.is_over.load(SeqCst) {
            return Poll::Pending;
        }
        match mem::replace(&mut *own.work.lock(), Work::Gone) {
            Work::Over(end, _future) => {
                Poll::Ready(end.unwrap_or_else(|panic| resume_unwind(panic)))
            }
            _ => unreachable!("it is over, and only once taken"),
        }
    }
}

impl<F: Future, L> Drop for Chained<F, L> {
    /// What it runs is dropped when a turn of it on another thread has ended.
    fn drop(&mut self) {
        let work = mem::replace(&mut *self.own.work.lock(), Work::Gone);
        self.own.task.take();
        drop(work);
    }
}

impl<F> Own<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn new(work: F) -> Arc<Self> {
        let own = Arc::new(Self {
            work: Mutex::new(Work::Gone),
            is_over: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            missed: AtomicBool::new(false),
            task: AtomicWaker::new(),
            runtime: OnceLock::new(),
        });
        *own.work.lock() = Work::Going(Box::pin(work), Waker::from(own.clone()));
        own
    }

    fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    /// The lock, unless another thread has it, which then hears of this turn.
    fn lock(&self) -> Option<MutexGuard<'_, Work<F>>> {
        self.work.try_lock().or_else(|| {
            self.missed.store(true, SeqCst);
            fence(SeqCst);
            self.work.try_lock()
        })
    }
}

impl<F> Turn for Own<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn turn(&self) {
        let Some(mut work) = self.lock() else { return };
        // In this order: who sets `missed` from here on may have been woken after the next line.
        self.missed.store(false, SeqCst);
        // A swap, for it sees what was done before each of the wakes that it clears.
        self.woken.swap(false, SeqCst);
        let is_over = work.poll();
        if is_over {
            self.is_over.store(true, SeqCst);
        }
        drop(work);
        fence(SeqCst);
        if is_over || self.missed.load(SeqCst) {
            self.task.wake();
        }
    }

    fn wake_task(&self) {
        self.task.wake();
    }
}

impl<F: Future> Work<F> {
    /// Whether it ended.
    fn poll(&mut self) -> bool {
        let Self::Going(future, waker) = self else { return false };
        let mut cx = Context::from_waker(waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        let end = match polled {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(end)) => Ok(end),
            Err(panic) => Err(panic),
        };
        if let Self::Going(future, _) = mem::replace(self, Self::Gone) {
            *self = Self::Over(end, future);
        }
        true
    }
}

impl<F> Wake for Own<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, SeqCst) && !put_into_chain(self) {
            self.task.wake();
        }
    }
}

/// False where there is no chain on this thread, or none for this task.
fn put_into_chain<F>(task: &Arc<Own<F>>) -> bool
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let put = CHAIN.try_with(|chain| match &mut *chain.borrow_mut() {
        // One that wakes itself lets others go first, and the runtime knows which there are.
        Some(chain) if chain.current == task.address() => false,
        Some(chain) if task.runtime.get() == Some(&chain.runtime) => {
            chain.next.push_back(task.clone());
            true
        }
        _ => false,
    });
    // A thread that ends has none any more.
    put.unwrap_or(false)
}

/// Leads the chain of this thread. Dropped, all that is in it have their turn.
struct Leader;

impl Leader {
    /// None where there is one: the task is polled within another's turn.
    fn begin(runtime: Option<Id>, current: usize) -> Option<Self> {
        CHAIN.with_borrow_mut(|chain| {
            let begins = chain.is_none();
            chain.get_or_insert(Chain { runtime, current, next: VecDeque::new() });
            begins.then_some(Self)
        })
    }

    /// The next; from here on it is its turn.
    fn next(&self) -> Option<Arc<dyn Turn>> {
        CHAIN.with_borrow_mut(|chain| {
            let chain = chain.as_mut()?;
            let next = chain.next.pop_front()?;
            chain.current = Arc::as_ptr(&next).addr();
            Some(next)
        })
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        for _ in 0..TURNS {
            match self.next() {
                Some(next) => next.turn(),
                None => break,
            }
        }
        let left = CHAIN.with_borrow_mut(Option::take);
        left.iter().flat_map(|chain| &chain.next).for_each(|task| task.wake_task());
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
