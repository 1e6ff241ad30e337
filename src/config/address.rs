//! One address of a server, read from text: the forms of a target that name a single place.

use super::target::{self, ParsedTarget, Target};
use crate::model::Address;
use std::{fmt, str::FromStr};

/// What an address must be.
const RULE: &str = "must be host:port, [IPv6 address]:port, unix:path or unix-abstract:name";

/// Text that is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAddress(String);

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidAddress {}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        read(text).map_err(|rule| InvalidAddress(format!("{text:?} is not an address: it {rule}")))
    }
}

/// Reads an address; the error is the rule that it breaks, to follow "is ..., but".
pub(super) fn read(text: &str) -> Result<Address, String> {
    let text = text.trim();
    let has_scheme = ["dns:", "http:", "https:", "ipv4:", "ipv6:"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|one| one.eq_ignore_ascii_case(scheme)));
    // `dns:50051` is the port of a host that is called dns.
    let port = text.split_once(':').is_some_and(|(_, rest)| rest.parse::<u16>().is_ok());
    if has_scheme && !port {
        return Err(format!("{RULE}, without a scheme such as dns: or https:"));
    }
    match target::parse(text)? {
        ParsedTarget { target: target @ (Target::Host { .. } | Target::Unix(_)), .. } => {
            Ok(target.to_address())
        }
        ParsedTarget { target: target @ Target::UnixAbstract(_), .. } => Ok(target.to_address()),
        _ => Err(RULE.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_its_port_or_a_unix_socket() {
        for text in
            ["queue-0.queue:50051", "10.0.0.7:1", "[::1]:50051", "[fe80::1%eth0]:7", "dns:50051"]
        {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
        #[cfg(unix)]
        assert_eq!("unix:/run/q.sock".parse::<Address>().map(|it| it.port()), Ok(0));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_rule() {
        for text in ["", "queue", "queue:0", "::1", "https://queue:1", "ipv4:1.1.1.1:1", "dns:a:1"]
        {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.starts_with(&format!("{text:?} is not an address: it ")), "{error}");
            assert!(error.contains("must "), "{error}");
        }
    }
}
