//! Panics that tests inject stay out of the output.

use std::{
    panic::{set_hook, take_hook},
    sync::Once,
};

/// Keeps the panics that tests inject out of the output; every other one is shown.
pub(crate) fn hide_injected_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = take_hook();
        set_hook(Box::new(move |panic| {
            let payload = panic.payload();
            let text = payload
                .downcast_ref::<&str>()
                .copied()
                .or(payload.downcast_ref::<String>().map(String::as_str));
            if !text.is_some_and(|text| text.starts_with("injected by a test")) {
                shown(panic);
            }
        }));
    });
}
