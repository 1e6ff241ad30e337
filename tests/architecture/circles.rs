//! Circles of imports inside a chapter: files that need each other are one idea in several files.
//!
//! A path of a file, `super::a::B`, `crate::chapter::a::B` or `child::B` in a `use`, is followed to
//! the file that it names. Where it ends at a `mod.rs`, and that one only passes the name on, it
//! counts for the file that the name comes from; `mod` and `pub use` of a `mod.rs` are no imports
//! of its own. Two files may know each other. Three may not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A path in code: `super::super::a::B`, as its words.
type Words = Vec<String>;

/// Which files of a chapter each file imports; `files` are names below `src/` with their code.
fn imports(files: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeMap<Words, &str> =
        files.iter().map(|(name, _)| (module(name), name.as_str())).collect();
    let passed_on: BTreeMap<&str, BTreeMap<String, Words>> = files
        .iter()
        .filter(|(name, _)| name.ends_with("/mod.rs"))
        .map(|(name, code)| (name.as_str(), passed_on(&module(name), code)))
        .collect();
    let mut imports = BTreeMap::new();
    for (name, code) in files {
        let here = module(name);
        let mut own = BTreeSet::new();
        for path in paths(&without_passing_on(name, code), &here, &modules) {
            let Some(found) = follow(&path, &modules, &passed_on) else { continue };
            if found != name && chapter(found) == chapter(name) {
                own.insert(found.to_owned());
            }
        }
        imports.insert(name.clone(), own);
    }
    imports
}

/// The shortest circles of more than two files, one for each set of files.
pub(crate) fn circles(files: &[(String, String)]) -> Vec<Vec<String>> {
    let imports = imports(files);
    let mut circles = BTreeMap::new();
    for (from, to) in imports.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to))) {
        if let Some(circle) = way_back(&imports, to, from) {
            circles.entry(circle.iter().cloned().collect::<BTreeSet<_>>()).or_insert(circle);
        }
    }
    circles.into_values().collect()
}

/// The shortest way from `start` to `end` over at least one file between them.
fn way_back(
    imports: &BTreeMap<String, BTreeSet<String>>,
    start: &String,
    end: &String,
) -> Option<Vec<String>> {
    let (mut before, mut waiting) = (BTreeMap::new(), VecDeque::from([start]));
    while let Some(file) = waiting.pop_front() {
        for next in imports.get(file).into_iter().flatten() {
            if next == start || (file == start && next == end) || before.contains_key(next) {
                continue;
            }
            before.insert(next, file);
            waiting.push_back(next);
        }
    }
    let mut way = vec![end.clone()];
    let mut file = end;
    while file != start {
        file = before.get(file)?;
        way.push(file.clone());
    }
    way.reverse();
    Some(way)
}

fn chapter(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

/// The module that a file is: `actor/mod.rs` is `actor`, `actor/core.rs` is `actor::core`.
fn module(name: &str) -> Words {
    let path = name.trim_end_matches(".rs");
    path.trim_end_matches("/mod").split('/').map(str::to_owned).collect()
}

/// The trees of the statements `pub use ...;` of a `mod.rs`, and what is left of its code.
fn split_passing_on(code: &str) -> (Vec<String>, String) {
    split_statements(code, |line| after_pub(line)?.strip_prefix("use "))
}

/// The trees of all statements `use ...;`, and what is left of the code. A `super::` inside a tree
/// goes on from where its group stands, so trees are read as a whole.
fn split_uses(code: &str) -> (Vec<String>, String) {
    split_statements(code, |line| {
        let line = line.trim_start();
        after_pub(line).unwrap_or(line).strip_prefix("use ")
    })
}

/// What follows `pub`, `pub(super)` and the like.
fn after_pub(line: &str) -> Option<&str> {
    let after = line.strip_prefix("pub")?;
    let limited =
        after.strip_prefix('(').map(|limit| limit.split_once(')').map_or("", |all| all.1));
    Some(limited.unwrap_or(after).trim_start())
}

/// The statements that begin in a line where `beginning` gives the text after their first words,
/// each from there to its end, and the other lines.
fn split_statements(code: &str, beginning: impl Fn(&str) -> Option<&str>) -> (Vec<String>, String) {
    let (mut statements, mut rest) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let Some(first) = beginning(line) else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let mut statement = first.to_owned();
        while !statement.contains(';') {
            let Some(line) = lines.next() else { break };
            statement.push_str(line);
        }
        statements.push(statement);
    }
    (statements, rest)
}

fn without_passing_on(name: &str, code: &str) -> String {
    match name.ends_with("/mod.rs") {
        true => split_passing_on(code).1,
        false => code.to_owned(),
    }
}

/// The names that a `mod.rs` passes on, with where each comes from.
fn passed_on(here: &[String], code: &str) -> BTreeMap<String, Words> {
    let mut names = BTreeMap::new();
    for statement in split_passing_on(code).0 {
        for path in expand(&statement) {
            let Some(name) = path.last().cloned() else { continue };
            let words = path.iter().skip_while(|word| *word == "self").cloned();
            names.insert(name, here.iter().cloned().chain(words).collect());
        }
    }
    names
}

/// Every path in `code` that leads into the crate, from its root.
fn paths(code: &str, here: &[String], modules: &BTreeMap<Words, &str>) -> Vec<Words> {
    let (uses, rest) = split_uses(code);
    let mut found = Vec::new();
    for path in uses.iter().flat_map(|tree| expand(tree)) {
        let Some(first) = path.first() else { continue };
        let child: Words = here.iter().cloned().chain([first.clone()]).collect();
        if ["crate", "super", "self"].contains(&&**first) {
            found.extend(rooted(&path, here));
        } else if modules.contains_key(&child) {
            found.push(here.iter().cloned().chain(path).collect());
        }
    }
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in rest.match_indices(start) {
            let before = rest[..at].chars().next_back();
            let is_part = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
            // `pub(in super::super)` says who may use something, and uses nothing.
            if is_part || rest[..at].ends_with("pub(in ") {
                continue;
            }
            found.extend(expand(&rest[at..]).into_iter().filter_map(|path| rooted(&path, here)));
        }
    }
    found
}

/// The path from the root of the crate; none if it leads out of it.
fn rooted(path: &[String], here: &[String]) -> Option<Words> {
    let mut at = here.to_vec();
    let mut words = path.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()?),
            _ => {
                at.push(word.clone());
                at.extend(words.cloned());
                break;
            }
        }
    }
    Some(at)
}

/// The file that a path from the root names.
fn follow<'a>(
    path: &[String],
    modules: &BTreeMap<Words, &'a str>,
    passed_on: &BTreeMap<&str, BTreeMap<String, Words>>,
) -> Option<&'a str> {
    // Names are passed on a few times at most; more is a circle of `pub use`.
    let mut path = path.to_vec();
    for _ in 0..8 {
        let depth = (1..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]))?;
        let file = modules[&path[..depth]];
        let origin = path.get(depth).and_then(|name| passed_on.get(file)?.get(name));
        match origin {
            Some(origin) if origin[..] != path[..] => path = origin.clone(),
            _ => return Some(file),
        }
    }
    None
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The paths of a tree such as `super::{a::B, c}`, up to where it ends.
fn expand(tree: &str) -> Vec<Words> {
    let word = first_word(tree);
    let rest = tree.trim_start()[word.len()..].trim_start();
    if let Some(group) = rest.strip_prefix("::") {
        let tails = expand(group);
        return tails.into_iter().map(|tail| [vec![word.clone()], tail].concat()).collect();
    }
    if word.is_empty() {
        if let Some(group) = tree.trim_start().strip_prefix('{') {
            let empty = |item: &String| !item.trim().is_empty();
            return crate::items(group)
                .iter()
                .filter(|i| empty(i))
                .flat_map(|i| expand(i))
                .collect();
        }
        return vec![Vec::new()];
    }
    vec![vec![word]]
}

#[cfg(test)]
fn made_up(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(name, code)| ((*name).to_owned(), (*code).to_owned())).collect()
}

#[test]
fn imports_are_followed_to_the_file_that_a_name_comes_from() {
    let files = made_up(&[
        ("a/mod.rs", "mod b;\nmod c;\nmod d;\npub(crate) use b::{B, Other};\nuse c::C;\n"),
        ("a/b.rs", "use super::{c::C, Top};\nuse crate::z::Z;"),
        ("a/c.rs", "use crate::a::B;\nfn f() -> super::d::D {}"),
        ("a/d/mod.rs", "pub use self::e::E;\nmod e;"),
        ("a/d/e.rs", "use super::super::{c, b::{B, Other}};"),
        ("a/d/f.rs", "use super::{super::{c::C, B}, e::E};\npub(in super::super) fn f() {}"),
        ("z.rs", "use crate::a::B;"),
    ]);
    let imports = imports(&files);
    let of = |name: &str| imports[name].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("a/mod.rs"), ["a/c.rs"]);
    assert_eq!(of("a/b.rs"), ["a/c.rs", "a/mod.rs"]);
    assert_eq!(of("a/c.rs"), ["a/b.rs", "a/d/mod.rs"]);
    assert_eq!(of("a/d/mod.rs"), [""; 0]);
    assert_eq!(of("a/d/e.rs"), ["a/b.rs", "a/c.rs"]);
    assert_eq!(of("a/d/f.rs"), ["a/b.rs", "a/c.rs", "a/d/e.rs"]);
    assert_eq!(of("z.rs"), [""; 0]);
}

#[test]
fn circles_of_three_files_are_found_and_pairs_are_not() {
    let pair = [("a/b.rs", "use super::c::C;"), ("a/c.rs", "use super::b::B;")];
    assert_eq!(circles(&made_up(&pair)), Vec::<Vec<String>>::new());
    let three = [
        ("a/b.rs", "use super::c::C;"),
        ("a/c.rs", "use super::d::D;"),
        ("a/d.rs", "use super::b::B;"),
    ];
    let found = circles(&made_up(&three));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].iter().collect::<BTreeSet<_>>().len(), 3);
}
