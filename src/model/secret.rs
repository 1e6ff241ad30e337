//! A wrapper for values that must not be printed, such as keys and tokens.

use std::fmt;

/// A value that shows nothing of itself in logs and panics; it is let out by name only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Secret<T>(T);

impl<T> Secret<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself: for whoever must use it, never for a message.
    pub(crate) fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_of_itself() {
        let secret = Secret::new("-----BEGIN PRIVATE KEY-----");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(..) Some(Secret(..))");
        assert_eq!(secret.reveal().len(), 27);
    }
}
