//! The name of a fleet: a resolver that answers as its test says, and notes when it was asked.

use crate::{
    model::Endpoint,
    transport::{Resolution, Resolver},
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// How lookups of a [`Fleet`](super::Fleet)'s name end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameAnswer {
    /// With the servers that are listed then.
    #[default]
    Listed,
    /// With no server at all.
    Empty,
    /// With this error.
    Fails(String),
    /// Never.
    Hangs,
}

/// The resolver of one fleet; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct FleetNames {
    created: Instant,
    answer: watch::Sender<NameAnswer>,
    asked: Arc<Mutex<Vec<Duration>>>,
    lists: watch::Receiver<Arc<[Endpoint]>>,
}

impl FleetNames {
    pub(super) fn new(lists: watch::Receiver<Arc<[Endpoint]>>) -> Self {
        let (answer, asked) = (watch::Sender::default(), Arc::default());
        Self { created: Instant::now(), answer, asked, lists }
    }

    pub(super) fn answer_with(&self, answer: NameAnswer) {
        self.answer.send_replace(answer);
    }

    pub(super) fn asked(&self) -> Vec<Duration> {
        self.asked.lock().clone()
    }
}

impl Resolver for FleetNames {
    fn resolve(&self) -> BoxFuture<'static, Result<Resolution, String>> {
        self.asked.lock().push(self.created.elapsed());
        let (answer, lists) = (self.answer.borrow().clone(), self.lists.clone());
        Box::pin(async move {
            match answer {
                NameAnswer::Listed => {
                    let list = lists.borrow().clone();
                    Ok(Resolution::new(list.iter().cloned()))
                }
                NameAnswer::Empty => Ok(Resolution::new([])),
                NameAnswer::Fails(cause) => Err(cause),
                NameAnswer::Hangs => std::future::pending().await,
            }
        })
    }
}
