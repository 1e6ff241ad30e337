//! `Authorizer` says who a caller is (an `Identity`) and what it may do. It also says when to ask
//! again, because a watch or a waiting claim can outlast its permission.

use super::Action;
use futures::future::BoxFuture;
use http::request::Parts;
use std::{any::Any, fmt, sync::Arc, time::Duration};
use tokio::time;
use tonic::Status;

/// How often those who wait ask again, where nobody tells them of changes.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Decides who a caller is, and what they may do. [`LiveGrants`](super::LiveGrants) is one, over a
/// file; write your own for tokens that somebody else signs, or for rules that somebody else keeps.
///
/// Give it to [`Service::with_authorizer`](crate::agent_queue::server::Service::with_authorizer)
/// and to [`Authenticated`](super::Authenticated), which goes around the generated service. With
/// the first alone every call is UNAUTHENTICATED.
pub trait Authorizer: Send + Sync + 'static {
    /// Who asks, by the head of the request: its body has not been read. A connection's own facts
    /// are in the extensions, such as the names of its certificate
    /// ([`ConnectionInfo`](crate::agent_queue::server::ConnectionInfo)).
    ///
    /// UNAUTHENTICATED where that is not known. The status goes to the caller as it is: put no
    /// secret into it. After 10 s the call ends with UNAVAILABLE. Dropped when the caller gives up.
    fn identify<'a>(&'a self, head: &'a Parts) -> BoxFuture<'a, Result<Identity, Status>>;

    /// Whether they may. Asked for each request, for each answer of a watch and for each look of a
    /// waiting claim; it must not block. Whether the queue exists plays no part.
    fn may(&self, identity: &Identity, action: Action, queue: &str) -> bool;

    /// Whether what the identity was proved by, such as its token, still proves it. Asked as often
    /// as [`may`](Self::may), and before it.
    ///
    /// Where not, a waiting claim is answered empty and a watch ends with UNAVAILABLE: a client
    /// whose token was replaced asks again with the new one, and any other is UNAUTHENTICATED then.
    /// By default true.
    fn knows(&self, identity: &Identity) -> bool {
        let _ = identity;
        true
    }

    /// Ends when [`may`](Self::may) or [`knows`](Self::knows) could say something else than at the
    /// moment of this call; watches and waiting claims then ask it again. By default after 10 s.
    fn changed(&self) -> BoxFuture<'static, ()> {
        Box::pin(time::sleep(ASK_AGAIN))
    }
}

/// Who asks.
#[derive(Clone)]
pub struct Identity {
    name: Arc<str>,
    proof: Option<Arc<dyn Any + Send + Sync>>,
}

impl Identity {
    /// Of this name, which is shown in refusals.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), proof: None }
    }

    /// With what the authorizer needs to know beside the name, such as a token's claims. It is
    /// never shown.
    pub fn with_proof(self, proof: impl Any + Send + Sync) -> Self {
        Self { proof: Some(Arc::new(proof)), ..self }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was given to [`with_proof`](Self::with_proof), if it is of this type.
    pub fn proof<T: Any>(&self) -> Option<&T> {
        self.proof.as_deref()?.downcast_ref()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}
