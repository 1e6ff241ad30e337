//! Bearer tokens: 256 random bits, of which a server keeps the SHA-256.
//!
//! Who knows only the hash cannot find a token of that many bits, so no slow hash is needed. Hashes
//! are compared in constant time.

use crate::model::Secret;
use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write as _};
use subtle::ConstantTimeEq as _;

/// What every token begins with: whoever finds one in a file or a log knows what it is, and nobody
/// takes it for a hash.
const PREFIX: &str = "aqt_";

/// A new token. `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct Token(Secret<String>);

/// The SHA-256 of a token. `Debug` does not show it.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl Token {
    /// Of these bits, which must come from the system's source of random numbers.
    pub fn new(bits: [u8; 32]) -> Self {
        Self(Secret::new(format!("{PREFIX}{}", hexadecimal(&bits))))
    }

    /// The token itself, to be shown once.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// What a server keeps of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.reveal().as_bytes())
    }
}

impl TokenHash {
    /// Of what a caller sent as its token.
    pub(super) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// From 64 hexadecimal digits.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }

    pub(super) fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// As 64 hexadecimal digits.
    pub fn hexadecimal(&self) -> String {
        hexadecimal(&self.0)
    }

    /// Takes the same time whatever the two are.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_256_bits_and_its_hash_is_that_of_its_text() {
        let token = Token::new([0xab; 32]);
        assert_eq!(token.reveal(), format!("aqt_{}", "ab".repeat(32)));
        // printf aqt_abab...ab | sha256sum
        let hash = "808dce7b3941a42e463d245a2ee3f3ce807ce104ef11215967d648cc6e030c9f";
        assert_eq!(token.hash().hexadecimal(), hash);
        let read = TokenHash::read(&hash.to_uppercase()).expect("a hash");
        assert!(read.is(&token.hash()) && !read.is(&Token::new([0xac; 32]).hash()));
        for wrong in [
            "",
            "ab",
            &"g".repeat(64),
            &"ab".repeat(33),
            &format!("+{}", "a".repeat(63)),
            token.reveal(),
        ] {
            assert!(TokenHash::read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn neither_a_token_nor_its_hash_is_shown_by_debug() {
        let token = Token::new([7; 32]);
        assert_eq!(format!("{token:?} {:?}", token.hash()), "Token(Secret(..)) TokenHash(..)");
    }
}
