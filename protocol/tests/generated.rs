//! The checked-in messages equal what the .proto files generate.
//! `SOTTO_REGENERATE=1 cargo test -p sotto-protocol --test generated` writes them anew.

use std::path::Path;

#[test]
fn checked_in_messages_match_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let files = ["frame", "identity", "content"]
        .map(|name| root.join(format!("proto/sotto/v1/{name}.proto")));
    let descriptors = protox::compile(files, [root.join("proto")]).unwrap();
    prost_build::Config::new()
        .bytes([
            ".sotto.v1.Append.payload",
            ".sotto.v1.Envelope.payload",
            ".sotto.v1.UploadChunk.data",
            ".sotto.v1.BlobPiece.data",
        ])
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();
    let fresh = std::fs::read_to_string(out.path().join("sotto.v1.rs")).unwrap();
    let checked_in = root.join("src/gen/sotto.v1.rs");
    if std::env::var_os("SOTTO_REGENERATE").is_some() {
        std::fs::write(&checked_in, &fresh).unwrap();
    }
    assert!(
        std::fs::read_to_string(&checked_in).unwrap() == fresh,
        "src/gen is older than proto/: run with SOTTO_REGENERATE=1"
    );
}
