//! Names that other programs have for our keys: gRPC's service config and channel arguments, other
//! clients' options, and what people write by habit. A row lists words by their letters alone, so
//! that `maxAttempts`, `max_attempts` and `max-attempts` are one word.

/// What a name of another program means here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning {
    /// It is the key at this path.
    Key(&'static str),
    /// It counts attempts; ours counts retries.
    Attempts,
    /// It is a section whose keys stand one level higher here.
    Flat,
    /// It needs advice of its own.
    Advice(&'static str),
}

use Meaning::{Advice, Attempts, Flat, Key};

/// What `letters`, without case and punctuation, mean.
pub(super) fn meaning(letters: &str) -> Option<Meaning> {
    let row = WORDS.iter().find(|(words, _)| words.split(' ').any(|word| word == letters));
    row.map(|(_, meaning)| *meaning)
}

const WORDS: &[(&str, Meaning)] = &[
    // The server.
    (
        "url uri address addr endpoint endpoints server servers serveraddress serveraddr hostport \
         dsn connect",
        Key("target"),
    ),
    ("hostname serverhost ip", Key("host")),
    ("serverport portnumber", Key("port")),
    // TLS.
    (
        "ca cacert cacerts cafile cacertificate cacrt capath capem rootcert rootcerts \
         rootcertificate rootcertificates rootca trustedca certificateauthority sslrootcert \
         tlscafile tlscacert cabundle",
        Key("tls.ca"),
    ),
    (
        "cert certfile certificatefile certpath crt clientcert clientcertificate certchain \
         certificatechain tlscert tlscertfile sslcert",
        Key("tls.certificate"),
    ),
    ("key keyfile keypath clientkey privatekey privatekeyfile tlskeyfile sslkey", Key("tls.key")),
    (
        "ssltargetnameoverride targetnameoverride servernameoverride sni domain domainname \
         authority overrideauthority defaultauthority",
        Key("tls.server_name"),
    ),
    (
        "ssl enabletls usessl enablessl secure encrypted encryption tlsenabled tlsenable \
         sslenabled",
        Key("use_tls"),
    ),
    (
        "insecureskipverify skipverify tlsskipverify insecureskiptlsverify verify verifyssl \
         tlsverify sslverify verifyserver noverify tlsinsecureskipverify acceptinvalidcerts \
         dangeracceptinvalidcerts tlsverifyserver allowinvalidcertificates",
        Advice(
            "the server is always verified: name its authority with `tls: {ca: FILE}`, or the name \
             in its certificate with `tls: {server_name: NAME}`",
        ),
    ),
    (
        "insecure plaintext useplaintext notls disabletls tlsinsecure",
        Advice(
            "links are plaintext unless `use_tls: true`, a key below `tls` or an `https` target \
             says otherwise: leave it out",
        ),
    ),
    // Retries.
    ("retry retries maxretries retrycount numretries retrylimit", Key("max_retry_attempts")),
    ("maxattempts attempts retrymaxattempts", Attempts),
    ("enableretries retryenabled", Advice("to turn retries off write `max_retry_attempts: 0`")),
    ("basedelay basebackoff initialdelay minbackoff retrydelay", Key("initial_backoff")),
    ("maxdelay maxretrydelay", Key("max_backoff")),
    ("multiplier backofffactor exponentialbase", Key("backoff_multiplier")),
    ("jitter", Key("backoff_jitter")),
    (
        "codes statuscodes retrycodes retryablecodes retryon retryonstatuscodes \
         retryablestatuses",
        Key("retryable_status_codes"),
    ),
    ("retrythrottling throttling throttle", Advice("write `retry_throttle:`")),
    ("hedging hedgingpolicy", Advice("no call is hedged: leave it out")),
    // Times.
    ("deadline requesttimeout calltimeout rpctimeout", Key("timeout")),
    ("perattempttimeout perattemptrecvtimeout pertrytimeout", Key("attempt_timeout")),
    ("dialtimeout connectiontimeout", Key("connect_timeout")),
    // Keepalive.
    ("keepaliveinterval pinginterval http2keepaliveinterval", Key("keepalive_time")),
    ("pingtimeout", Key("keepalive_timeout")),
    (
        "keepalivewhileidle keepalivewithoutcalls permitwithoutstream permitwithoutcalls",
        Key("keepalive_permit_without_calls"),
    ),
    ("http2minsentpingintervalwithoutdata", Key("keepalive_floor")),
    // Reconnects.
    ("initialreconnectbackoff minreconnectbackoff", Key("reconnect.initial_backoff")),
    ("maxreconnectbackoff", Key("reconnect.max_backoff")),
    // Sizes and numbers.
    (
        "maxsendmessagelength maxsendmessagesize maxsendmsgsize maxencodingmessagesize \
         maxrequestsize",
        Key("max_request_message_bytes"),
    ),
    (
        "maxreceivemessagelength maxreceivemessagesize maxrecvmessagesize maxrecvmsgsize \
         maxmessagesize maxmessagelength maxinboundmessagesize maxdecodingmessagesize \
         maxresponsesize",
        Key("max_response_message_bytes"),
    ),
    (
        "maxmetadatasize maxheaderlistsize http2maxheaderlistsize maxheadersize \
         maxinboundmetadatasize",
        Key("max_response_header_bytes"),
    ),
    ("perrpcretrybuffersize", Key("max_replay_bytes")),
    (
        "maxconcurrentstreams http2maxconcurrentstreams concurrency maxconcurrency \
         concurrencylimit maxconcurrentcalls",
        Key("max_in_flight"),
    ),
    ("queuesize maxqueue maxqueuesize maxpending", Key("queue.max_calls")),
    // Methods and sections.
    ("type methodtype calltype", Key("kind")),
    (
        "method methodconfig methodconfigs",
        Advice(
            "write `methods:` with an entry for each, such as `\"pkg.Service/Method\": {kind: \
             unary}`",
        ),
    ),
    (
        "retrypolicy retryoptions keepalive backoff client channel channelargs channeloptions \
         options connection timeouts limits serviceconfig grpc settings config",
        Flat,
    ),
    // What there is not.
    (
        "loadbalancing loadbalancingconfig loadbalancingpolicy lbpolicy lbpolicyname balancer",
        Advice("one target is one connection, and nothing is balanced: leave it out"),
    ),
    (
        "healthcheck healthcheckconfig healthcheckservicename",
        Advice("write `health:` with `service:`, the name of the service"),
    ),
    ("idletime clientidletimeout clientidletimeoutms maxidletime", Key("idle_timeout")),
    ("connectionmaxage maxage maxconnectionlifetime", Key("max_connection_age")),
    (
        "headers metadata token auth authorization credentials bearertoken apikey username \
         password",
        Advice("metadata is given in code: see `call_credentials` of the supervisor's builder"),
    ),
    ("compression gzip", Advice("it is set on the generated client, in code")),
    (
        "proxy httpproxy httpsproxy enablehttpproxy",
        Advice("HTTP CONNECT proxies are not supported"),
    ),
    ("log loglevel logging", Advice("the program that uses the channel chooses the log")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;
    use std::collections::BTreeSet;

    #[test]
    fn every_word_is_listed_once_and_leads_to_a_key_that_exists() {
        let mut seen = BTreeSet::new();
        for (words, meaning) in WORDS {
            for word in words.split(' ') {
                assert!(seen.insert(word), "{word} stands twice");
                assert!(
                    word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
                    "{word}"
                );
            }
            if let Key(path) = meaning {
                assert!(keys::find(path).is_some(), "{path}");
            }
        }
    }
}
