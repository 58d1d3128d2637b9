//! F14: names that look like a name that exists. Whatever is no name at all is
//! refused by `Username`; whatever is one and looks alike has the same
//! skeleton, of which the store keeps one only.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::BTreeSet;

use sotto_protocol::Username;

/// Characters that many fonts draw like an ASCII letter or digit, by UTS 39.
const FOREIGN: [(char, &str); 26] = [
    ('a', "аɑα𝐚𝒂ａ⍺"),
    ('b', "Ьᖯ𝐛ｂ"),
    ('c', "сϲⅽ𝐜ｃ"),
    ('d', "ԁⅾ𝐝ｄ"),
    ('e', "еҽ℮𝐞ｅ"),
    ('f', "ꞙẝ𝐟ｆ"),
    ('g', "ցɡᶃ𝐠ｇ"),
    ('h', "һհ𝐡ｈ"),
    ('i', "іıɩⅰ𝐢ｉ"),
    ('j', "јϳ𝐣ｊ"),
    ('k', "𝐤ｋ"),
    ('l', "ӏاⅼ𝐥ｌ"),
    ('m', "ⅿ𝐦ｍ"),
    ('n', "ոռ𝐧ｎ"),
    ('o', "оοօ০ഠ𝐨ｏ"),
    ('p', "рρ⍴𝐩ｐ"),
    ('q', "ԛգ𝐪ｑ"),
    ('r', "гᴦ𝐫ｒ"),
    ('s', "ѕꜱ𝐬ｓ"),
    ('t', "𝐭ｔ"),
    ('u', "υսᴜ𝐮ｕ"),
    ('v', "νѵⅴ𝐯ｖ"),
    ('w', "ѡԝ𝐰ｗ"),
    ('x', "хⅹ𝐱ｘ"),
    ('y', "уγү𝐲ｙ"),
    ('z', "ᴢ𝐳ｚ"),
];
/// Drawn as nothing, or turning what follows.
const UNSEEN: [char; 12] = [
    '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{ad}', '\u{202e}', '\u{2066}',
    '\u{200f}', '\u{34f}', '\u{301}', '\u{fe0f}',
];

#[test]
fn a_foreign_or_unseen_character_makes_no_name() {
    let name = "the.quick-brown_fox7jumpsvlazydg";
    let mut tried = BTreeSet::new();
    for (letter, look_alikes) in FOREIGN {
        for look_alike in look_alikes.chars() {
            tried.insert(name.replace(letter, &look_alike.to_string()));
        }
    }
    for unseen in UNSEEN {
        for place in 0..name.len() {
            let mut changed = name.to_owned();
            changed.insert(place, unseen);
            tried.insert(changed);
        }
        tried.insert(format!("bob{unseen}"));
    }
    tried.remove(name);
    assert!(tried.len() >= 400, "{}", tried.len());
    for changed in tried {
        assert!(Username::parse(&changed).is_err(), "{changed:?}");
    }
}

#[test]
fn names_of_plain_letters_that_look_alike_share_a_skeleton() {
    let pairs = [
        ("modern", "modem"),
        ("burn", "bum"),
        ("alice", "a1ice"),
        ("bill", "bi11"),
        ("noon", "n00n"),
        ("bob", "b0b"),
        ("annie.lane", "annielane"),
        ("annie_lane", "annie-lane"),
        ("harm", "harrn"),
        ("l11", "lll"),
    ];
    for (one, other) in pairs {
        let skeletons = [one, other].map(|name| Username::parse(name).unwrap().skeleton());
        assert_eq!(skeletons[0], skeletons[1], "{one} and {other}");
    }
    // And not everything looks like everything.
    let different = ["alice", "bob", "carol", "dave", "erin", "frank"];
    let skeletons: BTreeSet<_> = different
        .map(|name| Username::parse(name).unwrap().skeleton())
        .into();
    assert_eq!(skeletons.len(), different.len());
}
