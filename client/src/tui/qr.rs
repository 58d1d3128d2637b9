//! A short text, such as a safety number, as a QR code in half blocks.
//!
//! It refuses texts that would not fit on a small terminal. How it is coloured is the theme's
//! business; without colours the light parts are what is drawn, as on a dark terminal.

use qrcode::{Color, EcLevel, QrCode};

use super::theme::Colours;

/// Cells of blank around a code, without which cameras do not find it.
const MARGIN: usize = 2;
/// Bytes of a text.
const BYTES_MAX: usize = 200;

/// A code, row by row; all rows have the same number of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Code {
    /// From the top; each character is one cell.
    pub(crate) rows: Vec<String>,
    /// Cells of a row.
    pub(crate) cells: usize,
}

/// A text as a code; `None` where it is too long.
pub(crate) fn code(text: &str, colours: Colours) -> Option<Code> {
    if text.len() > BYTES_MAX {
        return None;
    }
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let modules = code.to_colors();
    let is_dark = |x: usize, y: usize| {
        let inside = (MARGIN..MARGIN + width).contains(&x) && (MARGIN..MARGIN + width).contains(&y);
        inside && modules.get((y - MARGIN) * width + x - MARGIN) == Some(&Color::Dark)
    };
    let side = width + 2 * MARGIN;
    let drawn = |x, y| match colours {
        Colours::Shown => is_dark(x, y),
        Colours::None => y < side && !is_dark(x, y),
    };
    let cell = |x, y| match (drawn(x, y), drawn(x, y + 1)) {
        (true, true) => '\u{2588}',
        (true, false) => '\u{2580}',
        (false, true) => '\u{2584}',
        (false, false) => ' ',
    };
    let row = |y| (0..side).map(|x| cell(x, y)).collect();
    Some(Code {
        rows: (0..side).step_by(2).map(row).collect(),
        cells: side,
    })
}

/// The digits of a safety number as they are put into a code: alone, so that it stays small.
pub(crate) fn digits_only(digits: &str) -> String {
    digits.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules of a drawn code, without its margin.
    fn read(code: &Code, colours: Colours) -> Vec<Vec<bool>> {
        let mut modules = Vec::new();
        for row in &code.rows {
            let half =
                |blocks: [char; 2]| row.chars().map(|c| blocks.contains(&c)).collect::<Vec<_>>();
            modules.push(half(['\u{2588}', '\u{2580}']));
            modules.push(half(['\u{2588}', '\u{2584}']));
        }
        let dark = |drawn: bool| (colours == Colours::Shown) == drawn;
        let inner = modules
            .into_iter()
            .skip(MARGIN)
            .take(code.cells - 2 * MARGIN);
        inner
            .map(|row| {
                row[MARGIN..code.cells - MARGIN]
                    .iter()
                    .map(|d| dark(*d))
                    .collect()
            })
            .collect()
    }

    #[test]
    fn a_safety_number_is_small_and_exact() {
        let digits = "01234 56789 ".repeat(6);
        let text = digits_only(&digits);
        assert_eq!(text.len(), 60);
        let expected = QrCode::with_error_correction_level(&text, EcLevel::M).unwrap();
        for colours in [Colours::Shown, Colours::None] {
            let code = code(&text, colours).unwrap();
            // It stands on 80 columns and 24 rows, beside the digits.
            assert!(code.cells <= 33 && code.rows.len() <= 17, "{}", code.cells);
            assert!(
                code.rows
                    .iter()
                    .all(|row| row.chars().count() == code.cells)
            );
            let modules: Vec<bool> = read(&code, colours).concat();
            let colors: Vec<bool> = expected
                .to_colors()
                .iter()
                .map(|color| *color == Color::Dark)
                .collect();
            assert_eq!(modules, colors);
        }
    }

    #[test]
    fn long_texts_have_no_code() {
        assert_eq!(code(&"x".repeat(BYTES_MAX + 1), Colours::Shown), None);
    }
}
