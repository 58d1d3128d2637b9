//! A worker without a network, for trying the screen out: conversations of its own in memory,
//! and somebody who answers. Nothing is read from or written to the disk, and nothing leaves.
//!
//! It answers the same asks by the same news as the real worker, so the screen cannot tell.

mod garden;
mod props;

use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;

use sotto_crypto::content::{Emoji, MessageRef};
use sotto_protocol::{ClientMessageId, ConversationId, DeploymentId, DeviceId, Username};
use sotto_roster::Role;
use tokio::sync::mpsc::Receiver;

use super::ask::{Ask, Chats, Enrol, Link, More, News, Page, Place, Stage, Verdict, reference};
use super::qr;
use super::worker::Input;
use super::worker::signals::Signals;
use crate::engine::Verification;
use crate::engine::api::{
    AccountState, Asker, Chat, Details, Direction, Event, GroupMember, Hit, Keep, MemberTrust,
    Message, MessageBody, Put, Reactions, ReplyTo, Request, Typing, WhoAmI,
};
use crate::engine::screen::Overview;
use crate::exit::Failure;
use crate::runtime::Clock;
use crate::talk::Talk;
use crate::tui::model::pane::PAGE;
#[cfg(test)]
pub(crate) use props::safety_digits;
use props::{devices, people, rooms, safety};

/// Whose screen it is.
const ME: &str = "you";
const MINUTE_MS: u64 = 60_000;

/// Answers what the screen asks, on a thread of its own.
///
/// # Errors
/// When there is no thread for it.
pub(crate) fn start(
    clock: Clock,
    mut asks: Receiver<Ask>,
    news: SyncSender<Input>,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let serve = move || {
        let ended = runtime.block_on(serve(clock, &mut asks, &news));
        // The screen may be gone already.
        let _ = news.send(Input::News(News::Ended(ended)));
    };
    std::thread::Builder::new()
        .name("demonstration".to_owned())
        .spawn(serve)
}

async fn serve(
    clock: Clock,
    asks: &mut Receiver<Ask>,
    news: &SyncSender<Input>,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let mut demo = Demo::new(clock.now().unix_ms);
    let mut said = Demo::hello();
    loop {
        for word in said.drain(..) {
            if news.send(Input::News(word)).is_err() {
                return Ok(());
            }
        }
        let ask = tokio::select! {
            ask = asks.recv() => ask,
            () = signals.next() => return Ok(()),
        };
        match ask {
            None | Some(Ask::Quit) => return Ok(()),
            Some(ask) => said = demo.answer(ask, clock.now().unix_ms),
        }
    }
}

/// A conversation of the demonstration.
struct Conversation {
    chat: Chat,
    messages: Vec<Message>,
    overview: Overview,
}

/// Everything there is.
pub(crate) struct Demo {
    talks: Vec<Conversation>,
    requests: Vec<Request>,
    ids: u64,
}

impl Demo {
    /// Conversations that were held in the last hours before `now_ms` (1970 UTC).
    pub(crate) fn new(now_ms: u64) -> Self {
        let mut demo = Self {
            talks: Vec::new(),
            requests: Vec::new(),
            ids: 0,
        };
        demo.fill(now_ms);
        demo
    }

    /// What is said before anything is asked.
    pub(crate) fn hello() -> Vec<News> {
        vec![
            News::Who(Box::new(WhoAmI {
                username: name(ME),
                device: device(0),
                deployment: DeploymentId::from_bytes([0; 16]),
                identity_key: [0; 32],
                state: AccountState::Active,
            })),
            News::Link(Link::Online),
            News::Enrol(Stage::Ready),
        ]
    }

    fn fill(&mut self, now_ms: u64) {
        let at = |minutes: u64| now_ms.saturating_sub(minutes * MINUTE_MS);
        self.begin(Talk::from(name("bob")), None, at(200));
        self.say(
            0,
            "bob",
            "this is a demonstration: nothing here leaves your terminal",
            at(200),
        );
        self.say(0, ME, "so I can try every key?", at(199));
        self.say(
            0,
            "bob",
            "every one. F1 shows those that work where you are",
            at(198),
        );
        self.say(0, "bob", "", at(198));
        self.last_is_a_picture(0);
        self.say(
            0,
            "bob",
            "links are shown whole: https://example.org/a/path",
            at(197),
        );
        self.begin(Talk::Group(conversation(9)), Some("garden"), at(90));
        self.say(1, "carol", "who waters on Sunday? 🌱", at(90));
        self.say(
            1,
            "dave",
            "日本語も折り返します: 庭の水やりは日曜日の朝です",
            at(80),
        );
        self.say(1, ME, "I can", at(70));
        self.say(1, "carol", "@you thank you!", at(5));
        self.begin(Talk::Group(conversation(8)), Some("notes to self"), at(300));
        self.say(2, ME, "only I read this", at(300));
        self.dress(at(60));
        self.requests.push(Request {
            conversation: conversation(7),
            from: name("erin"),
            received_at_ms: at(30),
            asker: Asker::New,
        });
    }

    /// Reactions, an answer, members: what makes the conversations look lived in.
    fn dress(&mut self, verified_at_ms: u64) {
        if let [bob, garden, notes, ..] = self.talks.as_mut_slice() {
            bob.overview.others = 1;
            bob.overview.verified = usize::from(verified_at_ms > 0);
            let members = [
                (ME, Role::Owner, MemberTrust::Own),
                ("bob", Role::Admin, MemberTrust::Verified),
                ("carol", Role::Member, MemberTrust::Pinned),
                ("dave", Role::Member, MemberTrust::Pinned),
            ];
            garden.overview.members = members.map(member).to_vec();
            (garden.overview.others, garden.overview.verified) = (3, 1);
            garden.overview.role = Some(Role::Owner);
            garden.overview.description = "what grows behind the house".to_owned();
            notes.overview.members = vec![member((ME, Role::Owner, MemberTrust::Own))];
            let asked = garden.messages.first().map(reference);
            if let (Some(to), Some(answer)) = (asked, garden.messages.get_mut(2)) {
                answer.details.reply = Some(ReplyTo {
                    message: to,
                    sender: Some(name("carol")),
                    quote: Some("who waters on Sunday? 🌱".to_owned()),
                });
                answer.details.delivered_to = 3;
                answer.details.read_by = 2;
                answer.details.reactions = Emoji::parse("👍")
                    .map(|emoji| Reactions {
                        emoji,
                        by: vec![name("carol")],
                    })
                    .into_iter()
                    .collect();
            }
            if let Some(thanks) = garden.messages.last_mut() {
                thanks.details.mentions = vec![name(ME)];
                garden.overview.first_unseen = Some(thanks.seq);
            }
            (garden.chat.unread, garden.chat.mentions) = (1, 1);
        }
    }

    fn begin(&mut self, talk: Talk, title: Option<&str>, at_ms: u64) {
        let number = u8::try_from(self.talks.len()).unwrap_or(u8::MAX);
        self.talks.push(Conversation {
            chat: Chat {
                conversation: Some(conversation(number)),
                talk,
                title: title.map(str::to_owned),
                keep: Keep::Saved,
                last: None,
                queued: 0,
                unread: 0,
                mentions: 0,
                expires_after_s: 0,
                mute: None,
                draft: None,
                updated_at_ms: at_ms,
            },
            messages: Vec::new(),
            overview: Overview {
                conversation: Some(conversation(number)),
                post_quantum: Some(true),
                ..Overview::default()
            },
        });
    }

    /// What was said last becomes a file with a picture.
    fn last_is_a_picture(&mut self, place: usize) {
        let talk = self.talks.get_mut(place);
        if let Some(message) = talk.and_then(|talk| talk.messages.last_mut()) {
            message.body = MessageBody::Attachment(Box::new(garden::file()));
        }
    }

    /// Somebody says something.
    fn say(&mut self, place: usize, who: &str, text: &str, at_ms: u64) {
        self.ids += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.ids.to_be_bytes());
        let id = ClientMessageId::from_bytes(id);
        self.add(place, (who, text), (id, at_ms));
    }

    fn add(
        &mut self,
        place: usize,
        (who, text): (&str, &str),
        (id, at_ms): (ClientMessageId, u64),
    ) -> Option<Message> {
        let talk = self.talks.get_mut(place)?;
        let own = who == ME;
        let message = Message {
            conversation: talk.overview.conversation?,
            talk: talk.chat.talk.clone(),
            title: talk.chat.title.clone(),
            id,
            seq: talk.messages.last().map_or(1, |last| last.seq + 1),
            sender: name(who),
            device: device(u8::from(!own)),
            epoch: 1,
            direction: match own {
                true => Direction::Outgoing,
                false => Direction::Incoming,
            },
            body: MessageBody::Text(text.to_owned()),
            details: Box::new(Details {
                notify: !own,
                delivered_to: u64::from(own),
                ..Details::default()
            }),
            sent_at_ms: at_ms,
            stored_at_ms: at_ms,
        };
        talk.messages.push(message.clone());
        talk.chat.last = Some(message.clone());
        talk.chat.updated_at_ms = at_ms;
        Some(message)
    }

    fn place(&self, talk: &Talk) -> Option<usize> {
        self.talks.iter().position(|known| known.chat.talk == *talk)
    }

    /// Answers at a time (milliseconds since 1970 UTC).
    pub(crate) fn answer(&mut self, ask: Ask, now_ms: u64) -> Vec<News> {
        match ask {
            Ask::Chats => vec![self.chats()],
            Ask::Page { talk, place } => vec![self.page(talk, place)],
            Ask::Overview { talk } => {
                let found = self.place(&talk).and_then(|place| self.talks.get(place));
                let overview = found
                    .map(|known| known.overview.clone())
                    .unwrap_or_default();
                vec![News::Overview {
                    talk,
                    overview: Box::new(overview),
                }]
            }
            Ask::Seen { talk, .. } => {
                self.with(&talk, |known| {
                    (known.chat.unread, known.chat.mentions) = (0, 0);
                    known.overview.first_unseen = None;
                });
                Vec::new()
            }
            Ask::Write {
                to,
                text,
                client_id,
                ..
            } => self.write(to, &text, (client_id, now_ms)),
            Ask::Draft { to, text } => {
                let draft = (!text.is_empty()).then_some(text);
                self.with(&to, |known| known.chat.draft = draft);
                Vec::new()
            }
            Ask::Search { text, talk, ticket } => vec![News::Found {
                ticket,
                hits: self.search(&text, talk.as_ref()),
            }],
            Ask::People { .. } => vec![News::People(people())],
            Ask::Rooms => vec![News::Rooms(rooms())],
            Ask::Pins { talk } => vec![self.pins(&talk)],
            Ask::Devices => vec![News::Devices(devices(now_ms))],
            Ask::Safety { name } => vec![News::Safety {
                name,
                number: Some(safety()),
            }],
            Ask::Verify { name, digits } => vec![self.verify(name, &digits)],
            Ask::Accept { name, .. } => {
                self.requests.retain(|request| request.from != name);
                self.begin(Talk::from(&name), None, now_ms);
                vec![
                    self.chats(),
                    News::Done(format!("accepted {name}")),
                    News::Answered(name),
                ]
            }
            Ask::Decline { name } | Ask::Block { name } => {
                self.requests.retain(|request| request.from != name);
                vec![self.chats()]
            }
            Ask::Look(look) => vec![garden::look(&look)],
            Ask::Enrol(Enrol::Check { .. }) => vec![News::Unlocked(Verdict::Right)],
            Ask::Enrol(Enrol::SkipRecovery) => Vec::new(),
            Ask::Set { .. } => vec![News::Done("the demonstration keeps no settings".to_owned())],
            Ask::Paths(_) | Ask::Typing { .. } | Ask::StopRun | Ask::Woke | Ask::Quit => Vec::new(),
            other => self.change(other),
        }
    }

    fn pins(&self, talk: &Talk) -> News {
        let known = self.place(talk).and_then(|place| self.talks.get(place));
        let all = known.map_or(&[][..], |known| known.messages.as_slice());
        let pinned = all.iter().rev().filter(|message| message.details.pinned);
        News::Pins(pinned.cloned().collect())
    }

    fn verify(&mut self, name: Username, digits: &str) -> News {
        let outcome = match qr::digits_only(digits) == qr::digits_only(&safety().digits) {
            true => Verification::Confirmed,
            false => Verification::Differs,
        };
        if outcome == Verification::Confirmed {
            self.with(&Talk::from(&name), |known| known.overview.verified = 1);
        }
        News::Verified { name, outcome }
    }

    /// What is done with a message.
    fn change(&mut self, ask: Ask) -> Vec<News> {
        match ask {
            Ask::React { target, emoji, put } => {
                self.touch(&target.talk, &target.message, |message| {
                    let reactions = &mut message.details.reactions;
                    match put {
                        Put::On => reactions.push(Reactions {
                            emoji,
                            by: vec![name(ME)],
                        }),
                        Put::Off => reactions.retain(|known| known.emoji != emoji),
                    }
                })
            }
            Ask::Edit { target, text, .. } => {
                self.touch(&target.talk, &target.message, |message| {
                    message.body = MessageBody::Text(text);
                    message.details.edited = true;
                })
            }
            Ask::Delete { target } => self.touch(&target.talk, &target.message, |message| {
                message.body = MessageBody::Deleted;
            }),
            Ask::Pin { target, put } => self.touch(&target.talk, &target.message, |message| {
                message.details.pinned = put == Put::On;
            }),
            _ => {
                let words = "the demonstration has no network; sotto without --demo does this";
                vec![News::Failed(Failure::named("demo", words))]
            }
        }
    }

    fn touch(
        &mut self,
        talk: &Talk,
        which: &MessageRef,
        change: impl FnOnce(&mut Message),
    ) -> Vec<News> {
        self.with(talk, |known| {
            let found = known.messages.iter_mut();
            if let Some(message) = found
                .into_iter()
                .find(|message| reference(message) == *which)
            {
                change(message);
            }
        });
        vec![self.page(talk.clone(), Place::Again(1, u64::MAX))]
    }

    fn with(&mut self, talk: &Talk, change: impl FnOnce(&mut Conversation)) {
        let place = self.place(talk);
        if let Some(known) = place.and_then(|place| self.talks.get_mut(place)) {
            change(known);
        }
    }

    fn write(&mut self, to: Talk, text: &str, (id, now_ms): (ClientMessageId, u64)) -> Vec<News> {
        let place = match self.place(&to) {
            Some(place) => place,
            None => {
                self.begin(to.clone(), None, now_ms);
                self.talks.len() - 1
            }
        };
        let Some(sent) = self.add(place, (ME, text), (id, now_ms)) else {
            return Vec::new();
        };
        let mut news = vec![News::Event(Box::new(Event::Sent {
            id,
            to: to.clone(),
            title: sent.title.clone(),
            conversation: sent.conversation,
            seq: sent.seq,
        }))];
        if let Some(other) = to.person().cloned() {
            news.push(News::Event(Box::new(Event::Typing(Typing {
                conversation: sent.conversation,
                talk: to,
                title: None,
                by: other.clone(),
            }))));
            let answer = format!("you wrote {} characters", text.chars().count());
            self.ids += 1;
            let mut answer_id = *id.as_bytes();
            answer_id.reverse();
            let id = ClientMessageId::from_bytes(answer_id);
            if let Some(message) = self.add(place, (other.as_str(), &answer), (id, now_ms)) {
                news.push(News::Event(Box::new(Event::Message(message))));
            }
        }
        news
    }

    fn chats(&self) -> News {
        let mut chats: Vec<Chat> = self.talks.iter().map(|talk| talk.chat.clone()).collect();
        chats.sort_by_key(|chat| std::cmp::Reverse(chat.updated_at_ms));
        News::Chats(Box::new(Chats {
            chats,
            requests: self.requests.clone(),
            invitations: Vec::new(),
            queued: 0,
        }))
    }

    fn page(&self, talk: Talk, place: Place) -> News {
        let known = self.place(&talk).and_then(|place| self.talks.get(place));
        let all = known.map_or(&[][..], |known| known.messages.as_slice());
        let kept = |message: &&Message| match place {
            Place::Before(seq) => message.seq < seq,
            Place::After(seq) => message.seq > seq,
            Place::Again(from, to) => (from..=to).contains(&message.seq),
            Place::End | Place::Unseen | Place::Around(_) => true,
        };
        let mut messages: Vec<Message> = all.iter().filter(kept).cloned().collect();
        let page = usize::try_from(PAGE).unwrap_or(usize::MAX);
        let extra = messages.len().saturating_sub(page);
        let before = if extra > 0 { More::Yes } else { More::No };
        if place != Place::Again(1, u64::MAX) {
            messages.drain(..extra);
        }
        News::Page(Box::new(Page {
            talk,
            place,
            messages,
            before,
            after: More::No,
            waiting: Vec::new(),
            overview: known
                .map(|known| known.overview.clone())
                .unwrap_or_default(),
        }))
    }

    fn search(&self, text: &str, talk: Option<&Talk>) -> Vec<Hit> {
        let wanted = text.to_lowercase();
        let mut hits = Vec::new();
        let talks = self.talks.iter();
        for known in talks.filter(|known| talk.is_none_or(|talk| known.chat.talk == *talk)) {
            for message in known.messages.iter().rev() {
                if let MessageBody::Text(text) = &message.body
                    && text.to_lowercase().contains(&wanted)
                {
                    hits.push(Hit {
                        message: message.clone(),
                        snippet: text.clone(),
                    });
                }
            }
        }
        hits
    }
}

fn name(text: &str) -> Username {
    match Username::parse(text) {
        Ok(name) => name,
        Err(_) => unreachable!("the demonstration's names are names"),
    }
}

fn device(number: u8) -> DeviceId {
    DeviceId::from_bytes([number; 16])
}

fn conversation(number: u8) -> ConversationId {
    ConversationId::from_bytes([number; 16])
}

fn member((who, role, trust): (&str, Role, MemberTrust)) -> GroupMember {
    GroupMember {
        name: name(who),
        role,
        trust,
        seen: true,
    }
}
