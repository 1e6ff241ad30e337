//! Panics of code that is not ours: how they are caught, and the message that they carry.
//!
//! Whoever catches a panic throws away what it left half done, which is why nothing here asks for
//! `UnwindSafe`.

use futures::{FutureExt as _, future::CatchUnwind};
use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// The message of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    panic.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("a panic without words")
}

/// Runs `code`; the error is the message of its panic.
pub(crate) fn caught<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| panic_message(&*panic).to_owned())
}

/// The same for a future.
pub(crate) fn catching<F: Future>(future: F) -> CatchUnwind<AssertUnwindSafe<F>> {
    AssertUnwindSafe(future).catch_unwind()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_its_own_words_of_either_kind() {
        let silent = || -> () { std::panic::resume_unwind(Box::new(7)) };
        let fixed = || -> () { std::panic::resume_unwind(Box::new("fixed")) };
        let made = || -> () { std::panic::resume_unwind(Box::new("made".to_owned())) };
        assert_eq!(caught(|| 1), Ok(1));
        assert_eq!(caught(fixed), Err("fixed".into()));
        assert_eq!(caught(made), Err("made".into()));
        assert_eq!(caught(silent), Err("a panic without words".into()));
    }
}
