//! The demo over TLS, from outside.

use super::certificates::{Authority, NOW};
use serde_json::Value;
use std::{
    fs,
    process::{Command, Output},
};

fn demo(config: &str) -> Output {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Authority::new("authority");
    fs::write(folder.path().join("ca.pem"), &authority.pem).expect("written");
    authority.both("127.0.0.1", NOW).write(folder.path(), "both");
    let file = folder.path().join("grpc.yaml");
    fs::write(&file, config.replace("FOLDER", &folder.path().display().to_string()))
        .expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"));
    command.args(["demo", "--json", "--config"]).arg(file).env("TMPDIR", folder.path());
    command.output().expect("the demo runs")
}

#[test]
fn the_demo_loses_nothing_over_tls_with_certificates_on_both_sides() {
    let output = demo(
        "grpc:\n  tls: {ca: FOLDER/ca.pem, certificate: FOLDER/both.pem, key: FOLDER/both.key}\n",
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary: Value =
        serde_json::from_str(text.lines().last().unwrap_or_default()).expect("a summary");
    let harm =
        ["failed", "lost", "executed_twice"].map(|name| summary["supervised"][name].as_u64());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((harm, output.status.code()), ([Some(0); 3], Some(0)), "{summary} {said}");
    assert!(summary["plain"]["ok"].as_u64() > Some(0), "the plain side speaks TLS, too: {summary}");
}

#[test]
fn a_demo_without_certificates_for_its_server_says_what_is_missing() {
    let output = demo("grpc: {use_tls: true}\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(said.contains("needs grpc.tls.ca, grpc.tls.certificate and grpc.tls.key"), "{said}");
}
