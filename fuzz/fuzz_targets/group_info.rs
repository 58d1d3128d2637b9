//! The first state of a conversation, as a server reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto_protocol::{ConversationId, DeploymentId};
use sotto_roster::PublicConversation;

fuzz_target!(|bytes: &[u8]| {
    let deployment = DeploymentId::from_bytes([7; 16]);
    let conversation = ConversationId::from_bytes([8; 16]);
    let _ = PublicConversation::create(bytes, &deployment, &conversation, 0);
});
