//! Who may do what: decided from a request's head alone, before anything else looks at it.
//!
//! A page on another site can make a browser send requests here, and a name that it controls can be
//! made to point here. So the `Host` must be one of ours, and what changes something must come with
//! the token itself, or with a session from this very origin. GET never changes anything.

use http::{HeaderMap, Method, StatusCode, Uri, header};
use std::net::IpAddr;

/// What is demanded.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// Whether there is a token: without one nothing can be done.
    pub(super) has_token: bool,
    /// Whether looking needs it, too.
    pub(super) reads_need_token: bool,
    /// Names, beside addresses and `localhost`, under which this may be asked for.
    pub(super) hosts: Vec<String>,
    /// Whether whoever asks was let in by somebody else, under whatever name.
    pub(super) trusted: bool,
}

/// What a request shows of who it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    /// The token itself.
    Token,
    /// A session that was begun with the token.
    Session,
}

/// Why a request is refused: a status and a sentence.
pub(super) type Refused = (StatusCode, &'static str);

const MISDIRECTED: Refused = (
    StatusCode::MISDIRECTED_REQUEST,
    "the name in Host is none of this server's: ask for it by its address or localhost, or start \
     it with that name (--admin-host)",
);
const NO_TOKEN: Refused =
    (StatusCode::FORBIDDEN, "this needs the token: log in at /login, or send it as a bearer token");
const READ_ONLY: Refused =
    (StatusCode::FORBIDDEN, "there is no token file, so there is nothing to do here but to look");
const OTHER_ORIGIN: Refused = (
    StatusCode::FORBIDDEN,
    "a session may act from these pages only: this request comes from somewhere else",
);

/// Whether a request may go on.
pub(super) fn check(
    rules: &Rules,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    shown: Shown,
) -> Result<(), Refused> {
    let path = uri.path();
    if !rules.trusted && !is_ours(rules, host_of(uri, headers)) {
        return Err(MISDIRECTED);
    }
    // Whoever has no session yet must be able to begin one; what the page needs is no secret.
    if path == "/login" || path == "/style.css" {
        return if rules.has_token || path != "/login" { Ok(()) } else { Err(READ_ONLY) };
    }
    if *method == Method::GET || *method == Method::HEAD {
        let may = rules.trusted || !rules.reads_need_token || shown != Shown::Nothing;
        return if may { Ok(()) } else { Err(NO_TOKEN) };
    }
    if !rules.has_token {
        return Err(READ_ONLY);
    }
    match shown {
        Shown::Nothing => Err(NO_TOKEN),
        Shown::Token => Ok(()),
        Shown::Session if is_same_origin(headers) => Ok(()),
        Shown::Session => Err(OTHER_ORIGIN),
    }
}

/// HTTP/2 has it in the request's own address.
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    match headers.get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => uri.authority().map(|authority| authority.as_str()),
    }
}

/// An address, `localhost`, or a name that was given; the port is whatever was dialled.
fn is_ours(rules: &Rules, host: Option<&str>) -> bool {
    let Some(name) = host.map(name_of) else { return false };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || rules.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The name or the address in `name:port`, `[address]:port`, `name.`; what is none of these is
/// nobody's name.
pub(super) fn name_of(host: &str) -> &str {
    let is_port =
        |rest: &str| rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    if let Some((address, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return if rest.is_empty() || is_port(rest) { address } else { "" };
    }
    // An address of IPv6 without brackets has no port.
    if host.parse::<IpAddr>().is_ok() {
        return host;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.strip_suffix('.').unwrap_or(name)
}

/// Browsers say where a request comes from; another port of the same host is only `same-site`.
fn is_same_origin(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str, site: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a value"));
        site.into_iter().for_each(|site| {
            headers.insert("sec-fetch-site", site.parse().expect("a value"));
        });
        headers
    }

    fn status(rules: &Rules, method: Method, headers: &HeaderMap, shown: Shown) -> u16 {
        let uri = Uri::from_static("/");
        check(rules, &method, &uri, headers, shown).map_or_else(|(code, _)| code.as_u16(), |()| 200)
    }

    #[test]
    fn only_our_names_are_answered() {
        let rules =
            Rules { hosts: vec![name_of("admin.internal:9911").into()], ..Rules::default() };
        for (host, expected) in [
            ("127.0.0.1:9911", 200),
            ("127.0.0.1", 200),
            ("[::1]:9911", 200),
            ("localhost:9911", 200),
            ("LOCALHOST", 200),
            ("admin.internal:9911", 200),
            ("evil.example:9911", 421),
            ("localhost.evil.example", 421),
            ("", 421),
            ("[::1]evil", 421),
            ("[::1]:evil", 421),
            ("localhost.:9911", 200),
            ("admin.internal.", 200),
        ] {
            let headers = asked(host, None);
            assert_eq!(status(&rules, Method::GET, &headers, Shown::Nothing), expected, "{host}");
        }
        assert_eq!(status(&rules, Method::GET, &HeaderMap::new(), Shown::Nothing), 421);
    }

    #[test]
    fn acting_needs_the_token_or_a_session_from_these_very_pages() {
        let rules = Rules { has_token: true, ..Rules::default() };
        for (shown, site, expected) in [
            (Shown::Nothing, None, 403),
            (Shown::Nothing, Some("same-origin"), 403),
            (Shown::Token, None, 200),
            (Shown::Token, Some("cross-site"), 200),
            (Shown::Session, None, 403),
            (Shown::Session, Some("cross-site"), 403),
            (Shown::Session, Some("same-site"), 403),
            (Shown::Session, Some("none"), 403),
            (Shown::Session, Some("same-origin"), 200),
        ] {
            let headers = asked("localhost", site);
            let got = status(&rules, Method::POST, &headers, shown);
            assert_eq!(got, expected, "{shown:?} {site:?}");
            assert_eq!(status(&rules, Method::GET, &headers, shown), 200);
        }
        let none = Rules::default();
        let headers = asked("localhost", Some("same-origin"));
        assert_eq!(status(&none, Method::POST, &headers, Shown::Token), 403, "read-only");
        assert_eq!(status(&none, Method::DELETE, &headers, Shown::Nothing), 403);
    }

    #[test]
    fn where_others_can_reach_it_looking_needs_the_token_unless_it_is_trusted() {
        let rules = Rules { has_token: true, reads_need_token: true, ..Rules::default() };
        let headers = asked("10.0.0.7:9911", None);
        assert_eq!(status(&rules, Method::GET, &headers, Shown::Nothing), 403);
        assert_eq!(status(&rules, Method::GET, &headers, Shown::Session), 200);
        let login = Uri::from_static("/login");
        let login = check(&rules, &Method::GET, &login, &headers, Shown::Nothing);
        assert_eq!(login, Ok(()));
        let trusted = Rules { trusted: true, ..rules };
        assert_eq!(status(&trusted, Method::GET, &headers, Shown::Nothing), 200);
        assert_eq!(status(&trusted, Method::POST, &headers, Shown::Nothing), 403);
        let elsewhere = asked("any.name", None);
        assert_eq!(status(&trusted, Method::GET, &elsewhere, Shown::Nothing), 200);
    }
}
