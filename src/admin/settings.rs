//! What the user says of the admin server, and how it is started.

use super::{
    error::AdminError,
    guard::{self, Rules},
    listen::{self, Place},
    look, probes, routes,
    samples::Samples,
    session::Sessions,
};
use crate::{client::record_levels, clock, telemetry::KeepHistory};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};

/// How many readers of events there may be.
const READERS: usize = 32;
/// How often samples are taken.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Pages, JSON, metrics and probes of every supervisor of the process, over HTTP.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tonic_supervisor::admin::{Admin, install_recorder};
/// install_recorder()?; // before the first supervisor is spawned
/// let admin = Admin::new().listen("127.0.0.1:9911").spawn().await?;
/// println!("http://{}/", admin.address());
/// # Ok(()) }
/// ```
///
/// Looking needs nothing on a loopback address. Buttons are there, and POST does something, only
/// where a [`token_file`](Self::token_file) is given. Any other address needs TLS and a token file,
/// also to look; for Prometheus and the kubelet, which come by the pod's address, there are
/// [`probes`](Self::probes).
#[derive(Clone, Debug, Default)]
#[must_use = "an admin server does nothing until it is spawned"]
pub struct Admin {
    listen: Option<String>,
    probes: Option<String>,
    token_file: Option<PathBuf>,
    hosts: Vec<String>,
    #[cfg(feature = "tls")]
    tls: Option<(PathBuf, PathBuf)>,
    trusted: bool,
    behind_tls: bool,
}

/// A running admin server. It runs for as long as this lives.
#[derive(Debug)]
#[must_use = "the server ends when this is dropped"]
pub struct AdminHandle {
    address: Option<SocketAddr>,
    probes: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

impl Admin {
    /// Without an address it serves nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where pages are: `host:port`, a loopback address unless there are TLS and a token.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// A second, poor listener, in plaintext and on any address: `/metrics`, `/live`, `/ready` and
    /// nothing else. Its `/ready` is a status and no words.
    pub fn probes(mut self, address: impl Into<String>) -> Self {
        self.probes = Some(address.into());
        self
    }

    /// A file with the token that lets people act: one line of at least 16 characters. It is read
    /// at the start.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// A name under which pages may be asked for, beside addresses and `localhost`. Any other is
    /// answered with 421, so that no other site's name can be made to point here.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(guard::name_of(&name.into()).to_owned());
        self
    }

    /// Serves pages over TLS, with this certificate chain and key, both PEM; read at the start.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls = Some((certificate.into(), key.into()));
        self
    }

    /// For [`routes`](Self::routes) in a server of your own that lets in nobody else: looking needs
    /// no token there, and any `Host` is answered. Acting still needs the token.
    pub fn trusted(mut self) -> Self {
        self.trusted = true;
        self
    }

    /// For [`routes`](Self::routes) in a server of your own that is reached over TLS only: the
    /// cookie of a session is then `Secure`, so that a browser never sends it in plaintext. Of its
    /// own TLS ([`tls`](Self::tls)) this knows by itself.
    pub fn behind_tls(mut self) -> Self {
        self.behind_tls = true;
        self
    }

    /// Starts serving.
    ///
    /// # Errors
    ///
    /// An address that is not allowed without TLS and a token, one that cannot be listened on, a
    /// file that cannot be used.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped, nothing serves.
    pub async fn spawn(self) -> Result<AdminHandle, AdminError> {
        let mut handle = AdminHandle { address: None, probes: None, tasks: Vec::new() };
        let listener = bind(self.listen.as_deref()).await?;
        let probing = bind(self.probes.as_deref()).await?;
        let token = self.token()?;
        let mut reads_need_token = false;
        if let Some((_, address)) = &listener
            && !address.ip().to_canonical().is_loopback()
        {
            if token.is_none() || !self.has_tls() {
                return Err(AdminError::Refused(format!(
                    "whoever reaches {address} could look at everything, and read what is said \
                     there: give a token file and TLS, listen on a loopback address, or open only \
                     the probes"
                )));
            }
            reads_need_token = true;
        }
        let place = self.place()?;
        let admin = Arc::new(self.into_admin(token, reads_need_token));
        handle.tasks.push(tokio::spawn(keep(Arc::downgrade(&admin))));
        if let Some((listener, address)) = listener {
            handle.address = Some(address);
            let routes = routes::all(admin.clone());
            handle.tasks.push(tokio::spawn(listen::serve(listener, place, routes)));
        }
        if let Some((listener, address)) = probing {
            handle.probes = Some(address);
            let routes = probes::poor();
            handle.tasks.push(tokio::spawn(listen::serve(listener, Place::Plain, routes)));
        }
        Ok(handle)
    }

    /// The same pages for a server of your own. Looking needs the token, too, and the `Host` must
    /// be an address or a known name, unless they are [`trusted`](Self::trusted). Where that server
    /// speaks TLS, say [`behind_tls`](Self::behind_tls).
    ///
    /// Samples are taken while they live; must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// A token file that cannot be used; neither a token nor `trusted`, so that nobody could look.
    pub fn routes(self) -> Result<tonic::service::Routes, AdminError> {
        let (token, reads_need_token) = (self.token()?, !self.trusted);
        if token.is_none() && !self.trusted {
            let rule = "nobody could look at these pages: give a token file, or say that they are \
                        trusted";
            return Err(AdminError::Refused(rule.into()));
        }
        let admin = Arc::new(self.into_admin(token, reads_need_token));
        tokio::spawn(keep(Arc::downgrade(&admin)));
        Ok(routes::all(admin).into())
    }

    fn token(&self) -> Result<Option<Vec<u8>>, AdminError> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let what = format!("the token file {} cannot be used", path.display());
        Sessions::read(path).map(Some).map_err(|error| AdminError::Io(what, error))
    }

    fn has_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    fn place(&self) -> Result<Place, AdminError> {
        #[cfg(feature = "tls")]
        if let Some((certificate, key)) = &self.tls {
            return Place::tls(certificate, key);
        }
        Ok(Place::Plain)
    }

    fn into_admin(self, token: Option<Vec<u8>>, reads_need_token: bool) -> look::Admin {
        let rules = Rules {
            has_token: token.is_some(),
            reads_need_token,
            hosts: self.hosts.clone(),
            trusted: self.trusted,
        };
        look::Admin {
            rules,
            sessions: Sessions::new(token),
            samples: Samples::default(),
            began: clock::now(),
            secure: self.behind_tls || self.has_tls(),
            readers: Semaphore::new(READERS),
            _keeping: KeepHistory::begin(),
        }
    }
}

impl AdminHandle {
    /// Where pages are; of a port 0 the one that was found.
    ///
    /// # Panics
    ///
    /// There are only probes.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("Admin::listen was called")
    }

    /// Where probes are, if there are any.
    pub fn probes(&self) -> Option<SocketAddr> {
        self.probes
    }
}

impl Drop for AdminHandle {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn bind(address: Option<&str>) -> Result<Option<(TcpListener, SocketAddr)>, AdminError> {
    let Some(address) = address else { return Ok(None) };
    let failed = |error| AdminError::Io(format!("cannot listen on {address}"), error);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let found = listener.local_addr().map_err(failed)?;
    Ok(Some((listener, found)))
}

/// Takes samples for as long as somebody may look.
async fn keep(admin: Weak<look::Admin>) {
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let Some(admin) = admin.upgrade() else { return };
        admin.samples.take(clock::now());
        // `/metrics` does so, too; for whoever exports them otherwise.
        record_levels();
    }
}
