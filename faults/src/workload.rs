//! What people do while things break: they write, answer, edit, react, send files, save them, and
//! some come into a group and go again. All by chance from one seed.
//!
//! Each device is a loop of its own that asks its client for one command at a time. What is asked
//! and what is answered is noted; nothing is judged here.

mod guests;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use sotto_stack::process;

use crate::device::Device;
use crate::dice::Dice;
use crate::error::FaultsError;
use crate::history::{Cast, History, Token, What};
use crate::rpc::{Answer, Rpc};
use guests::Guest;

/// How long a `send` waits for a server before the message is only queued.
const SEND_LIMIT: &str = "8s";
/// Pauses between two commands of a device, in milliseconds.
const THINK_MS: (u64, u64) = (60, 500);
/// Sizes of files, in bytes.
const FILE_BYTES: (u64, u64) = (2_000, 90_000);
/// Emoji that people react with.
const EMOJI: [&str; 4] = ["👍", "🎉", "❤️", "😮"];

/// What all devices share.
pub(crate) struct Scene {
    pub(crate) cast: Arc<Cast>,
    pub(crate) history: Arc<History>,
    pub(crate) devices: Vec<Arc<Device>>,
    pub(crate) seed: u64,
    numbers: Vec<AtomicU64>,
    guests: Mutex<Vec<Guest>>,
    files: Mutex<Files>,
    resting: AtomicBool,
}

/// Which messages were given a file, and which of all may have been taken back since.
#[derive(Debug, Default)]
struct Files {
    sent: BTreeSet<Token>,
    taken_back: BTreeSet<Token>,
}

impl Scene {
    pub(crate) fn new(
        cast: Arc<Cast>,
        history: Arc<History>,
        devices: Vec<Arc<Device>>,
        seed: u64,
    ) -> Self {
        Self {
            numbers: devices.iter().map(|_| AtomicU64::new(0)).collect(),
            guests: Mutex::new(vec![Guest::default(); cast.accounts.len()]),
            files: Mutex::default(),
            resting: AtomicBool::new(false),
            cast,
            history,
            devices,
            seed,
        }
    }

    /// Lets everybody finish what they are at.
    pub(crate) fn rest(&self) {
        self.resting.store(true, Ordering::Relaxed);
    }

    fn is_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }

    fn guests(&self) -> MutexGuard<'_, Vec<Guest>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a message has a file, as whoever wrote it knows.
    pub(crate) fn has_file(&self, token: Token) -> bool {
        let files = self.files();
        files.sent.contains(&token) && !files.taken_back.contains(&token)
    }

    /// The next message of a device.
    fn token(&self, device: usize) -> Token {
        let number = self.numbers[device].fetch_add(1, Ordering::Relaxed);
        Token { device, number }
    }

    /// Conversations that an account is in, as far as is known here.
    fn talks_of(&self, account: usize) -> Vec<usize> {
        let guests = self.guests();
        let talks = self.cast.talks.iter().enumerate();
        let is_in = |talk: &crate::history::Talk| {
            talk.always.contains(&account)
                || (talk.sometimes.contains(&account) && guests[account].is_inside())
        };
        talks
            .filter(|(_, talk)| is_in(talk))
            .map(|(index, _)| index)
            .collect()
    }

    /// What a file of the workload holds.
    pub(crate) fn content(&self, token: Token) -> Vec<u8> {
        let part = (token.device as u64) << 32 | token.number;
        let mut dice = Dice::new(self.seed ^ 0xf11e, part);
        let size = dice.within(FILE_BYTES.0, FILE_BYTES.1);
        (0..size).map(|_| dice.number().to_le_bytes()[0]).collect()
    }

    /// Sends one message; what the client says of it.
    pub(crate) fn send(
        &self,
        rpc: &mut Rpc,
        device: usize,
        talk: usize,
        more: &More,
    ) -> Result<Sent, FaultsError> {
        let token = self.token(device);
        let account = self.cast.devices[device];
        let to = self.cast.address(talk, account);
        let parent = more.parent.clone();
        let file = match more.file {
            WithFile::Yes => Some(self.write_file(device, token)?),
            WithFile::No => None,
        };
        if file.is_some() {
            self.files().sent.insert(token);
        }
        let text = format!("{} {}", token.text(&self.cast.canary), more.words);
        let mut words = vec!["send", &to, &text, "--timeout", SEND_LIMIT];
        if let Some(parent) = &parent {
            words.extend(["--reply", parent]);
        }
        if let Some(file) = &file {
            words.extend(["--file", file]);
        }
        self.history.note(What::Send {
            token,
            talk,
            parent: parent.clone(),
        });
        let answer = rpc.command(&words);
        if let Some(file) = &file {
            let _ = fs::remove_file(file);
        }
        Ok(self.answered(token, &answer))
    }

    fn answered(&self, token: Token, answer: &Answer) -> Sent {
        let (code, what) = match answer {
            Answer::Done(objects) => match objects.iter().find(|event| event["event"] == "sent") {
                Some(sent) => {
                    self.history.note(What::Acked {
                        token,
                        id: sent["id"].as_str().unwrap_or_default().to_owned(),
                        seq: sent["seq"].as_u64().unwrap_or_default(),
                    });
                    return Sent::Acked;
                }
                None => ("silent", None),
            },
            Answer::Failed(code) if code == "queued" => ("queued", Some(What::Queued { token })),
            Answer::Failed(code) => (code.as_str(), None),
            Answer::Gone => ("gone", None),
        };
        let code = code.to_owned();
        let open = || What::Open {
            token,
            code: code.clone(),
        };
        self.history.note(what.unwrap_or_else(open));
        Sent::Not(code)
    }

    fn write_file(&self, device: usize, token: Token) -> Result<String, FaultsError> {
        let path = self.devices[device]
            .home()
            .join(format!("{}.bin", token.number));
        fs::write(&path, self.content(token)).map_err(FaultsError::file(&path))?;
        Ok(path.display().to_string())
    }

    /// Saves the file of a message and compares it with what was sent.
    pub(crate) fn save(
        &self,
        rpc: &mut Rpc,
        device: usize,
        (token, id): &(Token, String),
    ) -> Saved {
        let folder = self.devices[device].home().join("saved");
        if fs::create_dir_all(&folder).is_err() {
            return Saved::Not("no folder".to_owned());
        }
        let to = folder.display().to_string();
        let objects = match rpc.command(&["save", id, "--to", &to]) {
            Answer::Done(objects) => objects,
            Answer::Failed(code) => return Saved::Not(code),
            Answer::Gone => return Saved::Not("gone".to_owned()),
        };
        let saved = objects.iter().find(|event| event["event"] == "saved");
        let path = saved
            .and_then(|event| event["path"].as_str())
            .map(PathBuf::from);
        let Some(path) = path else {
            return Saved::Not("silent".to_owned());
        };
        if fs::read(&path).ok().as_ref() != Some(&self.content(*token)) {
            self.history.note(What::Wrong {
                sentence: format!("the file of {token:?} is not what was sent"),
            });
        }
        let _ = fs::remove_file(&path);
        Saved::Whole
    }
}

/// What became of a message that was to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A server holds it.
    Acked,
    /// The client's word for what hindered it, or `queued`.
    Not(String),
}

/// What became of a file that was to be saved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    /// It is there; whether it is right is in the history.
    Whole,
    /// Not now.
    Not(String),
}

/// Whether a file goes with a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum WithFile {
    Yes,
    #[default]
    No,
}

/// What else a message has.
#[derive(Debug, Default)]
pub(crate) struct More {
    pub(crate) words: String,
    /// The id of the message that it answers.
    pub(crate) parent: Option<String>,
    pub(crate) file: WithFile,
}

/// One device at work.
pub(crate) struct Worker {
    scene: Arc<Scene>,
    device: usize,
    account: usize,
    dice: Dice,
}

impl Worker {
    pub(crate) fn new(scene: &Arc<Scene>, device: usize) -> Self {
        Self {
            account: scene.cast.devices[device],
            dice: Dice::new(scene.seed, 1_000 + device as u64),
            scene: Arc::clone(scene),
            device,
        }
    }

    /// Works until it is time to rest.
    pub(crate) fn work(mut self) {
        let mut line = None;
        while !self.scene.is_resting() {
            let think = Duration::from_millis(self.dice.within(THINK_MS.0, THINK_MS.1));
            process::wait_until(think, || self.scene.is_resting());
            if line.is_none() {
                line = self.scene.devices[self.device].connect();
            }
            if let Some(rpc) = &mut line
                && self.act(rpc) == Next::Reconnect
            {
                line = None;
            }
        }
    }

    fn act(&mut self, rpc: &mut Rpc) -> Next {
        if let Some(next) = self.come_or_go(rpc) {
            return next;
        }
        let talks = self.scene.talks_of(self.account);
        let Some(&talk) = self.dice.pick(&talks) else {
            return Next::GoOn;
        };
        match self.dice.within(0, 100) {
            0..66 => self.write(rpc, talk, More::default()),
            66..78 => {
                let parent = self.someones(talk).map(|(_, id)| id);
                let more = More {
                    parent,
                    ..More::default()
                };
                self.write(rpc, talk, more)
            }
            78..83 => {
                let more = More {
                    file: WithFile::Yes,
                    ..More::default()
                };
                self.write(rpc, talk, more)
            }
            83..86 => {
                let Some(message) = self.someones_file(talk) else {
                    return Next::GoOn;
                };
                match self.scene.save(rpc, self.device, &message) {
                    Saved::Not(code) if code == "gone" => Next::Reconnect,
                    _ => Next::GoOn,
                }
            }
            86..92 => self.edit_own(rpc, talk),
            92..98 => self.react(rpc, talk),
            _ => self.delete_own(rpc, talk),
        }
    }

    fn write(&mut self, rpc: &mut Rpc, talk: usize, mut more: More) -> Next {
        let length = self.dice.index(60);
        more.words = "word ".repeat(length).trim_end().to_owned();
        let sent = self.scene.send(rpc, self.device, talk, &more);
        if let Ok(sent) = &sent
            && self.scene.cast.talks[talk]
                .sometimes
                .contains(&self.account)
        {
            self.scene.proven(self.account, sent);
        }
        match sent {
            Ok(Sent::Acked) => Next::GoOn,
            // Whatever it was, a new connection does no harm.
            Ok(Sent::Not(_)) | Err(_) => Next::Reconnect,
        }
    }

    /// A message that somebody showed lately.
    fn someones(&mut self, talk: usize) -> Option<(Token, String)> {
        let conversation = &self.scene.cast.talks[talk].conversation;
        let recent = self.scene.history.recent(conversation);
        self.dice.pick(&recent).cloned()
    }

    /// One of those with a file.
    fn someones_file(&mut self, talk: usize) -> Option<(Token, String)> {
        let conversation = &self.scene.cast.talks[talk].conversation;
        let mut recent = self.scene.history.recent(conversation);
        recent.retain(|(token, _)| self.scene.has_file(*token));
        self.dice.pick(&recent).cloned()
    }

    /// One of this device.
    fn own(&mut self, talk: usize) -> Option<(Token, String)> {
        let conversation = &self.scene.cast.talks[talk].conversation;
        let mut recent = self.scene.history.recent(conversation);
        recent.retain(|(token, _)| token.device == self.device);
        self.dice.pick(&recent).cloned()
    }

    fn edit_own(&mut self, rpc: &mut Rpc, talk: usize) -> Next {
        let Some((token, id)) = self.own(talk) else {
            return Next::GoOn;
        };
        let number = self.dice.within(0, 1_000);
        let text = format!("{} edited {number}", token.text(&self.scene.cast.canary));
        next(&rpc.command(&["edit", &id, &text]))
    }

    fn react(&mut self, rpc: &mut Rpc, talk: usize) -> Next {
        let Some((_, id)) = self.someones(talk) else {
            return Next::GoOn;
        };
        let emoji = EMOJI[self.dice.index(EMOJI.len())];
        let mut words = vec!["react", &id, emoji];
        if self.dice.chance(250) {
            words.push("--remove");
        }
        next(&rpc.command(&words))
    }

    fn delete_own(&mut self, rpc: &mut Rpc, talk: usize) -> Next {
        match self.own(talk) {
            // Noted before: from here on it may be gone.
            Some((token, id)) => {
                self.scene.files().taken_back.insert(token);
                next(&rpc.command(&["delete", &id]))
            }
            None => Next::GoOn,
        }
    }
}

/// Whether a device's connection is good for another command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Reconnect,
}

fn next(answer: &Answer) -> Next {
    match answer {
        Answer::Done(_) | Answer::Failed(_) => Next::GoOn,
        Answer::Gone => Next::Reconnect,
    }
}

/// The conversation that a `send` or `group new` tells of.
pub(crate) fn conversation_of(objects: &[Value]) -> Option<String> {
    let named = objects
        .iter()
        .find_map(|event| event["conversation"].as_str());
    named.map(str::to_owned)
}
