//! Encodings, limits and padding of contents.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sotto_protocol::wire::content::Body as Wire;
use sotto_protocol::{ClientMessageId, DeviceId, Username};

use super::*;
use crate::secret::SecretBytes;

fn content(body: Body) -> Content {
    Content {
        sender_counter: u64::MAX,
        highest_seq_seen: u64::MAX,
        last_commit_hash: Some([9; 32]),
        sent_at_ms: 1_800_000_000_000,
        body,
    }
}

fn text(length: usize) -> Content {
    content(Body::text("x".repeat(length)))
}

fn target() -> MessageRef {
    MessageRef {
        device: DeviceId::from_bytes([1; 16]),
        id: ClientMessageId::from_bytes([2; 16]),
    }
}

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn fullest_text(length: usize) -> Text {
    Text {
        text: "x".repeat(length),
        reply: Some(Reply {
            to: target(),
            quote: "q".repeat(QUOTE_BYTES_MAX),
        }),
        mentions: vec![name(&"n".repeat(32)); MENTIONS_MAX],
        forwarded: true,
        expires_after_s: EXPIRES_AFTER_S_MAX,
    }
}

fn link() -> JoinLink {
    JoinLink {
        link_id: [3; 16],
        secret: SecretBytes::take(&mut [4; 32]),
        expires_at_ms: 5,
        approval: true,
        revoked: false,
    }
}

fn attachment() -> Attachment {
    Attachment {
        blob_id: [1; 16],
        key: SecretBytes::take(&mut [2; 32]),
        sealed_size: 4096,
        size: 1234,
        plain_hash: [3; 32],
        sealed_hash: [4; 32],
        name: "cat.png".to_owned(),
        media_type: "image/png".to_owned(),
        thumbnail: vec![5; 8],
        width: 640,
        height: 480,
        caption: "a cat".to_owned(),
        reply_to: Some(target()),
        expires_after_s: 60,
        forwarded: true,
    }
}

/// One of each kind.
fn bodies() -> Vec<Body> {
    vec![
        Body::text("hi"),
        Body::Text(Text {
            text: "hi @bob".to_owned(),
            reply: Some(Reply {
                to: target(),
                quote: "well".to_owned(),
            }),
            mentions: vec![name("bob")],
            forwarded: true,
            expires_after_s: 3600,
        }),
        Body::Receipt {
            delivered_up_to: 7,
            read_up_to: 6,
            readable_from: 3,
        },
        Body::Edit(Edit {
            target: target(),
            text: "ho".to_owned(),
            mentions: vec![name("bob")],
        }),
        Body::Delete(target()),
        Body::Reaction(Reaction {
            target: target(),
            emoji: Emoji::parse("👍").unwrap(),
            remove: true,
        }),
        Body::Attachment(Box::new(attachment())),
        Body::GroupInfo(GroupInfo {
            title: "Friends".to_owned(),
            description: "of old".to_owned(),
            expires_after_s: 60,
            links: vec![link()],
            revision: 9,
        }),
        Body::JoinLink(link()),
        Body::Timer(86_400),
        Body::Pin(Pin {
            target: target(),
            remove: true,
        }),
        Body::Profile(Profile {
            display_name: "Alice".to_owned(),
            status: "away".to_owned(),
        }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn texts_up_to_four_kib_have_at_most_six_sizes() {
    let sizes: BTreeSet<_> = (1..=4096)
        .flat_map(|length| [text(length), content(Body::Text(fullest_text(length)))])
        .map(|content| content.encode_padded().unwrap().len())
        .collect();
    assert!(sizes.is_subset(&BTreeSet::from(SIZE_CLASSES)), "{sizes:?}");
}

#[test]
fn what_is_short_is_alike() {
    let small = |body: &Body| !matches!(body, Body::Attachment(_) | Body::GroupInfo(_));
    let sizes: BTreeSet<_> = bodies()
        .into_iter()
        .filter(small)
        .chain([Body::text("yes"), Body::text("no")])
        .map(|body| content(body).encode_padded().unwrap().len())
        .collect();
    assert_eq!(sizes, BTreeSet::from([SIZE_CLASSES[0]]));
}

#[test]
fn a_newer_kind_survives() {
    // Field 99, bytes "new", which this version does not know.
    let mut plain = vec![0x08, 1, 0x9a, 0x06, 3, b'n', b'e', b'w'];
    let original = plain.clone();
    plain = pad(plain).unwrap();
    let read = Content::decode(&plain).unwrap();
    assert_eq!(read.body, Body::Unknown(original.clone()));
    assert_eq!(read.sender_counter, 1);
    let kept = read.body.to_bytes().unwrap();
    assert_eq!(kept, original);
    assert_eq!(Body::from_bytes(&kept), Ok(Body::Unknown(original)));
}

#[test]
fn an_encoding_is_this() {
    let content = Content {
        sender_counter: 7,
        highest_seq_seen: 9,
        ..text(2)
    };
    let bytes = content.encode_padded().unwrap();
    insta::assert_snapshot!(hex(&bytes[..64]));
}

#[test]
fn each_kind_is_encoded_like_this_and_read_back() {
    let mut lines = Vec::new();
    for body in bodies() {
        let bytes = body.to_bytes().unwrap();
        lines.push(format!("{}: {}", body.kind(), hex(&bytes)));
        assert_eq!(Body::from_bytes(&bytes), Ok(body.clone()));
        let content = content(body);
        let padded = content.encode_padded().unwrap();
        assert_eq!(Content::decode(&padded), Ok(content));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn debug_shows_the_kind_only() {
    let shown: Vec<_> = bodies().iter().map(|body| format!("{body:?}")).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn too_much_of_anything_cannot_be_sent() {
    let too_much = [
        Body::text("x".repeat(TEXT_BYTES_MAX + 1)),
        Body::Text(Text {
            mentions: vec![name("bob"); MENTIONS_MAX + 1],
            ..Text::default()
        }),
        Body::Text(Text {
            reply: Some(Reply {
                to: target(),
                quote: "q".repeat(QUOTE_BYTES_MAX + 1),
            }),
            ..Text::default()
        }),
        Body::Timer(EXPIRES_AFTER_S_MAX + 1),
        Body::Attachment(Box::new(Attachment {
            thumbnail: vec![0; THUMBNAIL_BYTES_MAX + 1],
            ..attachment()
        })),
        Body::Attachment(Box::new(Attachment {
            sealed_size: 1,
            ..attachment()
        })),
        Body::GroupInfo(GroupInfo {
            links: vec![link(); LINKS_MAX + 1],
            ..GroupInfo::default()
        }),
        Body::Profile(Profile {
            status: "s".repeat(257),
            ..Profile::default()
        }),
    ];
    for body in too_much {
        assert_eq!(body.to_bytes(), Err(ContentError::TooLarge), "{body:?}");
    }
    let most = content(Body::Text(fullest_text(TEXT_BYTES_MAX)));
    assert!(most.encode_padded().is_ok());
}

#[test]
fn what_another_program_writes_is_checked() {
    let reference = |length: usize| {
        Some(wire::MessageRef {
            device_id: vec![0; length],
            client_id: vec![0; 16],
        })
    };
    let reaction = |emoji: &str| {
        Wire::Reaction(wire::ReactionBody {
            target: reference(16),
            emoji: emoji.to_owned(),
            remove: false,
        })
    };
    let bad = [
        Wire::Delete(wire::DeleteBody { target: None }),
        Wire::Delete(wire::DeleteBody {
            target: reference(15),
        }),
        reaction("fine"),
        reaction("👍👍"),
        reaction("\u{1b}[31m"),
        reaction(""),
        Wire::Text(wire::TextBody {
            mentions: vec!["Not A Name".to_owned()],
            ..wire::TextBody::default()
        }),
        Wire::JoinLink(wire::JoinLinkBody::default()),
        Wire::Attachment(wire::AttachmentBody::default()),
    ];
    for body in bad {
        let plain = wire::Content {
            body: Some(body),
            ..wire::Content::default()
        };
        let read = Content::decode(&plain.encode_to_vec());
        assert_eq!(read, Err(ContentError::Malformed));
    }
}

#[test]
fn a_media_type_is_printable() {
    let body = Body::Attachment(Box::new(Attachment {
        media_type: "image/\u{1b}png".to_owned(),
        ..attachment()
    }));
    let bytes = body.to_bytes().unwrap();
    assert_eq!(Body::from_bytes(&bytes), Err(ContentError::Malformed));
}

fn any_body() -> impl Strategy<Value = Body> {
    let reference = any::<([u8; 16], [u8; 16])>().prop_map(|(device, id)| MessageRef {
        device: DeviceId::from_bytes(device),
        id: ClientMessageId::from_bytes(id),
    });
    let names = proptest::collection::vec("[a-z0-9_.-]{3,32}", 0..5)
        .prop_map(|names| names.iter().map(|text| name(text)).collect::<Vec<_>>());
    let reply = proptest::option::of((reference.clone(), ".{0,100}"))
        .prop_map(|reply| reply.map(|(to, quote)| Reply { to, quote }));
    let written = (
        ".{0,3000}",
        reply,
        names.clone(),
        any::<bool>(),
        0..1000_u32,
    )
        .prop_map(|(text, reply, mentions, forwarded, expires_after_s)| {
            Body::Text(Text {
                text,
                reply,
                mentions,
                forwarded,
                expires_after_s,
            })
        });
    let edit = (reference.clone(), ".{0,300}", names).prop_map(|(target, text, mentions)| {
        Body::Edit(Edit {
            target,
            text,
            mentions,
        })
    });
    let info = (".{0,30}", ".{0,200}", 0..1000_u32, 0..LINKS_MAX).prop_map(
        |(title, description, expires_after_s, links)| {
            Body::GroupInfo(GroupInfo {
                title,
                description,
                expires_after_s,
                links: vec![link(); links],
                revision: u64::from(expires_after_s),
            })
        },
    );
    prop_oneof![
        written,
        edit,
        info,
        reference.prop_map(Body::Delete),
        proptest::sample::select(bodies()),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_read(
        sender_counter: u64, highest_seq_seen: u64, sent_at_ms: u64,
        last_commit_hash: Option<[u8; 32]>, body in any_body(),
    ) {
        let bytes = body.to_bytes().unwrap();
        prop_assert_eq!(Body::from_bytes(&bytes), Ok(body.clone()));
        let content = Content {
            sender_counter, highest_seq_seen, last_commit_hash, sent_at_ms, body,
        };
        prop_assert_eq!(Content::decode(&content.encode_padded().unwrap()), Ok(content));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Content::decode(&bytes);
        let _ = Body::from_bytes(&bytes);
    }

    #[test]
    fn a_changed_encoding_is_read_or_refused(
        body in any_body(), place: proptest::sample::Index, byte: u8,
    ) {
        let mut bytes = body.to_bytes().unwrap();
        if !bytes.is_empty() {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(read) = Body::from_bytes(&bytes) {
            prop_assert_eq!(Body::from_bytes(&read.to_bytes().unwrap()), Ok(read));
        }
    }
}
