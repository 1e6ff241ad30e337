//! `check-config`: prints what is wrong with a configuration file, or that it is valid; what a file
//! may have in it (`--template`, `--schema`); the values in force (`--show-effective`); and what
//! they mean for one method (`--plan`).

use crate::{CliError, stdout::Stdout};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tonic_supervisor::{
    CallKind, Config, ConfigError,
    config::Plan,
    policy::{CallPlan, DialPlan, PlannedEnd, code_names},
    printable,
    transport::check_tls_files,
};

/// Both files are written from the table of keys; the library's tests hold them to it.
const EVERY_KEY: &str = include_str!("../../../config/grpc.yaml");
const SCHEMA: &str = include_str!("../../../config/grpc.schema.json");

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArguments {
    /// The YAML file; without it, the one given by --config.
    file: Option<PathBuf>,
    /// Print every key, its value and who said it: a line of the file, a variable, or default.
    #[arg(long)]
    show_effective: bool,
    /// Print what becomes of calls of this method, pkg.Service/Method: attempts, waits, dials and
    /// ends, if the server fails or falls silent, or there is no link.
    #[arg(long, value_name = "METHOD")]
    plan: Option<String>,
    /// Print a file with every key, each behind a `#`, and check nothing.
    #[arg(long, conflicts_with_all = ["file", "show_effective", "plan", "schema"])]
    template: bool,
    /// Print the JSON Schema of a file, for editors, and check nothing.
    #[arg(long, conflicts_with_all = ["file", "show_effective", "plan"])]
    schema: bool,
}

/// Fails with one line per problem.
pub(crate) fn run(
    arguments: CheckArguments,
    config: Option<PathBuf>,
    json: bool,
) -> Result<(), CliError> {
    let stdout = Stdout::new();
    if arguments.template || arguments.schema {
        let text = if arguments.schema { SCHEMA.to_owned() } else { template() };
        text.lines().for_each(|line| stdout.line(line));
        return Ok(());
    }
    let missing = || CliError::Usage("check-config needs a file".into());
    let file = arguments.file.or(config).ok_or_else(missing)?;
    if let Some(method) = &arguments.plan {
        // A wrong name is wrong usage, whatever is in the file.
        Config::default().plan(method).map_err(|error| CliError::Usage(error.to_string()))?;
    }
    check(&file, arguments.show_effective, arguments.plan.as_deref(), json)
}

fn check(file: &Path, show: bool, planned: Option<&str>, json: bool) -> Result<(), CliError> {
    let stdout = Stdout::new();
    let name = file.display().to_string();
    let object = |kind: &str, text: &str| {
        stdout.line(&json!({ "kind": kind, "file": name, "text": text }).to_string());
    };
    let refused = |error: ConfigError| {
        if json {
            error.problems().iter().for_each(|problem| object("problem", &problem.to_string()));
        }
        CliError::Config(error.to_string())
    };
    let config = Config::builder()
        .file(file)
        .require_section(true)
        .environment()
        .build()
        .map_err(refused)?;
    if show {
        effective(&config, &name, json);
    }
    let doubts = [("warning", config.warnings()), ("note", config.notes())];
    for (kind, text) in
        doubts.iter().flat_map(|(kind, texts)| texts.iter().map(move |text| (kind, text)))
    {
        if json {
            object(kind, text);
        } else {
            eprintln!("{kind}: {}", printable(text));
        }
    }
    check_tls_files(&config).map_err(refused)?;
    if let Some(Ok(plan)) = planned.map(|method| config.plan(method)) {
        match json {
            true => stdout.line(&plan_json(&plan, &name).to_string()),
            false => stdout.line(&plan.to_string()),
        }
    }
    match (json, show || planned.is_some()) {
        (true, _) => {
            stdout.line(&json!({ "kind": "config", "file": name, "valid": true }).to_string())
        }
        (false, false) => stdout.line(&format!("{} is valid", printable(&name))),
        (false, true) => {}
    }
    Ok(())
}

/// Every key with its value, as in a file, and behind each where the value comes from.
fn effective(config: &Config, file: &str, json: bool) {
    let stdout = Stdout::new();
    let mut before: Vec<String> = Vec::new();
    for one in config.effective() {
        let path: Vec<String> = one.path().iter().map(|name| (*name).to_owned()).collect();
        let Some((name, sections)) = path.split_last() else { continue };
        if json {
            let key = path.join(".");
            let line = json!({
                "kind": "setting", "file": file, "key": key, "value": one.value(),
                "from": one.location(),
            });
            stdout.line(&line.to_string());
            continue;
        }
        let shared = sections.iter().zip(&before).take_while(|(a, b)| a == b).count();
        for (depth, section) in sections.iter().enumerate().skip(shared) {
            // A pattern for methods has letters that mean something to YAML.
            let section = if depth == 2 { format!("{section:?}") } else { section.clone() };
            stdout.line(&printable(&format!("{}{section}:", "  ".repeat(depth))));
        }
        let setting = format!("{}{name}: {}", "  ".repeat(sections.len()), one.value());
        stdout.line(&printable(&format!("{setting:<44} # {}", one.location())));
        before = sections.to_vec();
    }
}

/// A plan with its times in seconds; null where there is none.
fn plan_json(plan: &Plan, file: &str) -> Value {
    let optional = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let end = |end: Option<PlannedEnd>| {
        let code = |end: &PlannedEnd| code_names()[end.code as usize];
        end.map(|end| {
            json!({
                "at": end.at.as_secs_f64(), "code": code(&end),
                "not_retried": end.not_retried.map(|why| why.to_string()),
            })
        })
    };
    let call = |call: &CallPlan| {
        let attempts = call.attempts.iter().map(|attempt| {
            let (ends, wait) = (optional(attempt.ends), optional(attempt.wait));
            json!({ "at": attempt.at.as_secs_f64(), "ends": ends, "wait": wait })
        });
        json!({ "attempts": attempts.collect::<Vec<_>>(), "made": call.made, "end": end(call.end) })
    };
    let dials = |dials: &DialPlan| {
        let begun: Vec<_> = dials.dials.iter().map(Duration::as_secs_f64).collect();
        json!({ "dials": begun, "end": end(dials.end) })
    };
    let settings = plan.settings.iter().map(
        |one| json!({ "key": one.path().join("."), "value": one.value(), "from": one.location() }),
    );
    let kind = match plan.kind {
        CallKind::Unary => "unary",
        CallKind::Streaming => "streaming",
        _ => "auto",
    };
    json!({
        "kind": "plan", "file": file, "method": plan.method, "call": kind,
        "idempotent": plan.idempotent, "wait_for_ready": plan.wait_for_ready,
        "timeout": optional(plan.timeout), "attempt_timeout": optional(plan.attempt_timeout),
        "retried_codes": plan.retried_codes().collect::<Vec<_>>(),
        "jitter": plan.retry.jitter,
        "retried": call(&plan.retried), "unavailable": call(&plan.unavailable),
        "silent": call(&plan.silent), "dead_path": optional(plan.dead_path),
        "refused": dials(&plan.refused), "dropped": dials(&plan.dropped),
        "settings": settings.collect::<Vec<_>>(),
    })
}

/// The file with every key, each behind a `#`: what is not touched stays the default, of later
/// versions as well.
fn template() -> String {
    let mut text =
        String::from("# Take the `#` before a key away to set it, and before its section.\n");
    for line in EVERY_KEY.lines() {
        let key = line.trim_start();
        let indent = &line[..line.len() - key.len()];
        match key {
            "" | "grpc:" => text.push_str(line),
            key if key.starts_with('#') => text.push_str(line),
            key => text.push_str(&format!("{indent}#{key}")),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_says_nothing_until_a_key_is_uncommented() {
        let template = template();
        assert_eq!(Config::from_yaml(&template), Ok(Config::default()));
        assert!(
            template.lines().all(|line| line == "grpc:"
                || line.is_empty()
                || line.trim_start().starts_with('#'))
        );
        let bare: Vec<String> = template
            .lines()
            .skip(1)
            .map(|line| match line.trim_start().strip_prefix('#') {
                Some(key) if !key.starts_with(' ') => line.replacen('#', "", 1),
                _ => line.to_owned(),
            })
            .collect();
        assert_eq!(bare.join("\n") + "\n", EVERY_KEY);
    }
}
