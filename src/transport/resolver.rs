//! What a channel's name stands for: asked when the channel begins, now and then, and when links
//! are lost.

use super::lookup::Lookups;
use crate::model::{Address, Endpoint};
use futures::future::BoxFuture;
use std::{sync::Arc, time::Duration};

/// Finds a channel's servers by name: a registry of yours, or DNS with what the system's lookup
/// does not say.
///
/// One question is asked at a time, and takes at most `connect_timeout`. An error, an answer
/// without endpoints, or none at all changes nothing: the last good list holds on.
///
/// ```
/// use futures::future::BoxFuture;
/// use tonic_supervisor::{Address, Endpoint, transport::{Resolution, Resolver}};
///
/// struct Registry;
///
/// impl Resolver for Registry {
///     fn resolve(&self) -> BoxFuture<'static, Result<Resolution, String>> {
///         Box::pin(async {
///             let servers = ["10.0.0.7", "10.0.0.8"]; // ... asked of the registry ...
///             let endpoints = servers.map(|host| Endpoint::from(Address::new(host, 50051)));
///             Ok(Resolution::new(endpoints))
///         })
///     }
/// }
/// ```
pub trait Resolver: Send + Sync + 'static {
    /// Looks the servers up, anew each time.
    ///
    /// # Errors
    ///
    /// Why there is no answer; the text stands in the event `ResolveFailed`.
    ///
    /// # Cancel safety
    ///
    /// A dropped future must leave nothing behind.
    fn resolve(&self) -> BoxFuture<'static, Result<Resolution, String>>;
}

/// What a [`Resolver`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolution {
    /// The servers.
    pub endpoints: Vec<Endpoint>,
    /// After this long it is asked again; none: after `resolve.period`. Never sooner than
    /// `resolve.min_interval`.
    pub fresh_for: Option<Duration>,
}

impl Resolution {
    /// These servers.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        Self { endpoints: endpoints.into_iter().collect(), fresh_for: None }
    }

    /// The same, which is to be asked for again after `time`.
    #[must_use]
    pub fn fresh_for(mut self, time: Duration) -> Self {
        self.fresh_for = Some(time);
        self
    }
}

/// The system's lookup of one name: each address is a server.
#[derive(Debug)]
pub(crate) struct NameResolver {
    host: Arc<str>,
    port: u16,
    lookups: Arc<Lookups>,
}

impl NameResolver {
    /// `lookups` are those of the channel's dials: a name is not looked up twice at the same time.
    pub(super) fn new(host: &str, port: u16, lookups: Arc<Lookups>) -> Self {
        Self { host: host.into(), port, lookups }
    }
}

impl Resolver for NameResolver {
    fn resolve(&self) -> BoxFuture<'static, Result<Resolution, String>> {
        let (host, port, lookups) = (self.host.clone(), self.port, self.lookups.clone());
        Box::pin(async move {
            let addresses = lookups.addresses(&host, port).await;
            let addresses = addresses.map_err(|cause| format!("cannot resolve {host}: {cause}"))?;
            Ok(Resolution::new(addresses.into_iter().map(|one| Address::from(one).into())))
        })
    }
}
