//! Where a setting stands. Locations are ordered as problems are listed: files by line and column,
//! then variables, then the builder.

use std::fmt;

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Location {
    /// In a file; `at` is the line and the column, from 1.
    #[cfg_attr(not(feature = "yaml"), allow(dead_code))]
    File { name: String, at: Option<(usize, usize)> },
    /// In the environment variable of this name.
    Variable(String),
    /// By the builder method of this name.
    Builder(String),
    /// It is the default.
    Default,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, at: Some((line, column)) } => write!(f, "{name}:{line}:{column}"),
            Self::File { name, at: None } => f.write_str(name),
            Self::Variable(name) => f.write_str(name),
            Self::Builder(method) => write!(f, "builder method {method}"),
            Self::Default => f.write_str("default"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_the_order_in_which_a_person_looks_for_them() {
        let file = |at| Location::File { name: "grpc.yaml".into(), at };
        let variable = Location::Variable("TONIC_SUPERVISOR_GRPC_PORT".into());
        let order = [
            file(None),
            file(Some((2, 3))),
            file(Some((10, 1))),
            variable,
            Location::Builder("port(..)".into()),
        ];
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(order.map(|location| location.to_string())[2], "grpc.yaml:10:1");
    }
}
