//! `check-config --plan`: its words and its JSON. That its times are true is tested in
//! `retries/planned.rs`.

use super::cli::checked;
use serde_json::{Value, json};
use std::{fs, path::Path};

/// What is printed about a method of a file; notes and warnings aside.
fn plan(text: &str, method: &str) -> String {
    let (code, said, errors) = checked(text, &["--plan", method]);
    assert_eq!(code, Some(0), "{errors}");
    said
}

#[track_caller]
fn says(plan: &str, words: &[&str]) {
    // Lines may be broken anywhere.
    let text = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in words {
        assert!(text.contains(words), "{words:?} in\n{plan}");
    }
}

/// The example of both guides is what the command prints about the file above it.
#[test]
fn the_plan_in_the_guides_is_what_the_command_prints() {
    for page in ["docs/guide.md", "docs/zh/guide.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page));
        let text = text.expect("the page");
        let start = "$ tonic-supervisor check-config grpc.yaml --plan ";
        let (before, after) = text.split_once(start).expect("an example");
        let (method, printed) = after.split_once('\n').expect("what it prints");
        let printed = printed.split("```").next().expect("an end");
        let yaml = before.rsplit("```yaml\n").next().and_then(|rest| rest.split("```").next());
        assert_eq!(plan(yaml.expect("a file"), method), printed, "{page}");
    }
}

#[test]
fn each_value_says_who_said_it() {
    let text = "grpc:\n  initial_backoff: 0.5\n  reconnect:\n    waiting_max_backoff: 3\n  \
                methods:\n    \"a.B/*\": {timeout: 90, kind: unary}\n    \"a.B/C\":\n      \
                max_retry_attempts: 1\n      idempotent: false\n";
    says(
        &plan(text, "a.B/C"),
        &[
            "a.B/C: unary (grpc.yaml:6:28), not idempotent (grpc.yaml:9:7), deadline 90 s \
         (grpc.yaml:6:15)",
            "at most 1 retry (grpc.yaml:8:7), waits from 0.5 s (grpc.yaml:2:3) times 2 (default)",
            "attempt 1 at 0.0 s, and no other: the server may have acted on it (idempotent: false, \
         grpc.yaml:9:7)",
            "(+-20 %; reconnect.waiting_max_backoff: grpc.yaml:4:5, else default)",
            "load in an outage: 1 request per call",
            "note: a rolling restart that answers UNAVAILABLE costs calls, however short it is",
        ],
    );
    says(
        &plan(text, "other.B/C"),
        &[
            "other.B/C: auto (default), idempotent (default), at most 60 s off the wire (default)",
            "nothing ends the call: timeout does not bound it on the wire",
        ],
    );
}

#[test]
fn what_is_unusual_is_said_in_words() {
    let methods = |own: &str| format!("grpc:\n  methods:\n    \"a.B/C\": {{{own}}}\n");
    says(
        &plan(&methods("kind: streaming"), "a.B/C"),
        &[
            "attempt 1 at 0.0 s, and no other: the method streams",
            "no retries by policy: a stream is sent again only if",
            "nothing ends the call but a deadline of its own",
        ],
    );
    let endless = "kind: unary, max_retry_attempts: unlimited, initial_backoff: 0.1, \
                   max_backoff: 0.1, backoff_jitter: 0.125";
    let text = plan(&methods(endless), "a.B/C");
    says(
        &text,
        &[
            "attempt 12 at 1.1 s, wait 0.1; and so on: ",
            "retries without limit, until the time is over (grpc.yaml:3:28)",
            "each +-12.5 % (grpc.yaml:3:",
            "longer than about ",
        ],
    );
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    says(
        &plan(&methods("kind: unary, timeout: none, attempt_timeout: 2"), "a.B/C"),
        &[
            "no deadline (grpc.yaml:3:28), 2 s per attempt (grpc.yaml:3:43)",
            "attempts at 0.0 3.0 7.0 13.0 s; fails after 15.0 s with DEADLINE_EXCEEDED in attempt \
             4 (attempt_timeout 2 s, grpc.yaml:3:43)",
            "no link: waits for as long as that lasts (timeout: none, grpc.yaml:3:28)",
        ],
    );
    let hasty = "wait_for_ready: false, retryable_status_codes: [ABORTED]";
    says(
        &plan(&methods(hasty), "a.B/C"),
        &[
            "does not wait for a link (grpc.yaml:3:15)",
            "after ABORTED: attempt 1 at 0.0 s, wait 1.0;",
            "UNAVAILABLE at once: the call fails after 0.0 s with it: UNAVAILABLE is not",
            "no link: fails when a dial has failed, after 0.0 s if that is refused, after 20.0 s \
             if nobody answers",
        ],
    );
    let off = "grpc:\n  keepalive_time: none\n  retry_throttle: {enabled: false}\n";
    says(
        &plan(off, "a.B/C"),
        &[
            "nothing notices a dead path (keepalive_time: none, grpc.yaml:2:3)",
            "4 requests per call, of a busy client, too (retry_throttle.enabled: false, \
             grpc.yaml:3:20)",
        ],
    );
    let several = "grpc:\n  balancing: {policy: round_robin}\n";
    says(&plan(several, "a.B/C"), &["note: several servers share the calls"]);
    let tokens = "grpc:\n  retry_throttle: {max_tokens: 10, token_ratio: 0.1}\n";
    says(&plan(tokens, "a.B/C"), &["a busy one 1 per call while less than half of 10 tokens"]);
}

#[test]
fn a_plan_is_one_object_of_json_with_seconds() {
    let (code, said, _) = checked("grpc:\n  timeout: 90\n", &["--plan", "a.B/C", "--json"]);
    assert_eq!(code, Some(0));
    let lines: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let plan = lines.iter().find(|line| line["kind"] == "plan").expect("a plan");
    assert_eq!((&plan["method"], &plan["call"]), (&json!("a.B/C"), &json!("auto")));
    let first = json!({"at": 0.0, "ends": 0.0, "wait": 1.0});
    assert_eq!(plan["unavailable"]["attempts"][0], first);
    assert_eq!((&plan["unavailable"]["made"], &plan["silent"]["end"]), (&json!(4), &Value::Null));
    assert_eq!(plan["unavailable"]["end"]["code"], "UNAVAILABLE");
    assert_eq!(
        plan["refused"]["end"],
        json!({
            "at": 90.0, "code": "DEADLINE_EXCEEDED", "not_retried": null
        })
    );
    assert_eq!(plan["dropped"]["dials"], json!([0.0, 20.0, 40.0, 60.0, 80.0]));
    let timeout = json!({"key": "grpc.timeout", "value": "90", "from": "grpc.yaml:2:3"});
    assert!(plan["settings"].as_array().expect("a list").contains(&timeout), "{plan}");
    assert_eq!(lines.last().expect("a verdict")["valid"], true);
}

#[test]
fn a_method_that_is_none_is_wrong_usage_and_a_wrong_file_is_a_wrong_file() {
    for (method, advice) in [
        ("/a.B/C", "; write `a.B/C`"),
        ("a.B.C", "; write `a.B/C`"),
        ("a.B/*", ""),
        ("a.B", ""),
        ("", ""),
    ] {
        let (code, said, errors) = checked("grpc:\n  port: 0\n", &["--plan", method]);
        let sentence = format!(
            "tonic-supervisor: {method:?} is not a method: it must be \
             `pkg.Service/Method`{advice}\n"
        );
        assert_eq!((code, said.as_str(), errors), (Some(2), "", sentence));
    }
    let (code, said, errors) = checked("grpc:\n  port: 0\n", &["--plan", "a.B/C"]);
    assert_eq!((code, said.as_str()), (Some(3), ""));
    assert!(errors.starts_with("grpc.yaml:2:3: grpc.port is 0"), "{errors}");
}
