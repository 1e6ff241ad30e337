//! `--admin` and `--probes`: pages, metrics and probes of the command itself.

use crate::CliError;
use std::path::PathBuf;
use tonic_supervisor::admin::{Admin, AdminError, AdminHandle, install_recorder};

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Pages and probes")]
pub(crate) struct AdminArguments {
    /// Serve pages, JSON and metrics here: what is the matter, calls, events, configuration. A
    /// loopback address, unless there are a token file and a certificate.
    #[arg(long = "admin", value_name = "HOST:PORT")]
    admin_listen: Option<String>,
    /// A file with the token that lets people act on the pages; without it they only look.
    #[arg(long, value_name = "FILE", requires = "admin_listen")]
    admin_token_file: Option<PathBuf>,
    /// A name under which the pages may be asked for, beside addresses and localhost.
    #[arg(long = "admin-host", value_name = "NAME", requires = "admin_listen")]
    admin_hosts: Vec<String>,
    /// Serve the pages over TLS with this certificate chain, in PEM.
    #[arg(long, value_name = "FILE", requires_all = ["admin_listen", "admin_key"])]
    admin_certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "admin_certificate")]
    admin_key: Option<PathBuf>,
    /// Serve /metrics, /live and /ready, and nothing else, here: on any address, in plaintext.
    #[arg(long, value_name = "HOST:PORT")]
    probes: Option<String>,
}

impl AdminArguments {
    /// Starts what was asked for. Must be called before the first supervisor is spawned: what that
    /// counts before is in no metric.
    pub(crate) async fn start(&self) -> Result<Option<AdminHandle>, CliError> {
        if self.admin_listen.is_none() && self.probes.is_none() {
            return Ok(None);
        }
        let said = |error: AdminError| match error {
            AdminError::Refused(rule) => CliError::Config(format!("--admin: {rule}")),
            error => CliError::Failed(error.to_string()),
        };
        install_recorder().map_err(said)?;
        let mut admin = Admin::new();
        if let Some(address) = &self.admin_listen {
            admin = admin.listen(address);
        }
        if let Some(address) = &self.probes {
            admin = admin.probes(address);
        }
        if let Some(path) = &self.admin_token_file {
            admin = admin.token_file(path);
        }
        for name in &self.admin_hosts {
            admin = admin.host(name);
        }
        if let (Some(certificate), Some(key)) = (&self.admin_certificate, &self.admin_key) {
            admin = admin.tls(certificate, key);
        }
        let handle = admin.spawn().await.map_err(said)?;
        if self.admin_listen.is_some() {
            let scheme = if self.admin_certificate.is_some() { "https" } else { "http" };
            eprintln!("pages: {scheme}://{}/", handle.address());
        }
        if let Some(address) = handle.probes() {
            eprintln!("probes: http://{address}/ready");
        }
        Ok(Some(handle))
    }
}
