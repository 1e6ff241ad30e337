//! Writing to people and programs: colours only on a terminal that wants them, and no panic when the reader has gone.

use std::{
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
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colours: io::stdout().is_terminal() && !refused && !dumb }
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
