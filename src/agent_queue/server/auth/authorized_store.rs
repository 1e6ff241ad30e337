//! The store behind the checks: a request gets it only when it is valid and its caller may.
//!
//! Nothing else gives an operation the store, so an operation without a check does not compile.

use super::{Action, Authorizer, Identity, access::Access};
use crate::agent_queue::server::{
    ConnectionInfo, Millis, Store, budget::connection_info, check::Check, sample::Samples,
};
use futures::future;
use metrics::counter;
use std::{fmt, sync::Arc};
use tonic::{Request, Status};

/// A store, and who decides about its queues. Clones share it.
pub(in crate::agent_queue::server) struct AuthorizedStore<S> {
    store: Arc<S>,
    /// None: everybody may do everything.
    authorizer: Option<Arc<dyn Authorizer>>,
}

/// A request that may go on.
pub(in crate::agent_queue::server) struct AuthorizedRequest<T, S, G = Grant> {
    pub(in crate::agent_queue::server) request: T,
    pub(in crate::agent_queue::server) store: Arc<S>,
    pub(in crate::agent_queue::server) connection: Option<ConnectionInfo>,
    /// To be asked again where the call waits.
    pub(in crate::agent_queue::server) grant: G,
}

/// Which queues of a list a caller may see.
pub(in crate::agent_queue::server) struct View(Option<(Arc<dyn Authorizer>, Identity)>);

/// The permission that a call needs, which may end while the call waits.
pub(in crate::agent_queue::server) struct Grant(Option<GrantRequest>);

/// Who decides, and who asks.
type Known<'a> = Option<(&'a Arc<dyn Authorizer>, &'a Identity)>;

/// Why a call may not go on.
pub(in crate::agent_queue::server) enum GrantEnd {
    /// What its identity was proved by is gone: it must be proved anew, for which there is a new
    /// call.
    Unproved,
    /// PERMISSION_DENIED.
    Refused(Status),
}

struct GrantRequest {
    authorizer: Arc<dyn Authorizer>,
    identity: Identity,
    needs: &'static [Action],
    queue: String,
}

impl<S: Store> AuthorizedStore<S> {
    pub(in crate::agent_queue::server) fn new(store: S) -> Self {
        Self { store: Arc::new(store), authorizer: None }
    }

    pub(in crate::agent_queue::server) fn with_authorizer(
        self,
        authorizer: Arc<dyn Authorizer>,
    ) -> Self {
        Self { authorizer: Some(authorizer), ..self }
    }

    /// INVALID_ARGUMENT where the request breaks its own rules, UNAUTHENTICATED without an
    /// identity, PERMISSION_DENIED where that may not.
    pub(in crate::agent_queue::server) fn authorize<T: Check + Access>(
        &self,
        request: Request<T>,
    ) -> Result<AuthorizedRequest<T, S>, Status> {
        let connection = connection_info(request.extensions());
        let known = self
            .known(&request)?
            .map(|(authorizer, identity)| (authorizer.clone(), identity.clone()));
        let request = request.into_inner();
        request.check()?;
        let grant = Grant(known.map(|(authorizer, identity)| {
            let queue = request.queue().to_owned();
            GrantRequest { authorizer, identity, needs: T::NEEDS, queue }
        }));
        grant.check()?;
        Ok(AuthorizedRequest { request, store: self.store.clone(), connection, grant })
    }

    /// The same for a request for a list of queues: everybody may ask, and sees the queues that
    /// they may look at.
    pub(in crate::agent_queue::server) fn authorize_listing<T: Check>(
        &self,
        request: Request<T>,
    ) -> Result<AuthorizedRequest<T, S, View>, Status> {
        let connection = connection_info(request.extensions());
        let known = self.known(&request)?;
        let view = View(known.map(|(authorizer, identity)| (authorizer.clone(), identity.clone())));
        let request = request.into_inner();
        request.check()?;
        view.check()?;
        Ok(AuthorizedRequest { request, store: self.store.clone(), connection, grant: view })
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
    pub(in crate::agent_queue::server) fn check(&self) -> Result<(), GrantEnd> {
        match &self.0 {
            Some((authorizer, identity)) if !authorizer.knows(identity) => Err(GrantEnd::Unproved),
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
    pub(in crate::agent_queue::server) fn check(&self) -> Result<(), GrantEnd> {
        let Some(GrantRequest { authorizer, identity, needs, queue }) = &self.0 else {
            return Ok(());
        };
        if !authorizer.knows(identity) {
            return Err(GrantEnd::Unproved);
        }
        if needs.iter().any(|action| authorizer.may(identity, *action, queue)) {
            return Ok(());
        }
        counter!("tonic_supervisor.queue.calls_refused", "reason" => "grant").increment(1);
        let needed =
            needs.iter().map(|action| action.verb_phrase()).collect::<Vec<_>>().join(" or ");
        let name = identity.name();
        let words = format!("identity {name:?} may not {needed} queue {queue:?}");
        Err(GrantEnd::Refused(Status::permission_denied(words)))
    }

    /// Ends when it does not hold any more. Cancel safe.
    pub(in crate::agent_queue::server) async fn ended(&self) -> GrantEnd {
        loop {
            let changed = match &self.0 {
                None => return future::pending().await,
                // Listened for before it is asked, so that nothing falls between the two.
                Some(request) => request.authorizer.changed(),
            };
            if let Err(ended) = self.check() {
                return ended;
            }
            changed.await;
        }
    }
}

impl From<GrantEnd> for Status {
    /// Of a call that did not begin.
    fn from(ended: GrantEnd) -> Self {
        match ended {
            GrantEnd::Unproved => {
                Self::unauthenticated("what proved the identity is not known any more")
            }
            GrantEnd::Refused(status) => status,
        }
    }
}

impl<S> Clone for AuthorizedStore<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), authorizer: self.authorizer.clone() }
    }
}

impl<S: fmt::Debug> fmt::Debug for AuthorizedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizedStore").field("store", &self.store).finish_non_exhaustive()
    }
}
