//! Links: targets and addresses, dials, keepalive, GOAWAY, loss and replacement.

mod addresses;
mod dials;
mod draining;
mod first_bytes;
mod goaway;
mod keepalive;
mod ping_pace;
mod proven;
mod reconnect_now;
mod startup_order;
mod steps;
mod stream_limits;
mod targets;
mod vanished_peer;
mod wrong_peer;
