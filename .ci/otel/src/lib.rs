//! No code of its own: the tests are what it is for, and `examples/otel.rs` of the package.
