//! Attacks on a terminal by text (attacks H1, H5, H6, H9), for the tests of every part that shows
//! foreign words: sequences, directions, forged lines, invisible characters.

const BEGIN: [&str; 11] = [
    "\u{1b}[",
    "\u{9b}",
    "\u{1b}]",
    "\u{9d}",
    "\u{1b}P",
    "\u{90}",
    "\u{1b}_",
    "\u{9f}",
    "\u{1b}^",
    "\u{1b}X",
    "\u{1b}\u{1b}[",
];
const BODY: [&str; 22] = [
    "31m",
    "2J",
    "?1049h",
    "?2004l",
    "6n",
    "1;1H",
    "21t",
    "0;owned",
    "2;owned",
    "8;;https://evil.example/",
    "52;c;cm0gLXJmIC8=",
    "9;owned",
    "99;i=1:d=0;owned",
    "777;notify;owned;owned",
    "1337;File=inline=1:AAAA",
    "10;?",
    "$q\"p",
    "+q544e",
    "Ga=T,f=24;AAAA",
    "4;1;?",
    "!p",
    "200~",
];
const END: [&str; 4] = ["\u{7}", "\u{1b}\\", "\u{9c}", ""];
const SINGLE: [&str; 26] = [
    "\u{1b}c",
    "\u{1b}7",
    "\u{1b}8",
    "\u{1b}#8",
    "\u{1b}(0",
    "\u{e}",
    "\u{f}",
    "\u{5}",
    "\u{8}",
    "\u{7f}",
    "\0",
    "\u{1a}",
    "\u{202e}gpj.exe",
    "\u{202d}x",
    "\u{2066}x\u{2069}",
    "\u{2067}x",
    "\u{200f}x",
    "\u{61c}x",
    "a\u{200b}\u{feff}\u{ad}b",
    "\u{e0041}",
    "hi\n[bob] yes",
    "hi\r[bob] yes",
    "hi\u{b}[bob] yes",
    "hi\u{85}[bob] yes",
    "hi\u{2028}[bob] yes",
    "\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
];

/// All of them, each between words.
pub(crate) fn texts() -> Vec<String> {
    let mut texts = Vec::new();
    for begin in BEGIN {
        for body in BODY {
            for end in END {
                texts.push(format!("a{begin}{body}{end}z"));
            }
        }
    }
    texts.extend(SINGLE.iter().map(|single| format!("a{single}z")));
    texts
}

/// What of it may be on a screen: no control, no direction, nothing invisible.
///
/// # Panics
/// Where there is such a thing.
pub(crate) fn check(shown: &str) {
    for character in shown.chars() {
        let hidden = matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
                | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}'
                | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        );
        assert!(!character.is_control() && !hidden, "{shown:?}");
    }
}
