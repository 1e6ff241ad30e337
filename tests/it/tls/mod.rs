//! TLS against real peers: every way in which it goes wrong, rotation under load, and files that
//! are not whole.

mod addresses;
pub(crate) mod certificates;
#[cfg(all(feature = "cli", unix))]
mod demo;
mod faults;
mod rotation;
pub(crate) mod terminator;
#[cfg(feature = "tls-aws-lc")]
mod two_providers;
#[cfg(unix)]
mod unix;
mod wrong_peer;

use crate::support::call_empty;
use std::{path::Path, time::Duration};
use tonic::Status;
use tonic_supervisor::{Config, ConfigBuilder, DialFailure, EventItem, Fact, Supervisor};

/// A configuration for the server at `target`, trusting `ca.pem` in `folder`.
pub(crate) fn trusting(folder: &Path, target: impl Into<String>) -> ConfigBuilder {
    Config::builder()
        .target(target)
        .tls_ca(folder.join("ca.pem").display().to_string())
        .connect_timeout(Duration::from_secs(2))
}

/// The same, with the certificate `client.pem` to show.
pub(crate) fn showing(folder: &Path, builder: ConfigBuilder) -> ConfigBuilder {
    let path = |name: &str| folder.join(name).display().to_string();
    builder.tls_certificate(path("client.pem")).tls_key(path("client.key"))
}

/// What a call to a server that cannot be reached ends with, and why the first dial failed.
async fn refused(config: ConfigBuilder) -> (Status, DialFailure) {
    let supervisor =
        Supervisor::spawn(config.wait_for_ready(false).build().expect("a valid configuration"));
    let mut events = supervisor.events();
    let status = tokio::time::timeout(Duration::from_secs(10), call_empty(&supervisor))
        .await
        .expect("no hang");
    let failure = loop {
        match events.next().await {
            Some(EventItem::Event(event)) => {
                if let Fact::DialFailed { failure, .. } = event.fact {
                    break failure;
                }
            }
            Some(_) => {}
            None => panic!("no dial failed"),
        }
    };
    supervisor.shutdown(Duration::ZERO).await;
    (status.expect_err("the server cannot be reached"), failure)
}
