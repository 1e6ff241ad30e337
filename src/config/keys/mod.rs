//! The keys of the configuration: what is known of each, and how it is found by its path.
//!
//! The keys themselves stand in `table`, each written down once. Setters, the getters'
//! documentation, variables, pages, the JSON schema and errors are all made from there, so that
//! they cannot differ.

mod kind;
mod link_table;
mod method_table;
mod rows;
mod table;

pub(super) use kind::{Kind, Read, Shape};
use link_table::LINK_KEYS;
pub(super) use link_table::{link_key_doc, link_key_setters};
pub(super) use method_table::{METHOD_ONLY, method_key_doc, method_key_setters};
pub(super) use rows::setter;
use table::MOST_KEYS;
pub(crate) use table::key_doc;
pub(super) use table::key_setters;

/// One key below `grpc:`, or of a method. What explains it is read by the tests that write the
/// pages about it.
#[allow(dead_code)]
#[derive(Clone, Copy)]
pub(super) struct Key {
    /// Its path below `grpc:`, such as `max_backoff` or `queue.max_calls`.
    pub(super) path: &'static str,
    /// Under which heading it is explained.
    pub(super) group: &'static str,
    /// What values it takes.
    pub(super) kind: Kind,
    /// The default, as a user would write it.
    pub(super) default: &'static str,
    /// Why that is the default.
    pub(super) reason: &'static str,
    /// What it means.
    pub(super) doc: &'static str,
    /// Whether a method may set it for itself.
    pub(super) for_methods: bool,
}

/// All keys.
pub(super) const KEYS: &[Key] = &{
    const MANY: usize = MOST_KEYS.len();
    let mut all = [MOST_KEYS[0]; MANY + LINK_KEYS.len()];
    let mut n = 0;
    while n < all.len() {
        all[n] = if n < MANY { MOST_KEYS[n] } else { LINK_KEYS[n - MANY] };
        n += 1;
    }
    all
};

/// The key at `path`.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().chain(METHOD_ONLY).find(|key| key.path == path)
}

/// The keys that a method may set for itself: two that only methods have, and those that override
/// the key of the same name.
#[cfg_attr(not(feature = "yaml"), allow(dead_code))]
pub(super) fn method_keys() -> impl Iterator<Item = &'static Key> + Clone {
    METHOD_ONLY.iter().chain(KEYS.iter().filter(|key| key.for_methods))
}

/// The name of the environment variable for `path`.
pub(super) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())
}

/// What every environment variable of ours begins with.
pub(super) const PREFIX: &str = "TONIC_SUPERVISOR_GRPC_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_listed_twice_and_each_is_explained() {
        let all: Vec<&Key> = KEYS.iter().chain(METHOD_ONLY).collect();
        for (n, key) in all.iter().enumerate() {
            assert!(all[..n].iter().all(|other| other.path != key.path), "{}", key.path);
            assert!(!key.doc.is_empty() && !key.reason.is_empty(), "{}", key.path);
        }
        assert!(
            method_keys().all(|key| !key.path.contains('.')),
            "sections of methods are not read"
        );
    }

    #[test]
    fn variables_are_named_after_paths() {
        assert_eq!(variable("max_backoff"), "TONIC_SUPERVISOR_GRPC_MAX_BACKOFF");
        assert_eq!(
            variable("reconnect.max_backoff"),
            "TONIC_SUPERVISOR_GRPC_RECONNECT__MAX_BACKOFF"
        );
    }
}
