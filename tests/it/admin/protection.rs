//! Who may do what on the admin pages: nobody anything without the token, no other site anything
//! with somebody's session, and no GET anything at all.

use super::asked::{admin, ask, channel, get, get_json};
use crate::support::{LONG, Rig, config, settle};
use std::{fs, net::SocketAddr, time::Duration};
use tokio::task::JoinHandle;
use tonic_supervisor::{ConnectivityState, Supervisor, admin::Admin, testing::MemoryNetwork};

const TOKEN: &str = "0123456789abcdef-not-a-real-one";

fn token_file(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let path = folder.path().join("token");
    fs::write(&path, format!("{TOKEN}\n")).expect("written");
    path
}

fn named(name: &str) -> Supervisor {
    let config = config().build().expect("valid");
    Supervisor::builder(config).connector(MemoryNetwork::new().connector()).name(name).spawn()
}

/// The head's end and the body of a login.
fn login(token: &str) -> String {
    let body = format!("token={token}");
    let kind = "Content-Type: application/x-www-form-urlencoded";
    format!("{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_file_there_is_nothing_to_do_but_look() {
    let supervisor = named("only looked at");
    let handle = admin(Admin::new()).await;
    let id = supervisor.observer().id();
    for path in [format!("/channel/{id}/reconnect"), format!("/channel/{id}/drain")] {
        let answer = ask(handle.address(), &format!("POST {path}"), &[]).await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.body.contains("no token file"), "{}", answer.body);
        let bearer = format!("Authorization: Bearer {TOKEN}");
        assert_eq!(ask(handle.address(), &format!("POST {path}"), &[&bearer]).await.status, 403);
    }
    assert_eq!(ask(handle.address(), "POST /login", &[]).await.status, 403);
    let page = get(handle.address(), &format!("/channel/{id}")).await;
    assert!(page.status == 200 && !page.body.contains("<form"), "there are no buttons");
    assert_ne!(supervisor.state(), ConnectivityState::Shutdown);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_lets_people_act_and_a_session_only_from_these_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    let supervisor = named("acted on");
    let handle = admin(Admin::new().token_file(token_file(&folder))).await;
    let (to, id) = (handle.address(), supervisor.observer().id());
    let drain = format!("POST /channel/{id}/drain?grace=0");
    assert_eq!(ask(to, &drain, &[]).await.status, 403, "no token");
    assert_eq!(ask(to, &drain, &["Authorization: Bearer wrong"]).await.status, 403);

    // With the token itself it works from anywhere.
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let reconnect = format!("POST /channel/{id}/reconnect");
    assert_eq!(ask(to, &reconnect, &[&bearer]).await.status, 200);
    assert_eq!(
        ask(to, &format!("POST /channel/{id}/drain?grace=-1"), &[&bearer]).await.status,
        400
    );
    assert_eq!(ask(to, "POST /channel/999999999/drain", &[&bearer]).await.status, 404);
    assert_eq!(ask(to, &drain, &[&bearer]).await.status, 200);
    supervisor.closed().await;
    assert_eq!(supervisor.state(), ConnectivityState::Shutdown);
}

/// A browser's way: the form, the cookie, and then the button.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_begins_with_the_token_and_acts_from_its_own_origin_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let supervisor = named("with a session");
    let handle = admin(Admin::new().token_file(token_file(&folder))).await;
    let (to, id) = (handle.address(), supervisor.observer().id());
    let page = get(to, "/login").await;
    assert!(page.status == 200 && page.body.contains("type=\"password\""));
    let right = ask(to, "POST /login", &[&login(TOKEN)]).await;
    assert_eq!((right.status, right.header("location")), (303, Some("/")));
    let cookie = right.header("set-cookie").expect("a cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(TOKEN), "the cookie is not the token");
    let cookie = format!("Cookie: {}", cookie.split(';').next().expect("a pair"));
    let reconnect = format!("POST /channel/{id}/reconnect");
    for (site, expected) in [
        ("Sec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: same-site", 403),
        ("Sec-Fetch-Site: none", 403),
        ("X-Nothing: 1", 403),
        ("Sec-Fetch-Site: same-origin", 303),
    ] {
        let answer = ask(to, &reconnect, &[&cookie, site, "Accept: text/html"]).await;
        assert_eq!(answer.status, expected, "{site}");
    }
    let wrong = ask(to, "POST /login", &[&login("wrong")]).await;
    assert_eq!((wrong.status, wrong.header("location")), (303, Some("/login?wrong=1")));
    assert!(wrong.header("set-cookie").is_none());
    let soon = ask(to, "POST /login", &[&login(TOKEN)]).await;
    assert_eq!((soon.status, soon.header("set-cookie")), (429, None), "a guess a second");
    let name = cookie.split('=').next().expect("a name");
    let made_up = &format!("{name}=00000000000000000000000000000000");
    let same = "Sec-Fetch-Site: same-origin";
    assert_eq!(ask(to, &reconnect, &[made_up, same]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_name_is_answered_with_421_and_a_known_one_is_not() {
    let handle = admin(Admin::new().host("admin.internal")).await;
    for (host, expected) in [
        ("Host: evil.example", 421),
        ("Host: localhost.evil.example:80", 421),
        ("Host: admin.internal:9911", 200),
        ("Host: [::1]:9911", 200),
        ("Host: 127.0.0.1", 200),
    ] {
        for path in ["/", "/metrics", "/snapshot", "/live.js"] {
            if path == "/metrics" && expected == 200 {
                continue;
            }
            let answer = ask(handle.address(), &format!("GET {path}"), &[host]).await;
            assert_eq!(answer.status, expected, "{host} {path}");
        }
    }
}

/// Every path is asked for twice, with GET; only readers' own doings may show.
#[tokio::test(flavor = "multi_thread")]
async fn get_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::new(config()).await.ready().await;
    let handle = admin(Admin::new().token_file(token_file(&folder))).await;
    let (to, id) = (handle.address(), rig.supervisor.observer().id());
    settle().await;
    let before = rig.supervisor.snapshot();
    for path in [
        "/",
        "/calls",
        "/events",
        "/config",
        "/help",
        "/login",
        "/snapshot",
        "/metrics",
        "/live",
        "/ready",
        "/style.css",
        "/live.js",
        "/nothing",
    ] {
        for _ in 0..2 {
            let answer = get(to, path).await;
            // Other tests' channels may not be connected yet: `/ready` may be 503.
            assert!([200, 404, 503].contains(&answer.status), "{path}: {}", answer.status);
        }
    }
    for path in ["", "/reconnect", "/drain", "/drain?grace=0"] {
        let answer = get(to, &format!("/channel/{id}{path}")).await;
        assert_eq!(answer.status, if path.is_empty() { 200 } else { 405 }, "{path}");
    }
    let after = rig.supervisor.snapshot();
    assert_eq!((before.seq, before.dials), (after.seq, after.dials));
    assert_eq!(after.state, ConnectivityState::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_needs_a_token_and_tls() {
    let refused = Admin::new().listen("0.0.0.0:0").spawn().await.expect_err("refused");
    assert!(refused.to_string().contains("could look at everything"), "{refused}");
    let folder = tempfile::tempdir().expect("a folder");
    let with_token = Admin::new().listen("0.0.0.0:0").token_file(token_file(&folder));
    assert!(with_token.spawn().await.is_err(), "a token in clear is none");
    let short = folder.path().join("short");
    fs::write(&short, "secret\n").expect("written");
    let error = Admin::new().listen("127.0.0.1:0").token_file(&short).spawn().await;
    let error = error.expect_err("it can be guessed").to_string();
    assert!(error.contains("at least 16 characters") && !error.contains("secret"), "{error}");
    assert!(Admin::new().routes().is_err(), "nobody could look");
    let gone = Admin::new().listen("127.0.0.1:0").token_file(folder.path().join("none"));
    assert!(gone.spawn().await.is_err());
}

/// Neither the token nor metadata nor bodies stand on any page, and the token in no log.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_stands_anywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::new(config()).await.ready().await;
    let mut request = tonic::Request::new("the body of a call".to_owned());
    request.metadata_mut().insert("authorization", "Bearer of-a-call".parse().expect("a value"));
    rig.server.script(tonic_supervisor::testing::Script::always(tonic::Code::NotFound));
    let handle = admin(Admin::new().token_file(token_file(&folder))).await;
    let channel = rig.channel();
    let call = channel.unary::<String, String>(crate::support::SAY, request);
    call.await.expect_err("not found");
    let id = rig.supervisor.observer().id();
    for path in ["/", "/calls", "/events", "/config", "/help", "/login", "/snapshot"] {
        let page = get(handle.address(), path).await;
        for secret in [TOKEN, "of-a-call", "the body of a call"] {
            assert!(!page.body.contains(secret), "{path} has {secret}");
        }
    }
    let one = get(handle.address(), &format!("/channel/{id}")).await;
    assert!(!one.body.contains(TOKEN) && !one.body.contains("of-a-call"));
    assert!(!format!("{handle:?} {:?}", Admin::new()).contains(TOKEN));
}

/// Every answer carries what keeps a browser from doing more with it than show it.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_protecting_headers() {
    let handle = admin(Admin::new()).await;
    for (line, headers) in [
        ("GET /", &[][..]),
        ("GET /nothing", &[]),
        ("POST /login", &[]),
        ("GET /", &["Host: evil.example"]),
    ] {
        let answer = ask(handle.address(), line, headers).await;
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{line}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{line}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{line}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{line}");
    }
}

/// Of its own TLS it knows; of that of a server of one's own it must be told.
#[tokio::test(flavor = "multi_thread")]
async fn behind_tls_a_session_never_goes_out_in_plaintext() {
    let folder = tempfile::tempdir().expect("a folder");
    for behind_tls in [false, true] {
        let mut pages = Admin::new().token_file(token_file(&folder));
        if behind_tls {
            pages = pages.behind_tls();
        }
        let (to, server) = own_server(pages).await;
        let answer = ask(to, "POST /login", &[&login(TOKEN)]).await;
        let cookie = answer.header("set-cookie").expect("a cookie");
        assert_eq!(cookie.ends_with("; Secure"), behind_tls, "{cookie}");
        server.abort();
    }
}

/// These pages in a server of one's own.
async fn own_server(pages: Admin) -> (SocketAddr, JoinHandle<()>) {
    let routes = pages.routes().expect("routes");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let to = listener.local_addr().expect("bound");
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().accept_http1(true).add_routes(routes);
    (to, tokio::spawn(async { server.serve_with_incoming(incoming).await.expect("it serves") }))
}

/// A server of one's own serves the same pages to whoever has the token, or whom it lets in.
#[tokio::test(flavor = "multi_thread")]
async fn pages_in_a_server_of_ones_own_need_the_token_unless_they_are_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    for (trusted, foreign, nothing) in [(false, 421, 403), (true, 200, 200)] {
        let mut pages = Admin::new().token_file(token_file(&folder));
        if trusted {
            pages = pages.trusted();
        }
        let (to, server) = own_server(pages).await;
        assert_eq!(get(to, "/snapshot").await.status, nothing);
        let bearer = format!("Authorization: Bearer {TOKEN}");
        assert_eq!(ask(to, "GET /snapshot", &[&bearer]).await.status, 200);
        let elsewhere = ask(to, "GET /snapshot", &["Host: any.name", &bearer]).await;
        assert_eq!(elsewhere.status, foreign);
        assert_eq!(ask(to, "POST /channel/1/reconnect", &[]).await.status, 403);
        server.abort();
    }
}

/// What is there to see is what the supervisors are.
#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_is_there_for_as_long_as_it_lives() {
    let handle = admin(Admin::new()).await;
    let supervisor = named("here today");
    let snapshot = get_json(handle.address(), "/snapshot").await;
    assert_eq!(channel(&snapshot, "here today")["id"], supervisor.observer().id());
    supervisor.shutdown(Duration::ZERO).await;
    drop(supervisor);
    let gone = async {
        loop {
            let now = get_json(handle.address(), "/snapshot").await.to_string();
            if !now.contains("here today") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG.min(Duration::from_secs(20)), gone).await.expect("it goes");
}
