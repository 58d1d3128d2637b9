//! Puts text on the clipboard by asking the terminal (OSC 52), which works over SSH too.
//!
//! It refuses everything but [`SafeText`]: what is copied from a message and put into a shell
//! holds no control character, and its lines are as the screen shows them. Nothing is read from
//! the clipboard, and nothing is written but at a person's key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::safe_text::SafeText;

/// Bytes of text that every terminal with OSC 52 takes.
pub(crate) const BYTES_MAX: usize = 56_000;

/// Why nothing is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CopyError {
    /// Longer than terminals take.
    #[error("the text is too long for the clipboard; save it with /export")]
    TooLong,
}

/// The sequence that copies a text of several lines.
///
/// # Errors
/// When there are more than [`BYTES_MAX`] bytes.
pub(crate) fn copy(lines: &[SafeText]) -> Result<String, CopyError> {
    let lines: Vec<&str> = lines.iter().map(SafeText::as_str).collect();
    let text = lines.join("\n");
    if text.len() > BYTES_MAX {
        return Err(CopyError::TooLong);
    }
    Ok(format!("\u{1b}]52;c;{}\u{1b}\\", STANDARD.encode(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(text: &str) -> String {
        let sequence = copy(&SafeText::lines(text, 1_000)).unwrap();
        let data = sequence.strip_prefix("\u{1b}]52;c;").unwrap();
        let data = data.strip_suffix("\u{1b}\\").unwrap();
        String::from_utf8(STANDARD.decode(data).unwrap()).unwrap()
    }

    #[test]
    fn what_is_copied_is_what_is_seen() {
        assert_eq!(copied("Grüße\n日本"), "Grüße\n日本");
        for text in crate::tui::corpus::texts() {
            for line in copied(&text).split('\n') {
                crate::tui::corpus::check(line);
            }
        }
        // The end of a bracketed paste would let a shell run the rest.
        assert!(!copied("ls\u{1b}[201~\rrm").contains('\u{1b}'));
    }

    #[test]
    fn more_than_terminals_take_is_refused() {
        let long = SafeText::lines(&"x".repeat(BYTES_MAX + 1), 1);
        assert_eq!(copy(&long), Err(CopyError::TooLong));
    }
}
