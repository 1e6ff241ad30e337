//! Text from outside, made fit for one line of a log or a terminal: what a peer, a connector or a
//! panic says may hold line breaks, escape sequences and marks that turn the line's direction, and
//! be of any length.

use std::{borrow::Cow, sync::Arc, time::Duration};

/// No text is longer, in bytes.
const LONGEST: usize = 2_048;

/// What stands at the end of a text that was cut.
const CUT: &str = "...";

/// The text with everything escaped that could do more than be read, and cut at 2,048 bytes. Done
/// twice it changes nothing.
///
/// ```
/// assert_eq!(tonic_supervisor::printable("not found"), "not found");
/// assert_eq!(tonic_supervisor::printable("\u{1b}]0;title\u{7}\n"), "\\u{1b}]0;title\\u{7}\\n");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::new();
    // The end of the last whole piece that leaves room for the mark of a cut.
    let mut cut_at = 0;
    for c in text.chars() {
        if is_plain(c) {
            clean.push(c);
        } else {
            clean.extend(c.escape_default());
        }
        if clean.len() + CUT.len() <= LONGEST {
            cut_at = clean.len();
        }
        if clean.len() > LONGEST {
            clean.truncate(cut_at);
            clean.push_str(CUT);
            break;
        }
    }
    Cow::Owned(clean)
}

/// What a page or a list shows of a text from outside: [`printable`], and no more than 300
/// characters.
pub(crate) fn shortened(text: &str) -> Arc<str> {
    const MOST: usize = 300;
    let text = printable(text);
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}{CUT}", &text[..at]).into(),
        None => text.into(),
    }
}

/// A time as people say it: `250 ms`, `12.3 s`, `13 min 20 s`, `2 h 13 min`.
pub(crate) fn readable(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// [`printable`], in place.
pub(crate) fn clean(text: &mut String) {
    if let Cow::Owned(clean) = printable(text) {
        *text = clean;
    }
}

/// The same, for a text that others may hold as well.
pub(super) fn clean_shared(text: &mut Arc<str>) {
    if let Cow::Owned(clean) = printable(text) {
        *text = clean.into();
    }
}

/// Neither a control character (those above DEL included), nor one of the marks that cannot be
/// seen: ends of lines, of direction, of width zero, tags.
fn is_plain(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let unseen = matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !c.is_control() && !unseen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in ["", "not found", "\"quoted\" at C:\\path", "日本語", "हिन्दी", "café", "🦀"]
        {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_could_do_more_than_be_read_is_escaped() {
        let cases = [
            ("a\r\nb\tc\0", "a\\r\\nb\\tc\\u{0}"),
            ("\u{1b}[31m\u{7f}", "\\u{1b}[31m\\u{7f}"),
            ("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}"),
            ("\u{202e}cod.exe\u{2066}\u{feff}", "\\u{202e}cod.exe\\u{2066}\\u{feff}"),
            ("\u{2028}\u{e0041}\u{200b}", "\\u{2028}\\u{e0041}\\u{200b}"),
        ];
        for (text, escaped) in cases {
            assert_eq!(printable(text), escaped);
        }
    }

    #[test]
    fn a_long_text_is_cut_for_a_list_between_two_characters() {
        assert_eq!(&*shortened("busy\n"), "busy\\n");
        let long = shortened(&"é".repeat(400));
        assert_eq!((long.chars().count(), long.ends_with("é...")), (303, true));
    }

    proptest! {
        #[test]
        fn any_text_comes_out_short_plain_and_the_same_again(
            text in "(?s).{0,3000}",
            times in 1usize..3,
        ) {
            let text = text.repeat(times);
            let once = printable(&text).into_owned();
            prop_assert!(once.len() <= LONGEST && once.chars().all(is_plain));
            prop_assert_eq!(printable(&once), once.as_str());
            if text.len() <= LONGEST && text.chars().all(is_plain) {
                prop_assert_eq!(once, text);
            }
        }
    }
}
