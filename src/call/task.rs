//! Tasks whose end is always reported. A task that dies alone leaves whoever waits for it waiting
//! for ever, so every task whose end matters is spawned here, with what is to be done about that
//! end: with what it gave, or with what its panic said.
//!
//! Two ends are not reported, because nobody waits then: its owner aborted it, or the runtime has
//! ended (`start` answers for that).

use super::shared::Calls;
#[cfg(feature = "tonic-channel")]
use crate::chain::Chained;
use crate::unwind::{catching, panic_message};
use futures::FutureExt as _;
#[cfg(feature = "tonic-channel")]
use std::sync::atomic::Ordering::Relaxed;
use std::{future::Future, marker::PhantomData};
use tokio::{runtime::Handle, task::AbortHandle};

/// Runs `work` on the supervisor's runtime, and then `on_end`. Tests know the task by its `name`.
pub(crate) fn spawn<T, W, F>(calls: &Calls, name: &'static str, work: W, on_end: F) -> AbortHandle
where
    T: 'static,
    W: Future<Output = T> + Send + 'static,
    F: FnOnce(Result<T, String>) + Send + 'static,
{
    spawn_on(&calls.runtime, calls.panics.at_work(name, work), on_end)
}

/// Runs `work` on `runtime`, and then `on_end`.
pub(crate) fn spawn_on<T, W, F>(runtime: &Handle, work: W, on_end: F) -> AbortHandle
where
    T: 'static,
    W: Future<Output = T> + Send + 'static,
    F: FnOnce(Result<T, String>) + Send + 'static,
{
    let on_end = OnEnd(Some(on_end), PhantomData);
    // Not `async move`: an async block has room for what it awaits twice, and some of these tasks
    // stay.
    let work = catching(work)
        .map(move |end| on_end.run(end.map_err(|panic| panic_message(&*panic).to_owned())));
    runtime.spawn(work).abort_handle()
}

#[cfg(feature = "tonic-channel")]
impl Calls {
    /// The work of a task that calls pass through. Where no more than one call is open, such a task
    /// that it wakes runs behind it on its thread (decision 98).
    pub(crate) fn chained<W>(&self, work: W) -> Chained<W, impl Fn() -> bool + use<W>>
    where
        W: Future<Output: Send> + Send + 'static,
    {
        let counts = self.telemetry.counts.clone();
        Chained::new(work, move || counts.open.load(Relaxed) <= 1)
    }
}

/// What is done at the end, once. Where the work panics while it is dropped, the drop of this does
/// it.
struct OnEnd<T, F: FnOnce(Result<T, String>)>(Option<F>, PhantomData<fn(T)>);

impl<T, F: FnOnce(Result<T, String>)> OnEnd<T, F> {
    fn run(mut self, end: Result<T, String>) {
        if let Some(on_end) = self.0.take() {
            on_end(end);
        }
    }
}

impl<T, F: FnOnce(Result<T, String>)> Drop for OnEnd<T, F> {
    fn drop(&mut self) {
        if let Some(on_end) = self.0.take().filter(|_| std::thread::panicking()) {
            on_end(Err("it panicked while it was dropped".into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        panic::resume_unwind,
        sync::mpsc::{Receiver, channel},
        time::Duration,
    };

    fn ended(
        work: impl Future<Output = u8> + Send + 'static,
    ) -> (AbortHandle, Receiver<Result<u8, String>>) {
        let (tell, told) = channel();
        (spawn_on(&Handle::current(), work, move |end| drop(tell.send(end))), told)
    }

    async fn settled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    struct Thorn;

    impl Drop for Thorn {
        fn drop(&mut self) {
            resume_unwind(Box::new("a thorn"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_end_of_a_task_is_told_once_whether_it_gives_something_or_panics() {
        let (_, whole) = ended(async { 7 });
        let (_, broken) = ended(async { resume_unwind(Box::new("broken")) });
        let (_, late) = ended(async {
            tokio::task::yield_now().await;
            resume_unwind(Box::new("late"))
        });
        settled().await;
        assert_eq!(whole.try_iter().collect::<Vec<_>>(), [Ok(7)]);
        assert_eq!(broken.try_iter().collect::<Vec<_>>(), [Err("broken".to_owned())]);
        assert_eq!(late.try_iter().collect::<Vec<_>>(), [Err("late".to_owned())]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_while_it_is_dropped_is_told_of_too() {
        let thorn = Thorn;
        let mut polled = false;
        let work = std::future::poll_fn(move |_| {
            let _held = &thorn;
            polled = !polled;
            if polled { std::task::Poll::Ready(1) } else { std::task::Poll::Pending }
        });
        let (_, told) = ended(work);
        settled().await;
        assert_eq!(
            told.try_iter().collect::<Vec<_>>(),
            [Err("it panicked while it was dropped".to_owned())]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_its_owner_aborts_tells_nobody() {
        let (task, told) = ended(std::future::pending());
        settled().await;
        task.abort();
        settled().await;
        assert!(told.try_iter().next().is_none() && told.recv().is_err());
    }
}
