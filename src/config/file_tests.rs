//! Unknown keys in files are reported with where they stand and what to write instead.

use super::*;

fn problems(text: &str) -> Vec<String> {
    let mut layers = Layers::default();
    add(&mut layers, File { name: "f".into(), text: text.into() }, false);
    layers.problems.iter().map(Problem::to_string).collect()
}

#[test]
fn an_empty_file_or_one_for_other_programs_says_nothing() {
    for text in [
        "",
        "# nothing\n",
        "---\n",
        "grpc:\n",
        "web: {port: 80}\nname: x\n",
        "grpc: {queue: }\nrpc: 1\n",
    ] {
        assert_eq!(problems(text), Vec::<String>::new(), "{text:?}");
    }
}

#[test]
fn a_file_without_the_section_is_a_warning_or_where_it_is_asked_for_an_error() {
    let read = |text: &str, whole| {
        let mut layers = Layers::default();
        add(&mut layers, File { name: "f".into(), text: text.into() }, whole);
        (layers.problems.iter().map(Problem::to_string).collect::<Vec<_>>(), layers.remarks)
    };
    let said = vec!["f: has no section `grpc`, so that every key has its default".to_owned()];
    assert_eq!(read("web: {port: 80}", false), (vec![], said.clone()));
    assert_eq!(read("web: {port: 80}", true), (said.clone(), vec![]));
    assert_eq!(read("", false), (vec![], vec![]));
    assert_eq!(read("", true), (said, vec![]));
    assert_eq!(read("grpc:", true), (vec![], vec![]));
}

/// Each text has one problem, the one beside it.
#[test]
fn keys_that_nobody_knows_are_told_what_to_write() {
    let cases = [
        ("grcp: {}", "f:1:1: grcp is not a section that is known; did you mean `grpc`?"),
        (
            "max_backoff: 3",
            "f:1:1: max_backoff belongs under `grpc:`; write that line above it, and indent this \
             one",
        ),
        (
            "host: queue",
            "f:1:1: host belongs under `grpc:`; write that line above it, and indent this one",
        ),
        (
            "tls: {ca: x}",
            "f:1:1: tls belongs under `grpc:`; write that line above it, and indent this one",
        ),
        (
            "grpc.keepalive_time_ms: 30000",
            "f:1:1: grpc.keepalive_time_ms is not read: below `grpc:` write `keepalive_time: ...`",
        ),
        ("- 1", "f: must have a section `grpc`, but has no sections"),
        ("grpc: 7", "f:1:1: grpc is 7, but must be a section of keys"),
        (
            "grpc: port:1",
            "f:1:1: grpc is \"port:1\", but must be a section of keys; write a space after each \
             `:`",
        ),
        (
            "grpc:\n  max_backof: 3",
            "f:2:3: grpc.max_backof is not a key that is known; did you mean `max_backoff`?",
        ),
        (
            "grpc:\n  max_calls: 3",
            "f:2:3: grpc.max_calls is not a key that is known; write `queue: {max_calls: 3}`",
        ),
        (
            "grpc:\n  queue.max_calls: 3",
            "f:2:3: grpc.queue.max_calls is not a key that is known; write `queue: {max_calls: 3}`",
        ),
        (
            "grpc:\n  queue: {max_cals: 3}",
            "f:2:11: grpc.queue.max_cals is not a key that is known; did you mean `max_calls`?",
        ),
        ("grpc:\n  queue: 3", "f:2:3: grpc.queue is 3, but must be a section of keys"),
        ("grpc:\n  colour: red", "f:2:3: grpc.colour is not a key that is known"),
        (
            "grpc:\n  maxBackoff: 3",
            "f:2:3: grpc.maxBackoff is not a key that is known; write `max_backoff: 3`",
        ),
        (
            "grpc:\n  max_attempts: 4",
            "f:2:3: grpc.max_attempts is not a key that is known; write `max_retry_attempts: 3`, \
             which does not count \
             the first attempt",
        ),
        (
            "grpc:\n  grpc.keepalive_time_ms: 30000",
            "f:2:3: grpc.grpc.keepalive_time_ms is not a key that is known; write \
             `keepalive_time: 30000ms`",
        ),
        (
            "grpc:\n  ca_cert: ca.pem",
            "f:2:3: grpc.ca_cert is not a key that is known; write `tls: {ca: \"ca.pem\"}`",
        ),
        (
            "grpc:\n  tls: {cafile: ca.pem}",
            "f:2:9: grpc.tls.cafile is not a key that is known; write `tls: {ca: \"ca.pem\"}`",
        ),
        (
            "grpc:\n  insecure_skip_verify: true",
            "f:2:3: grpc.insecure_skip_verify is not a key that is known; the server is always \
             verified: name its \
             authority with `tls: {ca: FILE}`, or the name in its certificate with `tls: \
             {server_name: NAME}`",
        ),
        (
            "grpc:\n  insecure: true",
            "f:2:3: grpc.insecure is not a key that is known; links are plaintext unless \
             `use_tls: true`, a key below \
             `tls` or an `https` target says otherwise: leave it out",
        ),
        (
            "grpc:\n  tls: true",
            "f:2:3: grpc.tls is true, but must be a section of keys; write `use_tls: true`",
        ),
        (
            "grpc:\n  tls: {enabled: true}",
            "f:2:9: grpc.tls.enabled is not a key that is known; write `use_tls: true`",
        ),
        (
            "grpc:\n  url: http://queue:1",
            "f:2:3: grpc.url is not a key that is known; write `target: \"http://queue:1\"`",
        ),
        (
            "grpc:\n  methodConfig: []",
            "f:2:3: grpc.methodConfig is not a key that is known; write `methods:` with an entry \
             for each, such as \
             `\"pkg.Service/Method\": {kind: unary}`",
        ),
        (
            "grpc:\n  <<: {port: 1}",
            "f:2:3: grpc.<< is not a key, but a merge key of YAML, which is not read: write the \
             keys themselves here",
        ),
        (
            "grpc:\n  methods: {a/b: {kin: unary}}",
            "f:2:19: grpc.methods.\"a/b\".kin is not a key of a method; did you mean `kind`?",
        ),
        (
            "grpc:\n  methods: {a/b: {waitForReady: true}}",
            "f:2:19: grpc.methods.\"a/b\".waitForReady is not a key of a method; write \
             `wait_for_ready: true`",
        ),
        (
            "grpc:\n  methods: {a/b: {port: 1}}",
            "f:2:19: grpc.methods.\"a/b\".port is not a key of a method; it holds for all calls: \
             write it directly \
             under `grpc:`",
        ),
        (
            "grpc:\n  methods: {a/b: unary}",
            "f:2:13: grpc.methods.\"a/b\" is \"unary\", but must be a section of keys; write \
             `kind: \"unary\"`",
        ),
        (
            "grpc:\n  methods: [a/b]",
            "f:2:3: grpc.methods is a list, but must be a section of keys, such as \
             `\"pkg.Service/Method\": {kind: unary}`",
        ),
        ("grpc:\n\thost: x", "f:2:1: is a tab before the key: indent with spaces"),
        ("grpc:\n  host: x\n\tport: 1", "f:3:1: is a tab before the key: indent with spaces"),
        ("grpc:\n  host: \"queue\n  port: 1\n", "f:2:9: is a quote that is never closed"),
        (
            "grpc:\n  host: \"queue\n  target: \"x:1\"\n",
            "f:2:9: is a quote that is not closed on its line",
        ),
        ("grpc:\n  port: 1\n  port: 2\n", "f:3:3: grpc: the key `port` stands here a second time"),
    ];
    for (text, problem) in cases {
        assert_eq!(problems(text), [problem], "{text:?}");
    }
}

#[test]
fn the_keys_of_another_programs_section_are_told_as_well() {
    assert_eq!(
        problems("grpc:\n  retry: {max_attempts: 4, maxBackoff: 9, initial_backoff: 1}\n"),
        [
            "f:2:3: grpc.retry is not a key that is known; its keys stand one level higher here",
            "f:2:11: grpc.retry.max_attempts is not a key that is known; write \
             `max_retry_attempts: 3`, which does \
             not count the first attempt",
            "f:2:28: grpc.retry.maxBackoff is not a key that is known; write `max_backoff: 9`",
        ]
    );
}
