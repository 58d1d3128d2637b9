//! The own account on the screen: letting a further device in, a recovery key, another password.
//! What the command line asks for line by line is a form here.
//!
//! It decides nothing about keys and codes; the worker does what is asked.

use super::Model;
use super::form::{FirstRun, Form, Turned};
use super::overlay::{Asking, Overlay};
use super::piece::{Row, Tone, padded};
use crate::tui::ask::{Ask, Enrol, Offer, Stage};
use crate::tui::keys::Action;
use crate::tui::text::{self, Layout};

/// Cells of a row of words above a form.
const ROW_CELLS: usize = 72;

impl Model {
    /// Opens the form of a command that asks for something; `false` for every other command.
    pub(super) fn opens_form(&mut self, words: &[String]) -> bool {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["devices", "link"] => {
                let rows = told(
                    "On the new device: start Sotto, and choose to link it there. It shows a code.",
                );
                self.ask_in("Add a device", (rows, Form::code()));
            }
            ["recovery", "new"] => {
                self.overlay = Some(Overlay::Recovery(FirstRun::Busy("making a key…")));
                self.ask(Ask::Enrol(Enrol::MakeRecovery));
            }
            ["passwd"] => self.ask_in("Another password", (Vec::new(), Form::passwd())),
            _ => return false,
        }
        true
    }

    fn ask_in(&mut self, title: &'static str, (rows, form): (Vec<Row>, Form)) {
        self.overlay = Some(Overlay::Form(Box::new(Asking { title, rows, form })));
    }

    /// Runs a command line, or opens its form.
    pub(super) fn run(&mut self, words: &[&str]) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        if !self.opens_form(&words) {
            self.ask(Ask::Run { words });
        }
    }

    /// Who shows the code is known: the person looks, and agrees or not.
    pub(super) fn offered(&mut self, offer: &Offer) {
        let me = self.me.as_ref().map(|who| who.username.to_string());
        let me = me.unwrap_or_default();
        let line = |label: &str, value: &str| {
            Row::of(Tone::Dim, padded(label, 14)).with(Tone::Title, value)
        };
        let mut rows = vec![
            line("account", offer.account.as_str()),
            line("calls itself", &offer.name),
            line("fingerprint", &offer.fingerprint),
            Row::default(),
        ];
        rows.extend(told(&format!(
            "Its own screen must show this fingerprint. It will read everything that {me} reads, \
             and write as {me}."
        )));
        rows.extend(warned(
            "If somebody asked you to type this code, stop: nobody else ever needs it.",
        ));
        self.ask_in("Let this device in?", (rows, Form::agree()));
    }

    /// A step of a recovery key while there are conversations already.
    pub(super) fn staged_inside(&mut self, stage: Stage) {
        // Whoever closed it meanwhile does not want it any more.
        if matches!(self.overlay, Some(Overlay::Recovery(_))) {
            self.overlay = FirstRun::of(stage).map(Overlay::Recovery);
        }
    }

    pub(super) fn act_in_recovery(&mut self, action: Action) {
        let first = self.first_word();
        let Some(Overlay::Recovery(step)) = &self.overlay else {
            return;
        };
        match (step, action) {
            (_, Action::Lock) => return self.lock(),
            // What is on its way finds its place.
            (FirstRun::Busy(_), Action::Help) => return,
            (_, Action::Help) => return self.show_help(),
            _ => {}
        }
        match (step.turned(action, first), step, action) {
            (Some(Turned::To(step)), ..) => self.overlay = Some(Overlay::Recovery(step)),
            (None, _, Action::Quit) => self.quit(),
            (None, FirstRun::Check(..), other) => self.act_in_form(other),
            (Some(Turned::Dropped), ..) | (None, _, Action::No | Action::Back) => {
                self.overlay = None;
                self.ask(Ask::Enrol(Enrol::SkipRecovery));
                self.say(Tone::Dim, "no new recovery key; nothing was changed");
            }
            _ => {}
        }
    }

    /// The first of the words that are typed again.
    pub(super) fn first_word(&self) -> usize {
        usize::try_from(self.now.unix_ms % 12).unwrap_or(0)
    }

    /// What was filled in over the conversation is on its way.
    pub(super) fn submitted_inside(&mut self, ask: Ask) {
        match (&ask, &mut self.overlay) {
            (Ask::LookAtCode { .. }, Some(Overlay::Form(asking))) => {
                asking.form.remark = Some((Tone::Dim, "looking who shows it…".to_owned()));
            }
            (Ask::LetIn | Ask::Passwd { .. }, _) | (Ask::Enrol(Enrol::KeepRecovery), _) => {
                self.overlay = None;
                self.say(Tone::Dim, "one moment…");
            }
            _ => {}
        }
        self.ask(ask);
    }

    /// Something that was asked did not work: whoever waits for it over the conversation is told.
    pub(super) fn failed_inside(&mut self, sentence: &str) {
        match &mut self.overlay {
            Some(Overlay::Picker(picker)) => picker.waiting = false,
            Some(Overlay::Form(asking)) => {
                asking.form.remark = Some((Tone::Warning, sentence.to_owned()));
            }
            Some(Overlay::Recovery(_)) => self.overlay = None,
            _ => {}
        }
    }
}

fn told(words: &str) -> Vec<Row> {
    wrapped(words, Tone::Text)
}

fn warned(words: &str) -> Vec<Row> {
    wrapped(words, Tone::Warning)
}

fn wrapped(words: &str, tone: Tone) -> Vec<Row> {
    let layout = Layout {
        width: ROW_CELLS,
        ..Layout::default()
    };
    let rows = text::wrap(words, layout).into_iter();
    rows.map(|row| Row::of(tone, row.text())).collect()
}

#[cfg(test)]
#[path = "newcomer_tests.rs"]
mod tests;
