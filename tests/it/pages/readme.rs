//! What the pages for people promise about themselves: README's length, the tests that it names,
//! words that are explained, and the times in the recipes, which must fit together.

use super::{pages, read, root};
use std::fs;

#[test]
fn readme_has_at_most_140_lines() {
    for page in ["README.md", "README.zh-CN.md"] {
        let lines = read(page).lines().count();
        assert!(lines <= 140, "{page} has {lines}");
    }
}

#[test]
fn every_test_that_readme_names_is_there() {
    let (mut sources, mut folders) = (String::new(), vec![root().join("tests/it")]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => sources.push_str(&fs::read_to_string(path).unwrap_or_default()),
            }
        }
    }
    let text = read("README.md");
    let names: Vec<_> =
        text.split("(`").skip(1).filter_map(|rest| rest.split("`)").next()).collect();
    assert!(names.len() >= 6, "{names:?}");
    let missing: Vec<_> =
        names.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// "The seed" is a word of ours: each page that says it says what it is, or links its first use to
/// the glossary.
#[test]
fn every_page_that_says_the_seed_says_what_it_is() {
    let explained = ["began as", "](../glossary.md)", "](glossary.md)", "原来的"];
    let ours = ["the seed", "The seed", "*Seed*", "*seed*", "| seed"];
    let unexplained = |text: &str| {
        ours.iter().any(|word| text.contains(word)) && !explained.iter().any(|it| text.contains(it))
    };
    let faults: Vec<_> = pages().into_iter().filter(|page| unexplained(&read(page))).collect();
    assert!(faults.is_empty(), "{faults:?}");
}

/// The first number after `before` in `text`.
fn number(text: &str, before: &str) -> u64 {
    let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("{before} is not there"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number follows {before}"))
}

/// What an agent may take beyond its grace.
const AFTER_GRACE: u64 = 5;

#[test]
fn a_pod_and_a_unit_live_longer_than_the_grace_of_their_program() {
    let pod = read("docs/recipes/kubernetes.md");
    let grace = number(&pod, "const GRACE: Duration = Duration::from_secs(");
    assert!(number(&pod, "terminationGracePeriodSeconds: ") >= grace + AFTER_GRACE);
    // The proxy's clients have 10 s.
    assert!(number(&read("docs/proxy.md"), "TimeoutStopSec=") >= 10 + AFTER_GRACE);
    let units = read("docs/recipes/systemd.md");
    let (command, own) = units.split_once("## A program of your own").expect("two units");
    assert!(number(command, "TimeoutStopSec=") >= number(command, "--grace ") + AFTER_GRACE);
    assert!(
        number(own, "TimeoutStopSec=")
            >= number(own, "shutdown(Duration::from_secs(") + AFTER_GRACE
    );
}
