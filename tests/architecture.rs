//! The house rules that the compiler cannot check: each chapter of `src/` uses only the chapters
//! listed beside it, the pure chapters touch no clock, random numbers, runtime or socket, every
//! file introduces itself, and no file outgrows the page.
//!
//! `src/bin` is a crate of its own and sees only the public API: that one the compiler holds.

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/lines.rs"]
mod lines;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A chapter, and the chapters it may name; bottom to top, which is also a good order to read them
/// in.
const CHAPTERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("policy", &["model"]),
    ("clock", &[]),
    ("unwind", &[]),
    ("crypto", &[]),
    ("chain", &[]),
    ("config", &["model", "policy"]),
    ("telemetry", &["model", "clock", "unwind"]),
    ("transport", &["model", "policy", "config", "clock", "unwind", "crypto"]),
    ("call", &["model", "policy", "config", "telemetry", "transport", "clock", "unwind", "chain"]),
    ("actor", &["model", "policy", "config", "telemetry", "transport", "call", "clock", "unwind"]),
    ("client", &["model", "policy", "config", "telemetry", "transport", "call", "actor", "clock"]),
    ("bridge", &["model", "call", "client", "transport", "clock", "unwind"]),
    ("admin", &["model", "telemetry", "client", "clock", "crypto"]),
    ("proto", &[]),
    ("agent_queue", &["model", "policy", "config", "client", "proto", "clock", "unwind", "crypto"]),
    ("testing", &["model", "transport"]),
];

/// The chapters that only think, and what may not stand in them.
const PURE: &[&str] = &["model", "policy"];
const IMPURE: &[&str] = &[
    "tokio::",
    "ractor::",
    "rand::",
    "tracing::",
    "log_line!",
    "metrics::",
    "Instant::now",
    "SystemTime::now",
    "std::env",
    "std::fs",
    "std::net",
    "std::thread",
    "async fn",
    "async move",
    ".await",
];

/// No file is longer than a page, in lines.
const PAGE: usize = 400;

/// All of tonic that the pure chapters may name.
const TONIC: &[&str] = &["tonic::Code", "tonic::Status"];

#[test]
fn chapters_name_only_the_chapters_below_them() {
    let mut faults = Vec::new();
    for file in code_files() {
        let Some((chapter, allowed)) = file.chapter() else {
            continue;
        };
        for name in names_after_crate(&file.code) {
            if name.starts_with(char::is_uppercase) {
                faults.push(format!(
                    "{}: crate::{name}: name its chapter, not the crate's root",
                    file.name
                ));
            } else if name != chapter && !allowed.contains(&&*name) {
                faults.push(format!("{}: `{chapter}` may not name `{name}`", file.name));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_chapter_of_the_source_is_listed_here() {
    let found: BTreeSet<String> = code_files().iter().map(File::top).collect();
    let listed: BTreeSet<String> = CHAPTERS
        .iter()
        .map(|(chapter, _)| chapter.to_string())
        .chain(["bin".into(), "lib".into()])
        .collect();
    assert_eq!(found, listed);
}

#[test]
fn model_and_policy_are_pure() {
    let mut faults = Vec::new();
    for file in code_files().iter().filter(|file| PURE.contains(&&*file.top())) {
        let mut code = file.code.clone();
        TONIC.iter().for_each(|allowed| code = code.replace(allowed, ""));
        for word in IMPURE.iter().chain(&["tonic::"]).filter(|word| code.contains(**word)) {
            faults.push(format!("{}: {word}", file.name));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The one file that makes spans, with a target below that of log lines.
const SPANS: &str = "call/spans.rs";
const SPAN_TARGET: &str = "tonic_supervisor::call";

/// `log_line!` of `lib.rs` says it for the library; the command is a crate of its own.
#[test]
fn every_log_line_has_the_one_target_that_users_know() {
    let mut faults = Vec::new();
    for file in code_files().iter().filter(|file| file.name != "lib.rs") {
        for level in ["error", "warn", "info", "debug", "trace"] {
            let start = format!("tracing::{level}!(");
            let mut lines = file.code.split(&start).skip(1).map(str::trim_start);
            let target = if file.name == SPANS { SPAN_TARGET } else { "tonic_supervisor" };
            let target = format!("target: {target:?},");
            if lines.any(|line| !line.starts_with(&target)) {
                faults.push(format!("{}: tracing::{level}! without the target", file.name));
            }
        }
        if file.code.contains("use tracing::") && file.name != SPANS {
            faults.push(format!("{}: name tracing's macros in full", file.name));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// What a filter says of `tonic_supervisor::call` holds for all spans, and whether they cost
/// nothing is decided in one place.
#[test]
fn spans_are_made_in_one_file_with_the_one_target_that_filters_name() {
    let (mut faults, mut made) = (Vec::new(), 0);
    for file in code_files() {
        let code = &file.code;
        let words = ["_span!(", "tracing::span!", "tracing::Span", "instrument"];
        if file.name != SPANS && words.iter().any(|word| code.contains(word)) {
            faults.push(format!("{}: makes spans, which {SPANS} does", file.name));
        }
        for (at, _) in code.match_indices("_span!(") {
            made += 1;
            let target = format!("target: {SPAN_TARGET:?}, $($rest)+");
            if !code[at..].starts_with(&format!("_span!({target}")) {
                faults.push(format!("{}: a span without the target", file.name));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert_eq!(made, 1, "its own macro makes all of them");
}

#[test]
fn every_file_introduces_itself_and_stays_on_its_page() {
    let mut faults = Vec::new();
    for file in files() {
        if !file.text.starts_with("//!") {
            faults.push(format!("{}: does not begin with `//!`", file.name));
        }
        let lines = file.text.lines().count();
        if lines > PAGE {
            faults.push(format!("{}: {lines} lines, at most {PAGE}", file.name));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The table in `docs/architecture.md`: few files answer what a newcomer asks first.
#[test]
fn each_question_of_a_newcomer_takes_at_most_six_files_and_1300_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/architecture.md")).expect("the page");
    let rows: Vec<&str> = page
        .lines()
        .skip_while(|line| *line != "| question | files, in this order |")
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(rows.len(), 3, "a call retried, a link redialled, a panic survived");
    for row in rows {
        let names: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let lines = |name: &&str| {
            let text = fs::read_to_string(root.join("src").join(name));
            text.unwrap_or_else(|error| panic!("{name}: {error}")).lines().count()
        };
        let total: usize = names.iter().map(lines).sum();
        assert!(names.len() <= 6 && total <= 1_300, "{} files, {total} lines: {row}", names.len());
    }
}

/// One file of `src/`.
struct File {
    /// Its path below `src/`, with `/`.
    name: String,
    text: String,
    /// The text without comments and without its test module.
    code: String,
}

impl File {
    fn top(&self) -> String {
        self.name.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
    }

    fn chapter(&self) -> Option<(&'static str, &'static [&'static str])> {
        CHAPTERS.iter().copied().find(|(chapter, _)| *chapter == self.top())
    }
}

/// All files but generated ones.
fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !is_generated(&path)
            {
                found.push(read(&root, &path));
            }
        }
    }
    found.sort_by(|a: &File, b| a.name.cmp(&b.name));
    found
}

/// The files that are not tests as a whole.
fn code_files() -> Vec<File> {
    files().into_iter().filter(|file| !file.name.ends_with("_tests.rs")).collect()
}

fn is_generated(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("src/proto")) && !path.ends_with("mod.rs")
}

fn read(root: &Path, path: &PathBuf) -> File {
    let text = fs::read_to_string(path).expect("UTF-8 text");
    let tested = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = tested
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let parts = path.strip_prefix(root).expect("below src").components();
    let name = parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
    File { name, text, code }
}

/// What stands after `crate::`, alone or in a group.
fn names_after_crate(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(items(group).iter().map(|item| first_word(item))),
            None => drop(names.insert(first_word(rest))),
        }
    }
    names
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The items of a group, up to its closing brace.
fn items(group: &str) -> Vec<String> {
    let (mut depth, mut items) = (0, vec![String::new()]);
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        items.last_mut().expect("never empty").push(c);
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

#[test]
fn names_after_crate_are_found_alone_and_in_groups() {
    let code = "use crate::{model::{Event, Fact}, policy, clock::now,}; crate::telemetry::x(); \
                crate::Supervisor::new()";
    let names: Vec<_> = names_after_crate(code).into_iter().collect();
    assert_eq!(names, ["Supervisor", "clock", "model", "policy", "telemetry"]);
}

/// Two files may need each other; three that do are one idea in three files.
#[test]
fn no_circle_of_more_than_two_files_stands_inside_a_chapter() {
    let files: Vec<_> = code_files().into_iter().map(|file| (file.name, file.code)).collect();
    let circles: Vec<_> =
        circles::circles(&files).iter().map(|circle| circle.join(" -> ")).collect();
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}
