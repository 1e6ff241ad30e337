//! `completions` and `man` name every command and every option that the help names, and nothing
//! that the program starts itself.

use super::cli::{command, run, stderr};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "elvish", "powershell"];

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// The commands below this one, as its help lists them.
fn commands_below(path: &[String]) -> Vec<String> {
    let arguments: Vec<&str> =
        ["help"].into_iter().chain(path.iter().map(String::as_str)).collect();
    let help = printed(&arguments);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let rows = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let names = rows.filter(|row| !row.starts_with(' ')).filter_map(|row| row.split(' ').next());
    names.filter(|name| *name != "help").map(String::from).collect()
}

/// Every command with its path, and the options of its help.
fn commands() -> Vec<(Vec<String>, BTreeSet<String>)> {
    let (mut all, mut todo) = (Vec::new(), vec![Vec::new()]);
    while let Some(path) = todo.pop() {
        for name in commands_below(&path) {
            todo.push(path.iter().cloned().chain([name]).collect());
        }
        let arguments: Vec<&str> =
            ["help"].into_iter().chain(path.iter().map(String::as_str)).collect();
        let help = printed(&arguments);
        // What is further to the right explains.
        let rows = help.lines().filter(|line| !line.starts_with("       ")).map(str::trim_start);
        let rows = rows.filter(|line| line.starts_with('-'));
        let names = rows.filter_map(|row| row.split("  ").next());
        let words = names.flat_map(|names| names.split([' ', ',', '[']));
        // A line of prose may begin with an option, and end behind it.
        let words = words.map(|word| word.trim_end_matches(['.', ';', ':']));
        let long = words.filter(|word| word.len() > 2 && word.starts_with("--"));
        all.push((path.clone(), long.map(String::from).collect()));
    }
    assert!(all.len() > 10, "{all:?}");
    all
}

#[test]
fn every_shell_completes_every_command_and_option_and_no_internal_one() {
    let commands = commands();
    for shell in SHELLS {
        let text = printed(&["completions", shell]);
        for (path, options) in &commands {
            for word in path.last().into_iter().chain(options) {
                // fish writes `-l json`.
                let word = if shell == "fish" { word.trim_start_matches("--") } else { word };
                assert!(text.contains(word), "{word} in {shell}");
            }
        }
        let internal = ["demo-server", "demo__server", "journal", "keep "];
        let named = internal.iter().filter(|word| text.contains(**word));
        assert_eq!(named.collect::<Vec<_>>(), Vec::<&&str>::new(), "{shell}");
    }
}

#[test]
fn bash_reads_its_completions_without_complaint_and_uses_them() {
    let script = printed(&["completions", "bash"]);
    if Command::new("bash").arg("--version").stdout(Stdio::null()).status().is_err() {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("completions.bash");
    std::fs::write(&file, script).expect("written");
    let parsed = Command::new("bash").arg("-n").arg(&file).output().expect("bash runs");
    assert!(parsed.status.success() && parsed.stderr.is_empty(), "{}", stderr(&parsed));
    let asks = "source \"$1\"; COMP_WORDS=(tonic-supervisor check-config --pl); COMP_CWORD=2; \
                _tonic__supervisor tonic-supervisor --pl check-config; echo \"${COMPREPLY[*]}\"";
    let asked = Command::new("bash").args(["-c", asks, "bash"]).arg(&file).output();
    let asked = asked.expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "--plan\n", "{}", stderr(&asked));
}

/// As a reader sees it: the hyphens of roff are hyphens.
fn page(arguments: &[&str]) -> String {
    printed(&[&["man"], arguments].concat()).replace("\\-", "-")
}

#[test]
fn the_manual_has_every_command_with_every_option_on_one_page_and_on_its_own() {
    let whole = page(&[]);
    for (path, options) in commands() {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let full = ["tonic-supervisor"].into_iter().chain(names.iter().copied());
        let full = full.collect::<Vec<_>>().join(" ");
        let own = page(&names);
        let section = match names.is_empty() {
            true => whole.as_str(),
            false => {
                let heading = format!(".SH \"{full}\"\n");
                let (_, section) = whole.split_once(&heading).unwrap_or_else(|| panic!("{full}"));
                section.split(".SH \"").next().expect("an end")
            }
        };
        for option in options {
            // `[default: 10]` and the like may follow.
            for text in [section, &own] {
                assert!(text.contains(&format!("{option}\\fR")), "{option} of {full}");
            }
        }
        assert!(own.contains(&format!(".TH {}", full.replace(' ', "-"))), "{own}");
    }
    for internal in ["demo-server", "journal"] {
        assert!(!whole.contains(internal), "{internal}");
    }
}

#[test]
fn a_page_or_a_shell_that_is_none_is_wrong_usage() {
    for (arguments, words) in [
        (&["man", "fly"][..], "tonic-supervisor has no command fly: it has demo, "),
        (&["man", "keep"], "has no command keep"),
        (&["man", "check-config", "x"], "tonic-supervisor check-config has no commands, such as x"),
        (&["completions", "dos"], "invalid value 'dos'"),
        (&["completions"], "required"),
    ] {
        let output = run(arguments);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    for arguments in [&["completions", "bash"][..], &["man"]] {
        let mut child = command(arguments).spawn().expect("the command runs");
        let mut line = String::new();
        let mut out = BufReader::with_capacity(16, child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("a line");
        drop(out);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(
            (output.status.code(), stderr(&output).as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}
