//! `status`: asks the admin pages of a program that runs, in plaintext and over TLS.

use super::cli::{command, stderr};
use crate::{
    support::{Rig, config},
    tls::certificates::{Authority, NOW},
};
use std::{fs, process::Output};
use tempfile::TempDir;
use tonic_supervisor::admin::{Admin, AdminHandle};

const TOKEN: &str = "0123456789abcdef-not-a-real-one";

/// Certificates, a token, and the paths of all of them.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("of the pages");
        authority.server("pages.internal", NOW).write(folder.path(), "named");
        authority.server("127.0.0.1", NOW).write(folder.path(), "addressed");
        fs::write(folder.path().join("ca.pem"), &authority.pem).expect("written");
        let stranger = Authority::new("of others");
        fs::write(folder.path().join("stranger.pem"), &stranger.pem).expect("written");
        fs::write(folder.path().join("token"), format!("{TOKEN}\n")).expect("written");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Pages over TLS with the certificate `name`, on every address: looking needs the token.
    async fn pages(&self, name: &str) -> AdminHandle {
        let files = ["pem", "key"].map(|end| self.path(&format!("{name}.{end}")));
        let [certificate, key] = files;
        let admin = Admin::new().listen("0.0.0.0:0").tls(certificate, key);
        admin.token_file(self.path("token")).spawn().await.expect("it listens")
    }
}

/// What `status` says when it asks these pages at the loopback address.
async fn status(pages: &AdminHandle, more: &[&str]) -> Output {
    let address = format!("127.0.0.1:{}", pages.address().port());
    let mut command = command(&["status", "--admin", &address]);
    command.args(more);
    let run = move || command.output().expect("the command runs");
    tokio::task::spawn_blocking(run).await.expect("it ends")
}

#[track_caller]
fn answered(output: &Output, name: &str) {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with(&format!("{name}  READY")) && said.lines().count() == 1, "{said}");
}

#[track_caller]
fn refused(output: &Output, code: i32, part: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(part), "{said}");
    assert!(!said.contains(TOKEN) && output.stdout.is_empty(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_asks_over_tls_whom_the_authority_vouches_for_and_nobody_else() {
    let files = Files::new();
    let rig = Rig::new(config()).await.ready().await;
    let observer = rig.supervisor.observer();
    let (name, ca, token) = (observer.name(), files.path("ca.pem"), files.path("token"));
    let well = [name, "--ca", &ca, "--token-file", &token];

    let pages = files.pages("addressed").await;
    answered(&status(&pages, &well).await, name);
    answered(&status(&pages, &[&well[..], &["--reconnect", name]].concat()).await, name);
    refused(&status(&pages, &[name, "--ca", &ca]).await, 1, "answered 403");
    let stranger = files.path("stranger.pem");
    let unknown = [name, "--ca", &stranger, "--token-file", &token];
    refused(&status(&pages, &unknown).await, 1, "that --ca vouches for");
    refused(&status(&pages, &["--token-file", &token]).await, 1, "over TLS, give --ca");

    let pages = files.pages("named").await;
    refused(&status(&pages, &well).await, 1, "that --ca vouches for");
    let named = [&well[..], &["--server-name", "pages.internal"]].concat();
    answered(&status(&pages, &named).await, name);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_status_is_given_for_tls_is_looked_at_first() {
    let files = Files::new();
    let pages = Admin::new().listen("127.0.0.1:0").spawn().await.expect("it listens");
    let (ca, token) = (files.path("ca.pem"), files.path("token"));
    refused(&status(&pages, &["--ca", &token]).await, 1, "has no authority");
    refused(&status(&pages, &["--ca", "/nowhere"]).await, 1, "--ca /nowhere cannot be used");
    refused(&status(&pages, &["--server-name", "a"]).await, 2, "--ca <FILE>");
    let wrong = ["--ca", &ca, "--server-name", "no name"];
    refused(&status(&pages, &wrong).await, 2, "give --server-name");
    // Whoever asks for TLS gets no answer in plaintext.
    refused(&status(&pages, &["--ca", &ca]).await, 1, "that --ca vouches for");
    // The address is one for documents: nothing is sent there.
    let far = command(&["status", "--admin", "192.0.2.1:1", "--token-file", &token]).output();
    refused(&far.expect("the command runs"), 2, "not sent over a network in plaintext");
}
