//! The way to the store: through a request's own rules and the check of who may.
//!
//! Nothing else gives an operation the store, so that one without a check does not compile.

use super::{Action, Authorizer, Identity, access::Access};
use crate::agent_queue::server::{
    Caller, Millis, Store, budget::caller, check::Check, sample::Samples,
};
use futures::future;
use metrics::counter;
use std::{fmt, sync::Arc};
use tonic::{Request, Status};

/// A store, and who decides about its queues. Clones share it.
pub(in crate::agent_queue::server) struct Gate<S> {
    store: Arc<S>,
    /// None: everybody may do everything.
    authorizer: Option<Arc<dyn Authorizer>>,
}

/// A request that may go on.
pub(in crate::agent_queue::server) struct Admitted<T, S, G = Grant> {
    pub(in crate::agent_queue::server) request: T,
    pub(in crate::agent_queue::server) store: Arc<S>,
    pub(in crate::agent_queue::server) caller: Option<Caller>,
    /// To be asked again where the call waits.
    pub(in crate::agent_queue::server) grant: G,
}

/// Who may see which queues of a list.
pub(in crate::agent_queue::server) struct View(Option<(Arc<dyn Authorizer>, Identity)>);

/// What lets a call go on.
pub(in crate::agent_queue::server) struct Grant(Option<Asked>);

/// Who decides, and who asks.
type Known<'a> = Option<(&'a Arc<dyn Authorizer>, &'a Identity)>;

/// Why a call may not go on.
pub(in crate::agent_queue::server) enum Ended {
    /// What its identity was proved by is gone: it must be proved anew, for which there is a new
    /// call.
    Unproved,
    /// PERMISSION_DENIED.
    Refused(Status),
}

struct Asked {
    authorizer: Arc<dyn Authorizer>,
    identity: Identity,
    needs: &'static [Action],
    queue: String,
}

impl<S: Store> Gate<S> {
    pub(in crate::agent_queue::server) fn new(store: S) -> Self {
        Self { store: Arc::new(store), authorizer: None }
    }

    pub(in crate::agent_queue::server) fn guarded_by(
        self,
        authorizer: Arc<dyn Authorizer>,
    ) -> Self {
        Self { authorizer: Some(authorizer), ..self }
    }

    /// INVALID_ARGUMENT where the request breaks its own rules, UNAUTHENTICATED without an
    /// identity, PERMISSION_DENIED where that may not.
    pub(in crate::agent_queue::server) fn admit<T: Check + Access>(
        &self,
        request: Request<T>,
    ) -> Result<Admitted<T, S>, Status> {
        let caller = caller(request.extensions());
        let known = self
            .known(&request)?
            .map(|(authorizer, identity)| (authorizer.clone(), identity.clone()));
        let request = request.into_inner();
        request.check()?;
        let grant = Grant(known.map(|(authorizer, identity)| {
            let queue = request.queue().to_owned();
            Asked { authorizer, identity, needs: T::NEEDS, queue }
        }));
        grant.check()?;
        Ok(Admitted { request, store: self.store.clone(), caller, grant })
    }

    /// The same for a request for a list of queues: everybody may ask, and sees the queues that
    /// they may look at.
    pub(in crate::agent_queue::server) fn admit_listing<T: Check>(
        &self,
        request: Request<T>,
    ) -> Result<Admitted<T, S, View>, Status> {
        let caller = caller(request.extensions());
        let known = self.known(&request)?;
        let view = View(known.map(|(authorizer, identity)| (authorizer.clone(), identity.clone())));
        let request = request.into_inner();
        request.check()?;
        view.check()?;
        Ok(Admitted { request, store: self.store.clone(), caller, grant: view })
    }

    /// Who decides, and who asks; UNAUTHENTICATED where that is not known. None: nobody decides.
    pub(in crate::agent_queue::server) fn known<'a, T>(
        &'a self,
        request: &'a Request<T>,
    ) -> Result<Known<'a>, Status> {
        let Some(authorizer) = &self.authorizer else { return Ok(None) };
        match request.extensions().get() {
            Some(identity) => Ok(Some((authorizer, identity))),
            None => Err(Status::unauthenticated("it is not known who asks")),
        }
    }

    /// What time it is for the store.
    pub(in crate::agent_queue::server) fn now(&self) -> Millis {
        self.store.now()
    }

    /// How the store is.
    pub(in crate::agent_queue::server) async fn health(&self) -> Result<String, Status> {
        self.store.health().await
    }

    /// Looks how the queues stand.
    pub(in crate::agent_queue::server) async fn sample(
        &self,
        samples: &mut Samples,
        clock: impl Fn() -> Millis,
    ) -> Result<(), Status> {
        samples.look(&*self.store, clock).await
    }

    /// Lets the store forget.
    pub(in crate::agent_queue::server) async fn prune(&self, now: Millis) -> Result<bool, Status> {
        self.store.prune(now).await
    }
}

impl View {
    /// Whether what proved the identity still holds.
    pub(in crate::agent_queue::server) fn check(&self) -> Result<(), Ended> {
        match &self.0 {
            Some((authorizer, identity)) if !authorizer.knows(identity) => Err(Ended::Unproved),
            _ => Ok(()),
        }
    }

    /// Whether the list may name this queue.
    pub(in crate::agent_queue::server) fn shows(&self, queue: &str) -> bool {
        self.0
            .as_ref()
            .is_none_or(|(authorizer, identity)| authorizer.may(identity, Action::Look, queue))
    }
}

impl Grant {
    /// Whether it holds. A refusal does not say whether the queue exists.
    pub(in crate::agent_queue::server) fn check(&self) -> Result<(), Ended> {
        let Some(Asked { authorizer, identity, needs, queue }) = &self.0 else { return Ok(()) };
        if !authorizer.knows(identity) {
            return Err(Ended::Unproved);
        }
        if needs.iter().any(|action| authorizer.may(identity, *action, queue)) {
            return Ok(());
        }
        counter!("tonic_supervisor.queue.calls_refused", "reason" => "grant").increment(1);
        let needed = needs.iter().map(|action| action.words()).collect::<Vec<_>>().join(" or ");
        let name = identity.name();
        let words = format!("identity {name:?} may not {needed} queue {queue:?}");
        Err(Ended::Refused(Status::permission_denied(words)))
    }

    /// Ends when it does not hold any more. Cancel safe.
    pub(in crate::agent_queue::server) async fn ended(&self) -> Ended {
        loop {
            let changed = match &self.0 {
                None => return future::pending().await,
                // Listened for before it is asked, so that nothing falls between the two.
                Some(asked) => asked.authorizer.changed(),
            };
            if let Err(ended) = self.check() {
                return ended;
            }
            changed.await;
        }
    }
}

impl From<Ended> for Status {
    /// Of a call that did not begin.
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Unproved => {
                Self::unauthenticated("what proved the identity is not known any more")
            }
            Ended::Refused(status) => status,
        }
    }
}

impl<S> Clone for Gate<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), authorizer: self.authorizer.clone() }
    }
}

impl<S: fmt::Debug> fmt::Debug for Gate<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("store", &self.store).finish_non_exhaustive()
    }
}
