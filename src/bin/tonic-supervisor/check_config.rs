//! `check-config`: prints what is wrong with a configuration file, or that it is valid; what a file
//! may have in it (`--template`, `--schema`); and the values in force (`--show-effective`).

use crate::{CliError, stdout::Stdout};
use serde_json::json;
use std::path::{Path, PathBuf};
use tonic_supervisor::{Config, ConfigError, printable, transport::check_tls_files};

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
    /// Print a file with every key, each behind a `#`, and check nothing.
    #[arg(long, conflicts_with_all = ["file", "show_effective", "schema"])]
    template: bool,
    /// Print the JSON Schema of a file, for editors, and check nothing.
    #[arg(long, conflicts_with_all = ["file", "show_effective"])]
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
    check(&file, arguments.show_effective, json)
}

fn check(file: &Path, show: bool, json: bool) -> Result<(), CliError> {
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
    match (json, show) {
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
