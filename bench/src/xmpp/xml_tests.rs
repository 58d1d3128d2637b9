//! The stream parser, against streams in pieces and streams that mean harm.

use super::*;
use proptest::prelude::*;

const HEADER: &str = "<?xml version='1.0'?><stream:stream id='1' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

/// Everything in `text`, fed in pieces of so many bytes.
fn all(text: &[u8], piece: usize) -> Result<Vec<Arrived>, XmlError> {
    let mut parser = StreamParser::default();
    let mut bytes = BytesMut::new();
    let mut arrived = Vec::new();
    for part in text.chunks(piece.max(1)) {
        bytes.extend_from_slice(part);
        while let Some(one) = parser.take(&mut bytes)? {
            arrived.push(one);
        }
        assert!(bytes.len() <= ELEMENT_BYTES_MAX.saturating_add(piece));
    }
    Ok(arrived)
}

fn inside(text: &str) -> Result<Vec<Arrived>, XmlError> {
    let whole = all(format!("{HEADER}{text}").as_bytes(), usize::MAX);
    // Where the pieces are cut must not matter.
    for piece in [1, 2, 7] {
        let cut = all(format!("{HEADER}{text}").as_bytes(), piece);
        assert_eq!(cut.is_ok(), whole.is_ok(), "{text} in pieces of {piece}");
        if let (Ok(cut), Ok(whole)) = (cut, &whole) {
            assert_eq!(&cut, whole);
        }
    }
    whole
}

#[test]
fn a_conversation_is_read() {
    let text = " <message from='a@b/c' id='x&apos;1'><body>1 &lt; 2 &#x26; <![CDATA[<3]]></body>\
        <active xmlns='x'/></message>\n<iq type='result'/></stream:stream>";
    let arrived = inside(text).unwrap();
    assert_eq!(arrived.len(), 4);
    let Arrived::Element(message) = &arrived[1] else {
        panic!("{arrived:?}")
    };
    assert_eq!(message.name, "message");
    assert_eq!(message.attribute("id"), Some("x'1"));
    assert_eq!(message.child("body").unwrap().text, "1 < 2 & <3");
    assert_eq!(message.children().len(), 2);
    assert_eq!(arrived[3], Arrived::Closed);
}

#[test]
fn what_xmpp_forbids_is_refused() {
    for text in [
        "<!-- x --><a/>",
        "<a><!-- x --></a>",
        "<?php x ?>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>",
        "<a>&lol;</a>",
        "<a b='&lol;'/>",
        "<a>&#xD800;</a>",
        "<a>&#0;</a>",
        "words between elements<a/>",
        "</message>",
        "<a></b>",
        "<a><b></a></b>",
        "<a x='1' x='2'/>",
        "<a x=1/>",
        "<a>& b</a>",
        "<a \u{0}='1'></a b>",
    ] {
        assert!(inside(text).is_err(), "{text} was taken");
    }
    assert!(all(b"<html>", 1).is_err());
    assert!(all(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>", 64).is_err());
    let not_utf8 = [HEADER.as_bytes(), b"<a>\xff\xfe</a>"].concat();
    assert!(all(&not_utf8, usize::MAX).is_err());
}

#[test]
fn a_document_type_before_the_stream_is_refused() {
    let bomb = "<?xml version='1.0'?><!DOCTYPE s [<!ENTITY a 'aaaa'>]><stream>";
    assert!(all(bomb.as_bytes(), usize::MAX).is_err());
}

#[test]
fn sizes_are_bounded() {
    let long = format!("<a>{}", "x".repeat(2 * ELEMENT_BYTES_MAX));
    assert_eq!(
        all(format!("{HEADER}{long}").as_bytes(), 4_096),
        Err(XmlError::TooMuch("too many bytes"))
    );
    let whole = format!("{HEADER}{long}</a>");
    assert!(all(whole.as_bytes(), usize::MAX).is_err());
    let endless_tag = format!("{HEADER}<a b='{}", ">".repeat(2 * ELEMENT_BYTES_MAX));
    assert!(all(endless_tag.as_bytes(), 16 * 1_024).is_err());
    let deep = "<a>".repeat(10_000);
    assert_eq!(inside(&deep), Err(XmlError::TooMuch("too many levels")));
    let wide = format!("<a>{}</a>", "<b/>".repeat(1_000));
    assert_eq!(inside(&wide), Err(XmlError::TooMuch("too many parts")));
    let attributes: String = (0..100).map(|n| format!(" a{n}='1'")).collect();
    let many = inside(&format!("<a{attributes}/>"));
    assert_eq!(many, Err(XmlError::TooMuch("too many attributes")));
    let no_header = " ".repeat(3) + &"<".repeat(2 * ELEMENT_BYTES_MAX);
    assert!(all(no_header.as_bytes(), 1_024).is_err());
}

proptest! {
    #[test]
    fn random_bytes_end_or_wait(bytes in prop::collection::vec(any::<u8>(), 0..600), piece in 1_usize..64) {
        let hostile = [HEADER.as_bytes(), &bytes].concat();
        let _ = all(&hostile, piece);
        let _ = all(&bytes, piece);
    }

    #[test]
    fn random_markup_ends_or_waits(text in "[<>/a&;'\"=! \\-\\[\\]?x#]{0,200}", piece in 1_usize..64) {
        let _ = all(format!("{HEADER}{text}").as_bytes(), piece);
    }

    #[test]
    fn text_survives(text in "[ -~äß€]{1,80}") {
        let escaped = quick_xml::escape::escape(text.as_str());
        let stanza = format!("{HEADER}<m><body>{escaped}</body></m>");
        let arrived = all(stanza.as_bytes(), 3).unwrap();
        let Some(Arrived::Element(message)) = arrived.get(1) else { panic!("{arrived:?}") };
        prop_assert_eq!(&message.child("body").unwrap().text, &text);
    }
}
