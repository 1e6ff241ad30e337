//! A build with both providers of cryptography, as `--all-features` makes it: rustls does not
//! choose between two, and panics where it is asked to.

use super::{
    certificates::{Authority, NOW},
    terminator::{Offer, TlsTerminator},
    trusting,
};
use crate::support::call_empty;
use std::{fs, time::Duration};
use tonic_supervisor::{Supervisor, testing::ScriptedServer};

#[tokio::test]
async fn with_two_providers_built_in_and_none_installed_a_link_comes_up_over_tls() {
    assert!(rustls::crypto::CryptoProvider::get_default().is_none(), "nobody has chosen");
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new("authority");
    fs::write(folder.path().join("ca.pem"), &authority.pem).expect("written");
    let server = ScriptedServer::on_tcp().await;
    let identity = authority.server("127.0.0.1", NOW);
    let terminator = TlsTerminator::start(server.address(), Offer::of(&identity).config()).await;
    let config = trusting(folder.path(), terminator.address.to_string());
    let supervisor = Supervisor::spawn(config.build().expect("valid"));
    call_empty(&supervisor).await.expect("OK");
    supervisor.shutdown(Duration::ZERO).await;
}
