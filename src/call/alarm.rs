//! A time limit that works in whatever runtime polls it. Its timer is on the runtime that polls it;
//! on a thread without one, in a task on the supervisor's. So a call may wait in another runtime
//! than the supervisor's, or in none, and move between them.
//!
//! No timer is polled outside the runtime it was made in: tokio panics where that runtime has
//! ended.

use crate::{clock, unwind::caught};
use pin_project_lite::pin_project;
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Handle, Id},
    task::JoinHandle,
    time::Sleep,
};

pin_project! {
    /// Rings at its time. Costs nothing until it is polled.
    pub(crate) struct Alarm {
        at: Instant,
        #[pin]
        clock: Clock,
    }
}

pin_project! {
    #[project = Running]
    enum Clock {
        Unset,
        /// Of the runtime that polls.
        Here { on: Id, #[pin] sleep: Sleep },
        /// A task on the supervisor's runtime.
        Lent { task: Lent },
        /// That task's end.
        Rung,
        /// The supervisor's runtime has ended: whoever waits is told so, and needs no alarm.
        Gone,
    }
}

/// Ends when it is dropped.
struct Lent(JoinHandle<()>);

impl Alarm {
    /// Rings at `at`.
    pub(crate) fn at(at: Instant) -> Self {
        Self { at, clock: Clock::Unset }
    }

    /// Rings at another time instead.
    pub(crate) fn reset(self: Pin<&mut Self>, at: Instant) {
        let mut me = self.project();
        if std::mem::replace(me.at, at) == at {
            return;
        }
        match me.clock.as_mut().project() {
            Running::Here { sleep, .. } => sleep.reset(at.into()),
            _ => me.clock.set(Clock::Unset),
        }
    }

    /// Whether it has rung; if not, the task is woken when it does. `runtime` is the supervisor's.
    pub(crate) fn poll_rung(
        self: Pin<&mut Self>,
        runtime: &Handle,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut me = self.project();
        let here = Handle::try_current().ok().map(|handle| handle.id());
        loop {
            match me.clock.as_mut().project() {
                Running::Here { on, sleep } if here == Some(*on) => return sleep.poll(cx),
                Running::Lent { task } => match ready!(Pin::new(&mut task.0).poll(cx)) {
                    Ok(()) => me.clock.set(Clock::Rung),
                    Err(_) => me.clock.set(Clock::Gone),
                },
                Running::Rung => return Poll::Ready(()),
                Running::Gone => return Poll::Pending,
                Running::Unset | Running::Here { .. } => {
                    let clock = Clock::new(*me.at, here, runtime);
                    me.clock.set(clock);
                }
            }
        }
    }
}

impl Clock {
    fn new(at: Instant, here: Option<Id>, runtime: &Handle) -> Self {
        // A runtime without timers is no help either.
        let sleep =
            here.and_then(|on| Some((on, caught(|| tokio::time::sleep_until(at.into())).ok()?)));
        match sleep {
            Some((on, sleep)) => Self::Here { on, sleep },
            None => Self::Lent {
                task: Lent(runtime.spawn(async move { tokio::time::sleep_until(at.into()).await })),
            },
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for `future`, but no longer than `timeout`; none if that is over first. Cancel safe as far
/// as `future` is.
pub(crate) async fn within<F: Future>(
    runtime: &Handle,
    timeout: Duration,
    future: F,
) -> Option<F::Output> {
    // A timeout beyond the clock's end is none.
    let end = clock::now().checked_add(timeout);
    let (mut future, mut end) = (pin!(future), pin!(end.map(Alarm::at)));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        match end.as_mut().as_pin_mut() {
            Some(end) => end.poll_rung(runtime, cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use tokio::runtime::{Builder, Runtime};

    const SHORT: Duration = Duration::from_millis(20);

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    }

    fn soon() -> Instant {
        clock::now() + SHORT
    }

    async fn rings(mut alarm: Pin<Box<Alarm>>, runtime: &Handle) {
        poll_fn(|cx| alarm.as_mut().poll_rung(runtime, cx)).await;
    }

    #[test]
    fn it_rings_in_any_runtime_in_one_without_timers_and_in_none() {
        let own = runtime();
        let handle = own.handle();
        let at = soon();
        block_on(rings(Box::pin(Alarm::at(at)), handle));
        assert!(clock::now() >= at, "not too soon");
        runtime().block_on(rings(Box::pin(Alarm::at(soon())), handle));
        let bare = Builder::new_current_thread().build().expect("a runtime");
        bare.block_on(rings(Box::pin(Alarm::at(soon())), handle));
    }

    #[test]
    fn it_rings_where_it_is_polled_although_the_runtime_that_polled_it_before_has_ended() {
        let (own, former) = (runtime(), runtime());
        let mut alarm = Box::pin(Alarm::at(soon()));
        let begun = former.block_on(async {
            futures::poll!(poll_fn(|cx| alarm.as_mut().poll_rung(own.handle(), cx)))
        });
        assert!(begun.is_pending());
        drop(former);
        block_on(rings(alarm, own.handle()));
    }

    #[test]
    fn without_any_runtime_left_it_rings_no_more_and_does_not_panic() {
        let own = runtime();
        let handle = own.handle().clone();
        let mut alarm = Box::pin(Alarm::at(soon()));
        let mut poll = || {
            block_on(async { futures::poll!(poll_fn(|cx| alarm.as_mut().poll_rung(&handle, cx))) })
        };
        assert!(poll().is_pending());
        drop(own);
        assert!(poll().is_pending() && poll().is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn another_time_takes_the_place_of_the_first() {
        let (began, handle) = (clock::now(), Handle::current());
        let mut alarm = Box::pin(Alarm::at(began + Duration::from_secs(60)));
        assert!(futures::poll!(poll_fn(|cx| alarm.as_mut().poll_rung(&handle, cx))).is_pending());
        alarm.as_mut().reset(began + Duration::from_secs(5));
        rings(alarm, &handle).await;
        assert_eq!((clock::now() - began).as_secs(), 5);
        assert_eq!(
            within(&handle, Duration::from_secs(1), std::future::pending::<()>()).await,
            None
        );
        assert_eq!(within(&handle, Duration::MAX, async { 3 }).await, Some(3));
    }
}
