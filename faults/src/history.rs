//! What happened, in the order in which it was noticed: what clients were asked to do, what they
//! answered, what each device showed, what was broken.
//!
//! Written down here and in a file as it happens, by the run alone: no word of it comes from the
//! client's own books but what a program at its socket hears. It judges nothing.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use sotto_stack::process::now;

use crate::error::FaultsError;

/// Messages of a conversation that can still be answered, edited and saved.
const RECENT_MAX: usize = 24;

/// A message of the workload: the device that wrote it, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Token {
    /// Index of the device.
    pub(crate) device: usize,
    /// Counted from 0 on each device, in the order of writing.
    pub(crate) number: u64,
}

impl Token {
    /// How a message's text begins; `canary` marks the run.
    pub(crate) fn text(self, canary: &str) -> String {
        format!("t{}.{}.{canary}", self.device, self.number)
    }

    /// The token that a text begins with; nothing for other texts.
    pub(crate) fn of(text: &str, canary: &str) -> Option<Self> {
        let word = text.split(' ').next()?.strip_prefix('t')?;
        let mut parts = word.split('.');
        let device = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        (parts.next()? == canary && parts.next().is_none()).then_some(Self { device, number })
    }
}

/// Something that somebody noticed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum What {
    /// A device is asked to send a message.
    Send {
        /// Which.
        token: Token,
        /// Index of the conversation.
        talk: usize,
        /// The id of the message that it answers.
        parent: Option<String>,
    },
    /// The client says that a server holds it durably.
    Acked {
        /// Which.
        token: Token,
        /// Its id.
        id: String,
        /// Its place in the log.
        seq: u64,
    },
    /// The client says that it holds the message itself and will send it.
    Queued {
        /// Which.
        token: Token,
    },
    /// It is not known what became of it.
    Open {
        /// Which.
        token: Token,
        /// What the client said.
        code: String,
    },
    /// A device showed a message.
    Shown(Shown),
    /// A step of somebody on the way in or out of the group whose members change.
    Member {
        /// Index of the account.
        account: usize,
        /// Which step.
        step: Step,
    },
    /// A device reported something about security.
    Security {
        /// Index of the device.
        device: usize,
        /// Which kind.
        kind: String,
    },
    /// A client began, or was killed.
    Client {
        /// Index of the device.
        device: usize,
        /// How often it began before.
        run: u32,
        /// Which of both.
        life: Life,
    },
    /// A fault struck, was lifted.
    Fault {
        /// Counted from 0.
        number: usize,
        /// Its name.
        name: &'static str,
        /// Whom it struck.
        whom: String,
        /// Which of both.
        stage: Stage,
    },
    /// Something is wrong that is no matter of messages.
    Wrong {
        /// A sentence.
        sentence: String,
    },
}

/// A message on a device's screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Shown {
    /// Index of the device.
    pub(crate) device: usize,
    /// How often its client had begun before.
    pub(crate) run: u32,
    /// The conversation's id.
    pub(crate) conversation: String,
    /// The place in its log.
    pub(crate) seq: u64,
    /// The message's id.
    pub(crate) id: String,
    /// The name of the account that the device says wrote it.
    pub(crate) sender: String,
    /// What it is; nothing where it is none of the workload's.
    pub(crate) token: Option<Token>,
    /// The id of the message that it answers.
    pub(crate) reply_to: Option<String>,
}

/// On the way in or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// An admin is asked to let the person in.
    Inviting,
    /// A server has taken a message of theirs since.
    In,
    /// Somebody is asked to put the person out.
    Leaving,
    /// That is done.
    Out,
}

/// Of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Life {
    /// It serves.
    Began,
    /// SIGKILL.
    Killed,
    /// It was asked to end and did.
    Ended,
}

/// Of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// It begins.
    Strikes,
    /// From here on nothing hinders anybody.
    Lifted,
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Record {
    /// Milliseconds since the run began.
    pub(crate) at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub(crate) what: What,
}

/// The book of a run; many write into it.
#[derive(Debug)]
pub(crate) struct History {
    began: Instant,
    path: PathBuf,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    records: Vec<Record>,
    recent: BTreeMap<String, VecDeque<(Token, String)>>,
    ids: BTreeMap<String, Token>,
    file: BufWriter<File>,
}

impl History {
    /// An empty one, with a file that is replaced.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(crate) fn create(path: &Path) -> Result<Self, FaultsError> {
        let file = File::create(path).map_err(FaultsError::file(path))?;
        Ok(Self {
            began: now(),
            path: path.to_owned(),
            book: Mutex::new(Book {
                records: Vec::new(),
                recent: BTreeMap::new(),
                ids: BTreeMap::new(),
                file: BufWriter::new(file),
            }),
        })
    }

    /// Milliseconds since the run began.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(now().duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes something that happens now.
    pub(crate) fn note(&self, what: What) {
        let mut book = self.book();
        // Under the lock, so that the order of the records is that of their times.
        let at_ms = self.now_ms();
        let mut record = Record { at_ms, what };
        match &mut record.what {
            What::Acked { token, id, .. } => {
                book.ids.insert(id.clone(), *token);
            }
            What::Shown(shown) => book.know(shown),
            _ => {}
        }
        if let Ok(line) = serde_json::to_string(&record) {
            // The file is for people; the verdict reads the memory.
            let _ = writeln!(book.file, "{line}");
        }
        book.records.push(record);
    }

    /// Everything so far.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&[Record]) -> T) -> T {
        let mut book = self.book();
        let _ = book.file.flush();
        read(&book.records)
    }

    /// The last messages that somebody showed of a conversation, with their ids.
    pub(crate) fn recent(&self, conversation: &str) -> Vec<(Token, String)> {
        let book = self.book();
        let recent = book.recent.get(conversation);
        recent.map_or_else(Vec::new, |recent| recent.iter().cloned().collect())
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Keeps what can be referred to, and names what has no text any more by its id.
    fn know(&mut self, shown: &mut Shown) {
        let Some(token) = shown.token else {
            shown.token = self.ids.get(&shown.id).copied();
            return;
        };
        self.ids.insert(shown.id.clone(), token);
        let recent = self.recent.entry(shown.conversation.clone()).or_default();
        if recent.iter().all(|(known, _)| *known != token) {
            recent.push_back((token, shown.id.clone()));
        }
        if recent.len() > RECENT_MAX {
            recent.pop_front();
        }
    }
}

/// Who takes part, by index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cast {
    /// Names of accounts.
    pub(crate) accounts: Vec<String>,
    /// The account of each device.
    pub(crate) devices: Vec<usize>,
    /// Conversations.
    pub(crate) talks: Vec<Talk>,
    /// Marks every text of the run.
    pub(crate) canary: String,
}

/// One conversation.
#[derive(Debug, Clone)]
pub(crate) struct Talk {
    /// Its id, in hexadecimal.
    pub(crate) conversation: String,
    /// Accounts that are in it from the beginning to the end.
    pub(crate) always: Vec<usize>,
    /// Accounts that come and go.
    pub(crate) sometimes: Vec<usize>,
}

impl Cast {
    /// The conversation with this id.
    pub(crate) fn talk(&self, conversation: &str) -> Option<usize> {
        let is_it = |talk: &Talk| talk.conversation == conversation;
        self.talks.iter().position(is_it)
    }

    /// The devices of an account.
    pub(crate) fn devices_of(&self, account: usize) -> impl Iterator<Item = usize> + '_ {
        let own = self.devices.iter().enumerate();
        own.filter(move |(_, of)| **of == account)
            .map(|(device, _)| device)
    }

    /// How a talk is named on the command line by an account in it.
    pub(crate) fn address(&self, talk: usize, from: usize) -> String {
        let talk = &self.talks[talk];
        match talk.always.as_slice() {
            [one, other] if talk.sometimes.is_empty() => {
                let other = if *one == from { other } else { one };
                self.accounts[*other].clone()
            }
            _ => format!("#{}", talk.conversation),
        }
    }

    /// What a device is called in a verdict.
    pub(crate) fn device_name(&self, device: usize) -> String {
        let account = self.devices[device];
        let before = self.devices[..device].iter().filter(|of| **of == account);
        format!("{}/{}", self.accounts[account], before.count() + 1)
    }
}

/// What a device's own store says of a conversation at the end, in its order.
pub(crate) type Kept = Vec<KeptMessage>;

/// Of all devices and conversations, by their indices.
pub(crate) type Stores = BTreeMap<(usize, usize), Kept>;

/// A message as a device keeps it at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptMessage {
    /// The place in the log; 0 where it waits to be sent.
    pub(crate) seq: u64,
    /// The message's id.
    pub(crate) id: String,
    /// Its kind, text, reactions and whether it was edited, as one text to compare.
    pub(crate) content: String,
    /// What it is, where that can still be read.
    pub(crate) token: Option<Token>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_messages_of_this_run_only() {
        let token = Token {
            device: 3,
            number: 17,
        };
        let text = format!("{} and more. words", token.text("ab12"));
        assert_eq!(Token::of(&text, "ab12"), Some(token));
        assert_eq!(Token::of(&text, "ab13"), None);
        for other in ["", "hello", "t3", "t3.17", "t3.17.ab12.1", "tx.1.ab12"] {
            assert_eq!(Token::of(other, "ab12"), None, "{other}");
        }
    }

    #[test]
    fn two_are_named_by_each_other_and_groups_by_their_id() {
        let talk = |always: &[usize], sometimes: &[usize]| Talk {
            conversation: "0f".to_owned(),
            always: always.to_vec(),
            sometimes: sometimes.to_vec(),
        };
        let cast = Cast {
            accounts: ["ann", "ben", "cid"].map(str::to_owned).to_vec(),
            devices: vec![0, 1, 2, 0],
            talks: vec![talk(&[0, 1], &[]), talk(&[0], &[1]), talk(&[0, 1, 2], &[])],
            canary: String::new(),
        };
        assert_eq!(cast.address(0, 0), "ben");
        assert_eq!(cast.address(0, 1), "ann");
        assert_eq!(cast.address(1, 0), "#0f");
        assert_eq!(cast.address(2, 2), "#0f");
        assert_eq!(cast.device_name(3), "ann/2");
        assert_eq!(cast.devices_of(0).collect::<Vec<_>>(), [0, 3]);
    }
}
