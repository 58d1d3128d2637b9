//! What the engine says, on its way to the drawing side: events as they are, answers to what was
//! asked as what they answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sotto_protocol::{ClientMessageId, ConversationId, Username};

use super::Mouth;
use crate::desk::Observer;
use crate::engine::api::{CommandId, Event};
use crate::exit::Failure;
use crate::talk::Talk;
use crate::tui::ask::News;

/// Commands whose answers are waited for.
const WAITING_MAX: usize = 1_024;

/// What an answer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Awaited {
    /// Nobody needs to know that it is done.
    Nothing,
    /// Neither that, nor that it failed.
    Silence,
    /// A sentence when it is done.
    Sentence(String),
    /// A text that goes back where it was written when it is not taken.
    Text(ClientMessageId),
    /// A group that is entered, with a sentence when it is done.
    Entry(ConversationId, String),
    /// Somebody who is accepted.
    Accepted(Username),
    /// A list that comes.
    List,
    /// Another password.
    Password,
    /// Somebody's identity, for the safety number.
    Identity(Username),
}

/// What was asked of the engine and not answered yet, and the way to the drawing side.
#[derive(Clone)]
pub(super) struct Ears {
    waiting: Arc<Mutex<Heard>>,
    mouth: Mouth,
}

#[derive(Default)]
struct Heard {
    waiting: BTreeMap<CommandId, Awaited>,
    /// People whose identity came: the number is asked of the store then.
    identities: Vec<Username>,
}

impl Ears {
    pub(super) fn new(mouth: Mouth) -> Self {
        Self {
            waiting: Arc::default(),
            mouth,
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command was given.
    pub(super) fn await_answer(&self, id: CommandId, awaited: Awaited) {
        let mut heard = self.heard();
        if heard.waiting.len() >= WAITING_MAX {
            // The oldest is the least likely to be answered still.
            heard.waiting.pop_first();
        }
        heard.waiting.insert(id, awaited);
    }

    /// Whose identity came since the last time.
    pub(super) fn identities(&self) -> Vec<Username> {
        std::mem::take(&mut self.heard().identities)
    }

    /// Hears every event of the engine, whoever has it.
    pub(super) fn observer(&self) -> Observer {
        let ears = self.clone();
        Box::new(move |event| ears.hear(event))
    }

    fn hear(&self, event: &Event) {
        match event {
            Event::Done { command } => self.answered(*command, Ok(())),
            Event::Failed {
                command: Some(command),
                failure,
            } => self.answered(*command, Err(failure.clone().into())),
            Event::Failed {
                command: None,
                failure,
            } => self.mouth.say(News::Failed(failure.clone().into())),
            Event::Users { command, users } => {
                self.listed(*command, || News::People(users.clone()));
            }
            Event::Rooms { command, rooms } => {
                self.listed(*command, || News::Rooms(rooms.clone()));
            }
            Event::Devices { command, devices } => {
                self.listed(*command, || News::Devices(devices.clone()));
            }
            Event::LinkOffered { .. } => {}
            other => self.mouth.say(News::Event(Box::new(other.clone()))),
        }
    }

    fn listed(&self, id: CommandId, news: impl FnOnce() -> News) {
        if self.heard().waiting.remove(&id).is_some() {
            self.mouth.say(news());
        }
    }

    fn answered(&self, id: CommandId, outcome: Result<(), Failure>) {
        // What was not asked here is a command's own.
        let Some(awaited) = self.heard().waiting.remove(&id) else {
            return;
        };
        match (awaited, outcome) {
            (Awaited::Silence, _)
            | (Awaited::Nothing | Awaited::Text(_) | Awaited::List, Ok(())) => {}
            (Awaited::Sentence(sentence), Ok(())) => self.mouth.say(News::Done(sentence)),
            (Awaited::Entry(group, sentence), Ok(())) => {
                self.mouth.say(News::Done(sentence));
                self.mouth.say(News::Entered(Talk::Group(group)));
            }
            (Awaited::Accepted(name), Ok(())) => {
                self.mouth.say(News::Done(format!("accepted {name}")));
                self.mouth.say(News::Answered(name));
            }
            (Awaited::Password, Ok(())) => {
                self.mouth
                    .say(News::Done("the password is changed".to_owned()));
            }
            (Awaited::Password, Err(failure)) if failure.code == "wrong_credentials" => {
                let words = "the present password is wrong; try again with /passwd";
                self.mouth
                    .say(News::Failed(Failure::named("wrong_password", words)));
            }
            (Awaited::Identity(name), _) => self.heard().identities.push(name),
            (Awaited::Text(client_id), Err(failure)) => {
                self.mouth.say(News::NotSent { client_id, failure });
            }
            (_, Err(failure)) => self.mouth.say(News::Failed(failure)),
        }
    }
}
