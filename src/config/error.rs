//! What is wrong with a configuration: every problem at once, each one sentence that names its place, key, value and rule.

use std::fmt::{self, Write as _};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(crate) place: String,
    pub(crate) key: Option<String>,
    pub(crate) text: String,
}

/// Everything that is wrong with a configuration; at least one [`Problem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl Problem {
    /// Where it was said: `grpc.yaml:4:3` (file, line, column), the name of a variable, or a builder method.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The key's whole path, such as `grpc.max_backoff`; none where the problem is not about a key.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map_or(String::new(), |key| format!("{key} "));
        // Keys and places are what files and environments say: no control character of theirs reaches a terminal.
        for letter in format!("{}: {key}{}", self.place, self.text).chars() {
            match letter.is_control() {
                true => write!(f, "{}", letter.escape_default())?,
                false => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

impl ConfigError {
    /// An error, if there are problems.
    pub(crate) fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// One problem, of a file that cannot be read at all.
    #[cfg(feature = "auth-file")]
    pub(crate) fn of(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }

    /// All problems that were found, in the order of the sources and of the keys.
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
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_one_sentence_and_an_error_as_one_line_for_each() {
        let problem = Problem {
            place: "grpc.yaml:4:3".into(),
            key: Some("grpc.max_backoff".into()),
            text: "is -1, but must not be negative".into(),
        };
        let odd = Problem { key: Some("\x1b[2J".into()), ..problem.clone() };
        assert_eq!(odd.to_string(), "grpc.yaml:4:3: \\u{1b}[2J is -1, but must not be negative");
        let other = Problem { key: None, text: "is empty".into(), ..problem.clone() };
        let error = ConfigError::check(vec![problem, other]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "grpc.yaml:4:3: grpc.max_backoff is -1, but must not be negative\ngrpc.yaml:4:3: is empty"
        );
    }
}
