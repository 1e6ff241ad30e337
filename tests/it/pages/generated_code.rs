//! `src/proto` is what the `.proto` files say. `UPDATE=1` rewrites it.

use prost::Message;
use std::{env, fs, path::Path};

#[test]
fn generated_code_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = tempfile::tempdir().expect("temporary folder");
    let set = protox::compile(["agent_queue/v1/agent_queue.proto"], [root.join("proto")])
        .expect("valid proto");
    fs::write(fresh.path().join("agent_queue.v1.bin"), descriptors(&set)).expect("written");
    tonic_prost_build::configure()
        // The crate's own channel takes the place of tonic's `connect`.
        .build_transport(false)
        .out_dir(fresh.path())
        .compile_fds(set)
        .expect("generated");
    for entry in fs::read_dir(fresh.path()).expect("folder") {
        let entry = entry.expect("entry");
        let kept = root.join("src/proto").join(entry.file_name());
        let new = fs::read(entry.path()).expect("contents");
        if env::var_os("UPDATE").is_some() {
            fs::write(&kept, &new).expect("written");
        }
        assert!(
            fs::read(&kept).unwrap_or_default() == new,
            "{} is stale; run with UPDATE=1",
            kept.display()
        );
    }
}

/// The descriptors as they are shipped: without comments and positions, which nobody reads at run
/// time.
fn descriptors(set: &prost_types::FileDescriptorSet) -> Vec<u8> {
    let mut set = set.clone();
    for file in &mut set.file {
        file.source_code_info = None;
    }
    set.encode_to_vec()
}
