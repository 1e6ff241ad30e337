//! The command `tonic-supervisor`, from outside: its words and its exit codes.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Output, Stdio},
};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"));
    command.args(arguments);
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the command runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Everything the process and its children still say: returns when all of them have ended.
fn remains(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
    text
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    for (arguments, text) in [
        (&["fly"][..], "unrecognized subcommand 'fly'"),
        (&["demo", "--fast"], "unexpected argument '--fast'"),
        (&["check-config"], "check-config needs a file"),
        (&["soak", "--minutes", "1"], "1 is not in 2.."),
        (&[], "Usage"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(text), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_configuration_that_cannot_be_read_exits_with_3_and_is_named() {
    let output = run(&["check-config", "/nowhere/grpc.yaml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("/nowhere/grpc.yaml"), "{}", stderr(&output));
}

#[test]
fn each_problem_of_a_configuration_is_a_line_with_file_line_and_key() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("grpc.yaml");
    std::fs::write(&file, "grpc:\n  max_retry_attemps: 3\n  max_backoff: -1\n").expect("written");
    let output = run(&["check-config", file.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(3));
    let said = stderr(&output);
    assert!(
        said.contains("grpc.yaml:2:3") && said.contains("did you mean") && said.contains("max_retry_attempts"),
        "{said}"
    );
    assert!(said.contains("grpc.yaml:3") && said.contains("grpc.max_backoff"), "{said}");
}

#[test]
fn the_help_names_the_exit_codes_and_hides_the_demos_server() {
    let output = run(&["--help"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("130 interrupted") && text.contains("demo") && !text.contains("demo-server"), "{text}");
}

#[cfg(unix)]
#[test]
fn the_demo_prints_json_lines_with_a_summary_last_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("folder");
    let output = command(&["demo", "--json"]).env("TMPDIR", folder.path()).output().expect("the demo runs");
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().all(|line| line["kind"].is_string()));
    let faults: Vec<_> = lines.iter().filter(|line| line["kind"] == "chaos" && line["step"] == "over").collect();
    assert_eq!(faults.len(), 4, "{}", stderr(&output));

    let summary = lines.last().expect("a summary");
    assert_eq!(summary["kind"], "summary");
    let names =
        ["calls", "ok", "failed", "lost", "executed_twice", "retries", "transparent_retries", "dials", "reconnects"];
    for side in ["supervised", "plain"] {
        for name in names {
            assert!(summary[side][name].is_u64(), "{side}.{name} in {summary}");
        }
        for fault in ["kill", "freeze", "restart", "unavailable"] {
            assert!(summary[side]["recoveries_ms"].get(fault).is_some(), "{side}.{fault} in {summary}");
        }
    }
    assert!(summary["plain"]["failed"].as_u64() > Some(0), "the script does hurt: {summary}");
    let harm = ["failed", "lost", "executed_twice"].map(|name| summary["supervised"][name].as_u64());
    assert_eq!(harm, [Some(0); 3], "{summary}");
    assert_eq!(output.status.code(), Some(0), "{summary}");
    assert_eq!(folder.path().read_dir().expect("folder").count(), 0, "its own folder is removed");
}

#[cfg(unix)]
#[test]
fn an_interrupted_demo_exits_with_130_and_takes_its_server_along() {
    let folder = tempfile::tempdir().expect("folder");
    let mut demo = command(&["demo", "--json"]).env("TMPDIR", folder.path()).spawn().expect("the demo starts");
    let mut first = String::new();
    let mut said = BufReader::new(demo.stdout.take().expect("piped"));
    said.read_line(&mut first).expect("a line");
    assert!(first.contains(r#""kind":"start""#), "{first}");
    let sent = Command::new("kill").arg("-INT").arg(demo.id().to_string()).status().expect("kill");
    assert!(sent.success());
    assert!(remains(&mut demo).contains("interrupted"));
    assert_eq!(demo.wait().expect("ended").code(), Some(130));
    assert_eq!(folder.path().read_dir().expect("folder").count(), 0, "its own folder is removed");
}

#[cfg(unix)]
#[test]
fn the_demos_server_ends_with_its_parent() {
    let folder = tempfile::tempdir().expect("folder");
    let journal = folder.path().join("journal");
    let mut server = command(&["demo-server", "--listen", "127.0.0.1:0", "--journal"])
        .arg(&journal)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut said = BufReader::new(server.stdout.take().expect("piped")).lines();
    assert_eq!(said.next().expect("a line").expect("text"), "listening");
    assert_eq!(said.next().expect("a line").expect("text"), "serving");
    drop(server.stdin.take());
    assert_eq!(remains(&mut server), "");
    assert_eq!(server.wait().expect("ended").code(), Some(0));
}
