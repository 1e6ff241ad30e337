//! The gRPC status codes' names, as configuration spells them and metrics carry them.

use tonic::Code;

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// gRPC's name for `code`, in capitals.
pub fn code_name(code: Code) -> &'static str {
    NAMES[code as usize]
}

/// All names, in the order of their numbers.
pub fn code_names() -> &'static [&'static str] {
    &NAMES
}
