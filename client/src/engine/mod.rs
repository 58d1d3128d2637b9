//! The client's engine: everything between a command and a frame, and between
//! a frame and an event. No sockets, no terminal, no clock, no threads: input
//! enters through `handle_*` with the time, output leaves through `poll_*`.
//!
//! Each `handle_*` is one transaction of the local store; frames, events and
//! acknowledgements leave only after it is durable. So ratchet state, message
//! and cursor never part, and nothing is acknowledged that could be lost.
//!
//! After each `handle_*` the shell polls frames and events down to `None`, so
//! that never more waits than one call made.
//!
//! The shell speaks Hello and passes on what HelloOk said; it answers Ping; it
//! raises its frame limit when it sees `LoggedIn`. Everything else is here.
//!
//! | session   | begins with       | what may leave                               |
//! |-----------|-------------------|----------------------------------------------|
//! | offline   | new, disconnected | nothing                                      |
//! | logging in| connected         | the login                                    |
//! | syncing   | `LoggedIn`        | key packages, commands, `GetSync`            |
//! | catching up | all of `Sync`   | also acknowledgements; nothing is sealed yet |
//! | live      | `CaughtUp`        | everything                                   |

pub mod api;

mod commands;
mod commits;
mod devices;
mod directory;
mod doubt;
mod error;
mod files;
mod flight;
mod forget;
mod group;
mod inbox;
mod json;
mod mailbox;
mod members;
mod messages;
mod opening;
mod outbox;
mod packages;
mod people;
mod queries;
mod receipts;
mod recovery;
mod restored;
pub mod screen;
mod session;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sotto_crypto::{Group, KeyStore};
use sotto_protocol::wire;
use sotto_protocol::{BlobId, ConversationId, Username};

use api::{Command, CommandId, ConnectionInfo, Event, Login, Now};
use commands::ServerCommand;
use flight::{Flight, Purpose, Room};
use session::Session;
use work::TalkWork;

pub(crate) use devices::ARCHIVE_BYTES_MAX;
pub use error::EngineError;
pub use people::Verification;

use crate::history::History;
use crate::profile::Profile;
use crate::talk::Talk;

/// Groups kept in memory; others are loaded when they are needed.
const GROUPS_CACHED_MAX: usize = 64;

/// The engine of one profile.
pub struct Engine {
    profile: Profile,
    login: Login,
    rng: StdRng,
    now: Now,
    /// When this run of the program began; milliseconds since 1970 UTC.
    begun_unix_ms: u64,
    session: Session,
    flight: Flight,
    /// What leaves, once durable.
    ready: Outputs,
    /// What the present call wants to leave.
    staged: Outputs,
    groups: BTreeMap<ConversationId, Group>,
    work: BTreeMap<Talk, TalkWork>,
    commands: VecDeque<(CommandId, ServerCommand)>,
    /// What is to be done with groups, in the order of asking.
    jobs: BTreeMap<Talk, VecDeque<group::Job>>,
    last_command: u64,
    listening: Listening,
    /// Messages handed to the interface, to be noted as shown.
    shown: Vec<(ConversationId, u64)>,
    acknowledge: BTreeMap<ConversationId, u64>,
    /// Entries of this session that nobody decided about yet.
    held: usize,
    /// Groups of which the server has more acknowledged than the store, until all is read.
    ahead: BTreeSet<ConversationId>,
    /// Files that the server was asked to delete in this session.
    blobs_asked: BTreeSet<BlobId>,
    receipts: receipts::Due,
    signals: messages::Signals,
    housekeeping_at: u64,
    /// When the next message disappears (monotonic milliseconds).
    expiry_at: Option<u64>,
    outbox_reported_empty: Reported,
    /// Who waits for a revoked device to be out everywhere.
    revoking: Option<CommandId>,
}

/// Frames and events, in order.
#[derive(Default)]
struct Outputs {
    frames: VecDeque<wire::ClientFrame>,
    events: VecDeque<Event>,
}

/// Whether an interface shows messages as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listening {
    No,
    /// Messages are handed over, and say themselves when a person saw them.
    Watching,
    Yes,
}

/// Whether the interface knows that the outbox is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reported {
    No,
    Yes,
}

impl Engine {
    /// An engine over an open profile. `seed` feeds ids and jitter; keys come
    /// from the operating system.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn new(
        profile: Profile,
        login: Login,
        seed: [u8; 32],
        now: Now,
    ) -> Result<Self, EngineError> {
        profile.history().account()?;
        let mut engine = Self {
            profile,
            login,
            rng: StdRng::from_seed(seed),
            now,
            begun_unix_ms: now.unix_ms,
            session: Session::Offline,
            flight: Flight::default(),
            ready: Outputs::default(),
            staged: Outputs::default(),
            groups: BTreeMap::new(),
            work: BTreeMap::new(),
            commands: VecDeque::new(),
            jobs: BTreeMap::new(),
            last_command: 0,
            listening: Listening::No,
            shown: Vec::new(),
            acknowledge: BTreeMap::new(),
            held: 0,
            ahead: BTreeSet::new(),
            blobs_asked: BTreeSet::new(),
            receipts: receipts::Due::default(),
            signals: messages::Signals::default(),
            housekeeping_at: now.monotonic_ms,
            expiry_at: None,
            outbox_reported_empty: Reported::No,
            revoking: None,
        };
        // What is over is gone before anybody can ask for it.
        engine.transact(now, Self::sweep)?;
        Ok(engine)
    }

    /// A connection stands and Hello was answered: logs in.
    ///
    /// # Errors
    /// When the local store fails; as for every `handle_*`, the engine is over then.
    pub fn handle_connected(&mut self, info: ConnectionInfo, now: Now) -> Result<(), EngineError> {
        self.transact(now, |engine| engine.connected(info))
    }

    /// A frame arrived.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn handle_frame(&mut self, frame: wire::ServerFrame, now: Now) -> Result<(), EngineError> {
        self.transact(now, |engine| engine.frame(frame))
    }

    /// The connection is gone.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn handle_disconnected(&mut self, now: Now) -> Result<(), EngineError> {
        self.transact(now, |engine| {
            engine.disconnected();
            Ok(())
        })
    }

    /// The time of [`Self::poll_timeout`] came.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), EngineError> {
        self.transact(now, Self::timeout)
    }

    /// Somebody wants something; works offline too, as far as that makes sense.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn handle_command(&mut self, command: Command, now: Now) -> Result<CommandId, EngineError> {
        self.last_command += 1;
        let id = CommandId(self.last_command);
        self.transact(now, |engine| engine.command(id, command))?;
        Ok(id)
    }

    /// From now on messages are shown as they come; first all that were
    /// stored and not shown yet, at most 10,000. Without this call messages
    /// are stored only, and those of unsaved conversations stay at the server.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn listen(&mut self, now: Now) -> Result<(), EngineError> {
        self.transact(now, |engine| {
            if engine.listening == Listening::No {
                engine.listening = Listening::Yes;
                engine.stage_unshown()?;
            }
            Ok(())
        })
    }

    /// Whether everything that waited at the server has been read on this connection, and what is
    /// new comes by itself: [`Event::CaughtUp`] has been said and is not said again.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.session == Session::Live
    }

    /// The next frame to send.
    pub fn poll_frame(&mut self) -> Option<wire::ClientFrame> {
        self.ready.frames.pop_front()
    }

    /// The next event. A message counts as shown when the events after it
    /// were polled down to `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.ready.events.pop_front();
        match &event {
            Some(Event::Message(message)) => self.note_shown(message),
            Some(_) => {}
            // A failure shows at the next transaction; then the note is made again.
            None => {
                let _ = self.write_shown();
            }
        }
        event
    }

    /// When to call [`Self::handle_timeout`], as `Now::monotonic_ms`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        // Nothing is done in any talk before the session is live.
        let live = self.session == Session::Live;
        let waiting = self.work.values().filter(|_| live);
        let waiting = waiting.filter_map(TalkWork::wakes_at);
        [
            self.flight.deadline(),
            self.receipts.at(),
            Some(self.housekeeping_at),
            self.expiry_at,
        ]
        .into_iter()
        .flatten()
        .chain(waiting)
        .min()
    }

    /// Ends the engine; the profile can be locked or wiped then.
    #[must_use]
    pub fn into_profile(self) -> Profile {
        self.profile
    }

    /// Runs one call as one transaction. What it staged leaves only when
    /// everything is durable.
    fn transact(
        &mut self,
        now: Now,
        work: impl FnOnce(&mut Self) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.now = now;
        self.store().begin()?;
        let outcome = work(self)
            .and_then(|()| self.pump())
            .and_then(|()| Ok(self.store().commit()?));
        match outcome {
            Ok(()) => {
                self.stage_acknowledgements();
                self.ready.frames.append(&mut self.staged.frames);
                self.ready.events.append(&mut self.staged.events);
                Ok(())
            }
            Err(error) => {
                self.store().rollback();
                // Memory may be ahead of the store now.
                self.groups.clear();
                self.acknowledge.clear();
                self.staged = Outputs::default();
                Err(error)
            }
        }
    }

    fn store(&self) -> &History {
        self.profile.history()
    }

    fn key_store(&self) -> KeyStore<'_> {
        KeyStore::new(self.store().connection())
    }

    fn emit(&mut self, event: Event) {
        self.staged.events.push_back(event);
    }

    /// Sends a request.
    fn request(&mut self, purpose: Purpose, body: wire::client_frame::Body) {
        let request_id = self.flight.launch(purpose, self.now.monotonic_ms);
        self.staged.frames.push_back(wire::ClientFrame {
            request_id,
            body: Some(body),
        });
    }

    fn room(&self) -> Room {
        self.flight.room()
    }

    /// Keeps a group in memory for the next use.
    fn keep_group(&mut self, group: Group) {
        if self.groups.len() >= GROUPS_CACHED_MAX {
            self.groups.pop_first();
        }
        self.groups.insert(group.address().conversation, group);
    }

    fn my_name(&self) -> &Username {
        self.profile.username()
    }
}
