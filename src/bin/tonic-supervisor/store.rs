//! Where the queues are kept: `memory`, `sqlite:PATH` or `postgres:DSN`.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

/// A store, as `--store` names it. What it prints has no password.
#[derive(Clone, PartialEq)]
pub(crate) enum StoreSpec {
    Memory,
    Sqlite(PathBuf),
    /// The part after `postgres:`, or a whole `postgres://` or `postgresql://` address.
    Postgres(String),
}

/// The argument as it was given. It is parsed later than the others, because the text of a usage
/// error would show it.
#[derive(Clone)]
pub(crate) struct StoreArgument(String);

impl StoreArgument {
    /// What it names; an error does not repeat it.
    pub(crate) fn read(&self) -> Result<StoreSpec, String> {
        let text = &*self.0;
        let rule = "--store must be `memory`, `sqlite:PATH` or `postgres:DSN`";
        match text.split_once(':') {
            None if text == "memory" => Ok(StoreSpec::Memory),
            Some(("sqlite", "")) => Err(format!("{rule}; the path is empty")),
            Some(("sqlite", path)) if path == ":memory:" || path.starts_with("file:") => {
                Err(format!(
                    "{rule}; PATH is a path, and no URI or `:memory:`: for queues in memory use \
                     `memory`"
                ))
            }
            Some(("sqlite", path)) => Ok(StoreSpec::Sqlite(path.into())),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(StoreSpec::Postgres(text.into()))
            }
            Some(("postgres", dsn)) => Ok(StoreSpec::Postgres(dsn.into())),
            _ => Err(rule.into()),
        }
    }
}

impl FromStr for StoreArgument {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for StoreArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

impl fmt::Display for StoreSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            // Not even a part: where a password stands is for the database's own parser to say.
            Self::Postgres(_) => f.write_str("postgres"),
        }
    }
}

impl fmt::Debug for StoreSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_by_its_kind_and_never_shows_a_password() {
        let spec = |text: &str| StoreArgument(text.into()).read();
        assert_eq!(spec("memory"), Ok(StoreSpec::Memory));
        assert_eq!(spec("sqlite:a/b.db"), Ok(StoreSpec::Sqlite("a/b.db".into())));
        assert_eq!(spec("postgres:host=x"), Ok(StoreSpec::Postgres("host=x".into())));
        let address = "postgres://me:secret@host/db";
        assert_eq!(spec(address), Ok(StoreSpec::Postgres(address.into())));
        let shown = spec(address).map(|spec| format!("{spec} {spec:?}")).unwrap_or_default();
        assert_eq!(shown, "postgres postgres");
        for wrong in [
            "",
            "memory:",
            "sqlite",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:file:x?mode=memory",
            "mysql:x",
            "secret",
        ] {
            let error = spec(wrong).expect_err(wrong);
            assert!(error.starts_with("--store must be") && !error.contains("secret"), "{error}");
        }
    }
}
