//! What a host may be: a name or an address that can stand in a request's `:authority`, and, behind
//! an IPv6 address, the zone that names the interface it is reached by (`fe80::1%eth0`). A zone
//! means something on this machine only: it is dialled, and sent to nobody.

use std::net::{IpAddr, Ipv6Addr};

/// The longest name, and the longest part of one between dots (DNS).
const LONGEST: usize = 253;
const LONGEST_PART: usize = 63;

/// Reads a host without brackets; the error is the rule that it breaks, to follow "is ..., but".
pub(super) fn read(text: &str) -> Result<String, String> {
    let (address, zone) = split(text);
    match zone {
        Some(zone) if address.parse::<Ipv6Addr>().is_ok() => with_zone(address, zone),
        Some(_) => Err(
            "must not have a % other than before the zone of an IPv6 address, such as fe80::1%eth0"
                .into(),
        ),
        None if address.parse::<IpAddr>().is_ok() => Ok(address.to_owned()),
        None if address.contains(':') => {
            Err("must be a name, or an address such as 10.0.0.1 or ::1".into())
        }
        None => name(address).map(|()| address.to_owned()),
    }
}

/// The address or name, and the zone behind `%`, if there is one.
pub(super) fn split(host: &str) -> (&str, Option<&str>) {
    host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)))
}

/// What `host` is to others than this machine.
pub(super) fn without_zone(host: &str) -> &str {
    split(host).0
}

/// A zone as a URI has it, `%25eth0` (RFC 6874). No interface is called 25eth0, but 250 may be the
/// number of one.
fn with_zone(address: &str, zone: &str) -> Result<String, String> {
    let named =
        zone.strip_prefix("25").filter(|rest| rest.starts_with(|c: char| !c.is_ascii_digit()));
    let zone = named.unwrap_or(zone);
    let odd = |c: char| !c.is_ascii_graphic() || matches!(c, '%' | '/' | '[' | ']');
    if zone.is_empty() || zone.contains(odd) {
        return Err("must name the interface behind the %, such as fe80::1%eth0".into());
    }
    Ok(format!("{address}%{zone}"))
}

/// The rule of a name: parts of letters, digits, `-` and `_` with dots between, and perhaps a dot
/// at the end.
fn name(name: &str) -> Result<(), String> {
    let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let rooted = name.strip_suffix('.').unwrap_or(name);
    let too_long = name.len() > LONGEST || rooted.split('.').any(|part| part.len() > LONGEST_PART);
    match name.chars().find(|c| odd(*c)) {
        _ if name.is_empty() => Err("must not be empty".into()),
        Some('@') => Err("must not name a user: write what stands behind the @".into()),
        Some(c) if c.is_whitespace() || c.is_control() => {
            Err("must not have spaces or control characters: write a name such as queue.internal"
                .into())
        }
        Some(c) if !c.is_ascii() => {
            Err(format!("must not have {c:?}: write the name in ASCII, as xn--..."))
        }
        Some(c) => {
            Err(format!("must not have {c:?}: a name has letters, digits, `-`, `_` and dots"))
        }
        None if rooted.split('.').any(str::is_empty) => {
            Err("must not have an empty part before, after or between its dots: write a name such \
                 as queue.internal"
                .into())
        }
        None if too_long => Err(format!(
            "must have {LONGEST} characters at most, and {LONGEST_PART} between two dots"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_hosts() {
        let long = vec!["a".repeat(63); 3].join(".");
        for host in [
            "queue",
            "queue.internal",
            "queue.internal.",
            "my_queue",
            "-a-",
            "10.0.0.1",
            "::1",
            "xn--bcher-kva",
            &long,
        ] {
            assert_eq!(read(host).as_deref(), Ok(host));
        }
    }

    #[test]
    fn what_cannot_stand_in_an_authority_is_refused_with_what_to_write() {
        let (long, part) = (vec!["a".repeat(63); 4].join("."), "a".repeat(64));
        for (host, rule) in [
            ("", "must not be empty"),
            ("my queue", "must not have spaces"),
            ("queue\n", "control characters"),
            ("queue\u{a0}", "must not have spaces"),
            ("user@queue", "must not name a user"),
            ("a..b", "empty part"),
            (".a", "empty part"),
            (".", "empty part"),
            ("a..", "empty part"),
            ("queue/path", "must not have '/'"),
            ("queue?x", "must not have '?'"),
            ("[::1", "must be a name, or an address"),
            ("[queue]", "must not have '['"),
            ("a:b:c", "must be a name, or an address"),
            ("b\u{fc}cher", "write the name in ASCII"),
            (&long, "253 characters"),
            (&part, "63 between two dots"),
        ] {
            let refused = read(host).expect_err(host);
            assert!(refused.contains(rule) && refused.starts_with("must"), "{host}: {refused}");
        }
    }

    #[test]
    fn zones_stand_behind_ipv6_addresses_and_nowhere_else() {
        for (host, read_as) in [
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("fe80::1%3", "fe80::1%3"),
            ("fe80::1%eth0.100", "fe80::1%eth0.100"),
            ("fe80::1%25eth0", "fe80::1%eth0"),
            ("fe80::1%250", "fe80::1%250"),
        ] {
            assert_eq!(read(host).as_deref(), Ok(read_as), "{host}");
            assert_eq!(without_zone(read_as), "fe80::1");
        }
        for (host, rule) in [
            ("fe80::1%", "must name the interface"),
            ("fe80::1%e th0", "must name the interface"),
            ("fe80::1%eth0%eth1", "must name the interface"),
            ("fe80::1%eth0/64", "must name the interface"),
            ("10.0.0.1%eth0", "must not have a %"),
            ("queue%eth0", "must not have a %"),
            ("queue%20x", "must not have a %"),
        ] {
            let refused = read(host).expect_err(host);
            assert!(refused.contains(rule), "{host}: {refused}");
        }
    }
}
