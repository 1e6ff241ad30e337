//! The pages in `docs/`, README and generated files say what is so.

#[cfg(feature = "test-util")]
mod fault_table;
mod generated_code;
mod readme;
mod reference;
mod translations;
