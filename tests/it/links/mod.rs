//! Links: targets and addresses, dials, keepalive, GOAWAY, loss and replacement.

mod addresses;
mod dials;
mod draining;
mod first_bytes;
mod keepalive;
mod lost_links;
mod reconnect_now;
mod targets;
mod wrong_peer;
