//! Plain and coloured text for people; colour only on a terminal, and never with `NO_COLOR`.

use std::io::IsTerminal as _;

/// How text is set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Headings, names.
    Strong,
    /// Explanations that may be skipped.
    Faint,
    /// What went well.
    Good,
    /// What went wrong.
    Bad,
}

/// Whether there is colour on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Palette {
    /// A terminal that shows colours.
    Coloured,
    /// A file, a pipe, or somebody who does not want colours.
    Plain,
}

impl Palette {
    pub(crate) fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if std::io::stdout().is_terminal() && !unwanted && !dumb {
            Self::Coloured
        } else {
            Self::Plain
        }
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if self == Self::Plain {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Bad => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Rows of cells as text in columns; the first row is the heading.
pub(crate) fn table(rows: &[Vec<String>], palette: Palette) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let line = cells.join("  ");
        let line = line.trim_end();
        text.push_str("  ");
        text.push_str(&if number == 0 {
            palette.paint(Tone::Faint, line)
        } else {
            line.to_owned()
        });
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["name".to_owned(), "pid".to_owned()],
            vec!["s1".to_owned(), "7".to_owned()],
        ];
        assert_eq!(table(&rows, Palette::Plain), "  name  pid\n  s1    7\n");
    }

    #[test]
    fn plain_text_has_no_escapes() {
        assert_eq!(Palette::Plain.paint(Tone::Bad, "x"), "x");
        assert!(Palette::Coloured.paint(Tone::Bad, "x").contains('\x1b'));
    }
}
