//! The checker finds what it is there for, and nothing in a history that is right.

use super::*;
use crate::history::{KeptMessage, Life, Shown, Step, Talk};

const CANARY: &str = "c0ffee";

/// Two with each other, a group whose members change: hosted by the first, the third comes and goes.
fn cast() -> Cast {
    let talk = |conversation: &str, always: &[usize], sometimes: &[usize]| Talk {
        conversation: conversation.to_owned(),
        always: always.to_vec(),
        sometimes: sometimes.to_vec(),
    };
    Cast {
        accounts: ["ann", "ben", "cid"].map(str::to_owned).to_vec(),
        devices: vec![0, 1, 2],
        talks: vec![talk("aa", &[0, 1], &[]), talk("bb", &[0, 1], &[2])],
        canary: CANARY.to_owned(),
    }
}

/// Writes a history down.
#[derive(Default)]
struct Pen {
    records: Vec<Record>,
    at_ms: u64,
}

impl Pen {
    fn note(&mut self, what: What) {
        self.at_ms += 10;
        let at_ms = self.at_ms;
        self.records.push(Record { at_ms, what });
    }

    fn asked(&mut self, device: usize, number: u64, talk: usize) -> Token {
        let token = Token { device, number };
        let parent = None;
        self.note(What::Send {
            token,
            talk,
            parent,
        });
        token
    }

    fn acked(&mut self, token: Token, seq: u64) {
        let id = id(token);
        self.note(What::Acked { token, id, seq });
    }

    fn sent(&mut self, device: usize, number: u64, talk: usize, seq: u64) -> Token {
        let token = self.asked(device, number, talk);
        self.acked(token, seq);
        token
    }

    fn shown(&mut self, device: usize, run: u32, token: Token, seq: u64, conversation: &str) {
        let cast = cast();
        self.note(What::Shown(Shown {
            device,
            run,
            conversation: conversation.to_owned(),
            seq,
            id: id(token),
            sender: cast.accounts[cast.devices[token.device]].clone(),
            token: Some(token),
            reply_to: None,
        }));
    }

    fn killed(&mut self, device: usize, run: u32) {
        let life = Life::Killed;
        self.note(What::Client { device, run, life });
    }

    fn guest(&mut self, step: Step) {
        self.note(What::Member { account: 2, step });
    }

    fn tally(&self) -> Tally {
        judge(&cast(), &self.records, &Stores::new()).tally
    }
}

fn id(token: Token) -> String {
    format!("{}-{}", token.device, token.number)
}

/// Two messages of the first, both shown by the second.
fn right() -> (Pen, [Token; 2]) {
    let mut pen = Pen::default();
    let one = pen.sent(0, 0, 0, 5);
    pen.shown(1, 0, one, 5, "aa");
    let two = pen.sent(0, 1, 0, 6);
    pen.shown(1, 0, two, 6, "aa");
    (pen, [one, two])
}

#[test]
fn nothing_is_wrong_where_all_came_once_and_in_order() {
    let (pen, _) = right();
    let verdict = judge(&cast(), &pen.records, &Stores::new());
    assert_eq!(verdict.violations, Vec::<String>::new());
    assert_eq!((verdict.tally.sent, verdict.tally.shown), (2, 2));
    assert!(missing(&cast(), &pen.records).is_empty());
}

#[test]
fn what_was_acknowledged_and_never_shown_is_lost() {
    let mut pen = Pen::default();
    let token = pen.sent(0, 0, 0, 5);
    assert_eq!(missing(&cast(), &pen.records), [(1, token)]);
    assert_eq!(pen.tally().lost, 1);
    let mut pen = Pen::default();
    let open = pen.asked(0, 0, 0);
    let code = "gone".to_owned();
    pen.note(What::Open { token: open, code });
    assert_eq!(pen.tally().lost, 0, "nobody promised it");
}

#[test]
fn a_message_in_two_places_is_duplicated() {
    let (mut pen, [one, _]) = right();
    pen.shown(1, 0, one, 7, "aa");
    assert!(pen.tally().duplicated >= 1);
}

#[test]
fn once_more_on_a_screen_is_right_after_a_kill_only() {
    let (mut pen, [_, two]) = right();
    pen.killed(1, 0);
    pen.shown(1, 1, two, 6, "aa");
    let tally = pen.tally();
    assert_eq!((tally.duplicated, tally.shown_after_kill), (0, 1));
    pen.shown(1, 1, two, 6, "aa");
    assert_eq!(pen.tally().duplicated, 1);
    let (mut pen, [_, two]) = right();
    pen.shown(1, 1, two, 6, "aa");
    assert_eq!(pen.tally().duplicated, 1, "nobody killed it");
}

#[test]
fn backwards_on_a_screen_and_behind_a_later_one_is_reordered() {
    let mut pen = Pen::default();
    let one = pen.sent(0, 0, 0, 5);
    let two = pen.sent(0, 1, 0, 6);
    pen.shown(1, 0, two, 6, "aa");
    pen.shown(1, 0, one, 5, "aa");
    assert_eq!(pen.tally().reordered, 1);
    let mut pen = Pen::default();
    let one = pen.sent(0, 0, 0, 6);
    let two = pen.sent(0, 1, 0, 5);
    pen.shown(1, 0, two, 5, "aa");
    pen.shown(1, 0, one, 6, "aa");
    assert_eq!(
        pen.tally().reordered,
        1,
        "the log has them the wrong way round"
    );
}

#[test]
fn an_answer_stands_behind_its_parent() {
    let mut pen = Pen::default();
    let parent = pen.sent(0, 0, 0, 9);
    let answer = Token {
        device: 1,
        number: 0,
    };
    pen.note(What::Send {
        token: answer,
        talk: 0,
        parent: Some(id(parent)),
    });
    pen.acked(answer, 8);
    assert_eq!(pen.tally().reordered, 1);
}

#[test]
fn what_nobody_sent_and_what_somebody_else_sent_is_noticed() {
    let (mut pen, _) = right();
    let invented = Token {
        device: 0,
        number: 99,
    };
    pen.shown(1, 0, invented, 7, "aa");
    assert_eq!(pen.tally().disagreed, 1);
    let (mut pen, [_, two]) = right();
    if let Some(Record {
        what: What::Shown(shown),
        ..
    }) = pen.records.last_mut()
    {
        shown.sender = "cid".to_owned();
    }
    assert_eq!(pen.tally().disagreed, 1, "{two:?}");
}

#[test]
fn two_devices_that_see_different_messages_in_one_place_disagree() {
    let mut pen = Pen::default();
    let one = pen.sent(0, 0, 1, 5);
    let two = pen.asked(0, 1, 1);
    pen.shown(1, 0, one, 5, "bb");
    pen.shown(2, 0, two, 5, "bb");
    assert!(pen.tally().disagreed >= 1);
}

#[test]
fn guests_read_what_was_said_while_they_were_in_and_nothing_else() {
    let mut pen = Pen::default();
    let before = pen.sent(0, 0, 1, 5);
    pen.shown(1, 0, before, 5, "bb");
    pen.guest(Step::Inviting);
    let perhaps = pen.sent(0, 1, 1, 7);
    pen.shown(1, 0, perhaps, 7, "bb");
    pen.guest(Step::In);
    let within = pen.sent(0, 2, 1, 8);
    pen.shown(1, 0, within, 8, "bb");
    pen.guest(Step::Leaving);
    pen.guest(Step::Out);
    let after = pen.sent(0, 3, 1, 10);
    pen.shown(1, 0, after, 10, "bb");
    assert_eq!(missing(&cast(), &pen.records), [(2, within)]);
    pen.shown(2, 0, within, 8, "bb");
    let tally = pen.tally();
    assert_eq!((tally.lost, tally.leaked), (0, 0));
    for (token, seq) in [(before, 5), (after, 10)] {
        let mut leak = Pen {
            records: pen.records.clone(),
            at_ms: pen.at_ms,
        };
        leak.shown(2, 1, token, seq, "bb");
        assert_eq!(leak.tally().leaked, 1, "{token:?}");
    }
}

#[test]
fn stores_hold_the_log_and_agree_on_edits() {
    let (pen, tokens) = right();
    let kept = |content: &str| -> Vec<KeptMessage> {
        let message = |(token, seq): (&Token, u64)| KeptMessage {
            seq,
            id: id(*token),
            content: content.to_owned(),
            token: Some(*token),
        };
        tokens.iter().zip([5, 6]).map(message).collect()
    };
    let judged = |stores: &Stores| judge(&cast(), &pen.records, stores).tally;
    let mut stores = Stores::from([((0, 0), kept("a")), ((1, 0), kept("a"))]);
    assert_eq!(judged(&stores).disagreed, 0);
    stores.insert((1, 0), kept("b"));
    assert_eq!(judged(&stores).disagreed, 2);
    let mut gone = kept("a");
    gone.pop();
    let stores = Stores::from([((0, 0), gone), ((1, 0), kept("a"))]);
    assert_eq!(judged(&stores).lost, 1, "the sender forgot one");
    let mut turned = kept("a");
    turned.reverse();
    let stores = Stores::from([((0, 0), kept("a")), ((1, 0), turned)]);
    assert_eq!(judged(&stores).reordered, 1);
}

#[test]
fn what_was_promised_and_never_came_is_lost() {
    let (mut pen, tokens) = right();
    let token = pen.asked(0, 2, 0);
    pen.note(What::Queued { token });
    let message = |(token, seq): (&Token, u64)| KeptMessage {
        seq,
        id: id(*token),
        content: String::new(),
        token: Some(*token),
    };
    let kept: Vec<_> = tokens.iter().zip([5, 6]).map(message).collect();
    let mut stores = Stores::from([((0, 0), kept.clone()), ((1, 0), kept)]);
    assert_eq!(judge(&cast(), &pen.records, &stores).tally.lost, 1);
    for kept in stores.values_mut() {
        kept.push(message((&token, 7)));
    }
    assert_eq!(judge(&cast(), &pen.records, &stores).tally.lost, 0);
}

#[test]
fn what_a_guest_keeps_is_not_asked_for() {
    let mut pen = Pen::default();
    pen.guest(Step::Inviting);
    pen.guest(Step::In);
    let token = pen.sent(2, 0, 1, 5);
    pen.shown(0, 0, token, 5, "bb");
    pen.shown(1, 0, token, 5, "bb");
    let stores = Stores::from([((0, 0), Vec::new())]);
    let verdict = judge(&cast(), &pen.records, &stores);
    assert_eq!(verdict.violations, Vec::<String>::new());
}

#[test]
fn an_alarm_is_a_violation() {
    let (mut pen, _) = right();
    let kind = "fork".to_owned();
    pen.note(What::Security { device: 0, kind });
    assert_eq!(
        judge(&cast(), &pen.records, &Stores::new())
            .violations
            .len(),
        1
    );
}
