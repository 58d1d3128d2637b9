//! Which pictures are asked for, kept and let go.

use super::*;
use crate::attachment::picture::Images;
use crate::attachment::preview::Pixels;
use crate::engine::api::{Details, Direction};
use crate::talk::Talk;
use crate::tui::sim;
use sotto_crypto::SecretBytes;
use sotto_crypto::content::Attachment;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};

const ROOM: Space = (40, 10);

fn message(number: u8, thumbnail: Vec<u8>) -> Message {
    let file = Attachment {
        blob_id: [number; 16],
        key: SecretBytes::from_slice(&[0; 32]).unwrap(),
        sealed_size: 1024,
        size: 1000,
        plain_hash: [0; 32],
        sealed_hash: [0; 32],
        name: "a.png".to_owned(),
        media_type: "image/png".to_owned(),
        thumbnail,
        width: 4,
        height: 4,
        caption: String::new(),
        reply_to: None,
        expires_after_s: 0,
        forwarded: false,
    };
    Message {
        conversation: ConversationId::from_bytes([1; 16]),
        talk: Talk::parse("bob").unwrap(),
        title: None,
        id: ClientMessageId::from_bytes([number; 16]),
        seq: u64::from(number),
        sender: Username::parse("bob").unwrap(),
        device: DeviceId::from_bytes([2; 16]),
        epoch: 1,
        direction: Direction::Incoming,
        body: MessageBody::Attachment(Box::new(file)),
        details: Box::<Details>::default(),
        sent_at_ms: 0,
        stored_at_ms: 0,
    }
}

fn look(gallery: &mut Gallery, near: &[&Message], room: Space) -> Vec<Look> {
    gallery.look(near, (sim::pictures(Images::Kitty), room))
}

/// A picture of some cells, kept by the terminal under this id.
fn picture(id: u32, (columns, rows): (u16, u16)) -> Seen {
    let how = sim::pictures(Images::Kitty);
    let (width, height) = how.pixels((columns, rows));
    let bytes = usize::try_from(width * height * 3).unwrap();
    let pixels = Pixels::new(width, height, vec![9; bytes]).unwrap();
    Seen::Picture(Box::new(how.encode(&pixels, id).unwrap()))
}

#[test]
fn a_picture_is_asked_for_once_and_takes_its_rows() {
    let mut gallery = Gallery::default();
    let one = message(1, vec![1]);
    let which = reference(&one);
    let asked = look(&mut gallery, &[&one], ROOM);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].consent, Consent::NotGiven);
    assert_eq!(gallery.shape(&which), Shape::Nothing);
    assert!(look(&mut gallery, &[&one], ROOM).is_empty());
    gallery.came(&which, picture(1, (20, 8)));
    assert_eq!(gallery.shape(&which), Shape::Rows(8));
    assert!(look(&mut gallery, &[&one], ROOM).is_empty());
    // What nobody awaits is not taken.
    gallery.came(&which, Seen::Nothing);
    assert_eq!(gallery.shape(&which), Shape::Rows(8));
}

#[test]
fn another_room_makes_it_anew_where_that_is_worth_it() {
    let mut gallery = Gallery::default();
    let one = message(1, vec![1]);
    let which = reference(&one);
    look(&mut gallery, &[&one], ROOM);
    gallery.came(&which, picture(1, (20, 8)));
    for (room, anew) in [((42, 11), 0), ((20, 8), 0), ((20, 7), 1)] {
        assert_eq!(look(&mut gallery, &[&one], room).len(), anew, "{room:?}");
    }
    // Meanwhile the old one is shown, and it goes when the new one is there.
    assert_eq!(gallery.shape(&which), Shape::Rows(8));
    assert!(gallery.take_gone().is_empty());
    gallery.came(&which, picture(2, (18, 7)));
    assert_eq!(gallery.shape(&which), Shape::Rows(7));
    assert_eq!(gallery.take_gone(), [1]);
    assert_eq!(look(&mut gallery, &[&one], (48, 14)).len(), 1);
}

#[test]
fn what_is_withheld_is_shown_when_the_person_wants_it() {
    let mut gallery = Gallery::default();
    let one = message(1, vec![1]);
    let which = reference(&one);
    look(&mut gallery, &[&one], ROOM);
    gallery.came(&which, Seen::Withheld);
    assert_eq!(gallery.shape(&which), Shape::Held);
    assert!(look(&mut gallery, &[&one], ROOM).is_empty());
    assert_eq!(gallery.toggle(&one), Toggled::Coming);
    let asked = look(&mut gallery, &[&one], ROOM);
    assert_eq!(asked[0].consent, Consent::Given);
    gallery.came(&which, picture(1, (20, 8)));
    assert_eq!(gallery.toggle(&one), Toggled::Hidden);
    assert_eq!(gallery.shape(&which), Shape::Held);
    assert_eq!(gallery.take_gone(), [1]);
    assert!(look(&mut gallery, &[&one], ROOM).is_empty());
}

#[test]
fn a_wish_counts_while_the_first_answer_is_on_its_way() {
    let mut gallery = Gallery::default();
    let one = message(1, vec![1]);
    look(&mut gallery, &[&one], ROOM);
    assert_eq!(gallery.toggle(&one), Toggled::Coming);
    gallery.came(&reference(&one), Seen::Withheld);
    let asked = look(&mut gallery, &[&one], ROOM);
    assert_eq!(asked[0].consent, Consent::Given);
}

#[test]
fn a_file_without_a_small_picture_is_looked_at_first() {
    let mut gallery = Gallery::default();
    let one = message(1, Vec::new());
    let which = reference(&one);
    assert!(look(&mut gallery, &[&one], ROOM).is_empty());
    assert_eq!(gallery.toggle(&one), Toggled::Missing);
    assert!(look(&mut gallery, &[&one], ROOM).is_empty());
    gallery.fetched(&which, vec![7]);
    let asked = look(&mut gallery, &[&one], ROOM);
    assert_eq!(asked[0].image, [7]);
    assert_eq!(asked[0].consent, Consent::Given);
    gallery.came(&which, Seen::Nothing);
    assert_eq!(gallery.toggle(&one), Toggled::Nothing);
}

#[test]
fn many_pictures_are_bounded_and_keep_their_places() {
    let mut gallery = Gallery::default();
    let all: Vec<Message> = (0..60).map(|number| message(number, vec![1])).collect();
    for (id, pair) in (0..).zip(all.chunks(2)) {
        let near: Vec<&Message> = pair.iter().collect();
        assert_eq!(look(&mut gallery, &near, ROOM).len(), 2);
        for (other, message) in (0..).zip(&near) {
            gallery.came(&reference(message), picture(id * 2 + other + 1, (20, 8)));
        }
    }
    let here = |gallery: &Gallery| {
        let there = all
            .iter()
            .filter(|it| gallery.picture(&reference(it)).is_some());
        there.count()
    };
    assert_eq!(here(&gallery), PICTURES_MAX);
    let gone: Vec<u32> = (1..=36).collect();
    assert_eq!(gallery.take_gone(), gone);
    // The first is made again where somebody looks, and needs no other rows than before.
    let first = reference(&all[0]);
    assert_eq!(gallery.shape(&first), Shape::Rows(8));
    assert_eq!(look(&mut gallery, &[&all[0]], ROOM).len(), 1);
    gallery.came(&first, picture(99, (20, 8)));
    assert_eq!(here(&gallery), PICTURES_MAX);
    assert_eq!(gallery.take_gone(), [37]);
    gallery.keep(std::iter::once(first));
    assert_eq!(gallery.take_gone().len(), PICTURES_MAX - 1);
    gallery.clear();
    assert!(gallery.is_empty());
    assert_eq!(gallery.take_gone(), [99]);
}

#[test]
fn more_than_there_is_room_for_is_not_asked_for_at_once() {
    let mut gallery = Gallery::default();
    let all: Vec<Message> = (0..60).map(|number| message(number, vec![1])).collect();
    let near: Vec<&Message> = all.iter().collect();
    assert_eq!(look(&mut gallery, &near, ROOM).len(), PICTURES_MAX);
    for message in &near {
        gallery.came(&reference(message), picture(1, (20, 8)));
    }
    assert!(
        look(&mut gallery, &near, ROOM).is_empty(),
        "nothing turns round"
    );
}
