//! The table of keys that only methods have; see `table`.

use super::{
    Key,
    kind::{SWITCH, one_of},
    rows::keys,
};

keys! {
    METHOD_ONLY, documented by method_key_doc, set by method_key_setters:
    "Methods" {
        /// `unary`, `streaming` (never retried), or `auto`: what the caller says, or else retried
        /// until the answer begins. Descriptors stand above it.
        kind(CallKind): "kind", one_of(&["unary", "streaming", "auto"]), default "none",
            because "what the caller says, or else as `retry_undescribed` has it";
        /// Whether running the call twice does no harm; `false`: it is repeated only when the
        /// server certainly did not process it.
        idempotent(bool): "idempotent", SWITCH, default "true",
            because "seed: idempotency is the user's duty";
    }
}
