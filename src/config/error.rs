//! What is wrong with a configuration: every problem at once, each one sentence that names its
//! place, key, value and rule.

use super::location::Location;
use std::fmt::{self, Write as _};

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq)]
pub struct Problem {
    pub(crate) location: Location,
    pub(crate) key: Option<String>,
    pub(crate) text: String,
}

/// Everything that is wrong with a configuration; at least one [`Problem`].
///
/// Printed by `{}` and `{:?}` alike, one line for each problem, so that a `main` that returns it
/// prints sentences.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl Problem {
    /// Where the setting stands: `grpc.yaml:4:3` (file, line, column), the name of a variable, or a
    /// builder method.
    pub fn location(&self) -> String {
        self.location.to_string()
    }

    /// The key's whole path, such as `grpc.max_backoff`; none where the problem is not about a key.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map_or(String::new(), |key| format!("{key} "));
        // Keys and places come from files and environments: no control character of theirs
        // reaches a terminal.
        for letter in format!("{}: {key}{}", self.location, self.text).chars() {
            match letter.is_control() {
                true => write!(f, "{}", letter.escape_default())?,
                false => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ConfigError {
    /// An error, if there are problems.
    pub(crate) fn check(mut problems: Vec<Problem>) -> Result<(), Self> {
        problems.sort_by(|a, b| a.location.cmp(&b.location));
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// One problem, of a file that cannot be read at all.
    #[cfg(feature = "auth-file")]
    pub(crate) fn of(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }

    /// All problems that were found, by their places: files from the top down, then variables, then
    /// builder methods.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    /// One line per problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(problem, f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConfigError {
    /// What `{}` prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn problem(at: (usize, usize), text: &str) -> Problem {
        let location = Location::File { name: "grpc.yaml".into(), at: Some(at) };
        Problem { location, key: Some("grpc.max_backoff".into()), text: text.into() }
    }

    #[test]
    fn a_problem_reads_as_one_sentence_and_an_error_as_one_line_for_each() {
        let odd = Problem {
            key: Some("\x1b[2J".into()),
            ..problem((4, 3), "is -1, but must not be negative")
        };
        assert_eq!(odd.to_string(), "grpc.yaml:4:3: \\u{1b}[2J is -1, but must not be negative");
        let first = Problem { key: None, ..problem((2, 1), "is empty") };
        let error =
            ConfigError::check(vec![problem((4, 3), "is -1, but must not be negative"), first])
                .unwrap_err();
        assert_eq!(
            error.to_string(),
            "grpc.yaml:2:1: is empty\ngrpc.yaml:4:3: grpc.max_backoff is -1, but must not be \
             negative"
        );
    }

    #[test]
    fn a_main_that_returns_an_error_prints_its_sentences() {
        let error = ConfigError::check(vec![problem((4, 3), "is -1"), problem((5, 3), "is 0")])
            .unwrap_err();
        let boxed: Box<dyn std::error::Error> = Box::new(error.clone());
        assert_eq!(format!("{boxed:?}"), error.to_string());
        assert_eq!(format!("{:?}", error.problems()[0]), "grpc.yaml:4:3: grpc.max_backoff is -1");
    }
}
