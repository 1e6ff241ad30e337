//! The command `tonic-supervisor`, from outside: its words and its exit codes.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Output, Stdio},
};

pub(super) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"));
    command.args(arguments);
    command
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(super) fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the command runs")
}

pub(super) fn stderr(output: &Output) -> String {
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
        (&["call", "queue"], "TARGET \"queue\" must name a port"),
        (&["call", "queue:1", "liste"], "is no method: write pkg.Service/Method"),
        (&["call", "queue:1", "describe"], "describe needs what to describe"),
        (&["call", "queue:1", "a.B/C", "-H", "x"], "there is no colon"),
        (&["call", "queue:1", "list", "-d", "{}"], "-d is for a call"),
        (&["demo-server", "--journal", "j", "--listen", "http://localhost:1"], "must be HOST:PORT"),
        (&[], "Usage"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(text), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_call_that_cannot_connect_exits_with_4_at_once() {
    let output = run(&["call", "127.0.0.1:1", "list"]);
    assert_eq!((output.status.code(), output.stdout), (Some(4), Vec::new()));
    let output = run(&["call", "127.0.0.1:1", "--wait", "--timeout", "0.1"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("within 0.100 s"), "{}", stderr(&output));
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
        said.contains("grpc.yaml:2:3")
            && said.contains("did you mean")
            && said.contains("max_retry_attempts"),
        "{said}"
    );
    assert!(said.contains("grpc.yaml:3") && said.contains("grpc.max_backoff"), "{said}");
}

/// What `check-config` prints about `text`, in a file of its own: exit code, output, errors.
pub(super) fn checked(text: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("grpc.yaml"), text).expect("written");
    let mut command = command(&["check-config", "grpc.yaml"]);
    let output = command.args(more).current_dir(folder.path()).output().expect("the command runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output))
}

#[test]
fn problems_are_told_in_the_order_of_the_file_and_in_one_form() {
    let (code, said, errors) = checked("grpc:\n  port: 0\n  retries: 3\n  max_backoff: -1\n", &[]);
    let lines = [
        "grpc.yaml:2:3: grpc.port is 0, but must be a whole number from 1 to 65535",
        "grpc.yaml:3:3: grpc.retries is not a key that is known; write `max_retry_attempts: 3`",
        "grpc.yaml:4:3: grpc.max_backoff is -1, but must not be negative",
    ];
    assert_eq!(
        (code, said.as_str(), errors.lines().collect::<Vec<_>>()),
        (Some(3), "", lines.to_vec())
    );
}

#[test]
fn warnings_and_notes_of_a_valid_file_are_printed() {
    let (code, said, errors) = checked("grpc:\n  keepalive_time: 30000\n", &[]);
    assert_eq!((code, said.as_str()), (Some(0), "grpc.yaml is valid\n"));
    assert!(
        errors.starts_with(
            "warning: grpc.yaml:2:3: grpc.keepalive_time is 30000, which is in seconds"
        ),
        "{errors}"
    );
    assert!(
        errors.contains("\nnote: grpc.yaml:2:3: grpc.keepalive_time is 30000, which leaves a call"),
        "{errors}"
    );
    let (_, said, _) = checked("grpc:\n  keepalive_floor: 1\n", &["--json"]);
    let lines: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines[0]["kind"], "warning", "{said}");
    assert_eq!(lines[1]["valid"], true, "{said}");
}

#[test]
fn a_file_without_the_section_is_not_valid() {
    for text in ["", "web: {port: 80}\n"] {
        let (code, _, errors) = checked(text, &[]);
        assert_eq!(code, Some(3), "{text:?}");
        assert_eq!(errors, "grpc.yaml: has no section `grpc`, so that every key has its default\n");
    }
    assert_eq!(checked("grpc:\n", &[]).0, Some(0));
}

#[test]
fn the_configuration_that_holds_is_shown_with_its_sources() {
    let text = "grpc:\n  queue:\n    max_calls: 7\n  methods:\n    a.B/C: {kind: unary}\n";
    let (code, said, _) = checked(text, &["--show-effective"]);
    assert_eq!(code, Some(0));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = said.lines().map(words).collect();
    for line in [
        "max_retry_attempts: 3 # default",
        "max_calls: 7 # grpc.yaml:3:5",
        "\"a.B/C\":",
        "kind: unary # grpc.yaml:5:13",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} in {said}");
    }
    // It is a file itself, and means the same.
    let (config, shown) =
        (tonic_supervisor::Config::from_yaml(text), tonic_supervisor::Config::from_yaml(&said));
    assert_eq!(shown, config);
    let (_, said, _) = checked(text, &["--show-effective", "--json"]);
    assert!(
        said.contains(
            r#""from":"grpc.yaml:3:5","key":"grpc.queue.max_calls","kind":"setting","value":"7""#
        ),
        "{said}"
    );
}

#[test]
fn the_template_and_the_schema_are_printed() {
    let output = run(&["check-config", "--template"]);
    let template = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        template.contains("\ngrpc:\n") && template.contains("\n  #max_backoff: 10.0\n"),
        "{template}"
    );
    assert_eq!(checked(&template, &[]).0, Some(0));
    let output = run(&["check-config", "--schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(schema["properties"]["grpc"]["properties"]["port"]["maximum"], 65_535);
}

#[test]
fn the_files_of_tls_are_looked_at() {
    let folder = tempfile::tempdir().expect("folder");
    let write =
        |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).expect("written");
    let pair = || {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(["agent".to_owned()]).expect("a name");
        (params.self_signed(&key).expect("signed").pem(), key.serialize_pem())
    };
    let ((one, one_key), (_, other_key)) = (pair(), pair());
    write("one.pem", one.as_bytes());
    write("one.key", one_key.as_bytes());
    write("other.key", other_key.as_bytes());
    write("marked.pem", format!("\u{feff}{one}").as_bytes());
    write("empty.pem", b"");
    for (tls, expected) in [
        ("{ca: one.pem, certificate: one.pem, key: one.key}", ""),
        (
            "{ca: nowhere.pem}",
            "grpc.yaml:3:9: grpc.tls.ca is nowhere.pem, but the file cannot be read: No such file \
             or directory",
        ),
        (
            "{ca: marked.pem}",
            "grpc.yaml:3:9: grpc.tls.ca is marked.pem, but the file begins with a byte order \
             mark: save it as UTF-8",
        ),
        (
            "{ca: empty.pem}",
            "grpc.yaml:3:9: grpc.tls.ca is empty.pem, but the file has no certificate in PEM",
        ),
        (
            "{certificate: one.pem, key: other.key}",
            "grpc.yaml:3:31: grpc.tls.key is other.key, but the file does not belong to \
             grpc.tls.certificate",
        ),
        (
            "{certificate: one.pem, key: one.pem}",
            "but a certificate: was it taken for the other file?",
        ),
    ] {
        write("grpc.yaml", format!("grpc:\n  host: queue\n  tls: {tls}\n").as_bytes());
        let mut command = command(&["check-config", "grpc.yaml"]);
        let output = command.current_dir(folder.path()).output().expect("the command runs");
        assert_eq!(output.status.code(), Some(if expected.is_empty() { 0 } else { 3 }), "{tls}");
        assert!(stderr(&output).contains(expected), "{tls}: {}", stderr(&output));
    }
}

/// Every command that the help names, and the program itself.
fn helps() -> Vec<Vec<&'static str>> {
    let commands: &[&str] = if cfg!(unix) {
        &["demo", "soak", "serve", "agent", "check-config", "completions", "man"]
    } else {
        &["demo", "check-config", "completions", "man"]
    };
    commands
        .iter()
        .map(|command| vec!["help", command])
        .chain([vec!["--help"], vec!["-h"]])
        .collect()
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
    arguments.extend([
        vec!["kee"],
        vec!["demo-serve"],
        vec!["help", "keep"],
        vec!["help", "demo-server"],
    ]);
    for arguments in arguments {
        let output = run(&arguments);
        let text = [output.stdout.clone(), output.stderr.clone()].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        // What was asked for is said again; what else is said are the program's own words.
        let names = |line: &str| {
            line.contains("demo-server")
                || line.contains("'keep'")
                || line.trim_start().starts_with("keep ")
        };
        let named =
            text.lines().any(|line| !line.contains("unrecognized subcommand") && names(line));
        assert!(!named, "{arguments:?}\n{text}");
    }
}

#[cfg(all(unix, not(feature = "serve")))]
#[test]
fn serve_without_its_feature_says_which_one_it_needs() {
    for arguments in [
        &["serve"][..],
        &["serve", "--addr", "localhost:1"],
        &["serve", "--help"],
        &["--json", "serve"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = stderr(&output);
        assert!(
            said.contains("serve is not in this build") && said.contains("--features serve"),
            "{said}"
        );
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
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().all(|line| line["kind"].is_string()));
    let faults: Vec<_> =
        lines.iter().filter(|line| line["kind"] == "chaos" && line["step"] == "over").collect();
    assert_eq!(faults.len(), 4, "{}", stderr(&output));

    let summary = lines.last().expect("a summary");
    assert_eq!(summary["kind"], "summary");
    let harm = ["failed", "lost", "executed_twice", "longest_wait_ms"];
    let counts = ["calls", "ok", "retries", "transparent_retries", "dials", "reconnects"];
    let outages: Vec<_> = lines.iter().filter(|line| line["kind"] == "outage").collect();
    let faults: Vec<_> =
        outages.iter().map(|outage| outage["fault"].as_str().expect("a name")).collect();
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
    let harm =
        ["failed", "lost", "executed_twice"].map(|name| summary["supervised"][name].as_u64());
    assert_eq!(harm, [Some(0); 3], "{summary}");
    assert_eq!(output.status.code(), Some(0), "{summary}");
    assert_eq!(folder.path().read_dir().expect("folder").count(), 0, "its own folder is removed");

    let svg = std::fs::read_to_string(&picture).expect("the picture");
    assert!(
        svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.len() < 300_000,
        "{} bytes",
        svg.len()
    );
    let failed = summary["plain"]["failed"].as_u64().expect("a number");
    assert!(svg.contains(&format!("{failed} failed")) && svg.contains("READY"), "{svg}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_demo_exits_with_130_and_takes_its_server_along() {
    let folder = tempfile::tempdir().expect("folder");
    let mut demo =
        command(&["demo", "--json"]).env("TMPDIR", folder.path()).spawn().expect("the demo starts");
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
