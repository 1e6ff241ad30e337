//! `check-config`: says what is wrong with a configuration file, or that nothing is.

use crate::{Trouble, terminal::Terminal};
use serde_json::json;
use std::path::Path;
use tonic_supervisor::Config;

/// Fails with one line per problem.
pub(crate) fn run(file: &Path, json: bool) -> Result<(), Trouble> {
    let terminal = Terminal::new();
    let name = file.display().to_string();
    match load(file) {
        Ok(()) if json => terminal.line(&json!({ "kind": "config", "file": name, "valid": true }).to_string()),
        Ok(()) => terminal.line(&format!("{name} is valid")),
        Err(problems) => {
            if json {
                for problem in problems.lines() {
                    terminal.line(&json!({ "kind": "problem", "file": name, "text": problem }).to_string());
                }
            }
            return Err(Trouble::Config(problems));
        }
    }
    Ok(())
}

fn load(file: &Path) -> Result<(), String> {
    Config::load(file).map(drop).map_err(|error| error.to_string())
}
