//! Calls, from the request to the one answer: kinds, deadlines, cancellation, credentials, reports.

mod begins_at_once;
mod broken_streams;
mod cancellation;
mod credentials;
mod edge_cases;
mod ended_while_waiting;
mod extreme_times;
mod generated_clients;
mod isolation;
mod kind_auto;
mod known_unary;
mod load;
mod metadata;
mod reports;
mod timeouts;
mod too_late;
mod wrongly_declared_unary;
