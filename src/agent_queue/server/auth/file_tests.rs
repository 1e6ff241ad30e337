//! The file of `--auth`: what it may say, and how each mistake is named.

use super::*;

const HASH: &str = "9f2cd5e9c3f9d4f0c4f0d1a9b3a6a7d2f1c0b9a8e7d6c5b4a3f2e1d0c9b8a7f6";

fn problems(text: &str) -> Vec<String> {
    let text = text.replace("HASH", HASH);
    match Grants::parse("f", &text) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn identities_have_tokens_or_certificates_and_their_grants() {
    let text = "auth:
  identities:
    - { name: agent_001, token_sha256: \"HASH\" }
    - { name: agent_002, certificate: \"spiffe://prod/agent/002\" }
    - name: ops
      token_sha256: [\"0000000000000000000000000000000000000000000000000000000000000000\"]
      grants: [{ queues: \"*\", may: [submit, look, cancel, delete, operate] }]
other: { left: alone }
";
    let grants = Grants::parse("f", &text.replace("HASH", HASH)).expect("valid");
    assert!(grants.have_tokens() && grants.have_certificates());
    assert_eq!(
        grants.identities.keys().map(|name| &**name).collect::<Vec<_>>(),
        ["agent_001", "agent_002", "ops"]
    );
    let ops = &grants.identities["ops"];
    assert_eq!(ops.grants.as_ref().expect("grants")[0].may.len(), 5);
    assert!(grants.identities["agent_001"].grants.is_none());
}

#[test]
fn each_mistake_is_named_with_its_place_key_and_rule() {
    let one = |keys: &str| format!("auth:\n  identities:\n    - {{ {keys} }}\n");
    let cases = [
        (String::new(), "f: must have a section `auth`"),
        ("grpc: {}\n".into(), "f: must have a section `auth`"),
        ("auth: 7\n".into(), "f:1:1: auth must be a section of keys"),
        (
            "auth: {identities: []}\n".into(),
            "f:1:8: auth.identities must be a list of at least one",
        ),
        (
            format!(
                "auth: {{identity: [], identities: [{{name: a, token_sha256: \
                 \"{HASH}\"}}]}}\n"
            ),
            "f:1:8: auth.identity is not a key that is known",
        ),
        (one("token_sha256: \"HASH\""), "f:3:7: auth.identities[0] must have a `name`"),
        (one("name: a"), "f:3:7: auth.identities[0] must have `token_sha256` or `certificate`"),
        (
            one("name: 7, token_sha256: \"HASH\""),
            "f:3:9: auth.identities[0].name is 7, but must be text",
        ),
        (
            one("name: \" a\", token_sha256: \"HASH\""),
            "auth.identities[0].name is \" a\", but must have 1 to 256 bytes",
        ),
        (
            one("name: a, certificate: b, token: x"),
            "auth.identities[0].token is not a key that is known",
        ),
        (
            one("name: a, token_sha256: []"),
            "auth.identities[0].token_sha256 must be one hash, or a list of two",
        ),
        (one("name: a, token_sha256: [x, y, z]"), "must be one hash, or a list of two"),
        (
            one("name: a, token_sha256: \"aqt_secret\""),
            "must be the SHA-256 of a token, 64 hexadecimal digits",
        ),
        (one("name: a, token_sha256: [HASH, HASH]"), "has a hash that stands here a second time"),
        (
            one("name: a, certificate: \"*.internal\""),
            "must be a URI or DNS name of the certificate's subject",
        ),
        (
            one("name: a, certificate: \"CN=a b\""),
            "must be a URI or DNS name of the certificate's subject",
        ),
        (
            one("name: a, certificate: b, grants: []"),
            "auth.identities[0].grants must be a list of at least one",
        ),
        (
            one("name: a, certificate: b, grants: [{may: [look]}]"),
            "grants[0] must have `queues` and `may`",
        ),
        (
            one("name: a, certificate: b, grants: [{queues: a, may: look}]"),
            "may must be a list of at least one",
        ),
        (
            one("name: a, certificate: b, grants: [{queues: a, may: [lok]}]"),
            "f:3:55: auth.identities[0].grants[0].may has \"lok\", but must have some of submit, \
             work, look, cancel, delete, operate; did you mean `look`?",
        ),
        (
            one("name: a, certificate: b, deny: x"),
            "auth.identities[0].deny is not a key that is known",
        ),
        (
            "auth:\n  identities:\n    - {name: a, certificate: b}\n    - {name: a, certificate: \
             c}\n"
                .into(),
            "f:4:8: auth.identities[1].name is \"a\", which stands here a second time",
        ),
        (
            "auth:\n  identities:\n    - {name: a, certificate: b}\n    - {name: c, certificate: \
             b}\n"
                .into(),
            "f:4:17: auth.identities[1].certificate is \"b\", which stands here a second time",
        ),
        ("auth: [".into(), "f:"),
    ];
    for (text, said) in cases {
        let problems = problems(&text);
        assert!(
            problems.first().is_some_and(|first| first.contains(said)),
            "{text:?}: {problems:#?}"
        );
        assert!(
            problems.iter().all(|problem| !problem.contains("aqt_") && !problem.contains(HASH)),
            "{problems:#?}"
        );
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let text = "auth:\n  identities:\n    - {name: 1}\n    - {certificate: b, grants: [{queues: a, \
                may: [x, y]}]}\n";
    assert_eq!(problems(text).len(), 5, "{:#?}", problems(text));
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_write_or_that_is_none_is_refused() {
    use std::{fs, os::unix::fs::PermissionsExt as _};
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("auth.yaml");
    fs::write(&path, "auth: {identities: [{name: a, certificate: b}]}").expect("written");
    for (mode, refused) in
        [(0o600, false), (0o644, false), (0o440, false), (0o664, true), (0o646, true)]
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
        let read = Grants::read(&path).map(drop).map_err(|error| error.to_string());
        let said = format!(
            "{}: can be written by others than its owner (mode {mode:o}): chmod go-w it",
            path.display()
        );
        assert_eq!(read, if refused { Err(said) } else { Ok(()) }, "{mode:o}");
    }
    assert!(Grants::read(folder.path()).is_err());
    assert!(
        Grants::read(folder.path().join("none"))
            .is_err_and(|error| error.to_string().contains("cannot be read"))
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).expect("written");
    assert!(Grants::read(&path).is_err_and(|error| error.to_string().contains("at most 1024 KiB")));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reading_panic(text in "(auth: ?)?[\\PC\\n]{0,60}") {
        let _ = Grants::parse("f", &text);
    }

    #[test]
    fn no_shape_makes_the_reading_panic(
        shape in "(\\{name: [a7]|\\[|\\]|\\{|\\}|, |token_sha256: |grants: |queues: |may: \
                 |look|\"x\"| ){0,20}",
    ) {
        let _ = Grants::parse("f", &format!("auth: {{identities: {shape}}}"));
    }
}
