//! Tests of completion: it knows the grammar, offers what can be named, and changes nothing but
//! the word.

use proptest::prelude::*;

use super::*;

fn people_of_tests() -> Vec<Username> {
    let names = ["bob", "bobby", "carol", "dave.x"];
    names
        .iter()
        .map(|name| Username::parse(name).unwrap())
        .collect()
}

fn titles_of_tests() -> Vec<String> {
    let titles = [
        "team",
        "Sunday walk",
        "a\"quote",
        "evil\u{202e}title",
        "two\nlines",
    ];
    titles.iter().map(|title| (*title).to_owned()).collect()
}

fn at(input: &str, at: usize) -> Completion {
    let (people, titles) = (people_of_tests(), titles_of_tests());
    let commands = crate::cli::command();
    let sources = Sources {
        commands: &commands,
        people: &people,
        titles: &titles,
    };
    complete(input, at, sources)
}

fn texts(input: &str) -> Vec<String> {
    match at(input, input.len()) {
        Completion::Candidates { candidates, .. } => candidates
            .into_iter()
            .map(|candidate| candidate.text)
            .collect(),
        Completion::Nothing => Vec::new(),
        Completion::Path(wish) => panic!("{input}: {wish:?}"),
    }
}

/// As the composer puts a candidate in the word's place; the text, and where one goes on, in bytes.
fn apply(input: &str, replace: &Range<usize>, candidate: &Candidate) -> (String, usize) {
    let before = input.get(..replace.start).unwrap_or_default();
    let mut after = input.get(replace.end..).unwrap_or_default();
    if candidate.text.ends_with(' ') {
        // A blank that is there already is not put in twice.
        after = after.strip_prefix(' ').unwrap_or(after);
    }
    let text = format!("{before}{}{after}", candidate.text);
    (text, before.len() + candidate.text.len())
}

/// The input with the first candidate in place.
fn first(input: &str) -> String {
    match at(input, input.len()) {
        Completion::Candidates {
            replace,
            candidates,
        } => apply(input, &replace, &candidates[0]).0,
        other => panic!("{input}: {other:?}"),
    }
}

#[test]
fn commands_come_from_the_grammar() {
    assert_eq!(first("/ver"), "/verify ");
    assert!(texts("/").contains(&"send ".to_owned()));
    assert!(texts("/").contains(&"help ".to_owned()));
    assert_eq!(texts("/gr"), ["group "]);
    let inner = texts("/group ");
    assert!(
        inner.contains(&"add ".to_owned()) && inner.contains(&"new ".to_owned()),
        "{inner:?}"
    );
    assert_eq!(texts("/room to"), ["topic "]);
    // What needs the terminal for itself is not offered inside.
    for absent in ["register ", "login ", "passwd ", "daemon ", "chat "] {
        assert!(!texts("/").contains(&absent.to_owned()), "{absent}");
    }
    assert!(texts("/nonsense b").is_empty());
    assert!(texts("//ver").is_empty());
}

#[test]
fn every_command_has_a_note() {
    let Completion::Candidates { candidates, .. } = at("/", 1) else {
        panic!()
    };
    assert!(
        candidates
            .iter()
            .all(|candidate| !candidate.note.is_empty()),
        "{candidates:?}"
    );
}

#[test]
fn arguments_are_what_the_grammar_calls_them() {
    assert_eq!(texts("/verify b"), ["bob ", "bobby "]);
    assert_eq!(texts("/send b"), ["bob ", "bobby "]);
    assert_eq!(texts("/send #t"), ["#team "]);
    assert_eq!(first("/send #sun"), "/send \"#Sunday walk\" ");
    assert_eq!(first("/send \"#Sunday w"), "/send \"#Sunday walk\" ");
    assert_eq!(first("/send #a"), "/send \"#a\\\"quote\" ");
    assert_eq!(texts("/receipts o"), ["on ", "off "]);
    assert_eq!(texts("/send bob --wa"), ["--wait "]);
    let waits = texts("/send bob hi --wait ");
    assert!(waits.contains(&"delivered ".to_owned()), "{waits:?}");
    assert_eq!(texts("/mute bob --f"), ["--for "]);
    assert!(first("/react 3fa9c2 :rocket").ends_with("🚀"));
    assert!(matches!(
        at("/send bob hi --file ./", 22),
        Completion::Path(_)
    ));
    assert!(matches!(at("/export bob --to ", 17), Completion::Path(_)));
}

#[test]
fn in_a_text_names_titles_and_emoji_are_completed() {
    assert_eq!(texts("hi @car"), ["@carol "]);
    assert_eq!(texts("car"), ["@carol "]);
    assert_eq!(texts("see #Sun"), ["#Sunday walk "]);
    assert_eq!(first("go :rocket"), "go 🚀");
    assert!(texts(":").is_empty());
    assert!(texts("").is_empty());
    assert!(texts("bob ").is_empty());
    assert!(matches!(at("~/D", 3), Completion::Path(_)));
}

/// Titles are foreign words.
#[test]
fn titles_that_would_look_otherwise_are_not_offered() {
    for input in ["/send #", "#", "/send "] {
        for text in texts(input) {
            crate::tui::corpus::check(&text);
            assert!(!text.contains("evil") && !text.contains("lines"), "{text}");
        }
    }
}

#[test]
fn a_word_within_a_text_is_completed_there() {
    let input = "hi @car and more";
    let Completion::Candidates {
        replace,
        candidates,
    } = at(input, 7)
    else {
        panic!()
    };
    assert_eq!(
        apply(input, &replace, &candidates[0]),
        ("hi @carol and more".to_owned(), 10)
    );
}

#[test]
fn paths_are_read_from_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a b.txt", "alpha", ".hidden", "an\u{1b}[2Jx", "other"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    std::fs::create_dir(folder.path().join("album")).unwrap();
    let base = folder.path().to_str().unwrap();
    let listed = |wish: &PathWish| match paths(wish, Some(folder.path())) {
        Completion::Candidates { candidates, .. } => candidates
            .into_iter()
            .map(|candidate| candidate.text)
            .collect(),
        _ => Vec::new(),
    };
    let wish = PathWish::bare(0..0, &format!("{base}/a"));
    let expected = ["album/", "a b.txt ", "alpha "].map(|name| format!("{base}/{name}"));
    assert_eq!(listed(&wish), expected);
    let wish = PathWish::quoted(0..0, "~/a b");
    assert_eq!(listed(&wish), ["\"~/a b.txt\" "]);
    assert_eq!(listed(&PathWish::bare(0..0, "~/.h")), ["~/.hidden "]);
    assert!(listed(&PathWish::bare(0..0, "/no/such/folder/x")).is_empty());
}

proptest! {
    /// Nothing outside the word changes, wherever one is in whatever was typed.
    #[test]
    fn nothing_but_the_word_changes(
        input in "(/(send|group add|react|verify) )?[a-z#@:\"' \\\\é日-]{0,30}",
        place in any::<prop::sample::Index>(),
    ) {
        let edges: Vec<usize> = (0..=input.len()).filter(|at| input.is_char_boundary(*at)).collect();
        let place = *place.get(&edges);
        if let Completion::Candidates { replace, candidates } = at(&input, place) {
            prop_assert!(replace.start <= replace.end && replace.end == place);
            for candidate in candidates {
                let (text, cursor) = apply(&input, &replace, &candidate);
                prop_assert!(text.starts_with(&input[..replace.start]));
                prop_assert!(text.is_char_boundary(cursor));
                let after = &input[replace.end..];
                let rest = &text[cursor..];
                prop_assert!(rest == after || Some(rest) == after.strip_prefix(' '));
                prop_assert_eq!(&text[replace.start..cursor], &candidate.text);
            }
        }
    }

    #[test]
    fn any_text_at_any_place_is_survived(input in "/?\\PC{0,60}", place in 0usize..80) {
        let _ = at(&input, place);
    }
}
