//! Writing to people and programs: colours only on a terminal that wants them, and no panic when
//! the reader has gone. What servers and commands say is text: nothing in it moves the cursor,
//! changes colours or ends a line.

use std::{
    borrow::Cow,
    env,
    io::{self, IsTerminal, Write},
};

/// How a piece of text is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    Good,
    Bad,
    Notice,
    Quiet,
}

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    colours: bool,
}

impl Terminal {
    /// Looks at standard output and at `NO_COLOR`.
    pub(crate) fn new() -> Self {
        Self { colours: wants_colours(&io::stdout()) }
    }

    /// `text`, coloured where colours are wanted.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colours {
            return text.into();
        }
        let code = match tone {
            Tone::Good => 32,
            Tone::Bad => 31,
            Tone::Notice => 33,
            Tone::Quiet => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Writes one line at once. A reader that closed the pipe has seen enough.
    pub(crate) fn line(self, text: &str) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}

/// Whether this is a terminal that wants colours.
pub(crate) fn wants_colours(stream: &impl IsTerminal) -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
    stream.is_terminal() && !refused && !dumb
}

/// A text from elsewhere for a line of its own: what a terminal would act on is written as in
/// Rust's strings.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    shown(text, |letter, to| to.extend(letter.escape_default()))
}

/// The same for JSON, in whose texts letters may be written by their numbers.
pub(crate) fn plain_json(line: &str) -> Cow<'_, str> {
    shown(line, |letter, to| to.push_str(&format!("\\u{:04x}", u32::from(letter))))
}

fn shown(text: &str, write: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(acts) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if acts(letter) { write(letter, &mut shown) } else { shown.push(letter) }
    }
    shown.into()
}

/// Controls; and what breaks lines, hides itself, or turns the direction of text around.
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_elsewhere_cannot_act_on_the_terminal() {
        assert_eq!(plain("naïve “日本” \\ \"x\""), "naïve “日本” \\ \"x\"");
        assert_eq!(plain("\x1b[31mred\r\n\t\0\x7f"), r"\u{1b}[31mred\r\n\t\u{0}\u{7f}");
        assert_eq!(plain("\u{9b}2J\u{202e}\u{2028}"), r"\u{9b}2J\u{202e}\u{2028}");
    }

    #[test]
    fn a_line_of_json_stays_the_same_json() {
        let text = "\x1b \x7f \u{9b} \u{202e} ü";
        let line = serde_json::Value::from(text).to_string();
        let shown = plain_json(&line);
        assert!(!shown.contains(acts), "{shown:?}");
        assert_eq!(serde_json::from_str::<String>(&shown).expect("JSON"), text);
    }
}
