//! The window over a long conversation: what is read when, and where the person looks.

use super::*;
use crate::cli::inside::Zone;
use crate::engine::api::Details;
use crate::tui::ask::Page;
use crate::tui::model::gallery::Gallery;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};

fn message(seq: u64, text: &str) -> Message {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&seq.to_be_bytes());
    Message {
        conversation: ConversationId::from_bytes([1; 16]),
        talk: Talk::parse("bob").unwrap(),
        title: None,
        id: ClientMessageId::from_bytes(id),
        seq,
        sender: Username::parse("bob").unwrap(),
        device: DeviceId::from_bytes([2; 16]),
        epoch: 1,
        direction: Direction::Incoming,
        body: MessageBody::Text(text.to_owned()),
        details: Box::<Details>::default(),
        sent_at_ms: 1_795_178_096_000 + seq * 1_000,
        stored_at_ms: 1_795_178_096_000 + seq * 1_000,
    }
}

/// A store of so many messages that answers as the worker does.
struct Long {
    pane: Pane,
    last: u64,
    read: usize,
    size: (usize, usize),
}

impl Long {
    fn new(last: u64, first_unseen: Option<u64>) -> Self {
        let mut long = Self {
            pane: Pane::new(Talk::parse("bob").unwrap()),
            last,
            read: 0,
            size: (60, 10),
        };
        long.pane.overview.first_unseen = first_unseen;
        long.answer(Place::Unseen, first_unseen);
        long.settle();
        long
    }

    fn answer(&mut self, place: Place, first_unseen: Option<u64>) {
        let page = u64::from(PAGE);
        let range = match (place, first_unseen) {
            (Place::Unseen, Some(seq)) | (Place::Around(seq), _) => {
                seq.saturating_sub(page).max(1)..(seq + page).min(self.last + 1)
            }
            (Place::Before(seq), _) => seq.saturating_sub(page).max(1)..seq,
            (Place::After(seq), _) => seq + 1..(seq + 1 + page).min(self.last + 1),
            (Place::Again(from, to), _) => from..to.min(self.last) + 1,
            _ => (self.last + 1).saturating_sub(page).max(1)..self.last + 1,
        };
        let more = |there| if there { More::Yes } else { More::No };
        let (before, after) = (more(range.start > 1), more(range.end <= self.last));
        let messages: Vec<Message> = range
            .map(|seq| message(seq, &format!("message number {seq}")))
            .collect();
        self.read += messages.len();
        self.pane.take(Page {
            talk: Talk::parse("bob").unwrap(),
            place,
            messages,
            before,
            after,
            waiting: Vec::new(),
            overview: Overview {
                first_unseen,
                ..Overview::default()
            },
        });
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            self.pane
                .lay(self.size, (&Zone::default(), None), &Gallery::default());
            let Some(Ask::Page { place, .. }) = self.pane.wish() else {
                return;
            };
            self.answer(place, None);
        }
        panic!("the window never comes to rest");
    }

    fn scroll(&mut self, rows: isize) {
        self.pane.scroll(rows);
        self.settle();
    }

    fn shown(&self) -> Vec<String> {
        let rows = self.pane.shown();
        rows.iter().map(|shown| shown.row.words()).collect()
    }
}

#[test]
fn a_long_conversation_is_read_page_by_page() {
    let mut long = Long::new(200_000, None);
    assert!(long.shown().last().unwrap().contains("number 200000"));
    assert!(long.read <= 3 * PAGE as usize, "{}", long.read);
    for _ in 0..200 {
        long.scroll(-9);
        assert!(long.pane.messages.len() <= WINDOW_MAX);
        assert_eq!(long.shown().len(), 10);
    }
    assert!(long.read < 3_000, "{}", long.read);
    let before = long.shown();
    long.scroll(9);
    long.scroll(-9);
    assert_eq!(long.shown(), before);
    assert!(matches!(
        long.pane.go_to_end(),
        Some(Ask::Page {
            place: Place::End,
            ..
        })
    ));
}

#[test]
fn what_arrives_does_not_move_what_is_read() {
    let mut long = Long::new(500, None);
    long.scroll(-50);
    let before = long.shown();
    for seq in 501..600 {
        long.last = seq;
        long.pane.add(message(seq, "new"));
    }
    long.settle();
    assert_eq!(long.shown(), before);
    assert!(long.pane.below() > 0);
}

#[test]
fn a_resize_keeps_the_message_that_is_read() {
    let mut long = Long::new(500, None);
    long.scroll(-100);
    let first = long.shown()[0].clone();
    let number = first.split("number ").nth(1).unwrap().trim().to_owned();
    for size in [(30, 20), (100, 5), (60, 10)] {
        long.size = size;
        long.settle();
        let shown = long.shown().join("\n");
        assert!(shown.contains(&number), "{number} in {shown}");
    }
}

#[test]
fn the_first_unseen_message_is_below_the_divider() {
    let mut long = Long::new(300, Some(250));
    let shown = long.shown();
    let divider = shown.iter().position(|row| row.contains("── new")).unwrap();
    assert!(shown[divider + 1].contains("number 250"), "{shown:?}");
    assert!(long.pane.newly_seen().is_some_and(|seq| seq < 300));
    assert_eq!(long.pane.newly_seen(), None);
    long.pane.anchor = Anchor::Bottom;
    assert_eq!(long.pane.newly_seen(), Some(300));
}

#[test]
fn a_queued_message_takes_its_place_when_it_is_sent() {
    let mut long = Long::new(3, None);
    let mut queued = message(0, "mine");
    queued.direction = Direction::Outgoing;
    queued.id = ClientMessageId::from_bytes([9; 16]);
    long.pane.add(queued.clone());
    long.pane.add(queued.clone());
    long.settle();
    assert_eq!(
        long.shown()
            .iter()
            .filter(|row| row.contains("mine"))
            .count(),
        1
    );
    assert!(long.shown().join("\n").contains("queued"));
    long.pane.add(message(4, "theirs"));
    long.pane.sent(&queued.id, 5);
    long.pane.stale = false;
    long.settle();
    let shown = long.shown().join("\n");
    assert!(shown.contains("✓") && !shown.contains("queued"), "{shown}");
    assert!(long.pane.waiting.is_empty());
}

#[test]
fn what_was_sent_by_other_means_appears() {
    let mut long = Long::new(3, None);
    long.last = 5;
    long.pane.sent(&ClientMessageId::from_bytes([8; 16]), 5);
    long.settle();
    let shown = long.shown().join("\n");
    assert!(shown.contains("number 5"), "{shown}");
    long.pane.remove(5);
    long.settle();
    assert!(!long.shown().join("\n").contains("number 5"));
}
