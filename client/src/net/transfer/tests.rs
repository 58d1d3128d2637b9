//! What a window holds while connections come and go.

use super::*;

struct Numbered {
    left: usize,
    last_bytes: usize,
}

impl Source for Numbered {
    type Error = ();

    fn next_piece(&mut self) -> Result<Option<Bytes>, ()> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let bytes = if left == 0 {
            self.last_bytes
        } else {
            PIECE_BYTES
        };
        Ok(Some(vec![7; bytes].into()))
    }
}

const PIECE: u64 = PIECE_BYTES as u64;

#[test]
fn what_was_sent_and_not_stored_is_sent_again() {
    let mut source = Numbered {
        left: 5,
        last_bytes: 9,
    };
    let mut window = Window::default();
    for place in 0..3 {
        assert_eq!(window.next(&mut source).unwrap().unwrap().0, place * PIECE);
        window.sent += 1;
    }
    window.confirm(PIECE, &mut source).unwrap();
    assert_eq!((window.pieces.len(), window.sent), (2, 2));
    // The connection is lost; one more piece had arrived.
    window.sent = 0;
    window.confirm(2 * PIECE, &mut source).unwrap();
    assert_eq!(window.next(&mut source).unwrap().unwrap().0, 2 * PIECE);
    window.sent = 1;
    assert_eq!(window.next(&mut source).unwrap().unwrap().0, 3 * PIECE);
    window.sent = 2;
    assert_eq!(window.next(&mut source).unwrap().unwrap().1.len(), 9);
    window.confirm(4 * PIECE + 9, &mut source).unwrap();
    assert!(window.next(&mut source).unwrap().is_none());
    assert!(window.drain(&mut source).is_ok());
}

#[test]
fn what_an_earlier_run_stored_is_skipped() {
    let mut source = Numbered {
        left: 3,
        last_bytes: 9,
    };
    let mut window = Window::default();
    window.confirm(2 * PIECE, &mut source).unwrap();
    let (offset, data) = window.next(&mut source).unwrap().unwrap();
    assert_eq!((offset, data.len()), (2 * PIECE, 9));
}

#[test]
fn a_server_that_forgot_or_has_more_is_noticed() {
    let mut source = Numbered {
        left: 3,
        last_bytes: 9,
    };
    let mut window = Window::default();
    window.confirm(2 * PIECE, &mut source).unwrap();
    assert!(window.confirm(PIECE, &mut source).is_err());
    assert!(window.confirm(2 * PIECE + 1, &mut source).is_err());
    let mut window = Window::default();
    let mut source = Numbered {
        left: 1,
        last_bytes: 9,
    };
    assert!(window.confirm(PIECE, &mut source).is_err());
}
