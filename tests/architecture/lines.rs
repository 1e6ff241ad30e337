//! No line is longer than 100 columns: not in code, not in comments, not in Markdown.
//!
//! Aside from these: rows of tables, a line that has no place to break, such as a link, and files
//! that a program writes.

use std::{
    fs,
    path::{Path, PathBuf},
};

const COLUMNS: usize = 100;

/// Whether a line is too long and could be shorter.
fn is_too_long(line: &str) -> bool {
    let text = line.trim_start().trim_start_matches(['/', '!']).trim_start();
    line.chars().count() > COLUMNS && !text.starts_with('|') && can_be_broken(line)
}

/// Whether there is a blank behind the first word and within the columns; marks of comments and
/// lists are no words.
fn can_be_broken(line: &str) -> bool {
    let text = line.trim_start().trim_start_matches(['/', '!', '-', '*', '>', '#']).trim_start();
    let began = line.chars().count() - text.chars().count();
    text.chars().position(char::is_whitespace).is_some_and(|blank| began + blank <= COLUMNS)
}

/// What a program writes says so in its first lines.
fn is_generated(text: &str) -> bool {
    let first: String = text.lines().take(8).collect::<Vec<_>>().join(" ").to_lowercase();
    ["generated", "writes this page", "written by a test"].iter().any(|mark| first.contains(mark))
}

/// Code and pages, as paths below the root of the package.
fn files(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in
            fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path())
        {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let extension = path.extension().unwrap_or_default();
            if folder == root && path.is_dir() {
                if ["src", "tests", "benches", "examples", "docs"].contains(&&*name) {
                    folders.push(path);
                }
            } else if folder == root {
                if name == "CHANGELOG.md" || name.starts_with("README") {
                    found.push(path);
                }
            } else if path.is_dir() {
                folders.push(path);
            } else {
                let page = extension == "md" && path.starts_with(root.join("docs"));
                let code = extension == "rs" && !path.starts_with(root.join("src/proto"));
                if page || code {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    found
}

#[test]
fn no_line_of_code_or_pages_is_longer_than_100_columns() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Vec::new();
    for path in files(root) {
        let text = fs::read_to_string(&path).expect("UTF-8 text");
        let name = path.strip_prefix(root).expect("below the root").display().to_string();
        if is_generated(&text) {
            continue;
        }
        for (number, line) in text.lines().enumerate().filter(|(_, line)| is_too_long(line)) {
            faults.push(format!("{name}:{}: {} columns", number + 1, line.chars().count()));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn tables_and_links_may_be_longer_than_100_columns() {
    let long = "x".repeat(101);
    assert!(is_too_long(&format!("{} {long}", "a few words")));
    assert!(is_too_long(&format!("/// a {long}")));
    for line in [format!("| a | {long} |"), format!("- {long}"), format!("    /// {long}, so")] {
        assert!(!is_too_long(&line), "{line}");
    }
}
