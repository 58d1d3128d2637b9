//! Names for files that others sent: one component, without what could act anywhere.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

/// The longest name, in bytes: with a number added it still fits every file system.
const NAME_BYTES_MAX: usize = 120;
/// The longest extension that is kept when a name is cut, with its dot.
const EXTENSION_BYTES_MAX: usize = 16;
/// What a file is called whose name says nothing usable.
const NAMELESS: &str = "file";

/// A file name that stays in its folder, is visible, is no option and no device, on any system.
#[must_use]
pub fn clean_name(claimed: &str) -> String {
    let last = claimed.rsplit(['/', '\\']).find(|part| {
        !part
            .trim_matches(|c: char| c == '.' || c.is_whitespace())
            .is_empty()
    });
    let mut name: String = last
        .unwrap_or_default()
        .chars()
        .filter_map(harmless)
        .collect();
    name = name.trim_matches([' ', '.']).to_owned();
    if last.is_some_and(|last| last.trim_start().starts_with('.')) || name.starts_with(['-', '~']) {
        // Hidden files are read by programs, and a dash begins an option.
        name.insert(0, '_');
    }
    let stem = name.split('.').next().unwrap_or_default();
    if is_device(stem.trim_end()) {
        name.insert(0, '_');
    }
    let name = shorten(&name, NAME_BYTES_MAX);
    if name.chars().any(char::is_alphanumeric) {
        name
    } else {
        NAMELESS.to_owned()
    }
}

/// The same with a number before the extension, for a name that is taken.
pub(crate) fn numbered(name: &str, number: u32) -> String {
    let (stem, extension) = split(name);
    format!("{stem} ({number}){extension}")
}

fn harmless(c: char) -> Option<char> {
    match c {
        ':' | '*' | '?' | '"' | '<' | '>' | '|' | '\u{fffd}' => Some('_'),
        c if c.is_whitespace() => Some(' '),
        c => match c.general_category_group() {
            // Controls, overrides, invisible and unassigned ones.
            GeneralCategoryGroup::Other | GeneralCategoryGroup::Separator => None,
            _ => Some(c),
        },
    }
}

/// Names that some systems take for devices, whatever follows the first dot.
fn is_device(stem: &str) -> bool {
    let stem = stem.to_ascii_lowercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|digit| digit.len() == 1 && digit.bytes().all(|b| b.is_ascii_digit()))
    };
    matches!(
        stem.as_str(),
        "con" | "prn" | "aux" | "nul" | "conin$" | "conout$"
    ) || numbered("com")
        || numbered("lpt")
}

/// Stem and extension with its dot; a long or odd extension belongs to the stem.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= EXTENSION_BYTES_MAX => name.split_at(dot),
        _ => (name, ""),
    }
}

fn shorten(name: &str, bytes_max: usize) -> String {
    if name.len() <= bytes_max {
        return name.to_owned();
    }
    let (stem, extension) = split(name);
    let end = (0..=bytes_max - extension.len())
        .rev()
        .find(|end| stem.is_char_boundary(*end));
    let stem = stem.get(..end.unwrap_or(0)).unwrap_or_default();
    format!("{}{extension}", stem.trim_end_matches([' ', '.']))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// H10: what others have tried.
    const TRIED: &[&str] = &[
        "",
        " ",
        ".",
        "..",
        "...",
        "/",
        "\\",
        "//",
        "~",
        "~root",
        "-",
        "--",
        "-rf",
        "--help",
        "../x",
        "../../../../etc/passwd",
        "..\\..\\x",
        "/etc/passwd",
        "/dev/sda",
        "C:\\x.exe",
        "C:evil",
        "\\\\server\\share\\x",
        "~/.ssh/authorized_keys",
        ".ssh/authorized_keys",
        ".bashrc",
        ".profile",
        ".config",
        ".git/hooks/post-checkout",
        "x/../../y",
        "./x",
        "a/b",
        "a\0b",
        "a\0.jpg",
        "\0",
        "a\nb",
        "a\rb",
        "a\tb",
        "a\u{1b}[2Jb",
        "\u{7}bell",
        "a\u{85}b",
        "x\u{202e}gpj.exe",
        "\u{202e}",
        "x\u{2066}y",
        "x\u{200b}y",
        "x\u{feff}y",
        "\u{ad}",
        "\u{200f}abc",
        "x\u{2028}y",
        "x\u{2029}y",
        "con",
        "CON",
        "con.txt",
        "Con.tar.gz",
        "nul",
        "NUL.png",
        "aux",
        "prn",
        "com1",
        "COM9.log",
        "lpt1.txt",
        "conin$",
        "com0",
        "a.",
        "a ",
        "a. .",
        " a",
        ". a",
        "..a",
        "...a",
        "a..b",
        "a:b",
        "a:stream",
        "x::$DATA",
        "a*b",
        "a?b",
        "a\"b",
        "a<b>",
        "a|b",
        "$(id)",
        "`id`",
        "a;b",
        "a&b",
        "a'b",
        "%2e%2e%2fx",
        "%00",
        "..%2f..%2fx",
        "\u{ff0e}\u{ff0e}\u{ff0f}x",
        "\u{2024}\u{2024}/x",
        "desktop.ini",
        "Thumbs.db",
        "autorun.inf",
        "x.lnk",
        "x.desktop",
        ".DS_Store",
        "Icon\r",
        "#",
        "!",
        "\u{301}",
        "e\u{301}",
        "\u{1f600}.png",
        "\u{fc}ber.txt",
        "\u{6587}\u{4ef6}.pdf",
        "\u{627}.txt",
        "photo.jpg",
        "IMG 0001.HEIC",
        "a.tar.gz",
        ".tar.gz",
        "x.",
        "x..jpg",
        "noextension",
        "\u{fffd}",
        "\u{e000}",
        "\u{10ffff}",
        "a\u{300}\u{300}\u{300}\u{300}",
        "file:///etc/passwd",
        "http://x/y",
        "sotto:join/x",
        "//server/x",
        "a//b",
        "a/./b",
        "a/",
        "a\\",
        "../",
        "..\\",
        "/..",
        "~/",
        "a/b/",
        "{}",
        "[x]",
        "x y",
        "x\u{3000}y",
        "\u{a0}x",
        "PRN.",
        "aux .txt",
        "LPT9",
        "sotto.part",
        ".sotto-x.part",
        "-",
        "-.txt",
        "_",
        "..txt",
        "\u{2215}etc",
        "\u{ff3c}x",
        "..;/x",
        "....//x",
        "file",
        "file (1)",
    ];

    /// The same, and more of its kind.
    pub(in crate::attachment) fn corpus() -> Vec<String> {
        let mut names: Vec<String> = TRIED.iter().map(|name| (*name).to_owned()).collect();
        names.push("x".repeat(300));
        names.push(format!("{}.jpg", "x".repeat(300)));
        names.push(format!("{}.{}", "x".repeat(10), "e".repeat(300)));
        names.push("\u{1f600}".repeat(100));
        names.push("../".repeat(200));
        names.push(format!("{}x", "a/".repeat(2000)));
        names
    }

    pub(in crate::attachment) fn is_sound(name: &str) -> bool {
        let visible = |c: char| harmless(c) == Some(c);
        !name.is_empty()
            && name.len() <= NAME_BYTES_MAX + 1
            && !name.starts_with(['.', '-', '~', ' '])
            && !name.ends_with(['.', ' '])
            && !name.contains(['/', '\\', '\0'])
            && !is_device(name.split('.').next().unwrap_or_default())
            && name.chars().all(visible)
    }

    #[test]
    fn every_name_of_the_corpus_becomes_sound() {
        let corpus = corpus();
        assert!(corpus.len() >= 150, "{}", corpus.len());
        for name in corpus {
            let cleaned = clean_name(&name);
            assert!(is_sound(&cleaned), "{name:?} became {cleaned:?}");
        }
    }

    #[test]
    fn good_names_stay_and_bad_ones_become_this() {
        for (claimed, cleaned) in [
            ("photo.jpg", "photo.jpg"),
            ("a.tar.gz", "a.tar.gz"),
            ("\u{fc}ber uns.txt", "\u{fc}ber uns.txt"),
            ("../../etc/passwd", "passwd"),
            ("C:\\x.exe", "x.exe"),
            (".bashrc", "_bashrc"),
            ("-rf", "_-rf"),
            ("con.txt", "_con.txt"),
            ("x\u{202e}gpj.exe", "xgpj.exe"),
            ("...", "file"),
            ("a:b", "a_b"),
        ] {
            assert_eq!(clean_name(claimed), cleaned);
        }
        assert_eq!(numbered("a.tar.gz", 2), "a.tar (2).gz");
        assert_eq!(numbered("README", 1), "README (1)");
        let long = clean_name(&format!("{}.jpg", "x".repeat(300)));
        assert!(long.ends_with("x.jpg") && long.len() == NAME_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn any_name_becomes_sound(claimed in "\\PC{0,80}|[./\\\\ ~\\-a-c:]{0,40}") {
            let cleaned = clean_name(&claimed);
            prop_assert!(is_sound(&cleaned), "{:?}", cleaned);
            prop_assert_eq!(clean_name(&cleaned), cleaned.clone());
        }
    }
}
