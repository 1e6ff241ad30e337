//! Call credentials: metadata such as tokens, which a hook of the user's gives for every attempt.

use futures::future::BoxFuture;
use std::{future::Future, sync::Arc, time::Instant};
use tonic::{Status, metadata::MetadataMap};

/// Gives the metadata that authenticates a call, for each attempt anew.
///
/// Asked right before an attempt is sent, while a link is up; not while the call waits for one. The
/// future is dropped when the caller gives up, and after `credentials_timeout`. Cache what is
/// expensive: the hook is asked for every attempt of every call.
///
/// An error ends the attempt: UNAVAILABLE is retried by policy, UNAUTHENTICATED usually is not.
/// Codes that only servers may send (gRPC A54) become INTERNAL. A panic is an INTERNAL error of
/// that attempt.
///
/// Any `Fn(CredentialsRequest) -> impl Future<Output = Result<MetadataMap, Status>>` is one.
pub trait CallCredentials: Send + Sync + 'static {
    /// The metadata to add. Names that belong to gRPC itself are refused, fields about the
    /// connection (`connection`, `keep-alive`, ...) are left out.
    fn metadata(
        &self,
        request: CredentialsRequest,
    ) -> BoxFuture<'static, Result<MetadataMap, Status>>;
}

impl<F, Fut> CallCredentials for F
where
    F: Fn(CredentialsRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<MetadataMap, Status>> + Send + 'static,
{
    fn metadata(
        &self,
        request: CredentialsRequest,
    ) -> BoxFuture<'static, Result<MetadataMap, Status>> {
        Box::pin(self(request))
    }
}

/// What the metadata is for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CredentialsRequest {
    /// `pkg.Service/Method`.
    pub method: Arc<str>,
    /// The service's URL without the method, such as `https://queue:443/pkg.Service`: an audience
    /// for tokens.
    pub service_url: String,
    /// Which attempt of the call it is, from 0.
    pub attempt: u32,
    /// When the answer comes too late.
    pub deadline: Instant,
}

/// The hook, and whether it may be used without TLS.
pub(crate) struct Credentials {
    pub(crate) hook: Arc<dyn CallCredentials>,
    pub(crate) allow_plaintext: bool,
}
