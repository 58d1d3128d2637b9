//! Tests of rows: no width is exceeded, nothing but blanks is lost, no grapheme is cut, links and
//! names are what they say, and no sequence of the corpus survives.

use proptest::prelude::*;

use super::*;

fn layout(width: usize) -> Layout<'static> {
    Layout {
        width,
        ..Layout::default()
    }
}

fn texts(text: &str, width: usize) -> Vec<String> {
    wrap(text, layout(width)).iter().map(Row::text).collect()
}

/// Words of many scripts, with what makes wrapping hard between them.
fn any_text() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "word",
        "long-word",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "漢字",
        "かな。",
        "「引用」",
        "한국어",
        "👩\u{200d}👧",
        "❤\u{fe0f}",
        "🇨🇭",
        "e\u{301}",
        "x\u{301}\u{302}\u{303}",
        "क्षि",
        "שלום",
        "لا",
        "سلام",
        "\u{202e}",
        "\u{200b}",
        "\u{1b}[31m",
        "\u{301}",
        "\u{fdfd}",
        "https://a.example/b?c=d",
        "http://x",
        "@bob",
        "bob",
        ".",
        ",",
        "(",
        ")",
        "\u{2028}",
        "กำ",
        "\u{a0}",
        "—",
        "½",
        "\u{1f1e6}",
        "ᄀᄀᄀ각ᆨᆨ",
    ]);
    let any = any::<char>().prop_map(String::from);
    prop::collection::vec(
        prop_oneof![8 => part.prop_map(str::to_owned), 1 => any],
        0..60,
    )
    .prop_map(|parts| parts.concat())
}

fn without_blanks(text: &str) -> String {
    text.chars().filter(|c| *c != ' ').collect()
}

proptest! {
    #[test]
    fn no_row_is_wider_than_it_may_be(text in any_text(), width in 0usize..50, first in 0usize..60) {
        let layout = Layout { first_cells: first, ..layout(width) };
        let width = width.max(WIDTH_MIN);
        for (place, row) in wrap(&text, layout).iter().enumerate() {
            let room = if place == 0 { width.saturating_sub(first) } else { width };
            prop_assert!(row.cells <= room, "{} > {room}: {:?}", row.cells, row.text());
            prop_assert_eq!(row.cells, cells(&row.text()));
        }
    }

    #[test]
    fn nothing_but_blanks_is_lost(text in any_text(), width in 8usize..50, first in 0usize..8) {
        let layout = Layout { first_cells: first, ..layout(width) };
        let shown: String = wrap(&text, layout).iter().map(Row::text).collect();
        let clean: String = SafeText::lines(&text, LINES_MAX)
            .iter()
            .map(SafeText::to_string)
            .collect();
        prop_assert_eq!(without_blanks(&shown), without_blanks(&clean));
    }

    #[test]
    fn no_grapheme_is_cut(text in any_text(), width in 8usize..50) {
        for line in SafeText::lines(&text, LINES_MAX) {
            let whole: Vec<&str> = line.as_str().graphemes(true).filter(|g| *g != " ").collect();
            let rows = wrap(line.as_str(), layout(width));
            let texts: Vec<String> = rows.iter().map(Row::text).collect();
            let shown: Vec<&str> = texts
                .iter()
                .flat_map(|row| row.graphemes(true))
                .filter(|g| *g != " ")
                .collect();
            prop_assert_eq!(shown, whole);
        }
    }

    #[test]
    fn rows_are_as_many_as_are_asked_for(text in any_text(), most in 1usize..6, width in 8usize..30) {
        let rows = wrap(&text, Layout { rows_max: most, ..layout(width) });
        prop_assert!(rows.len() <= most);
        prop_assert!(rows.iter().all(|row| row.cells <= width));
    }

    #[test]
    fn what_fits_is_left_alone_and_the_rest_is_cut(text in any_text(), most in 1usize..40) {
        let fitted = fit(&text, most);
        prop_assert!(cells(fitted.as_str()) <= most);
        let whole = SafeText::line(&text, usize::MAX);
        if cells(whole.as_str()) <= most {
            prop_assert_eq!(fitted, whole);
        } else {
            prop_assert!(fitted.as_str().ends_with(TOO_WIDE));
        }
    }

    #[test]
    fn a_link_that_fits_is_in_one_row(before in "[a-z ]{0,30}", path in "[a-z/?=&.-]{1,20}[a-z]") {
        let link = format!("https://a.example/{path}");
        let rows = wrap(&format!("{before} {link} after"), layout(40));
        let links: Vec<String> = rows
            .iter()
            .flat_map(|row| &row.pieces)
            .filter(|piece| piece.kind == Kind::Link)
            .map(|piece| piece.text.to_string())
            .collect();
        prop_assert_eq!(links, [link]);
    }
}

#[test]
fn words_are_broken_as_their_script_does() {
    assert_eq!(texts("one two three", 8), ["one two", "three"]);
    assert_eq!(texts("one   two", 4), ["one", "two"]);
    assert_eq!(texts("", 8), [""]);
    assert_eq!(texts("a\n\nb", 8), ["a", "", "b"]);
    assert_eq!(texts("abcdefghij", 4), ["abcd", "efgh", "ij"]);
    // No row begins with a full stop.
    assert_eq!(texts("日本語です。次", 10), ["日本語で", "す。次"]);
    assert_eq!(texts("日本語日本語", 5), ["日本", "語日", "本語"]);
    assert_eq!(
        texts("👩\u{200d}👧👩\u{200d}👧", 3),
        ["👩\u{200d}👧", "👩\u{200d}👧"]
    );
    assert_eq!(texts("well-known fact", 8), ["well-", "known", "fact"]);
}

#[test]
fn a_first_row_with_too_little_room_stays_empty() {
    let layout = Layout {
        first_cells: 7,
        ..layout(8)
    };
    let rows: Vec<String> = wrap("日本", layout).iter().map(Row::text).collect();
    assert_eq!(rows, ["", "日本"]);
}

#[test]
fn links_are_shown_whole_and_without_the_sentence_around_them() {
    for (text, link) in [
        ("see https://a.example/b.", "https://a.example/b"),
        ("(https://a.example/b_(c))", "https://a.example/b_(c)"),
        ("HTTPS://A.example!", "HTTPS://A.example"),
        (
            "x http://a.example/?q=1&r=2, y",
            "http://a.example/?q=1&r=2",
        ),
        ("https://a.example/ä日", "https://a.example/ä日"),
    ] {
        let found = links(text);
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(&text[found[0].clone()], link);
    }
    for text in ["http", "https://", "xhttp://a", "ftp://a", "https:// a"] {
        assert!(links(text).is_empty(), "{text}");
    }
    let long = format!("https://a.example/{}", "x".repeat(60));
    let rows = wrap(&long, layout(20));
    assert!(rows.len() > 3);
    assert!(
        rows.iter()
            .flat_map(|row| &row.pieces)
            .all(|piece| piece.kind == Kind::Link)
    );
    let shown: String = rows.iter().map(Row::text).collect();
    assert_eq!(shown, long);
}

#[test]
fn only_names_that_the_message_speaks_to_are_marked() {
    let (me, bob) = (
        Username::parse("me.too").unwrap(),
        Username::parse("bob").unwrap(),
    );
    let mentions = [me.clone(), bob];
    let layout = Layout {
        mentions: &mentions,
        me: Some(&me),
        ..layout(80)
    };
    let marked = |text: &str| -> Vec<(String, Kind)> {
        wrap(text, layout)
            .iter()
            .flat_map(|row| row.pieces.clone())
            .filter(|piece| piece.kind != Kind::Plain)
            .map(|piece| (piece.text.to_string(), piece.kind))
            .collect()
    };
    let of = |text: &str, kind| (text.to_owned(), kind);
    assert_eq!(marked("hi @bob."), [of("@bob", Kind::Mention)]);
    assert_eq!(
        marked("me.too: bob!"),
        [of("me.too", Kind::Me), of("bob", Kind::Mention)]
    );
    assert_eq!(marked("bobby x@bob carol bob.x bob-x"), []);
    assert_eq!(
        marked("https://bob.example/bob bob"),
        [
            of("https://bob.example/bob", Kind::Link),
            of("bob", Kind::Mention)
        ]
    );
}

/// H1, H5, H6, H9 as they reach rows.
#[test]
fn the_corpus_of_sequences_reaches_no_row() {
    for text in crate::tui::corpus::texts() {
        for width in [2, 8, 40] {
            for row in wrap(&text, layout(width)) {
                crate::tui::corpus::check(&row.text());
            }
        }
        crate::tui::corpus::check(fit(&text, 30).as_str());
    }
}
