//! `serve --auth` and `token` from outside: certificates beside tokens, SIGHUP, what it does not
//! start with, and the logs.

use super::{bearer, client, secrets::assert_has_no_secret, text, token};
use crate::{
    certificates::{Authority, Identity, NOW},
    process::{Serve, command},
};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as Shown},
};
use tonic_supervisor::agent_queue::CreateQueueRequest;

const LONG: Duration = Duration::from_secs(20);

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
    path
}

fn said(path: &Path) -> &str {
    path.to_str().expect("text")
}

async fn connect(
    address: SocketAddr,
    tls: Option<ClientTlsConfig>,
) -> Result<Channel, tonic::transport::Error> {
    match tls {
        None => Endpoint::from_shared(format!("http://{address}"))?.connect().await,
        Some(tls) => {
            Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?.connect().await
        }
    }
}

/// What creating the queue `a` gives.
async fn create(channel: &Channel, authorization: Option<String>) -> Code {
    let request = CreateQueueRequest { agent_id: "a".into() };
    client(channel.clone(), authorization)
        .create_queue(request)
        .await
        .map_or_else(|status| status.code(), |_| Code::Ok)
}

#[test]
fn a_new_token_is_shown_once_with_the_lines_that_let_it_in() {
    let output = command(&["token", "agent \u{e9}: #1"]).output().expect("it ends");
    assert!(output.status.success());
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    let (token, file) = shown.split_once('\n').expect("lines");
    assert!(token.starts_with("aqt_") && token.len() == 68, "{token}");
    assert!(!file.contains(token));
    let grants =
        tonic_supervisor::agent_queue::server::Grants::parse("shown", file).expect("valid");
    assert!(grants.have_tokens());

    let json = command(&["token", "agent_001", "--json"]).output().expect("it ends").stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(
        (json["name"].as_str(), json["token_sha256"].as_str().map(str::len)),
        (Some("agent_001"), Some(64))
    );
    assert_ne!(json["token"].as_str(), Some(token), "each is new");

    let refused = command(&["token", " "]).output().expect("it ends");
    assert_eq!(refused.status.code(), Some(2));
}

#[tokio::test]
async fn tokens_and_certificates_share_a_port_and_no_certificate_mends_a_wrong_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("authority");
    fs::write(folder.path().join("ca.pem"), &authority.pem).expect("written");
    authority.server("127.0.0.1", NOW).write(folder.path(), "server");
    let keys = "grpc: {tls: {ca: FOLDER/ca.pem, certificate: FOLDER/server.pem, \
                key: FOLDER/server.key}}\n";
    let config = write(&folder, "grpc.yaml", &keys.replace("FOLDER", said(folder.path())));
    let certified = "    - { name: a, certificate: \"spiffe://prod/agent/a\" }\n\
                     \x20   - { name: host, certificate: host.a }\n";
    let auth = write(
        &folder,
        "auth.yaml",
        &(text(&[("b", &[1], "{ queues: a, may: [work] }")]) + certified),
    );
    let server = Serve::start("memory", &["--config", said(&config), "--auth", said(&auth)]);

    let tls = |shown: Option<&Identity>| {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem));
        match shown {
            Some(one) => tls.identity(Shown::from_pem(&one.certificate, &one.key)),
            None => tls,
        }
    };
    let good = authority.client_with_uris(&["spiffe://prod/agent/a"], "somebody");
    let only_common_name =
        authority.client_with_uris(&["spiffe://prod/other"], "spiffe://prod/agent/a");
    let both = authority.client_with_uris(&["spiffe://prod/agent/a", "host.a"], "both");
    let dns = authority.client("host.a", NOW);
    for (what, shown, authorization, code) in [
        ("a certificate", Some(&good), None, Code::Ok),
        ("a token", None, bearer(1), Code::Ok),
        (
            "a certificate that names nobody, and a token",
            Some(&only_common_name),
            bearer(1),
            Code::Ok,
        ),
        ("the name as a common name", Some(&only_common_name), None, Code::Unauthenticated),
        ("a certificate and a wrong token", Some(&good), bearer(2), Code::Unauthenticated),
        ("a certificate and the token of another", Some(&good), bearer(1), Code::Unauthenticated),
        ("two names", Some(&both), None, Code::Unauthenticated),
        ("a DNS name, which may nothing here", Some(&dns), None, Code::PermissionDenied),
        ("nothing", None, None, Code::Unauthenticated),
    ] {
        let channel = connect(server.address, Some(tls(shown))).await.expect("connected");
        assert_eq!(create(&channel, authorization).await, code, "{what}");
    }
    let stranger = Authority::new("another").client_with_uris(&["spiffe://prod/agent/a"], "a");
    let refused = match connect(server.address, Some(tls(Some(&stranger)))).await {
        Ok(channel) => create(&channel, bearer(1)).await,
        Err(_) => Code::Unavailable,
    };
    assert_ne!(refused, Code::Ok, "what another authority signed is no certificate");
}

#[tokio::test]
async fn sighup_reads_the_grants_again_and_keeps_those_it_has_where_it_cannot() {
    let folder = tempfile::tempdir().expect("a folder");
    let auth = write(&folder, "auth.yaml", &text(&[("a", &[1], "")]));
    let (server, mut errors) = Serve::start_heard("memory", &["--auth", said(&auth)]);
    let channel = connect(server.address, None).await.expect("connected");
    assert_eq!(
        (create(&channel, bearer(1)).await, create(&channel, bearer(2)).await),
        (Code::Ok, Code::Unauthenticated)
    );

    fs::write(&auth, text(&[("a", &[2], "")])).expect("written");
    server.hang_up();
    let swapped = async { while create(&channel, bearer(2)).await != Code::Ok {} };
    timeout(LONG, swapped).await.expect("it is read");
    assert_eq!(create(&channel, bearer(1)).await, Code::Unauthenticated);

    fs::write(&auth, "auth: {identities: 7}").expect("written");
    server.hang_up();
    let mut line = String::new();
    errors.read_line(&mut line).expect("a line");
    for part in ["ERROR", "the grants could not be read again", "auth.identities must be a list"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(create(&channel, bearer(2)).await, Code::Ok, "those read before hold");
}

#[tokio::test]
async fn sighup_reads_the_files_of_tls_again_for_new_connections() {
    let folder = tempfile::tempdir().expect("a folder");
    let [old, new] = ["old", "new"].map(Authority::new);
    old.server("127.0.0.1", NOW).write(folder.path(), "server");
    let keys = "grpc: {tls: {certificate: FOLDER/server.pem, key: FOLDER/server.key}}\n";
    let config = write(&folder, "grpc.yaml", &keys.replace("FOLDER", said(folder.path())));
    let (server, mut errors) = Serve::start_heard("memory", &["--config", said(&config)]);
    let mut warning = String::new();
    errors.read_line(&mut warning).expect("the warning of open keys");
    let trusts = |authority: &Authority| {
        connect(
            server.address,
            Some(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem))),
        )
    };
    let before = trusts(&old).await.expect("connected");
    new.server("127.0.0.1", NOW).write(folder.path(), "server");
    server.hang_up();
    let swapped = async { while trusts(&new).await.is_err() {} };
    timeout(LONG, swapped).await.expect("it is read");
    assert_eq!(create(&before, None).await, Code::Ok, "a connection that is up goes on");

    fs::write(folder.path().join("server.pem"), "half").expect("written");
    server.hang_up();
    let error =
        errors.lines().map_while(Result::ok).find(|line| line.contains("ERROR")).expect("a line");
    assert!(
        error.contains("the tls could not be read again") && error.contains("grpc.tls.certificate"),
        "{error}"
    );
    assert!(trusts(&new).await.is_ok(), "what was read before holds");
}

#[tokio::test]
async fn sighup_ends_a_server_without_such_files() {
    use std::os::unix::process::ExitStatusExt as _;
    let server = Serve::start("memory", &[]);
    server.hang_up();
    assert_eq!(timeout(LONG, server.ended()).await.expect("ended").signal(), Some(1));
}

#[test]
fn tokens_in_plaintext_beyond_this_machine_and_bad_files_are_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = write(&folder, "tokens.yaml", &text(&[("a", &[1], "")]));
    let certificates =
        write(&folder, "certificates.yaml", "auth: {identities: [{name: a, certificate: b}]}");
    let bad = write(&folder, "bad.yaml", "auth: {identities: [{name: a}]}");
    let missing = folder.path().join("missing.yaml");
    for (address, auth, words) in [
        ("0.0.0.0:0", &tokens, "is plaintext beyond this machine"),
        ("[::]:0", &tokens, "is plaintext beyond this machine"),
        ("127.0.0.1:0", &certificates, "clients are asked for none: set grpc.tls.ca"),
        ("127.0.0.1:0", &bad, "auth.identities[0] must have `token_sha256` or `certificate`"),
        ("127.0.0.1:0", &missing, "missing.yaml: cannot be read"),
    ] {
        let arguments = ["serve", "--store", "memory", "--addr", address, "--auth", said(auth)];
        let output = command(&arguments).output().expect("it ends");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{error}");
        assert!(error.contains(words), "{error}");
        assert_has_no_secret(&error, "an error");
    }
}

/// Both ends log all they can, libraries included.
#[test]
fn no_log_of_server_and_agent_has_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let auth = write(&folder, "auth.yaml", &text(&[("a", &[1], "")]));
    let log = folder.path().join("server.log");
    let server = Serve::start_logging(
        "memory",
        &["--auth", said(&auth)],
        File::create(&log).expect("a file"),
    );
    for number in [1, 2] {
        let file = write(&folder, "token", token(number).reveal());
        let keys = format!(
            "grpc: {{host: 127.0.0.1, port: {}, credentials: {{token_file: {}}}}}",
            server.address.port(),
            said(&file)
        );
        let config = write(&folder, "grpc.yaml", &keys);
        let arguments =
            ["agent", "--config", said(&config), "--queue", "a", "--json", "--", "true"];
        let errors = folder.path().join("agent.log");
        let mut agent = command(&arguments);
        agent
            .env("RUST_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).expect("a file"));
        let mut agent = agent.spawn().expect("it starts");
        let lines =
            BufReader::new(agent.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let mut shown = String::new();
        // The first has an answer then, and goes on; the other is not known, and ends by itself.
        for line in lines {
            shown.push_str(&line);
            if number == 1 && line.contains("BackoffReset") {
                agent.kill().expect("killed");
            }
        }
        agent.wait().expect("ended");
        let logged = fs::read_to_string(&errors).expect("a log");
        assert!(
            logged.contains("TRACE") && shown.contains("BackoffReset"),
            "it spoke with the server"
        );
        assert_has_no_secret(&(shown + &logged), "what the agent says");
    }
    drop(server);
    let said = fs::read_to_string(&log).expect("a log");
    assert!(said.contains("TRACE"), "it logged");
    assert_has_no_secret(&said, "the server's log");
}
