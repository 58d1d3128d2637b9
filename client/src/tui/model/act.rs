//! What each action of the keys does.

use super::form::{FirstRun, Form, Purpose, Turned};
use super::overlay::{Doing, Overlay, Question};
use super::piece::Tone;
use super::{Effect, Focus, Model};
use crate::engine::api::Keep;
use crate::tui::ask::{Ask, Enrol};
use crate::tui::keys::Action;

impl Model {
    /// Does what a key stands for.
    pub(super) fn act(&mut self, action: Action) {
        if self.first_run.is_some() || self.locked.is_some() {
            match self.help_in_front() {
                true => self.act_in_help(action),
                false => self.act_in_front(action),
            }
            return;
        }
        match &self.overlay {
            Some(Overlay::Picker(_)) => self.act_in_picker(action),
            Some(Overlay::Sheet(_)) => self.act_in_sheet(action),
            Some(Overlay::Safety(_) | Overlay::Form(_)) => self.act_over_form(action),
            Some(Overlay::Recovery(_)) => self.act_in_recovery(action),
            Some(Overlay::Question(_)) => self.act_in_question(action),
            Some(Overlay::Notice(_)) => self.act_in_notice(action),
            None => self.act_here(action),
        }
    }

    /// Whether the key help lies over a step of the first run.
    pub(super) const fn help_in_front(&self) -> bool {
        let sheet = matches!(self.overlay, Some(Overlay::Sheet(_)));
        sheet && self.first_run.is_some() && self.locked.is_none()
    }

    /// In the key help over a step of the first run: nothing leads elsewhere from there.
    fn act_in_help(&mut self, action: Action) {
        match action {
            Action::Quit => self.leave(),
            Action::Up
            | Action::Down
            | Action::PageUp
            | Action::PageDown
            | Action::Top
            | Action::Bottom
            | Action::Back
            | Action::Confirm
            | Action::Help
            | Action::Suspend
            | Action::Redraw => self.act_in_sheet(action),
            _ => {}
        }
    }

    /// While the screen is locked, or nobody is logged in yet.
    fn act_in_front(&mut self, action: Action) {
        let first = self.first_word();
        let step = self.first_run.as_ref().filter(|_| self.locked.is_none());
        match step.and_then(|step| step.turned(action, first)) {
            Some(Turned::To(step)) => {
                self.first_run = Some(step);
                return;
            }
            Some(Turned::Dropped) => return self.enrol(Enrol::SkipRecovery),
            None => {}
        }
        match action {
            Action::Quit => return self.leave(),
            Action::Suspend => return self.effect(Effect::Suspend),
            Action::Redraw => return self.effect(Effect::Redraw),
            Action::Help if self.locked.is_none() => return self.show_help(),
            _ => {}
        }
        if self.form().is_some() {
            self.act_in_form(action);
            return;
        }
        match (&mut self.first_run, action) {
            (Some(FirstRun::Offer), Action::Yes | Action::Confirm) => {
                self.enrol(Enrol::MakeRecovery);
            }
            (Some(FirstRun::Offer), Action::No | Action::Back) => self.enrol(Enrol::SkipRecovery),
            (Some(FirstRun::Busy(_)), Action::Back) => self.quit(),
            (Some(FirstRun::Waiting(_)), Action::Back) => {
                self.first_run = Some(FirstRun::Busy("one moment…"));
                self.ask(Ask::Enrol(Enrol::Stop));
            }
            _ => {}
        }
    }

    fn enrol(&mut self, answer: Enrol) {
        self.first_run = Some(FirstRun::Busy("one moment…"));
        self.ask(Ask::Enrol(answer));
    }

    pub(super) fn act_in_form(&mut self, action: Action) {
        let Some(form) = self.form() else {
            return;
        };
        match action {
            Action::Up | Action::FocusPrevious | Action::HistoryPrevious => form.step(-1),
            Action::Down | Action::FocusNext | Action::HistoryNext => form.step(1),
            Action::Left => form.switch(-1),
            Action::Right => form.switch(1),
            Action::DeleteBack => form.delete(),
            Action::DeleteWord | Action::DeleteToStart | Action::DeleteToEnd => form.clear(),
            Action::Confirm | Action::Send => {
                if !form.is_at_end() {
                    form.step(1);
                } else if let Some(ask) = form.submit() {
                    self.submitted(ask);
                }
            }
            Action::Back => self.leave_form(),
            _ => {}
        }
    }

    fn submitted(&mut self, ask: Ask) {
        if self.locked.is_some() {
            return self.ask(ask);
        }
        if self.first_run.is_none() {
            return self.submitted_inside(ask);
        }
        let before = self.first_run.replace(FirstRun::Busy("one moment…"));
        if let Some(FirstRun::Form(mut form)) = before {
            self.to_join = form.link.take().or(self.to_join.take());
            self.kept_form = Some(form);
        }
        self.ask(ask);
    }

    /// One step back; from the first one, out.
    fn leave_form(&mut self) {
        if self.locked.is_some() {
            return;
        }
        match self.first_run.take() {
            Some(FirstRun::Check(words, _)) => self.first_run = Some(FirstRun::Words(words)),
            Some(FirstRun::Form(mut form)) => match form.purpose {
                Purpose::Register => {
                    self.left.account = Some(form);
                    let server = self.left.server.take();
                    let server = server.unwrap_or_else(|| Form::server(None));
                    self.first_run = Some(FirstRun::Form(server));
                }
                Purpose::Login | Purpose::Link | Purpose::Recover => {
                    form.turn_into(Purpose::Register);
                    self.first_run = Some(FirstRun::Form(form));
                }
                _ => {
                    self.first_run = Some(FirstRun::Form(form));
                    self.quit();
                }
            },
            other => {
                self.first_run = other;
                self.overlay = match self.overlay.take() {
                    Some(Overlay::Recovery(FirstRun::Check(words, _))) => {
                        Some(Overlay::Recovery(FirstRun::Words(words)))
                    }
                    _ => None,
                };
            }
        }
    }

    fn act_in_sheet(&mut self, action: Action) {
        // One row of the page before stays, as a hold for the eye.
        let page = isize::try_from(self.sheet_rows.saturating_sub(1).max(1)).unwrap_or(1);
        let Some(Overlay::Sheet(sheet)) = &mut self.overlay else {
            return;
        };
        match action {
            Action::Up => sheet.scroll(-1),
            Action::Down => sheet.scroll(1),
            Action::PageUp => sheet.scroll(-page),
            Action::PageDown => sheet.scroll(page),
            Action::Top => sheet.scroll = 0,
            Action::Bottom => sheet.scroll(isize::MAX),
            Action::Back | Action::Confirm | Action::Help => self.close_sheet(),
            Action::Copy => {
                let whole = sheet.whole.clone();
                if let Some(whole) = whole {
                    self.effect(Effect::Copy(whole));
                    self.say(Tone::Good, "copied, where the terminal allows it");
                }
            }
            other => self.act_over_list(other),
        }
    }

    /// What lay below a sheet comes back.
    pub(super) fn close_sheet(&mut self) {
        if let Some(Overlay::Sheet(sheet)) = self.overlay.take() {
            self.overlay = sheet.below.map(|below| *below);
        }
    }

    /// What leads elsewhere does so from a list or a sheet too. Nothing else closes them: what is
    /// typed next would go to whoever is open below.
    pub(super) fn act_over_list(&mut self, action: Action) {
        match action {
            Action::Lock => self.lock(),
            Action::Quit => self.quit(),
            Action::Suspend | Action::Redraw => self.act_here(action),
            Action::Help
            | Action::Palette
            | Action::Commands
            | Action::People
            | Action::Requests
            | Action::Rooms
            | Action::Devices
            | Action::Settings
            | Action::Search
            | Action::SearchHere
            | Action::Verify
            | Action::Members
            | Action::Pins
            | Action::NextUnread
            | Action::NextChat
            | Action::PreviousChat => {
                self.overlay = None;
                self.act_here(action);
            }
            _ => {}
        }
    }

    fn act_in_notice(&mut self, action: Action) {
        match action {
            Action::Lock => self.lock(),
            Action::Quit => self.quit(),
            Action::Back | Action::Confirm => {
                if let Some(Overlay::Notice(notice)) = self.overlay.take() {
                    self.overlay = notice.then.map(|then| *then);
                }
            }
            _ => {}
        }
    }

    fn act_over_form(&mut self, action: Action) {
        match action {
            Action::Lock => self.lock(),
            Action::Quit => self.quit(),
            Action::Help => self.show_help(),
            Action::FocusNext | Action::FocusPrevious => match &mut self.overlay {
                // One field: the keys that lead to others lead to the code.
                Some(Overlay::Safety(safety)) => safety.turn(),
                _ => self.act_in_form(action),
            },
            other => self.act_in_form(other),
        }
    }

    fn act_in_question(&mut self, action: Action) {
        let Some(Overlay::Question(question)) = self.overlay.take() else {
            return;
        };
        match action {
            Action::Yes => match question.doing {
                Doing::Quit => self.leave(),
                Doing::Delete(target) => self.ask(Ask::Delete { target }),
                Doing::AcceptIdentity(name) => self.ask(Ask::Accept {
                    name,
                    keep: Keep::Saved,
                }),
                Doing::Block(name) => self.ask(Ask::Block { name }),
                Doing::Fetch(which) => self.ask(Ask::Fetch { which }),
                Doing::Run(words) => self.ask(Ask::Run { words }),
                Doing::Request(name) => self.accept(name, Keep::Saved),
                Doing::Invitation(group) => self.ask(Ask::Join { group }),
            },
            Action::No => match question.doing {
                Doing::Request(name) => self.ask(Ask::Decline { name }),
                Doing::Invitation(group) => self.ask(Ask::DeclineInvitation { group }),
                _ => {}
            },
            Action::AcceptUnsaved | Action::Block => match (question.doing, action) {
                (Doing::Request(name), Action::Block) => self.ask_to_block(name),
                (Doing::Request(name), _) => self.accept(name, Keep::Unsaved),
                (doing, _) => {
                    let words = question.words;
                    self.overlay = Some(Overlay::Question(Question { words, doing }));
                }
            },
            Action::Back => {}
            Action::Quit => self.leave(),
            Action::Lock => self.lock(),
            _ => self.overlay = Some(Overlay::Question(question)),
        }
    }

    /// In the panes.
    fn act_here(&mut self, action: Action) {
        match action {
            Action::Help => self.show_help(),
            Action::Quit => self.quit(),
            Action::Suspend => self.effect(Effect::Suspend),
            Action::Redraw => self.effect(Effect::Redraw),
            Action::Lock => self.lock(),
            Action::Palette => self.pick_conversation(),
            Action::Commands => self.pick_command(),
            Action::People => self.pick_people(),
            Action::Requests => self.pick_request(),
            Action::Rooms => self.pick_room(),
            Action::Devices => self.pick_device(),
            Action::Settings => self.show_settings(),
            Action::Search => self.search(None),
            Action::SearchHere => {
                let here = self.pane.as_ref().map(|pane| pane.talk.clone());
                self.search(here);
            }
            Action::Verify => self.show_safety(),
            Action::ToggleMembers => self.toggle_members(),
            Action::Members => self.pick_member(),
            Action::Pins => self.pick_pin(),
            Action::NextUnread => self.next_unread(),
            Action::NextChat => self.beside(1),
            Action::PreviousChat => self.beside(-1),
            Action::FocusNext => self.step_focus(1),
            Action::FocusPrevious => self.step_focus(-1),
            Action::FocusChats => self.focus = Focus::Chats,
            Action::FocusMessages => self.enter_messages(),
            Action::FocusComposer => self.enter_composer(),
            Action::Back => self.back(),
            Action::Transfer => self.pause_or_go_on(),
            other => match self.focus {
                Focus::Chats => self.act_in_list(other),
                Focus::Messages => self.act_on_messages(other),
                Focus::Composer if self.blocked_by().is_some() => self.act_blocked(other),
                Focus::Composer => self.act_in_composer(other),
            },
        }
    }

    fn next_unread(&mut self) {
        let here = self.pane.as_ref().map(|pane| &pane.talk);
        match self.list.next_unread(here) {
            Some(talk) => self.open(talk),
            None => self.say(Tone::Dim, "nothing new anywhere else"),
        }
    }

    fn beside(&mut self, step: isize) {
        let here = self.pane.as_ref().map(|pane| &pane.talk);
        if let Some(talk) = self.list.beside(here, step) {
            let focus = self.focus;
            self.open(talk);
            self.focus = focus;
        }
    }

    fn step_focus(&mut self, step: isize) {
        let order = [Focus::Chats, Focus::Messages, Focus::Composer];
        let now = order.iter().position(|focus| *focus == self.focus);
        let count = if self.pane.is_some() { 3 } else { 1 };
        let next = (now.unwrap_or(0) + if step > 0 { 1 } else { count - 1 }) % count;
        match order.get(next) {
            Some(Focus::Messages) => self.enter_messages(),
            Some(Focus::Composer) => self.enter_composer(),
            _ => self.focus = Focus::Chats,
        }
    }

    fn enter_messages(&mut self) {
        if let Some(pane) = &mut self.pane {
            self.focus = Focus::Messages;
            pane.select(0);
        }
    }

    pub(super) fn enter_composer(&mut self) {
        if let Some(pane) = &mut self.pane {
            self.focus = Focus::Composer;
            pane.deselect();
        }
    }

    /// Leaves the innermost thing that is open.
    fn back(&mut self) {
        if !self.alarms.is_empty() {
            self.alarms.pop_front();
            return;
        }
        match (self.focus, &self.about) {
            (Focus::Composer, Some(_)) => self.forget_about(),
            (Focus::Messages, _) => self.enter_composer(),
            (Focus::Composer, None) => {
                if !self.give_back() {
                    self.focus = Focus::Chats;
                }
            }
            (Focus::Chats, _) => {}
        }
    }

    fn act_in_list(&mut self, action: Action) {
        match action {
            Action::Up => self.list.step(-1),
            Action::Down => self.list.step(1),
            Action::PageUp => self.list.step(-10),
            Action::PageDown => self.list.step(10),
            Action::Top => self.list.step(isize::MIN),
            Action::Bottom => self.list.step(isize::MAX),
            Action::Confirm | Action::Right => self.enter_marked(),
            Action::Accept => match self.list.marked_asks() {
                true => self.answer_marked(Action::Accept),
                false => self.act_blocked(Action::Accept),
            },
            Action::Decline => self.answer_marked(Action::Decline),
            Action::Block => self.answer_marked(Action::Block),
            _ => {}
        }
    }

    fn act_on_messages(&mut self, action: Action) {
        let Some(pane) = &mut self.pane else {
            return;
        };
        let page = isize::try_from(pane.height().saturating_sub(1).max(1)).unwrap_or(1);
        match action {
            Action::Up => pane.select(-1),
            Action::Down => pane.select(1),
            Action::PageUp => pane.scroll(-page),
            Action::PageDown => pane.scroll(page),
            Action::Top => pane.go_to_start(),
            Action::Bottom => {
                let ask = pane.go_to_end();
                self.asks.extend(ask);
            }
            Action::Accept => self.act_blocked(action),
            other => self.act_on_message(other),
        }
    }

    /// A changed identity keeps anything from being sent until it is answered, and by no key that
    /// somebody may press who only goes on writing.
    fn act_blocked(&mut self, action: Action) {
        let Some(name) = self.blocked_by().cloned() else {
            return;
        };
        match action {
            Action::Accept => {
                let words = vec![
                    format!("Accept {name}'s new identity without comparing the safety number?"),
                    "Whoever has it reads everything that you send from now on.".to_owned(),
                ];
                self.overlay = Some(Overlay::Question(Question {
                    words,
                    doing: Doing::AcceptIdentity(name),
                }));
            }
            Action::Block => self.ask_to_block(name),
            Action::Confirm | Action::Send => self.show_safety(),
            Action::PageUp | Action::PageDown => self.act_on_messages(action),
            _ => {}
        }
    }

    pub(super) fn ask_to_block(&mut self, name: sotto_protocol::Username) {
        let words = vec![
            format!("Block {name}? You hear nothing more from them; they are not told."),
            "What waits to be sent to them is not sent.".to_owned(),
        ];
        self.overlay = Some(Overlay::Question(Question {
            words,
            doing: Doing::Block(name),
        }));
    }

    /// Asks before it leaves something unfinished; the same key again leaves.
    pub(super) fn quit(&mut self) {
        let words = match &self.running {
            _ if self.first_run.is_some() => return self.leave(),
            Some(running) => [
                format!("{} is not done. Leave anyway?", running.label),
                "A file goes on where it stands when it is sent or saved again.".to_owned(),
            ],
            None if self.composer.is_empty() => return self.leave(),
            None => [
                "What you wrote is not sent. Leave anyway?".to_owned(),
                "It is kept, and stands here again the next time.".to_owned(),
            ],
        };
        self.overlay = Some(Overlay::Question(Question {
            words: words.to_vec(),
            doing: Doing::Quit,
        }));
    }

    fn leave(&mut self) {
        self.keep_draft();
        self.ask(Ask::Quit);
        self.effect(Effect::Quit);
    }
}
