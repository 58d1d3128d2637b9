//! Fields to be filled in: the first run, a password, a safety number. What is typed into a
//! secret field is wiped when it goes, and never shown.

use sotto_protocol::Username;
use zeroize::Zeroizing;

use super::piece::Tone;
use crate::exit::Failure;
use crate::invite_link::{self, InviteLink};
use crate::password_prompt::PASSWORD_CHARS_MIN;
use crate::tui::ask::{Ask, Enrol, Stage};
use crate::tui::keys::{Action, Mode};

/// The most bytes of a field: no field ever grows, so that no copy of a secret is left behind.
const FIELD_BYTES_MAX: usize = 1_024;
const TOO_SHORT: &str = "a password has at least 8 characters; choose a longer one";
/// Digits of a safety number.
const SAFETY_DIGITS: usize = 60;
/// Words of a recovery key that are typed again.
const CHECKED: usize = 3;

/// Whether a field's text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    Shown,
    Dots,
}

/// A field.
pub(crate) struct Field {
    pub(crate) label: String,
    pub(crate) text: Zeroizing<String>,
    pub(crate) secrecy: Secrecy,
}

impl Field {
    fn new(label: impl Into<String>, secrecy: Secrecy) -> Self {
        Self {
            label: label.into(),
            text: Zeroizing::new(String::with_capacity(FIELD_BYTES_MAX)),
            secrecy,
        }
    }

    /// What is drawn.
    pub(crate) fn shown(&self) -> String {
        match self.secrecy {
            Secrecy::Shown => self.text.to_string(),
            Secrecy::Dots => "•".repeat(self.text.chars().count()),
        }
    }
}

/// What a form is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Server,
    Register,
    Login,
    /// A further device of an account, with another one at hand.
    Link,
    /// An account whose devices are lost.
    Recover,
    Unlock,
    /// The screen is locked.
    Locked,
    Check,
    /// The sixty digits that somebody read out.
    Digits,
    /// The code that a further device shows.
    Code,
    /// Whether that device comes in.
    Agree,
    /// Another password.
    Passwd,
}

/// The ways into an account, in the order in which one goes from one to the next.
const WAYS_IN: [Purpose; 4] = [
    Purpose::Register,
    Purpose::Login,
    Purpose::Link,
    Purpose::Recover,
];

/// Fields, and which of them has the keys.
pub(crate) struct Form {
    pub(crate) purpose: Purpose,
    pub(crate) fields: Vec<Field>,
    pub(crate) at: usize,
    /// What went wrong, or what to know.
    pub(crate) remark: Option<(Tone, String)>,
    /// Places of the recovery words that are asked for, and the words.
    words: Vec<(usize, Zeroizing<String>)>,
    name: Option<Username>,
    /// A link into a group that was given on the way.
    pub(super) link: Option<Zeroizing<String>>,
}

/// What was typed on steps of the first run that one left, for when one comes back to them.
#[derive(Default)]
pub(crate) struct Left {
    pub(super) server: Option<Form>,
    pub(super) account: Option<Form>,
}

impl Form {
    fn of(purpose: Purpose, fields: Vec<Field>, failure: Option<Failure>) -> Self {
        Self {
            purpose,
            fields,
            at: 0,
            remark: failure.map(|failure| (Tone::Warning, failure.message)),
            words: Vec::new(),
            name: None,
            link: None,
        }
    }

    /// Where the deployment is.
    pub(crate) fn server(failure: Option<Failure>) -> Self {
        let fields = vec![
            Field::new("Address (HOST:PORT) or invite link", Secrecy::Shown),
            Field::new(
                "Certificate authority (a file; empty for the system's)",
                Secrecy::Shown,
            ),
        ];
        Self::of(Purpose::Server, fields, failure)
    }

    /// A new account.
    pub(crate) fn register(failure: Option<Failure>) -> Self {
        let fields = vec![
            Field::new("Name (a-z 0-9 _ . -)", Secrecy::Shown),
            Field::new("Password (8 characters or more)", Secrecy::Dots),
            Field::new("The password once more", Secrecy::Dots),
            Field::new("Invite code (if you were given one)", Secrecy::Shown),
        ];
        Self::of(Purpose::Register, fields, failure)
    }

    /// An account that exists.
    pub(crate) fn login(failure: Option<Failure>) -> Self {
        let fields = vec![
            Field::new("Name", Secrecy::Shown),
            Field::new("Password", Secrecy::Dots),
        ];
        Self::of(Purpose::Login, fields, failure)
    }

    /// A further device of an account.
    pub(crate) fn link(failure: Option<Failure>) -> Self {
        let fields = vec![
            Field::new("Name", Secrecy::Shown),
            Field::new(
                "Password for this device (the account's will do)",
                Secrecy::Dots,
            ),
            Field::new(
                "What to call this device (empty: the machine's name)",
                Secrecy::Shown,
            ),
        ];
        Self::of(Purpose::Link, fields, failure)
    }

    /// An account whose devices are lost.
    pub(crate) fn recover(failure: Option<Failure>) -> Self {
        let fields = vec![
            Field::new("Name", Secrecy::Shown),
            Field::new("Password", Secrecy::Dots),
            Field::new("The twelve words, in their order", Secrecy::Shown),
        ];
        Self::of(Purpose::Recover, fields, failure)
    }

    /// The code that a further device shows.
    pub(crate) fn code() -> Self {
        let fields = vec![Field::new(
            "The code that the new device shows",
            Secrecy::Shown,
        )];
        Self::of(Purpose::Code, fields, None)
    }

    /// Whether that device comes in.
    pub(crate) fn agree() -> Self {
        let fields = vec![Field::new("Type yes to let it in", Secrecy::Shown)];
        Self::of(Purpose::Agree, fields, None)
    }

    /// Another password.
    pub(crate) fn passwd() -> Self {
        let fields = vec![
            Field::new("The present password", Secrecy::Dots),
            Field::new("The new one (8 characters or more)", Secrecy::Dots),
            Field::new("The new one once more", Secrecy::Dots),
        ];
        Self::of(Purpose::Passwd, fields, None)
    }

    /// The password of a profile.
    pub(crate) fn password(purpose: Purpose, failure: Option<Failure>) -> Self {
        let fields = vec![Field::new("Password", Secrecy::Dots)];
        Self::of(purpose, fields, failure)
    }

    /// The digits that somebody read out.
    pub(crate) fn digits(name: Username) -> Self {
        let label = format!("The digits on {name}'s screen");
        let mut form = Self::of(
            Purpose::Digits,
            vec![Field::new(label, Secrecy::Shown)],
            None,
        );
        form.name = Some(name);
        form
    }

    /// Three of the recovery words again; `first` chooses which.
    pub(crate) fn check(words: &str, first: usize) -> Self {
        let all: Vec<&str> = words.split(' ').collect();
        let count = all.len().max(1);
        let asked: Vec<usize> = (0..CHECKED)
            .map(|step| (first + step * 5) % count)
            .collect();
        let fields = asked
            .iter()
            .map(|place| Field::new(format!("Word {}", place + 1), Secrecy::Shown))
            .collect();
        let mut form = Self::of(Purpose::Check, fields, None);
        form.words = asked
            .into_iter()
            .filter_map(|place| Some((place, Zeroizing::new((*all.get(place)?).to_owned()))))
            .collect();
        form
    }

    /// Types into the field.
    pub(crate) fn type_char(&mut self, typed: char) {
        self.paste(typed.encode_utf8(&mut [0; 4]));
    }

    /// Puts a text into the field; of several lines the first.
    pub(crate) fn paste(&mut self, text: &str) {
        let line = text.lines().next().unwrap_or_default();
        if let Some(field) = self.fields.get_mut(self.at) {
            for character in line.chars().filter(|character| !character.is_control()) {
                if field.text.len() + character.len_utf8() <= FIELD_BYTES_MAX {
                    field.text.push(character);
                }
            }
        }
    }

    /// Deletes the last character.
    pub(crate) fn delete(&mut self) {
        if let Some(field) = self.fields.get_mut(self.at) {
            field.text.pop();
        }
    }

    /// Empties the field.
    pub(crate) fn clear(&mut self) {
        if let Some(field) = self.fields.get_mut(self.at) {
            field.text.clear();
        }
    }

    /// Goes to another field, round and round.
    pub(crate) fn step(&mut self, step: isize) {
        let count = self.fields.len().max(1);
        self.at = match step {
            1.. => (self.at + 1) % count,
            _ => (self.at + count - 1) % count,
        };
    }

    /// Whether there are other ways to what it is for.
    pub(crate) fn is_way_in(&self) -> bool {
        WAYS_IN.contains(&self.purpose)
    }

    /// Another way into an account; the name and the password stay.
    pub(crate) fn switch(&mut self, step: isize) {
        let Some(place) = WAYS_IN.iter().position(|way| *way == self.purpose) else {
            return;
        };
        let count = WAYS_IN.len();
        let place = (place + if step > 0 { 1 } else { count - 1 }) % count;
        if let Some(way) = WAYS_IN.get(place) {
            self.turn_into(*way);
        }
    }

    /// Asks for something else of the same person.
    pub(crate) fn turn_into(&mut self, purpose: Purpose) {
        let mut other = match purpose {
            Purpose::Register => Self::register(None),
            Purpose::Login => Self::login(None),
            Purpose::Link => Self::link(None),
            Purpose::Recover => Self::recover(None),
            _ => return,
        };
        // Name and password come first in all of them.
        for (old, new) in self.fields.iter_mut().zip(&mut other.fields).take(2) {
            std::mem::swap(&mut old.text, &mut new.text);
        }
        other.link = self.link.take();
        *self = other;
    }

    /// Goes to the first field that nobody filled in yet.
    pub(crate) fn go_on(&mut self) {
        let empty = |field: &Field| field.text.is_empty();
        self.at = self.fields.iter().position(empty).unwrap_or(0);
    }

    /// The last field has the keys.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at + 1 >= self.fields.len()
    }

    fn text(&self, place: usize) -> String {
        let field = self.fields.get(place);
        field.map_or_else(String::new, |field| field.text.trim().to_owned())
    }

    fn secret(&self, place: usize) -> Zeroizing<String> {
        let field = self.fields.get(place);
        field.map_or_else(Zeroizing::default, |field| field.text.clone())
    }

    fn object(&mut self, place: usize, sentence: &str) -> Option<Ask> {
        self.at = place;
        self.remark = Some((Tone::Warning, sentence.to_owned()));
        None
    }

    /// What the answers ask for; what is wrong with them is said otherwise.
    pub(crate) fn submit(&mut self) -> Option<Ask> {
        self.remark = None;
        match self.purpose {
            Purpose::Server => self.submit_server(),
            Purpose::Register => self.submit_registration(),
            Purpose::Login | Purpose::Link | Purpose::Recover => self.submit_entry(),
            Purpose::Unlock => {
                let password = self.secret(0);
                Some(Ask::Enrol(Enrol::Unlock { password }))
            }
            Purpose::Locked => {
                let password = self.secret(0);
                self.clear();
                Some(Ask::Enrol(Enrol::Check { password }))
            }
            Purpose::Check => {
                let typed = |place: usize| self.text(place).to_ascii_lowercase();
                let wrong = self
                    .words
                    .iter()
                    .enumerate()
                    .find(|(place, (_, word))| typed(*place) != **word);
                match wrong.map(|(place, _)| place) {
                    Some(place) => self.object(place, "that is another word; look again"),
                    None => Some(Ask::Enrol(Enrol::KeepRecovery)),
                }
            }
            Purpose::Digits => {
                let digits = self.text(0);
                let count = digits.chars().filter(char::is_ascii_digit).count();
                if count != SAFETY_DIGITS {
                    // Not all of them say nothing about anybody.
                    let words = format!("the number has {SAFETY_DIGITS} digits, these are {count}");
                    return self.object(0, &words);
                }
                let name = self.name.clone()?;
                Some(Ask::Verify { name, digits })
            }
            Purpose::Code => {
                let code = self.secret(0);
                if code.trim().is_empty() {
                    return self.object(0, "type the letters and digits that the new device shows");
                }
                Some(Ask::LookAtCode { code })
            }
            Purpose::Agree => match self.text(0).as_str() {
                "yes" => Some(Ask::LetIn),
                _ => self.object(0, "only the word yes lets it in; Esc leaves it out"),
            },
            Purpose::Passwd => self.submit_password(),
        }
    }

    /// Where the deployment is; a link into a group is kept until one is in.
    fn submit_server(&mut self) -> Option<Ask> {
        let typed = self.text(0);
        if typed.is_empty() {
            return self.object(0, "an address is needed, for example chat.example.org:7443");
        }
        let ca = Some(self.text(1)).filter(|path| !path.is_empty());
        if !typed.to_ascii_lowercase().starts_with(invite_link::SCHEME) {
            let server = typed;
            return Some(Ask::Enrol(Enrol::Connect { server, ca }));
        }
        if InviteLink::parse(&typed).is_none() {
            let words = "that is no whole invite link; copy all of it, from sotto:join/ to its end";
            return self.object(0, words);
        }
        let server = invite_link::server_of(&typed).map(str::to_owned);
        self.link = Some(Zeroizing::new(typed));
        self.at = 0;
        self.clear();
        let Some(server) = server else {
            let words = "the link is kept, and followed when you are in; it does not say where the deployment is: whoever gave it to you knows the address";
            self.remark = Some((Tone::Good, words.to_owned()));
            return None;
        };
        self.paste(&server);
        Some(Ask::Enrol(Enrol::Connect { server, ca }))
    }

    /// Into an account that exists.
    fn submit_entry(&mut self) -> Option<Ask> {
        let Ok(name) = Username::parse(&self.text(0)) else {
            return self.object(0, "a name has 3 to 32 of a-z 0-9 _ . -");
        };
        let password = self.secret(1);
        Some(Ask::Enrol(match self.purpose {
            Purpose::Link => {
                if password.chars().count() < PASSWORD_CHARS_MIN {
                    return self.object(1, TOO_SHORT);
                }
                let device_name = Some(self.text(2)).filter(|name| !name.is_empty());
                Enrol::Link {
                    name,
                    password,
                    device_name,
                }
            }
            Purpose::Recover => Enrol::Recover {
                name,
                password,
                words: self.secret(2),
            },
            _ => Enrol::Login { name, password },
        }))
    }

    fn submit_password(&mut self) -> Option<Ask> {
        let (current, new) = (self.secret(0), self.secret(1));
        if new.chars().count() < PASSWORD_CHARS_MIN {
            return self.object(1, TOO_SHORT);
        }
        if *new != *self.secret(2) {
            return self.object(2, "the two new passwords differ");
        }
        Some(Ask::Passwd { current, new })
    }

    fn submit_registration(&mut self) -> Option<Ask> {
        let Ok(name) = Username::parse(&self.text(0)) else {
            return self.object(0, "a name has 3 to 32 of a-z 0-9 _ . -");
        };
        let password = self.secret(1);
        if password.chars().count() < PASSWORD_CHARS_MIN {
            return self.object(1, TOO_SHORT);
        }
        if *password != *self.secret(2) {
            return self.object(2, "the two passwords differ");
        }
        let invite = self.text(3);
        if invite.starts_with(invite_link::PREFIX) && InviteLink::parse(&invite).is_none() {
            let words = "that is no whole invite link; copy all of it, to its end";
            return self.object(3, words);
        }
        // A link leads into a group, and is followed later; a code lets one have an account.
        let link = InviteLink::parse(&invite).is_some();
        self.link = link
            .then(|| Zeroizing::new(invite.clone()))
            .or(self.link.take());
        let invite = Some(invite).filter(|code| !code.is_empty() && !link);
        Some(Ask::Enrol(Enrol::Register {
            name,
            password,
            invite,
        }))
    }
}

/// What the screen shows while there is no conversation yet.
pub(crate) enum FirstRun {
    /// Fields to fill in.
    Form(Form),
    /// It takes a moment.
    Busy(&'static str),
    /// It takes as long as somebody elsewhere needs: what to do there.
    Waiting(Vec<String>),
    /// Whether to make a recovery key.
    Offer,
    /// The words of a recovery key.
    Words(Zeroizing<String>),
    /// Whether they are really not wanted: they are shown once.
    Drop(Zeroizing<String>),
    /// The words are typed again; Back shows them once more.
    Check(Zeroizing<String>, Form),
}

/// What became of the words of a recovery key.
pub(crate) enum Turned {
    /// Another step of it.
    To(FirstRun),
    /// They go.
    Dropped,
}

impl FirstRun {
    /// What to show for a stage; `None` when all is there.
    pub(crate) fn of(stage: Stage) -> Option<Self> {
        Some(match stage {
            Stage::Server { failure } => Self::Form(Form::server(failure)),
            Stage::Account { failure } => Self::Form(Form::register(failure)),
            Stage::Login { failure } => Self::Form(Form::login(failure)),
            Stage::Password { name, failure } => {
                let mut form = Form::password(Purpose::Unlock, failure);
                if let Some(field) = form.fields.first_mut() {
                    field.label = format!("Password of {name}");
                }
                Self::Form(form)
            }
            Stage::Link { failure } => Self::Form(Form::link(failure)),
            Stage::Recover { failure } => Self::Form(Form::recover(failure)),
            Stage::Busy(words) => Self::Busy(words),
            Stage::Waiting(lines) => Self::Waiting(lines),
            Stage::Offer => Self::Offer,
            Stage::Words(words) => Self::Words(words),
            Stage::Ready => return None,
        })
    }

    /// What a key does to the words of a recovery key: nothing but a second one drops them.
    /// `None` where it is not about them.
    pub(crate) fn turned(&self, action: Action, first: usize) -> Option<Turned> {
        let words = |words: &Zeroizing<String>| words.clone();
        Some(match (self, action) {
            (Self::Words(all), Action::Yes | Action::Confirm) => {
                Turned::To(Self::Check(words(all), Form::check(all, first)))
            }
            (Self::Words(all), Action::No | Action::Back | Action::Quit)
            | (Self::Check(all, _), Action::Quit) => Turned::To(Self::Drop(words(all))),
            (Self::Drop(all), Action::No | Action::Back) => Turned::To(Self::Words(words(all))),
            (Self::Drop(_), Action::Yes) => Turned::Dropped,
            _ => return None,
        })
    }

    /// What the keys are for.
    pub(crate) const fn mode(&self) -> Mode {
        match self {
            Self::Form(_) | Self::Check(..) => Mode::Form,
            Self::Offer | Self::Words(_) | Self::Drop(_) => Mode::Ask,
            Self::Busy(_) | Self::Waiting(_) => Mode::Browse,
        }
    }

    /// The form that has the keys.
    pub(crate) fn form(&mut self) -> Option<&mut Form> {
        match self {
            Self::Form(form) | Self::Check(_, form) => Some(form),
            Self::Busy(_) | Self::Waiting(_) | Self::Offer | Self::Words(_) | Self::Drop(_) => None,
        }
    }
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
