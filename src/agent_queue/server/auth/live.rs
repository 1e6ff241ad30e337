//! The grants in force: an [`Authorizer`] over [`Grants`] that can be replaced while calls run.
//!
//! A token that was taken away must stop working at once: each check reads the newest grants, and a
//! replacement wakes watches and waiting claims, which then check again.

use super::{
    Action, Authorizer, Grants, Identity, TokenHash,
    grants::{Credentials, IdentifyError, Proof},
};
use crate::agent_queue::server::ConnectionInfo;
use arc_swap::ArcSwap;
use futures::future::{self, BoxFuture};
use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use std::{fmt, sync::Arc};
use tokio::sync::watch;
use tonic::Status;

/// [`Grants`] that decide who a caller is and what they may: by the bearer token in
/// `authorization`, else by the names of the client's certificate ([`ConnectionInfo`]).
pub struct LiveGrants {
    grants: ArcSwap<Grants>,
    replaced: watch::Sender<()>,
}

impl LiveGrants {
    /// Begins with these.
    pub fn new(grants: Grants) -> Self {
        Self { grants: ArcSwap::from_pointee(grants), replaced: watch::Sender::new(()) }
    }

    /// From now on these hold: for each request, and for watches and claims that wait.
    pub fn replace(&self, grants: Grants) {
        self.grants.store(Arc::new(grants));
        self.replaced.send_replace(());
    }

    /// Those that hold now.
    pub fn now(&self) -> Arc<Grants> {
        self.grants.load_full()
    }

    fn who(&self, head: &Parts) -> Result<Identity, Status> {
        let token = bearer(&head.headers)?.map(TokenHash::of);
        let names = head
            .extensions
            .get::<ConnectionInfo>()
            .map_or(&[][..], ConnectionInfo::certificate_names);
        let grants = self.grants.load();
        let (name, proof) = grants.identify(Credentials { token, names }).map_err(refusal)?;
        Ok(Identity::new(name.clone()).with_proof(proof))
    }
}

impl Authorizer for LiveGrants {
    fn identify<'a>(&'a self, head: &'a Parts) -> BoxFuture<'a, Result<Identity, Status>> {
        Box::pin(future::ready(self.who(head)))
    }

    fn may(&self, identity: &Identity, action: Action, queue: &str) -> bool {
        self.grants.load().may(identity.name(), action, queue)
    }

    fn knows(&self, identity: &Identity) -> bool {
        identity
            .proof::<Proof>()
            .is_some_and(|proof| self.grants.load().know(identity.name(), proof))
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut replaced = self.replaced.subscribe();
        Box::pin(async move {
            // No longer there: nothing changes any more.
            if replaced.changed().await.is_err() {
                future::pending::<()>().await;
            }
        })
    }
}

impl fmt::Debug for LiveGrants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveGrants").finish_non_exhaustive()
    }
}

/// The token, if there is one. What is no token is refused, and never taken for none.
fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, Status> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let token = value
        .as_bytes()
        .split_at_checked(7)
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty())
        .filter(|_| values.next().is_none());
    match token {
        Some((_, token)) => Ok(Some(token)),
        None => Err(Status::unauthenticated(
            "authorization must be `Bearer TOKEN`, and stand there once",
        )),
    }
}

fn refusal(unknown: IdentifyError) -> Status {
    Status::unauthenticated(match unknown {
        IdentifyError::Nothing => {
            "nobody is known here without proof: send `authorization: Bearer TOKEN`, or show a \
             client certificate"
        }
        IdentifyError::Token => "the token is not known here",
        IdentifyError::Certificate => "no URI or DNS name of the client certificate is known here",
        IdentifyError::Several => "the client certificate has the names of several identities",
        IdentifyError::Different => {
            "the token and the client certificate are of different identities"
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, value.parse().expect("a value"))).collect()
    }

    #[test]
    fn a_bearer_token_stands_there_once_and_whole() {
        assert_eq!(bearer(&headers(&[])).expect("none"), None);
        for value in ["Bearer x", "bearer x", "BEARER x"] {
            assert_eq!(bearer(&headers(&[value])).expect("a token"), Some(&b"x"[..]), "{value}");
        }
        for values in
            [&["Bearer x", "Bearer x"][..], &["Bearer "], &["Bearer"], &["Basic x"], &[""], &["x"]]
        {
            let refused = bearer(&headers(values)).expect_err("no token");
            assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{values:?}");
        }
    }

    #[tokio::test]
    async fn who_waits_hears_of_a_replacement_that_came_before_it_waited() {
        let text = "auth: {identities: [{name: a, certificate: b}]}";
        let live = LiveGrants::new(Grants::parse("f", text).expect("valid"));
        let (missed, none) = (live.changed(), live.changed());
        live.replace(Grants::parse("f", text).expect("valid"));
        missed.await;
        let later = live.changed();
        assert!(futures::poll!(later).is_pending());
        drop(none);
    }
}
