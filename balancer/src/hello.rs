//! Finds the end of a TLS ClientHello in the first bytes of a connection.
//!
//! It reads record headers and the length of the first handshake message, nothing more: no
//! names, no extensions, no keys. Anything that is not a ClientHello (a PROXY header that a
//! client made up, HTTP, random bytes) is refused at its first wrong byte.

/// The most bytes of a first flight that are held for a client, record headers included.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

const RECORD_HEADER_BYTES: usize = 5;
const RECORD_PAYLOAD_BYTES_MAX: usize = 16 * 1024;
const RECORD_HANDSHAKE: u8 = 22;
const TLS_MAJOR_VERSION: u8 = 3;
const HANDSHAKE_CLIENT_HELLO: u8 = 1;
const HANDSHAKE_HEADER_BYTES: usize = 4;

/// Whether a ClientHello is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So far so good.
    NeedMore,
    /// The hello is whole; more bytes of the client may follow it.
    Complete,
}

/// These bytes cannot become a ClientHello that is worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAHello {
    /// The bytes are not TLS handshake records.
    #[error("not a TLS handshake record")]
    Record,
    /// The first message is another one.
    #[error("not a client hello")]
    Message,
    /// More than [`HELLO_BYTES_MAX`].
    #[error("client hello is too long")]
    TooLong,
}

/// Judges all bytes that a connection has sent so far.
///
/// # Errors
/// [`NotAHello`] as soon as further bytes cannot help.
pub fn examine(bytes: &[u8]) -> Result<Progress, NotAHello> {
    let mut rest = bytes;
    // Handshake bytes seen in earlier records, and the message's total once it is known.
    let mut header = [0_u8; HANDSHAKE_HEADER_BYTES];
    let mut seen = 0_usize;
    loop {
        let Some(payload_bytes) = record_header(rest)? else {
            return need_more(bytes);
        };
        let end = rest.len().min(RECORD_HEADER_BYTES + payload_bytes);
        let payload = rest.get(RECORD_HEADER_BYTES..end).unwrap_or_default();
        for (slot, byte) in header.iter_mut().skip(seen).zip(payload) {
            *slot = *byte;
        }
        seen += payload.len();
        if let Some(needed) = message_bytes(header, seen)?
            && seen >= needed
        {
            return Ok(Progress::Complete);
        }
        if payload.len() < payload_bytes {
            return need_more(bytes);
        }
        rest = rest.get(end..).unwrap_or_default();
    }
}

/// The payload length that a record header announces, or nothing while it is incomplete.
fn record_header(bytes: &[u8]) -> Result<Option<usize>, NotAHello> {
    if bytes.first().is_some_and(|kind| *kind != RECORD_HANDSHAKE)
        || bytes
            .get(1)
            .is_some_and(|major| *major != TLS_MAJOR_VERSION)
    {
        return Err(NotAHello::Record);
    }
    let Some(&[high, low]) = bytes.get(3..RECORD_HEADER_BYTES) else {
        return Ok(None);
    };
    let payload_bytes = usize::from(u16::from_be_bytes([high, low]));
    // Empty handshake records are forbidden (RFC 8446, 5.1) and would cost work for nothing.
    if payload_bytes == 0 || payload_bytes > RECORD_PAYLOAD_BYTES_MAX {
        return Err(NotAHello::Record);
    }
    Ok(Some(payload_bytes))
}

fn message_bytes(header: [u8; 4], seen: usize) -> Result<Option<usize>, NotAHello> {
    let [kind, a, b, c] = header;
    if seen > 0 && kind != HANDSHAKE_CLIENT_HELLO {
        return Err(NotAHello::Message);
    }
    if seen < HANDSHAKE_HEADER_BYTES {
        return Ok(None);
    }
    let body = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    if body + HANDSHAKE_HEADER_BYTES + RECORD_HEADER_BYTES > HELLO_BYTES_MAX {
        return Err(NotAHello::TooLong);
    }
    Ok(Some(body + HANDSHAKE_HEADER_BYTES))
}

fn need_more(bytes: &[u8]) -> Result<Progress, NotAHello> {
    if bytes.len() >= HELLO_BYTES_MAX {
        Err(NotAHello::TooLong)
    } else {
        Ok(Progress::NeedMore)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(body: usize) -> Vec<u8> {
        let length = u32::try_from(body).unwrap().to_be_bytes();
        let mut bytes = vec![1, length[1], length[2], length[3]];
        bytes.resize(4 + body, 7);
        bytes
    }

    fn records(message: &[u8], record: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for chunk in message.chunks(record) {
            bytes.extend_from_slice(&[22, 3, 1]);
            bytes.extend_from_slice(&u16::try_from(chunk.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(chunk);
        }
        bytes
    }

    #[test]
    fn refuses_other_protocols_at_once() {
        assert_eq!(examine(b"G"), Err(NotAHello::Record));
        assert_eq!(examine(b"\r\n\r\n\0\r\nQUIT\n"), Err(NotAHello::Record));
        assert_eq!(examine(b"PROXY TCP4 "), Err(NotAHello::Record));
        assert_eq!(examine(&[22, 2]), Err(NotAHello::Record));
        assert_eq!(examine(&[22, 3, 1, 0, 0]), Err(NotAHello::Record));
        assert_eq!(examine(&[22, 3, 1, 0x40, 1]), Err(NotAHello::Record));
        assert_eq!(examine(&[22, 3, 1, 0, 9, 2]), Err(NotAHello::Message));
        assert_eq!(
            examine(&[22, 3, 1, 0, 9, 1, 1, 0, 0]),
            Err(NotAHello::TooLong)
        );
        assert_eq!(
            examine(&records(&message(16 * 1024), 16 * 1024)),
            Err(NotAHello::TooLong)
        );
    }

    proptest! {
        #[test]
        fn finds_the_end_however_it_is_cut(body in 0_usize..2_000, record in 1_usize..1_500) {
            let bytes = records(&message(body), record);
            if bytes.len() < HELLO_BYTES_MAX {
                for cut in 0..bytes.len() {
                    prop_assert_eq!(examine(&bytes[..cut]), Ok(Progress::NeedMore));
                }
                prop_assert_eq!(examine(&bytes), Ok(Progress::Complete));
            } else {
                prop_assert!(examine(&bytes[..HELLO_BYTES_MAX]).is_ok_and(|p| p == Progress::Complete)
                    || examine(&bytes[..HELLO_BYTES_MAX]) == Err(NotAHello::TooLong));
            }
        }

        #[test]
        fn survives_arbitrary_bytes(tail: Vec<u8>, head in 0_usize..6) {
            let mut bytes = vec![22, 3, 1, 0, 200, 1][..head].to_vec();
            bytes.extend_from_slice(&tail);
            let _ = examine(&bytes);
        }
    }
}
