//! `docs/scenarios.md` says what each number means that tests and comments cite, and which tests
//! show it.

use super::{read, root};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// A number, and the tests that bear it in their names.
type Scenarios = BTreeMap<String, BTreeSet<String>>;

/// The sections of the page, `## NUMBER. Title`, with the tests that they list.
fn page() -> Scenarios {
    let text = read("docs/scenarios.md");
    let section = |section: &str| {
        let (number, rest) = section.split_once(". ").expect("a number and a title");
        let tests = rest.lines().filter_map(|line| line.strip_prefix("- `")?.strip_suffix('`'));
        (number.to_owned(), tests.map(str::to_owned).collect())
    };
    text.split("\n## ").skip(1).map(section).collect()
}

/// Every source file below `folder`.
fn sources(folder: &str) -> Vec<String> {
    let (mut texts, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                texts.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}

/// The number at the start of `text`, as the page writes it: without zeros, `E` for addresses.
fn number(text: &str) -> Option<String> {
    let (kind, digits) = match text.strip_prefix(['e', 'E']) {
        Some(rest) => ("E", rest),
        None => ("", text),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number: u32 = digits[..end].parse().ok()?;
    Some(format!("{kind}{number}"))
}

/// Numbers in comments, `scenario 7`.
fn cited(text: &str) -> BTreeSet<String> {
    let after = |word: &str| text.split(word).skip(1).filter_map(number).collect::<Vec<_>>();
    after("scenario ").into_iter().chain(after("Scenario ")).collect()
}

/// Functions whose names begin with a number, `scenario_07_`.
fn named(text: &str) -> Scenarios {
    let mut named = Scenarios::new();
    for rest in text.split(concat!("fn ", "scenario_")).skip(1) {
        let name = rest.split('(').next().expect("a name");
        let number = number(name).unwrap_or_else(|| panic!("no number: scenario_{name}"));
        named.entry(number).or_default().insert(format!("scenario_{name}"));
    }
    named
}

#[test]
fn every_scenario_that_is_cited_is_on_the_page() {
    let page = page();
    let mut unknown = BTreeSet::new();
    for text in ["tests", "src"].into_iter().flat_map(sources) {
        let numbers = cited(&text).into_iter().chain(named(&text).into_keys());
        unknown.extend(numbers.filter(|number| !page.contains_key(number)));
    }
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_page_of_scenarios_lists_the_tests_that_bear_their_numbers() {
    let mut tests = Scenarios::new();
    for text in ["tests", "src"].into_iter().flat_map(sources) {
        for (number, names) in named(&text) {
            tests.entry(number).or_default().extend(names);
        }
    }
    assert_eq!(page(), tests);
}

#[test]
fn numbers_are_found_in_comments_and_in_names() {
    let comment = "/// Scenario 7, and scenario E19: see scenario x";
    let text = format!("{comment}\nfn {}() {{}}", "scenario_08_works");
    assert_eq!(cited(&text).into_iter().collect::<Vec<_>>(), ["7", "E19"]);
    assert_eq!(named(&text)["8"].iter().collect::<Vec<_>>(), ["scenario_08_works"]);
}
