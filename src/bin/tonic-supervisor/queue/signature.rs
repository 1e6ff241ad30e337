//! Two failures are of one kind if the first lines of their errors differ in numbers only. Ids and
//! times differ from task to task: without this nearly each task would be a group of its own.

/// How many letters of an error tell its kind.
const LONGEST: usize = 160;
/// A run of hexadecimal digits that is so long is a number, too: a hash, a UUID.
const HEX: usize = 8;

/// The first line of an error, with each number as one `#`: `connect to 10.0.3.7:80 timed out`
/// gives `connect to #:# timed out`.
pub(super) fn signature(error: &str) -> String {
    let line = error.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("(no words)");
    let (mut folded, mut letters, mut rest) = (String::new(), 0, line);
    let mut in_word = false;
    while let Some(letter) = rest.chars().next() {
        if letters == LONGEST {
            break;
        }
        letters += 1;
        let number = if in_word { 0 } else { hex(rest) }.max(digits(rest));
        if number > 0 {
            folded.push('#');
            rest = &rest[number..];
        } else {
            folded.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
        in_word = letter.is_alphanumeric();
    }
    folded
}

/// What a group is called in a shell: the FNV-1a hash of its signature, which stays the same from
/// day to day.
pub(super) fn group_id(signature: &str) -> String {
    let hash = signature
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

/// How many bytes at the beginning are digits, with the dots between them.
fn digits(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut end = 0;
    while digit(end) || end > 0 && bytes.get(end) == Some(&b'.') && digit(end + 1) {
        end += 1;
    }
    end
}

/// How many bytes at the beginning are a long hexadecimal number or a UUID; 0 where they are a word
/// or part of one.
fn hex(text: &str) -> usize {
    let end = text.find(|c: char| !c.is_ascii_hexdigit() && c != '-').unwrap_or(text.len());
    let run = text[..end].trim_end_matches('-');
    let whole = !text[run.len()..].starts_with(|c: char| c.is_alphanumeric());
    let is_number =
        run.len() >= HEX && run.bytes().any(|byte| byte.is_ascii_digit()) && !run.contains("--");
    if whole && is_number { run.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_differ_in_numbers_only_are_of_one_kind() {
        for (error, expected) in [
            ("connect to 10.0.3.7:80 timed out", "connect to #:# timed out"),
            ("connect to 4711:8080 timed out", "connect to #:# timed out"),
            ("task-17 took 3.5s", "task-# took #s"),
            ("no row 7f3a90c1d2 in t", "no row # in t"),
            ("no 123e4567-e89b-12d3-a456-426614174000!", "no #!"),
            ("defaced decade", "defaced decade"),
            ("deadbeef", "deadbeef"),
            ("deadbeef1 x", "# x"),
            ("v1.2.3: 7 of 12.", "v#: # of #."),
            ("\n\n  exit code 2\nTraceback ...", "exit code #"),
            ("", "(no words)"),
            ("第3行出错", "第#行出错"),
        ] {
            assert_eq!(signature(error), expected, "{error:?}");
        }
        assert_eq!(signature(&"é7".repeat(300)).chars().count(), LONGEST);
    }

    #[test]
    fn a_group_keeps_its_id_for_ever() {
        assert_eq!(group_id(""), "811c9dc5");
        assert_eq!(group_id("a"), "e40c292c");
        assert_ne!(group_id("exit code #"), group_id("exit code"));
    }
}
