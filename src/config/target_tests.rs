//! What targets are read as, and written as.

use super::*;

fn host(host: &str, port: u16) -> Target {
    Target::Host { host: host.into(), port }
}

#[test]
fn targets_are_read_as_grpc_names_them() {
    let addresses =
        |all: &[&str]| Target::Addresses(all.iter().map(|one| one.parse().unwrap()).collect());
    for (text, target) in [
        ("queue:50051", host("queue", 50051)),
        ("dns:queue.internal:1", host("queue.internal", 1)),
        ("dns:///queue.internal:1", host("queue.internal", 1)),
        ("DNS:///queue:1", host("queue", 1)),
        ("[::1]:50051", host("::1", 50051)),
        ("dns:///[fe80::1]:7", host("fe80::1", 7)),
        ("10.0.0.1:7", host("10.0.0.1", 7)),
        ("http:80", host("http", 80)),
        ("ipv4:10.0.0.1:7", addresses(&["10.0.0.1:7"])),
        ("ipv4:10.0.0.1:7,10.0.0.2:8", addresses(&["10.0.0.1:7", "10.0.0.2:8"])),
        ("ipv6:[::1]:7,[::2]:8", addresses(&["[::1]:7", "[::2]:8"])),
        ("http://queue", host("queue", 80)),
        ("http://queue:7/", host("queue", 7)),
    ] {
        assert_eq!(parse(text).map(|target| target.target), Ok(target), "{text}");
    }
    assert_eq!(
        parse("https://queue").unwrap(),
        ParsedTarget { target: host("queue", 443), tls: Some(true) }
    );
    assert_eq!(parse("https://[::1]:7").unwrap().target, host("::1", 7));
    assert_eq!(parse("http://queue").unwrap().tls, Some(false));
}

#[cfg(unix)]
#[test]
fn unix_sockets_have_absolute_and_relative_paths() {
    for (text, path) in
        [("unix:/run/q", "/run/q"), ("unix:///run/q", "/run/q"), ("unix:run/q", "run/q")]
    {
        assert_eq!(parse(text).unwrap().target, Target::Unix(path.into()), "{text}");
    }
    #[cfg(target_os = "linux")]
    assert_eq!(parse("unix-abstract:queue").unwrap().target, Target::UnixAbstract("queue".into()));
}

#[test]
fn what_is_no_target_says_what_one_looks_like() {
    for (text, part) in [
        ("", "must name a port"),
        ("queue", "must name a port"),
        ("queue:0", "port from 1"),
        ("queue:seventy", "scheme `queue:` is not known"),
        ("queue:70000", "port from 1 to 65535"),
        (":7", "host:port"),
        ("[::1", "not closed"),
        ("[queue]:7", "IPv6 address"),
        ("dns://8.8.8.8/queue:1", "must not name a DNS server"),
        ("ipv4:queue:1", "ipv4:10.0.0.1:50051"),
        ("ipv4:10.0.0.1", "ipv4:10.0.0.1:50051"),
        ("ipv6:::1:7", "ipv6:[::1]:50051"),
        ("unix://run/q", "authority"),
        ("unix:", "path"),
        ("ftp://queue:1", "scheme `ftp:`"),
        ("http://queue:1/path", "nothing behind"),
        ("https://user@queue", "nothing behind"),
        ("http://", "host:port"),
        ("::1", "in brackets, and a port: [::1]:50051"),
        ("fe80::1%eth0", "in brackets, and a port: [fe80::1%eth0]:50051"),
        (
            "my queue:1",
            "its host must not have spaces or control characters: write a name such as \
             queue.internal",
        ),
        ("user@queue:1", "must not name a user"),
        ("dns:///a..b:1", "empty part"),
        ("dns:b\u{fc}cher:1", "write the name in ASCII"),
        ("http://a b:1", "must not have spaces"),
        ("[fe80::1%]:1", "must name the interface"),
        ("ipv6:[fe80::1%]:1", "ipv6:[::1]:50051"),
        ("ipv6:fe80::1%eth0:1", "ipv6:[::1]:50051"),
        ("10.0.0.1%eth0:1", "must not have a %"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn the_canonical_uri_of_a_target_has_its_scheme_and_names_the_same_place() {
    for (text, canonical) in [
        ("queue:1", "dns:///queue:1"),
        ("dns:queue:1", "dns:///queue:1"),
        ("https://queue", "dns:///queue:443"),
        ("10.0.0.1:7", "dns:///10.0.0.1:7"),
        ("[::1]:7", "dns:///[::1]:7"),
        ("[fe80::1%eth0]:7", "dns:///[fe80::1%25eth0]:7"),
        ("ipv4:10.0.0.1:7,10.0.0.2:8", "ipv4:10.0.0.1:7,10.0.0.2:8"),
        ("ipv6:[fe80::1%eth0]:7,[::1]:8", "ipv6:[fe80::1%25eth0]:7,[::1]:8"),
        #[cfg(unix)]
        ("unix:/run/q", "unix:///run/q"),
        #[cfg(unix)]
        ("unix:run/q", "unix:run/q"),
        #[cfg(target_os = "linux")]
        ("unix-abstract:queue", "unix-abstract:queue"),
    ] {
        let target = parse(text).unwrap().target;
        assert_eq!(target.canonical(), canonical, "{text}");
        assert_eq!(parse(canonical).unwrap().target, target, "{text}");
    }
}

#[test]
fn what_stays_on_this_machine_is_known_by_its_name() {
    for (text, stays) in [
        ("localhost:1", true),
        ("LocalHost.:1", true),
        ("localhost.evil:1", false),
        ("127.9.9.9:1", true),
        ("[::1]:1", true),
        ("0.0.0.0:1", false),
        ("queue:1", false),
        ("10.0.0.1:1", false),
        ("ipv4:127.0.0.1:1,10.0.0.1:1", false),
        ("ipv6:[::1]:1", true),
        ("[fe80::1%eth0]:1", false),
    ] {
        assert_eq!(parse(text).unwrap().target.is_on_this_machine(), stays, "{text}");
    }
    assert!(Target::Unix("/run/q".into()).is_on_this_machine());
}

#[test]
fn what_is_read_can_be_written() {
    let zoned = ["[fe80::1%eth0]:1", "ipv6:[fe80::1%eth0]:7,[::1]:8", "ipv6:[fe80::1%3]:7"];
    for text in ["queue:1", "[::1]:1", "ipv4:10.0.0.1:7,10.0.0.2:8", "ipv6:[::1]:7"]
        .into_iter()
        .chain(zoned)
    {
        assert_eq!(parse(text).unwrap().target.to_string(), text);
    }
    assert_eq!(parse("ipv6:[::1]:7").unwrap().target.authority(), "[::1]:7");
}

proptest::proptest! {
    #[test]
    fn what_is_taken_can_stand_in_an_authority(
        scheme in "(|dns:|dns:///|ipv4:|ipv6:|http://|https://|unix:)",
        host in "(\\PC{0,8}|[a-z_.%@ \
                 -]{1,12}|\\[fe80::1%[a-z0-9%.]{0,6}\\]|\\[[0-9a-f:]{1,20}\\]|[0-9.]{1,12})",
        port in "(|:7|:70000)",
    ) {
        if let Ok(target) = parse(&format!("{scheme}{host}{port}")) {
            let authority = target.target.authority();
            let read = http::uri::Authority::try_from(authority.as_str());
            let whole = read.is_ok_and(|read| read == authority && !authority.contains('@'));
            proptest::prop_assert!(whole, "{authority}");
        }
    }
}

#[test]
fn a_zone_is_kept_for_the_dial_and_sent_to_nobody() {
    let zoned = host("fe80::1%eth0", 7);
    let both = Target::Zoned(vec![("fe80::1%eth0".into(), 7), ("::1".into(), 8)]);
    for (text, target) in [
        ("[fe80::1%eth0]:7", zoned.clone()),
        ("[fe80::1%25eth0]:7", zoned.clone()),
        ("dns:[fe80::1%eth0]:7", zoned.clone()),
        ("dns:///[fe80::1%25eth0]:7", zoned.clone()),
        ("http://[fe80::1%25eth0]:7", zoned.clone()),
        ("https://[fe80::1%eth0]:7/", zoned.clone()),
        ("http://[fe80::1%2512]:7", host("fe80::1%12", 7)),
        ("[fe80::1%250]:7", host("fe80::1%250", 7)),
        ("ipv6:[fe80::1%eth0]:7,[::1]:8", both.clone()),
        ("ipv6:[fe80::1%25eth0]:7,[::1]:8", both),
        ("ipv6:[fe80::1%3]:7", Target::Addresses(vec!["[fe80::1%3]:7".parse().unwrap()])),
    ] {
        let read = parse(text).unwrap().target;
        assert_eq!(read, target, "{text}");
        assert_eq!(read.authority(), "[fe80::1]:7", "{text}");
        #[cfg(feature = "tls")]
        assert_eq!(read.server_name().as_deref(), Some("fe80::1"), "{text}");
    }
}
