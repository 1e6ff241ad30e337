//! The pages in Chinese follow the English ones, section by section: the same headings, code, words
//! in `code` and numbers.
//!
//! Whoever changes one page of a pair reads here what is missing from the other. Words are not
//! compared, and numbers only where they are written as digits. `docs/zh/guide.md` is no
//! translation: it is for readers of the original mechanism.

use super::read;
use std::collections::BTreeSet;

/// The English page, and the Chinese one.
const PAIRS: &[(&str, &str)] = &[
    ("README.md", "README.zh-CN.md"),
    ("docs/agent-queue.md", "docs/zh/agent-queue.md"),
    ("docs/configuration.md", "docs/zh/configuration.md"),
    ("docs/errors.md", "docs/zh/errors.md"),
    ("docs/operations.md", "docs/zh/operations.md"),
];

/// What a link to a page without translation is marked with.
const ENGLISH: &str = "（英文）";

/// A heading and what stands below it, up to the next one.
#[derive(Debug, Default)]
struct Section {
    level: usize,
    heading: String,
    /// Its prose, a line for each paragraph, item and row of a table.
    text: String,
    /// The numbers of the prose, and its words in backquotes.
    marks: BTreeSet<String>,
    code: Vec<Vec<String>>,
}

fn sections(page: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut inside = false;
    for line in page.lines() {
        let section = sections.last_mut().expect("never empty");
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                section.code.push(vec![language.to_owned()]);
            }
        } else if inside {
            let code = section.code.last_mut().expect("it was begun");
            code.extend(Some(bare(line)).filter(|line| !line.is_empty()));
        } else {
            let level = line.chars().take_while(|c| *c == '#').count();
            if level > 0 {
                sections.push(Section {
                    level,
                    heading: line.trim_matches(['#', ' ']).to_owned(),
                    ..Section::default()
                });
            }
            let text = &mut sections.last_mut().expect("never empty").text;
            let line = line.trim();
            let begins = line.is_empty() || line.starts_with('|') || line.starts_with("- ");
            text.push(if begins { '\n' } else { ' ' });
            text.push_str(line);
        }
    }
    for section in &mut sections {
        section.marks = section.text.lines().flat_map(marks).collect();
    }
    sections
}

/// A line of code without what may be translated: its comment and the text of its strings.
fn bare(line: &str) -> String {
    let (mut kept, mut quoted) = (String::new(), false);
    for (at, c) in line.char_indices() {
        let rest = &line[at..];
        if !quoted && (rest.starts_with("//") || rest.starts_with("# ")) {
            break;
        }
        if !quoted || c == '"' {
            kept.push(c);
        }
        quoted ^= c == '"';
    }
    kept.trim_end().to_owned()
}

/// What both languages write alike in a line of prose: words in backquotes, and numbers; the
/// targets of links do not count.
fn marks(line: &str) -> Vec<String> {
    let words = line.split("](").enumerate().map(|(n, part)| match part.split_once(')') {
        Some((_, text)) if n > 0 => text,
        _ => part,
    });
    let text = words.collect::<Vec<_>>().join(" ");
    let (code, prose): (Vec<_>, Vec<_>) =
        text.split('`').enumerate().partition(|(n, _)| n % 2 == 1);
    let mut marks: Vec<_> = code.into_iter().map(|(_, word)| format!("`{word}`")).collect();
    for (_, part) in prose {
        let numbers = part.split(|c: char| !c.is_ascii_digit() && c != ',' && c != '.');
        marks.extend(numbers.map(|number| number.trim_matches([',', '.']).to_owned()));
    }
    marks.retain(|mark| !mark.is_empty());
    marks
}

/// What the second page must be given to follow the first.
fn differences(english: &str, chinese: &str) -> Vec<String> {
    let (first, second) = (sections(&read(english)), sections(&read(chinese)));
    let mut faults = Vec::new();
    for (one, other) in first.iter().zip(&second) {
        let place = format!("{chinese}, \"{}\" ({english}, \"{}\")", other.heading, one.heading);
        if one.level != other.level {
            faults.push(format!(
                "{place}: a heading of level {} where the English page has {}",
                other.level, one.level
            ));
            break;
        }
        let join =
            |marks: BTreeSet<&String>| marks.into_iter().cloned().collect::<Vec<_>>().join(" and ");
        let missing = join(one.marks.difference(&other.marks).collect());
        if !missing.is_empty() {
            faults.push(format!("{place}: {missing} is missing"));
        }
        let surplus = join(other.marks.difference(&one.marks).collect());
        if !surplus.is_empty() {
            faults.push(format!("{place}: {surplus} is not in the English page"));
        }
        if one.code.len() != other.code.len() {
            faults.push(format!(
                "{place}: {} blocks of code, the English page has {}",
                other.code.len(),
                one.code.len()
            ));
        }
        let unlike = one.code.iter().zip(&other.code).find(|(one, other)| one != other);
        if let Some((one, other)) = unlike {
            let line = one.iter().zip(other).find(|(one, other)| one != other);
            let line = line.map(|(one, _)| one).or(one.get(other.len())).or(other.get(one.len()));
            faults.push(format!(
                "{place}: a block of code differs at: {}",
                line.expect("they differ")
            ));
        }
    }
    for section in first.iter().skip(second.len()) {
        faults.push(format!(
            "{chinese}: the section \"{}\" of {english} is missing",
            section.heading
        ));
    }
    for section in second.iter().skip(first.len()) {
        faults.push(format!("{chinese}: the section \"{}\" is not in {english}", section.heading));
    }
    faults
}

#[test]
fn chinese_pages_have_the_headings_code_and_numbers_of_english_ones() {
    let faults: Vec<_> =
        PAIRS.iter().flat_map(|(english, chinese)| differences(english, chinese)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn chinese_pages_link_to_chinese_pages_and_mark_english_ones() {
    let mut faults = Vec::new();
    let own = [("docs/guide.md", "docs/zh/guide.md")];
    for page in PAIRS.iter().chain(&own).map(|(_, chinese)| *chinese) {
        let text = read(page);
        for after in text.split("](").skip(1) {
            let (link, rest) = after.split_once(')').expect("a link ends");
            let path = link.split('#').next().unwrap_or_default();
            let path = match page.starts_with("docs/zh/") {
                true => path
                    .strip_prefix("../../")
                    .map(str::to_owned)
                    .or(path.strip_prefix("../").map(|it| format!("docs/{it}"))),
                false => Some(path.to_owned()),
            };
            let Some(path) =
                path.filter(|path| path.ends_with(".md") && !path.starts_with("docs/zh/"))
            else {
                continue;
            };
            match PAIRS.iter().find(|(english, _)| *english == path) {
                Some((_, chinese)) if link != "README.md" && link != "../../README.md" => {
                    faults.push(format!("{page}: {link} is there in Chinese: {chinese}"));
                }
                None if !rest.starts_with(ENGLISH) => {
                    faults.push(format!("{page}: {link} needs the mark {ENGLISH}"))
                }
                _ => {}
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn comments_and_strings_may_be_translated_and_nothing_else() {
    assert_eq!(bare(r#"let a = "text"; // why"#), r#"let a = ""; "#.trim_end());
    assert_eq!(bare("port: 1 # where"), "port: 1");
    assert_ne!(bare("a(1);"), bare("a(2);"));
    assert_eq!(
        marks("at 1,024, or [5 s](page-9.md#x-2): 0.2 of `a 7`."),
        ["`a 7`", "1,024", "5", "0.2"]
    );
}
