//! New links, as users who keep streams open see them: a watch of the link in use, and a loop that
//! subscribes on each.

use super::supervisor::Supervisor;
use crate::{
    call::within,
    clock,
    model::{ConnectivityState, Incarnation},
};
use std::{future::Future, ops::ControlFlow, time::Duration};
use tokio::sync::watch;

impl Supervisor {
    /// The incarnation of the link that new calls go out on, and every later one; none while there
    /// is no link. Quick changes may coalesce.
    ///
    /// Streams are never repeated by this crate: what was said on them is the application's to
    /// know. Here it learns when to subscribe again;
    /// [`for_each_incarnation`](Self::for_each_incarnation) is the loop around it.
    pub fn watch_incarnation(&self) -> watch::Receiver<Option<Incarnation>> {
        self.core().watch_incarnation()
    }

    /// Subscribes on each link: waits until one is up, runs `subscribe`, and when that returns
    /// `Continue`, runs it again on the next link. `Break(value)` ends the loop with `Some(value)`;
    /// a shutdown ends it with `None`, once `subscribe` has returned.
    ///
    /// `subscribe` opens its stream and reads it to its end. It is not interrupted: a stream of a
    /// link that drains may finish. Where it returns although its link is still in use, as when the
    /// server ends the stream alone, it is run again on that link after `initial_backoff`, then
    /// after the longer waits of the retry schedule; they start over on a new link, and after a run
    /// that outlasted `max_backoff`.
    ///
    /// Cancel safe: dropped, `subscribe`'s own future is dropped with it, and with that its stream.
    ///
    /// ```no_run
    /// # use tonic_supervisor::{Config, Supervisor};
    /// # async fn open(_: tonic_supervisor::SupervisedChannel) -> Result<tonic::Streaming<String>, tonic::Status> { unimplemented!() }
    /// # async fn watch(supervisor: Supervisor) {
    /// use std::ops::ControlFlow;
    ///
    /// let end: Option<String> = supervisor
    ///     .for_each_incarnation(|_incarnation| async {
    ///         let Ok(mut stream) = open(supervisor.channel()).await else { return ControlFlow::Continue(()) };
    ///         while let Ok(Some(news)) = stream.message().await {
    ///             if news == "the end" {
    ///                 return ControlFlow::Break(news);
    ///             }
    ///         }
    ///         ControlFlow::Continue(())
    ///     })
    ///     .await;
    /// # }
    /// ```
    pub async fn for_each_incarnation<T, F: Future<Output = ControlFlow<T>>>(
        &self,
        mut subscribe: impl FnMut(Incarnation) -> F,
    ) -> Option<T> {
        let schedule = self.core().config.retry.backoff;
        let (mut last, mut runs, mut wait) = (None, 0, Duration::ZERO);
        loop {
            let link = self.next_link(last, wait).await?;
            if last.replace(link) != Some(link) {
                runs = 0;
            }
            let began = clock::now();
            if let ControlFlow::Break(value) = subscribe(link).await {
                return Some(value);
            }
            if clock::now().saturating_duration_since(began) > schedule.max {
                runs = 0;
            }
            wait = schedule.delay(runs);
            runs += 1;
        }
    }

    /// Another link than the `last` one, as soon as there is one; after `wait` that one, too, if it
    /// is still in use. None once there will be no more.
    async fn next_link(&self, last: Option<Incarnation>, wait: Duration) -> Option<Incarnation> {
        let (mut links, mut state) = (self.watch_incarnation(), self.watch_state());
        let link = async {
            let another = links.wait_for(|link| link.is_some() && *link != last);
            let another = within(&self.core().calls.runtime, wait, another)
                .await
                .map(|found| found.map(|link| *link));
            match another {
                Some(found) => found,
                None => links.wait_for(Option::is_some).await.map(|link| *link),
            }
        };
        tokio::select! {
            biased;
            _ = state.wait_for(|state| *state == ConnectivityState::Shutdown) => None,
            link = link => link.ok().flatten(),
        }
    }
}
