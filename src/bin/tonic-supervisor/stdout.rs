//! Writing to people and programs: colours only on a terminal that wants them, and no panic when
//! the reader has gone.
//!
//! What comes from servers and commands is text: nothing in it moves the cursor, changes colours or
//! ends a line.

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
pub(crate) struct Stdout {
    colours: bool,
}

impl Stdout {
    /// Looks at standard output and at `NO_COLOR`.
    pub(crate) fn new() -> Self {
        Self { colours: wants_colours(&io::stdout()) }
    }

    /// Without colours, whatever standard output is.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colours: false }
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
        let _ = self.try_line(text);
    }

    /// The same for what may go on for ever, and shall end when nobody reads it any more.
    pub(crate) fn try_line(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush())
    }
}

/// Whether this is a terminal that wants colours.
pub(crate) fn wants_colours(stream: &impl IsTerminal) -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
    stream.is_terminal() && !refused && !dumb
}

/// A line of JSON with everything escaped that a terminal would act on: in its texts, letters may
/// be written by their numbers.
pub(crate) fn plain_json(line: &str) -> Cow<'_, str> {
    if !line.contains(acts) {
        return line.into();
    }
    let mut shown = String::with_capacity(line.len() + 16);
    for letter in line.chars() {
        if acts(letter) {
            shown.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            shown.push(letter);
        }
    }
    shown.into()
}

/// Controls; and what breaks lines, hides itself, or turns the direction of text around.
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_stays_the_same_json() {
        let text = "\x1b \x7f \u{9b} \u{202e} ü";
        let line = serde_json::Value::from(text).to_string();
        let shown = plain_json(&line);
        assert!(!shown.contains(acts), "{shown:?}");
        assert_eq!(serde_json::from_str::<String>(&shown).expect("JSON"), text);
    }
}
