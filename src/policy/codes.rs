//! Sets of gRPC status codes, and the codes' names as configuration spells them.

use std::fmt;
use tonic::Code;

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// gRPC's name for `code`, in capitals.
pub fn code_name(code: Code) -> &'static str {
    NAMES[code as usize]
}

/// All names, in the order of their numbers.
pub fn code_names() -> &'static [&'static str] {
    &NAMES
}

/// The code that `text` names, in any case or as its number (gRPC service config).
pub fn code_from_name(text: &str) -> Option<Code> {
    let text = text.trim();
    let number = match text.parse::<usize>() {
        Ok(number) => number,
        Err(_) => NAMES.iter().position(|name| name.eq_ignore_ascii_case(text))?,
    };
    (number < NAMES.len()).then(|| Code::from(number as i32))
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
        for (number, name) in NAMES.iter().enumerate() {
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
