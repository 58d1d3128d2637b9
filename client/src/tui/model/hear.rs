//! What each word of the worker changes.

use sotto_protocol::Username;

use super::form::{FirstRun, Form, Left, Purpose};
use super::overlay::{Overlay, Sheet};
use super::piece::{Row, Tone};
use super::{AWAY_MS, Effect, Model, Running, TYPING_MS};
use crate::engine::api::{
    ChangeKind, Connection, Direction, Event, Membership, MembershipChange, Typing, role_name,
};
use crate::engine::api::{Message, Now};
use crate::exit::{Exit, Failure};
use crate::invite_link::SCHEME;
use crate::talk::Talk;
use crate::tui::ask::{Ask, Link, News, Stage, Verdict};
use crate::tui::keys::{Action, Mode};

impl Model {
    /// The worker says something.
    pub(crate) fn handle_news(&mut self, news: News, now: Now) {
        self.now = now;
        match news {
            News::Link(link) => self.linked(link),
            News::Who(who) => {
                self.me = Some(*who);
                self.ask(Ask::Chats);
            }
            News::Chats(chats) => {
                self.renamed(&chats);
                self.list.set(*chats);
                self.requests_again();
                self.begin();
            }
            News::Page(page) => {
                let talk = &page.talk;
                if let Some(pane) = self.pane.as_mut().filter(|pane| pane.talk == *talk) {
                    pane.take(*page);
                }
            }
            News::Overview { talk, overview } => {
                let here = self.pane.as_mut().filter(|pane| pane.talk == talk);
                let came = here.map(|pane| pane.set_overview(*overview));
                self.came_in(&talk, came.unwrap_or_default());
            }
            News::Event(event) => self.happened(*event),
            News::Failed(failure) => {
                let sentence = failure.to_sentence();
                self.say(Tone::Warning, sentence.as_str());
                self.failed_inside(sentence.as_str());
                self.overview_again();
            }
            News::NotSent { client_id, failure } => self.text_refused(&client_id, &failure),
            News::Done(sentence) => {
                self.say(Tone::Good, sentence);
                self.chats_again();
                self.overview_again();
            }
            News::Answered(name) => self.identity_answered(&name),
            News::Entered(talk) => self.entered(talk),
            News::Verified { name, outcome } => self.verified(&name, outcome),
            News::People(people) => self.people_came(&people),
            News::Rooms(rooms) => self.rooms_came(&rooms),
            News::Pins(pinned) => self.pins_came(&pinned),
            News::Devices(devices) => self.devices_came(&devices),
            News::Safety { name, number } => self.safety_came(&name, number),
            News::Offered(offer) => self.offered(&offer),
            News::Found { ticket, hits } => self.found(ticket, &hits),
            News::Paths { wish, found } => self.found_paths(&wish, found),
            // Whoever draws made wishes of them.
            News::Set(_) => {}
            News::Seen { which, seen } => self.seen(&which, seen),
            News::Fetched { which, image } => self.gallery.fetched(&which, image),
            News::Paused { words } => self.paused(words),
            News::Runs { label } => {
                self.running = Some(Running {
                    label,
                    progress: None,
                });
            }
            News::Progress(progress) => {
                if let Some(running) = &mut self.running {
                    running.progress = Some(progress);
                }
            }
            News::Ran { label, said, exit } => self.ran(label, (&said, exit)),
            News::Stopped => self.running = None,
            News::Enrol(stage) if self.first_run.is_none() => self.staged_inside(stage),
            News::Enrol(stage) => self.staged(stage),
            News::Unlocked(verdict) => self.unlocked(verdict),
            News::Ended(_) => self.effect(Effect::Quit),
        }
    }

    /// Those who were invited are in.
    fn came_in(&mut self, talk: &Talk, names: Vec<Username>) {
        for name in names {
            self.system(talk, Tone::Dim, &format!("{name} came in"));
        }
    }

    /// The connection stands otherwise than before: what waits goes over the next one.
    fn linked(&mut self, link: Link) {
        if link != Link::Online {
            self.patience.forget();
        }
        self.link = link;
    }

    /// For how many seconds the server has not answered, where that is long.
    pub(crate) fn unanswered_s(&self) -> Option<u64> {
        let online = self.link == Link::Online;
        self.patience
            .seconds(self.now.monotonic_ms)
            .filter(|_| online)
    }

    fn text_refused(&mut self, id: &sotto_protocol::ClientMessageId, failure: &Failure) {
        self.not_sent(id);
        self.say(Tone::Warning, failure.to_sentence().as_str());
        self.overview_again();
    }

    /// At the first list the latest conversation is shown.
    fn begin(&mut self) {
        if self.first_run.is_some() || self.pane.is_some() {
            return;
        }
        if let Some(talk) = self.list.chats().first().map(|chat| chat.talk.clone()) {
            self.open(talk);
            self.focus = self.wishes.begins;
        }
    }

    fn staged(&mut self, stage: Stage) {
        let (purpose, failure) = match &stage {
            Stage::Server { failure } => (Some(Purpose::Server), failure.clone()),
            Stage::Account { failure } => (Some(Purpose::Register), failure.clone()),
            Stage::Login { failure } => (Some(Purpose::Login), failure.clone()),
            Stage::Link { failure } => (Some(Purpose::Link), failure.clone()),
            Stage::Recover { failure } => (Some(Purpose::Recover), failure.clone()),
            _ => (None, None),
        };
        let mut kept = match purpose {
            Some(_) => self.kept_form.take(),
            // The form may still be needed.
            None => None,
        };
        if purpose.is_some_and(|purpose| purpose != Purpose::Server)
            && kept
                .as_ref()
                .is_some_and(|form| form.purpose == Purpose::Server)
        {
            // One step on: what was typed before on this step is there again.
            self.left.server = kept.take();
            kept = self.left.account.take();
        }
        self.first_run = match (purpose, kept) {
            (Some(purpose), Some(mut form)) if failure.is_some() || form.purpose == purpose => {
                // What was typed stays, with why it did not do.
                if form.purpose != purpose {
                    form.turn_into(purpose);
                    form.go_on();
                }
                form.remark = failure.map(|failure| (Tone::Warning, failure.message));
                Some(FirstRun::Form(form))
            }
            _ => FirstRun::of(stage),
        };
        if self.first_run.is_none() {
            self.kept_form = None;
            self.left = Left::default();
            self.pressed_at_ms = self.now.monotonic_ms;
            self.ask(Ask::Chats);
        }
    }

    fn unlocked(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Right => {
                self.locked = None;
                self.pressed_at_ms = self.now.monotonic_ms;
                self.effect(Effect::Redraw);
            }
            Verdict::Wrong => {
                let mut form = Form::password(Purpose::Locked, None);
                form.remark = Some((Tone::Warning, "that is not the password".to_owned()));
                self.locked = Some(form);
            }
        }
    }

    /// A command ended.
    fn ran(&mut self, label: String, (said, exit): (&[String], Exit)) {
        self.running = None;
        self.chats_again();
        self.overview_again();
        if label.split(' ').next() == Some("block") {
            self.forget_pictures();
        }
        if let Some(pane) = &mut self.pane {
            pane.outdated();
        }
        match said {
            // A refused comparison is more than a remark.
            words if exit != Exit::Done && label == "verify" => {
                let words = words.to_vec();
                self.notice(("Not verified", Tone::Security), words);
            }
            [] => self.say(Tone::Good, nothing_said(&label)),
            [line] if exit == Exit::Done => self.say(Tone::Text, line.clone()),
            // Who speaks is plain here.
            [line] => self.say(Tone::Warning, line.strip_prefix("sotto: ").unwrap_or(line)),
            lines => {
                let mut sheet = Sheet::new(format!("/{label}"), Vec::new());
                let mut links = lines.iter().filter(|line| line.starts_with(SCHEME));
                if let (Some(link), None) = (links.next(), links.next()) {
                    let way = self.wishes.keymap.way(Mode::Browse, Action::Copy);
                    let words = format!("{} copies the link", way.unwrap_or_default());
                    let rows = vec![Row::of(Tone::Dim, words), Row::default()];
                    sheet = Sheet::new("An invite link", rows).with_copy(link);
                }
                self.overlay = Some(Overlay::Sheet(sheet.with_text(lines.join("\n"))));
            }
        }
    }

    fn not_sent(&mut self, id: &sotto_protocol::ClientMessageId) {
        self.patience.answered(id, self.now.monotonic_ms);
        let Some((talk, text)) = self.sending.remove(id.as_bytes()) else {
            return;
        };
        let here = self.pane.as_mut().filter(|pane| pane.talk == talk);
        if let Some(pane) = here {
            pane.not_sent(id);
            // It is in the line again, behind what was begun since.
            let both = match self.composer.is_empty() {
                true => text,
                false => format!("{}\n{text}", self.composer.text()),
            };
            self.composer.set(&both);
        } else {
            self.drafts.insert(talk.clone(), text.clone());
            self.ask(Ask::Draft { to: talk, text });
        }
    }

    fn send_failed(
        &mut self,
        id: &sotto_protocol::ClientMessageId,
        failure: &crate::engine::api::Failure,
    ) {
        match failure.code {
            // It waits still.
            "key_changed" | "no_key_package" => {
                self.patience.answered(id, self.now.monotonic_ms);
                self.say(Tone::Warning, failure.message.clone());
            }
            _ => {
                self.not_sent(id);
                let words = vec![failure.message.clone()];
                self.notice(("Not sent", Tone::Warning), words);
            }
        }
        self.overview_again();
        self.chats_again();
    }

    /// How the open conversation stands is asked again.
    pub(super) fn overview_again(&mut self) {
        if let Some(talk) = self.pane.as_ref().map(|pane| pane.talk.clone()) {
            self.ask(Ask::Overview { talk });
        }
    }

    pub(super) fn is_open(&self, talk: &Talk) -> bool {
        self.pane.as_ref().is_some_and(|pane| pane.talk == *talk)
    }

    /// Something happened.
    fn happened(&mut self, event: Event) {
        match &event {
            Event::Message(message) => self.arrived(message),
            Event::Sent { id, to, seq, .. } => {
                self.sending.remove(id.as_bytes());
                self.patience.answered(id, self.now.monotonic_ms);
                let (id, seq) = (*id, *seq);
                if let Some(pane) = self.pane.as_mut().filter(|pane| pane.talk == *to) {
                    pane.sent(&id, seq);
                }
                self.chats_again();
            }
            Event::SendFailed { id, failure, .. } => self.send_failed(id, failure),
            Event::Typing(typing) => self.somebody_writes(typing),
            Event::Changed(change) => {
                if let ChangeKind::Timer(seconds) = change.kind {
                    let words = timer_words(&self.who(&change.sender), seconds);
                    self.system(&change.talk, Tone::Dim, &words);
                }
                self.touched(&change.talk);
            }
            Event::Counted(count) => self.touched(&count.talk),
            Event::Receipt(_) => {
                if let Some(pane) = &mut self.pane {
                    pane.outdated();
                }
            }
            Event::Expired(expired) => {
                let here = Some(expired.conversation);
                if let Some(pane) = &mut self.pane
                    && pane.overview.conversation == here
                {
                    pane.remove(expired.seq);
                }
                self.chats_again();
            }
            Event::Request(_) | Event::Invitation(_) | Event::Profile(_) => self.chats_again(),
            Event::Group(news) => {
                self.told_group(news);
                self.overview_again();
                self.chats_again();
            }
            Event::Membership(membership) => self.membership(membership),
            // An answer is asked of an admin: it stands until it is seen.
            Event::JoinRequested(wish) => self.warn(crate::wording::join_wish(wish)),
            Event::Security(security) => self.security(security),
            Event::Connection(connection) => self.connection(connection),
            Event::GroupMade { conversation, .. } => self.entered(Talk::Group(*conversation)),
            Event::CaughtUp => {
                self.link = Link::Online;
                if let Some(link) = self.to_join.take() {
                    self.run(&["join", &link]);
                }
                self.chats_again();
                self.overview_again();
            }
            _ => {}
        }
        let told = match &event {
            Event::Message(message) => !self.is_looked_at(&message.talk),
            Event::Request(_) | Event::Invitation(_) | Event::Security(_) => true,
            _ => false,
        };
        if told {
            self.effect(Effect::Tell(Box::new(event)));
        }
    }

    /// Whether somebody is at the keys with nothing over the conversation.
    fn is_looked_at(&self, talk: &Talk) -> bool {
        let away = self.now.monotonic_ms >= self.pressed_at_ms + AWAY_MS;
        let covered = self.locked.is_some() || self.overlay.is_some();
        self.is_open(talk) && !away && !covered
    }

    fn arrived(&mut self, message: &Message) {
        if message.direction == Direction::Incoming {
            self.typing.remove(&message.talk);
        }
        if let Some(pane) = self.pane.as_mut().filter(|pane| pane.talk == message.talk) {
            pane.add(message.clone());
        }
        self.chats_again();
    }

    fn touched(&mut self, talk: &Talk) {
        if let Some(pane) = self.pane.as_mut().filter(|pane| pane.talk == *talk) {
            pane.outdated();
        }
        self.chats_again();
    }

    fn somebody_writes(&mut self, typing: &Typing) {
        let until = self.now.monotonic_ms + TYPING_MS;
        // One word a conversation, and no more conversations than there are.
        self.typing
            .insert(typing.talk.clone(), (typing.by.clone(), until));
    }

    fn connection(&mut self, connection: &Connection) {
        match connection {
            Connection::LoggedIn(_) => self.linked(Link::Reading),
            Connection::Lost => self.linked(Link::Connecting),
            Connection::Refused => {
                let words = "the login is refused; use sotto login";
                self.linked(Link::GivenUp(words.to_owned()));
            }
            Connection::MoveWithin(_) => {}
        }
    }

    fn membership(&mut self, membership: &Membership) {
        let what = match membership.change {
            MembershipChange::Joined if membership.by != membership.subject => {
                "was invited".to_owned()
            }
            MembershipChange::Joined => "is in".to_owned(),
            MembershipChange::Removed => "was put out".to_owned(),
            MembershipChange::Left => "left".to_owned(),
            MembershipChange::Declined => "did not want to come in".to_owned(),
            MembershipChange::Role(role) => format!("is {} now", role_name(role)),
            MembershipChange::Banned => "is banned".to_owned(),
            MembershipChange::Unbanned => "may come in again".to_owned(),
            MembershipChange::DeviceAdded => "has a further device".to_owned(),
            MembershipChange::DeviceRemoved => "has a device less".to_owned(),
        };
        let by = match membership.by == membership.subject {
            true => String::new(),
            false => format!(" (by {})", self.who(&membership.by)),
        };
        let words = format!("{} {what}{by}", membership.subject);
        self.system(&membership.talk, Tone::Dim, &words);
        if self.is_open(&membership.talk) {
            self.overview_again();
        }
        let own = self.me.as_ref().map(|who| &who.username);
        let running = self.running.as_ref().map(|running| running.label.as_str());
        let asked = matches!(running, Some("join" | "room" | "rooms"));
        let joined = membership.change == MembershipChange::Joined;
        if joined && asked && own == Some(&membership.subject) {
            self.entered(membership.talk.clone());
        }
        self.chats_again();
    }
}

/// What somebody's change of the timer means, in words.
fn timer_words(by: &str, seconds: u32) -> String {
    match seconds {
        0 => format!("{by}: messages stay from here on"),
        seconds => format!(
            "{by}: messages from here on disappear {} after they were read",
            lasting(seconds)
        ),
    }
}

/// A length of time for people, in its largest whole unit.
fn lasting(seconds: u32) -> String {
    let units = [
        (604_800, "week"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
    ];
    let unit = units
        .iter()
        .find(|(length, _)| seconds.is_multiple_of(*length));
    let (count, unit) = unit.map_or((seconds, "second"), |(length, unit)| {
        (seconds / length, unit)
    });
    match count {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    }
}

/// What a command means that said nothing.
fn nothing_said(label: &str) -> String {
    let words = match label {
        "rooms" => "no public rooms here; /room new TITLE --public opens one",
        "requests" => "nobody waits for an answer",
        "invites" => "nobody invites you",
        "contacts" => "no contacts yet",
        "chats" => "no conversations yet",
        "users" => "nobody of that name",
        "search" => "nothing found",
        "history" => "nothing was said there",
        _ => return format!("{label}: done"),
    };
    words.to_owned()
}
