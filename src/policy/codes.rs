//! Sets of gRPC status codes, and how configuration names a code.

pub use crate::model::{code_name, code_names};

use std::fmt;
use tonic::Code;

/// The code that `text` names, in any case or as its number (gRPC service config).
pub fn code_from_name(text: &str) -> Option<Code> {
    let text = text.trim();
    let number = match text.parse::<usize>() {
        Ok(number) => number,
        Err(_) => code_names().iter().position(|name| name.eq_ignore_ascii_case(text))?,
    };
    (number < code_names().len()).then(|| Code::from(number as i32))
}

/// A set of status codes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CodeSet(u32);

impl CodeSet {
    /// Whether `code` is in the set.
    pub fn contains(self, code: Code) -> bool {
        self.0 & (1 << code as u32) != 0
    }

    /// Adds `code`; false if it was there already.
    pub fn insert(&mut self, code: Code) -> bool {
        let new = !self.contains(code);
        self.0 |= 1 << code as u32;
        new
    }

    /// The codes, by number.
    pub fn iter(self) -> impl Iterator<Item = Code> {
        (0..17).map(Code::from).filter(move |code| self.contains(*code))
    }
}

impl FromIterator<Code> for CodeSet {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> Self {
        let mut set = Self::default();
        codes.into_iter().for_each(|code| {
            set.insert(code);
        });
        set
    }
}

impl fmt::Debug for CodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(code_name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_name_and_number() {
        for (number, name) in code_names().iter().enumerate() {
            let code = Code::from(number as i32);
            assert_eq!(code_from_name(name), Some(code));
            assert_eq!(code_from_name(&name.to_lowercase()), Some(code));
            assert_eq!(code_from_name(&number.to_string()), Some(code));
            assert_eq!(code_name(code), *name);
        }
        assert_eq!(code_from_name("17"), None);
        assert_eq!(code_from_name("UNAVAILABEL"), None);
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut set: CodeSet = [Code::Unavailable, Code::Aborted].into_iter().collect();
        assert!(set.contains(Code::Aborted) && !set.contains(Code::Ok));
        assert!(!set.insert(Code::Aborted) && set.insert(Code::Internal));
        assert_eq!(set.iter().count(), 3);
    }
}
