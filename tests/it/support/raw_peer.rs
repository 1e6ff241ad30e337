//! A peer whose frames the test sends itself, and what stands in them.

use super::{ADDRESS, LONG, bounded, supervise};
use tonic_supervisor::{
    ConfigBuilder, Supervisor,
    testing::{FrameKind, MemoryNetwork, RawLink, RawPeer},
};

/// The message `hello`, without its prefix.
pub(crate) const HELLO: &[u8] = b"\n\x05hello";

/// A message behind its prefix, which says this flag and this length.
pub(crate) fn framed(flag: u8, length: usize, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).expect("it fits").to_be_bytes();
    [&[flag], &length[..], message].concat()
}

/// A peer that said these SETTINGS, its link, and the supervisor that has it.
pub(crate) async fn raw_link(
    config: ConfigBuilder,
    settings: &[(u16, u32)],
) -> (Supervisor, RawPeer, RawLink) {
    let network = MemoryNetwork::new();
    let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config);
    let mut link = peer.accept().await;
    link.send_settings(settings).await;
    supervisor.wait_ready(LONG).await.expect("Ready");
    (supervisor, peer, link)
}

/// Reads until a request has arrived whole, whatever else is under way; its stream.
pub(crate) async fn next_request(link: &mut RawLink) -> u32 {
    let end = link.skip_to(|frame| frame.kind == FrameKind::Data && frame.is_end_stream());
    bounded("a request", end).await.expect("the client is there").stream
}
