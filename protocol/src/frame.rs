//! Framing: a 4-byte big-endian length, then one protobuf message.
//!
//! Works on buffers only. It refuses a frame above the present limit from its
//! length alone, before a byte of the body is kept, so that a claimed length
//! never makes anybody allocate.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::limits::{FRAME_BYTES_MAX, FRAME_BYTES_MAX_BEFORE_LOGIN};

/// Bytes of the length in front of each frame.
pub const LENGTH_BYTES: usize = 4;
/// A buffer grows to a frame's length only this far ahead of what arrived.
const RESERVE_AHEAD_BYTES: usize = 16 * 1024;

/// How large a frame may be now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameLimit {
    /// Before login: 16 KiB.
    BeforeLogin,
    /// After login: 1 MiB.
    AfterLogin,
}

impl FrameLimit {
    /// The largest body in bytes.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::BeforeLogin => FRAME_BYTES_MAX_BEFORE_LOGIN,
            Self::AfterLogin => FRAME_BYTES_MAX,
        }
    }
}

/// A frame that cannot be read or written; the connection is beyond repair.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length in front exceeds the limit.
    #[error("frame of {length} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// The length claimed.
        length: usize,
        /// The limit at that moment.
        limit: usize,
    },
    /// The body is not the expected message.
    #[error("frame does not decode")]
    Malformed(#[from] prost::DecodeError),
}

/// Takes the next whole frame's body off `buffer`, if it is there.
///
/// # Errors
/// When the claimed length exceeds `limit`.
pub fn take_frame(buffer: &mut BytesMut, limit: FrameLimit) -> Result<Option<Bytes>, FrameError> {
    let Some(head) = buffer.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*head) as usize;
    if length > limit.bytes_max() {
        return Err(FrameError::TooLarge {
            length,
            limit: limit.bytes_max(),
        });
    }
    let whole = LENGTH_BYTES + length;
    if buffer.len() < whole {
        buffer.reserve((whole - buffer.len()).min(RESERVE_AHEAD_BYTES));
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Takes and decodes the next whole frame off `buffer`, if it is there.
///
/// # Errors
/// When the claimed length exceeds `limit` or the body does not decode.
pub fn decode_frame<M: Message + Default>(
    buffer: &mut BytesMut,
    limit: FrameLimit,
) -> Result<Option<M>, FrameError> {
    match take_frame(buffer, limit)? {
        Some(body) => Ok(Some(M::decode(body)?)),
        None => Ok(None),
    }
}

/// Appends `message` as a frame to `buffer`.
///
/// # Errors
/// When the message exceeds 1 MiB; nothing is appended then.
pub fn encode_frame<M: Message>(message: &M, buffer: &mut BytesMut) -> Result<(), FrameError> {
    let length = message.encoded_len();
    let too_large = FrameError::TooLarge {
        length,
        limit: FRAME_BYTES_MAX,
    };
    if length > FRAME_BYTES_MAX {
        return Err(too_large);
    }
    let Ok(length_field) = u32::try_from(length) else {
        return Err(too_large);
    };
    buffer.reserve(LENGTH_BYTES + length);
    buffer.put_u32(length_field);
    message.encode_raw(buffer);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ClientFrame, Hello, client_frame};
    use proptest::prelude::*;

    fn hello(request_id: u64, agent: String) -> ClientFrame {
        ClientFrame {
            request_id,
            body: Some(client_frame::Body::Hello(Hello {
                version_min: 1,
                version_max: 1,
                agent,
            })),
        }
    }

    proptest! {
        #[test]
        fn frames_survive_any_split(id: u64, agent in ".{0,64}", cut in 0usize..100) {
            let frame = hello(id, agent);
            let mut whole = BytesMut::new();
            encode_frame(&frame, &mut whole).unwrap();
            let cut = cut.min(whole.len());
            let mut arrived = BytesMut::from(&whole[..cut]);
            let mut seen = decode_frame::<ClientFrame>(&mut arrived, FrameLimit::BeforeLogin).unwrap();
            if cut < whole.len() {
                prop_assert!(seen.is_none());
                arrived.extend_from_slice(&whole[cut..]);
                seen = decode_frame(&mut arrived, FrameLimit::BeforeLogin).unwrap();
            }
            prop_assert_eq!(seen, Some(frame));
            prop_assert!(arrived.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut buffer = BytesMut::from(&bytes[..]);
            for _ in 0..bytes.len() + 1 {
                match decode_frame::<ClientFrame>(&mut buffer, FrameLimit::BeforeLogin) {
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                }
            }
        }
    }

    #[test]
    fn a_huge_length_is_refused_without_allocation() {
        for claimed in [u32::MAX, 8 * 1024 * 1024 - 1, 16 * 1024 + 1] {
            let mut buffer = BytesMut::new();
            buffer.put_u32(claimed);
            let before = buffer.capacity();
            let refused = take_frame(&mut buffer, FrameLimit::BeforeLogin);
            assert!(matches!(refused, Err(FrameError::TooLarge { .. })));
            assert_eq!(buffer.capacity(), before);
        }
    }

    #[test]
    fn a_stalled_frame_reserves_little() {
        let mut buffer = BytesMut::new();
        buffer.put_u32(FRAME_BYTES_MAX as u32);
        assert!(
            take_frame(&mut buffer, FrameLimit::AfterLogin)
                .unwrap()
                .is_none()
        );
        assert!(buffer.capacity() < 64 * 1024);
    }
}
