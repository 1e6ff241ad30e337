//! New links, as users who keep streams open see them: a watch of the links in use, and a loop that
//! subscribes again when they changed.

use super::supervisor::Supervisor;
use crate::{
    call::within,
    clock,
    model::{ConnectivityState, Incarnation, LinksInUse},
};
use std::{future::Future, ops::ControlFlow, time::Duration};
use tokio::sync::watch;

impl Supervisor {
    /// The links that new calls go out on, and every later set of them; empty while there is no
    /// link. Quick changes may coalesce.
    ///
    /// Streams are never repeated by this crate: what was said on them is the application's to
    /// know. Here it learns when to subscribe again: when the set changed, a stream that ended may
    /// have ended with its link. [`for_each_incarnation`](Self::for_each_incarnation) is the loop
    /// around it. Copy what you borrow: as long as it is borrowed, the supervisor cannot go on.
    pub fn watch_links(&self) -> watch::Receiver<LinksInUse> {
        self.core().watch_links()
    }

    /// Keeps a stream subscribed over links: waits until there is a link, runs `subscribe` with the
    /// newest one, and when that returns `Continue`, runs it again. `Break(value)` ends the loop
    /// with `Some(value)`; a shutdown ends it with `None`, once `subscribe` has returned.
    ///
    /// `subscribe` opens its stream and reads it to its end. It is not interrupted: a stream of a
    /// link that drains may finish. When it returns, it is run again at once if a link came or went
    /// since it began. Otherwise the server ended the stream alone: it is run again after
    /// `initial_backoff`, then after the longer waits of the retry schedule; they start over with a
    /// change of the links, and after a run that outlasted `max_backoff`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped, `subscribe`'s own future is dropped with it, and with that its stream.
    ///
    /// ```no_run
    /// # use tonic_supervisor::{Config, Supervisor};
    /// # type Opened = Result<tonic::Streaming<String>, tonic::Status>;
    /// # async fn open(_: tonic_supervisor::SupervisedChannel) -> Opened { unimplemented!() }
    /// # async fn watch(supervisor: Supervisor) {
    /// use std::ops::ControlFlow;
    ///
    /// let end: Option<String> = supervisor
    ///     .for_each_incarnation(|_incarnation| async {
    ///         let Ok(mut stream) = open(supervisor.channel()).await else {
    ///             return ControlFlow::Continue(());
    ///         };
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
            let (links, newest) = self.next_links(last.as_ref(), wait).await?;
            if last.as_ref() != Some(&links) {
                runs = 0;
            }
            last = Some(links);
            let began = clock::now();
            if let ControlFlow::Break(value) = subscribe(newest).await {
                return Some(value);
            }
            if clock::now().saturating_duration_since(began) > schedule.max {
                runs = 0;
            }
            wait = schedule.delay(runs);
            runs += 1;
        }
    }

    /// The links in use with the newest of them, as soon as they are others than the `last` ones;
    /// after `wait` whichever they are. None once there will be no more.
    async fn next_links(
        &self,
        last: Option<&LinksInUse>,
        wait: Duration,
    ) -> Option<(LinksInUse, Incarnation)> {
        let (mut links, mut state) = (self.watch_links(), self.watch_state());
        let found = async {
            let others = links.wait_for(|links| !links.is_empty() && Some(links) != last);
            let others = within(&self.core().calls.runtime, wait, others)
                .await
                .map(|found| found.map(|links| links.clone()));
            match others {
                Some(found) => found,
                None => links.wait_for(|links| !links.is_empty()).await.map(|links| links.clone()),
            }
        };
        tokio::select! {
            biased;
            _ = state.wait_for(|state| *state == ConnectivityState::Shutdown) => None,
            found = found => {
                let links = found.ok()?;
                let newest = links.newest()?;
                Some((links, newest))
            }
        }
    }
}
