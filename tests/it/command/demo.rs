//! `demo --servers`: several servers, each of which is harmed, and no call that fails.

use serde_json::Value;
use std::process::{Command, Output, Stdio};

fn demo(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"));
    command.arg("demo").args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command.output().expect("the command runs")
}

#[test]
fn of_three_servers_each_is_harmed_and_back_and_no_supervised_call_fails() {
    let folder = tempfile::tempdir().expect("folder");
    let picture = folder.path().join("demo.svg");
    let file = picture.to_str().expect("text");
    let output = demo(&["--servers", "3", "--json", "--report", file]);
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let of_kind = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(lines[0]["addresses"].as_array().map(Vec::len), Some(3), "{}", lines[0]);
    let begun = of_kind("chaos").into_iter().filter(|line| line["step"] == "begins");
    let begun: Vec<_> = begun.map(|line| line["text"].as_str().expect("text")).collect();
    for (text, server) in begun.iter().zip(["server 1", "server 2", "server 3", "server 1"]) {
        assert!(text.contains(server), "{begun:?}");
    }

    let summary = lines.last().expect("a summary");
    let servers = of_kind("server");
    assert_eq!((&summary["kind"], servers.len()), (&Value::from("summary"), 3), "{summary}");
    let harm = ["failed", "lost", "executed_twice"].map(|name| &summary["supervised"][name]);
    assert_eq!(harm, [0, 0, 0], "{summary}");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    // The plain side's dials are tonic's own: nobody counts them.
    assert!(summary["supervised"]["dials"].is_u64() && summary["plain"]["dials"].is_null());

    let mut answered = 0;
    for server in &servers {
        assert_eq!(server["state"], "READY", "{server}");
        assert!(server["plain_calls"].is_u64(), "{server}");
        answered += server["supervised_calls"].as_u64().expect("a number");
    }
    // One was killed, one stood still for longer than keepalive waits. The one that was replaced
    // may have been away for less than a millisecond.
    for lost in &servers[..2] {
        assert!(lost["away_ms"].as_u64() >= Some(500), "it was lost for a while: {lost}");
    }
    // Half a share at least, for all that befell it.
    let ok = summary["supervised"]["ok"].as_u64().expect("a number");
    let share = |server: &&&Value| server["supervised_calls"].as_u64() >= Some(ok / 6);
    assert_eq!((answered, servers.iter().filter(share).count()), (ok, 3), "{servers:?}");

    let svg = std::fs::read_to_string(&picture).expect("the picture");
    for words in ["outages of 3 servers", "server 1", "server 2", "server 3"] {
        assert!(svg.contains(words), "{words}");
    }
}

#[test]
fn there_are_one_to_eight_servers() {
    for number in ["0", "9", "three"] {
        let output = demo(&["--servers", number]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(number) && text.contains("--servers <N>"), "{text}");
    }
}
