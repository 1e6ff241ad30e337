//! Reads the grants of `--auth` and the TLS files of `--config`: at the start, and again on SIGHUP.
//!
//! What cannot be read again changes nothing: what was read before holds, and an ERROR and a metric
//! report it.

use crate::{CliError, tls::Tls};
use arc_swap::ArcSwap;
use metrics::{Unit, counter, describe_counter};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task,
};
use tokio_rustls::TlsAcceptor;
use tonic_supervisor::agent_queue::server::{Authorizer, Grants, LiveGrants};

/// Where the files lie, and what is in force of them. Clones share it.
#[derive(Clone)]
pub(super) struct ReloadedFiles {
    terms: GrantRequirements,
    /// Whether clients are asked for certificates by what is in force.
    asks: Arc<AtomicBool>,
    grants: Option<(PathBuf, Arc<LiveGrants>)>,
    tls: Option<(PathBuf, Arc<ArcSwap<TlsAcceptor>>)>,
}

/// What the grants must suit.
#[derive(Clone, Copy)]
struct GrantRequirements {
    address: SocketAddr,
    encrypted: bool,
    /// Whether clients are asked for certificates.
    certificates: bool,
}

impl ReloadedFiles {
    /// Reads them; a server does not start with what is wrong. Blocking.
    pub(super) fn open(
        auth: Option<&Path>,
        config: Option<&Path>,
        address: SocketAddr,
    ) -> Result<Self, CliError> {
        let tls = Tls::for_a_server(config)?;
        let certificates = tls.as_ref().is_some_and(Tls::asks_clients);
        let terms = GrantRequirements { address, encrypted: tls.is_some(), certificates };
        let grants = auth.map(|path| terms.read(path)).transpose()?;
        let acceptor = tls
            .map(|tls| tls.acceptor(grants.as_ref().is_some_and(Grants::have_tokens), &["h2"]))
            .transpose()?;
        Ok(Self {
            terms,
            asks: Arc::new(AtomicBool::new(certificates)),
            grants: auth
                .map(Path::to_owned)
                .zip(grants.map(|grants| Arc::new(LiveGrants::new(grants)))),
            tls: config
                .map(Path::to_owned)
                .zip(acceptor.map(|acceptor| Arc::new(ArcSwap::from_pointee(acceptor)))),
        })
    }

    /// Who decides; none without `--auth`.
    pub(super) fn authorizer(&self) -> Option<Arc<dyn Authorizer>> {
        self.grants.as_ref().map(|(_, grants)| grants.clone() as _)
    }

    /// How connections are secured; none: they are not.
    pub(super) fn acceptor(&self) -> Option<Arc<ArcSwap<TlsAcceptor>>> {
        self.tls.as_ref().map(|(_, acceptor)| acceptor.clone())
    }

    /// Reads them again at each SIGHUP from now on. Without such files that signal ends the
    /// process, as is usual.
    pub(super) fn on_hangup(&self) -> Result<(), CliError> {
        if self.grants.is_none() && self.tls.is_none() {
            return Ok(());
        }
        describe_counter!(
            "tonic_supervisor.queue.rereads",
            Unit::Count,
            "Files read again on SIGHUP, by result."
        );
        let read_again = [("grants", self.grants.is_some()), ("tls", self.tls.is_some())];
        for (files, _) in read_again.into_iter().filter(|(_, named)| *named) {
            for result in ["ok", "failed"] {
                counter!("tonic_supervisor.queue.rereads", "files" => files, "result" => result)
                    .increment(0);
            }
        }
        let mut hangup =
            signal(SignalKind::hangup()).map_err(CliError::failed("cannot listen for signals"))?;
        let files = self.clone();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                let files = files.clone();
                // Files may lie on a slow disk.
                let _ = task::spawn_blocking(move || files.again()).await;
            }
        });
        Ok(())
    }

    /// Each kind for itself: a bad certificate does not keep a token in force that was taken away.
    fn again(&self) {
        let tls = self.tls.as_ref().map(|(config, _)| {
            let gone = || CliError::Config("TLS cannot be turned off while the server runs".into());
            Tls::for_a_server(Some(config))?.ok_or_else(gone)
        });
        if let Some((path, live)) = &self.grants {
            let certificates = match &tls {
                Some(Ok(tls)) => tls.asks_clients(),
                _ => self.asks.load(Relaxed),
            };
            let terms = GrantRequirements { certificates, ..self.terms };
            report("grants", terms.read(path).map(|grants| live.replace(grants)));
        }
        if let (Some((_, live)), Some(tls)) = (&self.tls, tls) {
            let tokens = self.grants.as_ref().is_some_and(|(_, grants)| grants.now().have_tokens());
            let made = tls.and_then(|tls| Ok((tls.asks_clients(), tls.acceptor(tokens, &["h2"])?)));
            let taken = made.map(|(asks, acceptor)| {
                live.store(Arc::new(acceptor));
                self.asks.store(asks, Relaxed);
            });
            report("tls", taken);
        }
    }
}

fn report(files: &'static str, read: Result<(), CliError>) {
    let result = if read.is_ok() { "ok" } else { "failed" };
    counter!("tonic_supervisor.queue.rereads", "files" => files, "result" => result).increment(1);
    match read {
        Ok(()) => {
            tracing::info!(target: "tonic_supervisor", "the {files} were read again, and hold \
                                                        from now on")
        }
        Err(error) => {
            let cause = error.text().replace('\n', "; ");
            tracing::error!(target: "tonic_supervisor", "the {files} could not be read again, and \
                                                         those read before hold: {cause}");
        }
    }
}

impl GrantRequirements {
    /// The grants of a file, if they suit.
    fn read(self, path: &Path) -> Result<Grants, CliError> {
        let grants = Grants::read(path).map_err(|error| CliError::Config(error.to_string()))?;
        let (file, address) = (path.display(), self.address);
        if grants.have_tokens() && !self.encrypted && !address.ip().is_loopback() {
            return Err(CliError::Config(format!(
                "{file} has tokens, and {address} is plaintext beyond this machine, where anybody \
                 on the way can read them: serve over TLS (--config with grpc.tls), or on a \
                 loopback address"
            )));
        }
        if grants.have_certificates() && !self.certificates {
            return Err(CliError::Config(format!(
                "{file} has certificates, and clients are asked for none: set grpc.tls.ca in the \
                 file of --config, or use tokens"
            )));
        }
        Ok(grants)
    }
}
