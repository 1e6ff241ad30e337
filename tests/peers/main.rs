//! Against servers that others wrote: OpenSSL for what goes wrong in TLS, grpcio (C-core) and etcd
//! (grpc-go) for what goes right; and clients that others wrote before a bridge: grpcio, grpc-js.
//!
//! Needs `openssl`, `etcd`, a Python with grpcio, grpcio-tools and grpcio-health-checking:
//! `python3`, or the one that `PEERS_PYTHON` names, and `node` with @grpc/grpc-js in `NODE_PATH`.
//! `.ci/peers` sets all of it up.

mod callers;
#[path = "../it/tls/certificates.rs"]
mod certificates;
mod etcd;
mod etcd_fleet;
#[path = "../it/faults/table.rs"]
#[expect(dead_code, reason = "what the crate's own suite plays of it")]
mod fault_table;
mod fleet;
mod foreign;
mod grpcio;
mod grpcio_fleet;
mod interop;
mod keepalive;
mod load;
mod openssl;
mod proxied_faults;
mod wire;

use certificates::Authority;
use foreign::Foreign;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tonic_supervisor::{Config, ConfigBuilder};

/// A folder with an authority of ours and one of others.
struct World {
    folder: tempfile::TempDir,
    ours: Authority,
    theirs: Authority,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let (ours, theirs) = (Authority::new("our authority"), Authority::new("their authority"));
        fs::write(folder.path().join("ca.pem"), &ours.pem).expect("written");
        Self { folder, ours, theirs }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Trusts our authority.
    fn config(&self, target: impl Into<String>) -> ConfigBuilder {
        let ca = self.file("ca.pem").display().to_string();
        Config::builder().target(target).tls_ca(ca).connect_timeout(Duration::from_secs(3))
    }

    /// Shows `client.pem`.
    fn showing(&self, config: ConfigBuilder) -> ConfigBuilder {
        let path = |name: &str| self.file(name).display().to_string();
        config.tls_certificate(path("client.pem")).tls_key(path("client.key"))
    }
}
