//! What a client reads from a server.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use sotto_protocol::frame::{FrameLimit, decode_frame};
use sotto_protocol::wire::ServerFrame;

fuzz_target!(|bytes: &[u8]| {
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(_)) = decode_frame::<ServerFrame>(&mut buffer, FrameLimit::AfterLogin) {}
});
