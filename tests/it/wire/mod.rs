//! What stands on the wire: frames, heads, trailers and text, whatever a peer sends of them.

mod arbitrary_answers;
mod arbitrary_inputs;
mod empty_frames;
mod header_limits;
mod malformed;
mod malformed_requests;
mod peer_text;
mod small_frames;
mod status_in_head;
mod unreadable_status;
