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
        (&["demo", "--report", "/nowhere/demo.svg"], "there is no folder /nowhere"),
        (&["demo", "--report", "/"], "that is a folder"),
        (&["demo-server", "--journal", "j", "--listen", "http://localhost:1"], "must be HOST:PORT"),
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

/// Every command that the help names, and the program itself.
fn helps() -> Vec<Vec<&'static str>> {
    let commands: &[&str] =
        if cfg!(unix) { &["demo", "soak", "serve", "agent", "check-config"] } else { &["demo", "check-config"] };
    commands.iter().map(|command| vec!["help", command]).chain([vec!["--help"], vec!["-h"]]).collect()
}

#[test]
fn every_help_names_the_exit_codes_and_fits_into_80_columns() {
    for arguments in helps() {
        let output = command(&arguments).env_remove("COLUMNS").output().expect("the command runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{arguments:?}\n{text}");
        let absent = text.contains("Not in this build");
        assert!(text.contains("130 interrupted") || absent, "{arguments:?}\n{text}");
    }
}

#[test]
fn no_help_and_no_suggestion_names_what_the_program_starts_itself() {
    let mut arguments = helps();
    arguments.extend([vec!["kee"], vec!["demo-serve"], vec!["help", "keep"], vec!["help", "demo-server"]]);
    for arguments in arguments {
        let output = run(&arguments);
        let text = [output.stdout.clone(), output.stderr.clone()].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        // What was asked for is said again; what else is said are the program's own words.
        let names = |line: &str| {
            line.contains("demo-server") || line.contains("'keep'") || line.trim_start().starts_with("keep ")
        };
        let named = text.lines().any(|line| !line.contains("unrecognized subcommand") && names(line));
        assert!(!named, "{arguments:?}\n{text}");
    }
}

#[cfg(all(unix, not(feature = "serve")))]
#[test]
fn serve_without_its_feature_says_which_one_it_needs() {
    for arguments in [&["serve"][..], &["serve", "--addr", "localhost:1"], &["serve", "--help"], &["--json", "serve"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = stderr(&output);
        assert!(said.contains("serve is not in this build") && said.contains("--features serve"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[cfg(unix)]
#[test]
fn the_demo_prints_json_lines_with_a_summary_last_draws_and_leaves_nothing_behind() {
    let [folder, reports] = [(); 2].map(|()| tempfile::tempdir().expect("folder"));
    let picture = reports.path().join("demo.svg");
    let mut demo = command(&["demo", "--json", "--report"]);
    let output = demo.arg(&picture).env("TMPDIR", folder.path()).output().expect("the demo runs");
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().all(|line| line["kind"].is_string()));
    let faults: Vec<_> = lines.iter().filter(|line| line["kind"] == "chaos" && line["step"] == "over").collect();
    assert_eq!(faults.len(), 4, "{}", stderr(&output));

    let summary = lines.last().expect("a summary");
    assert_eq!(summary["kind"], "summary");
    let harm = ["failed", "lost", "executed_twice", "longest_wait_ms"];
    let counts = ["calls", "ok", "retries", "transparent_retries", "dials", "reconnects"];
    let outages: Vec<_> = lines.iter().filter(|line| line["kind"] == "outage").collect();
    let faults: Vec<_> = outages.iter().map(|outage| outage["fault"].as_str().expect("a name")).collect();
    assert_eq!(faults, ["kill", "freeze", "restart", "unavailable"]);
    for side in ["supervised", "plain"] {
        for name in harm.iter().chain(&counts) {
            assert!(summary[side][name].is_u64(), "{side}.{name} in {summary}");
        }
        for (outage, name) in outages.iter().flat_map(|outage| harm.map(|name| (outage, name))) {
            let (one, all) = (outage[side][name].as_u64(), summary[side][name].as_u64());
            assert!(one.is_some() && one <= all, "{side}.{name} in {outage}");
        }
    }
    let frozen = outages[1]["supervised"]["longest_wait_ms"].as_u64();
    assert!(frozen >= Some(400), "calls waited while the server stood still: {}", outages[1]);
    assert!(summary["plain"]["failed"].as_u64() > Some(0), "the script does hurt: {summary}");
    let harm = ["failed", "lost", "executed_twice"].map(|name| summary["supervised"][name].as_u64());
    assert_eq!(harm, [Some(0); 3], "{summary}");
    assert_eq!(output.status.code(), Some(0), "{summary}");
    assert_eq!(folder.path().read_dir().expect("folder").count(), 0, "its own folder is removed");

    let svg = std::fs::read_to_string(&picture).expect("the picture");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.len() < 300_000, "{} bytes", svg.len());
    let failed = summary["plain"]["failed"].as_u64().expect("a number");
    assert!(svg.contains(&format!("{failed} failed")) && svg.contains("READY"), "{svg}");
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
    let mut server = command(&["demo-server", "--listen", "localhost:0", "--journal"])
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
