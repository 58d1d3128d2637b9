//! People with real profiles on disk, a relay between them, and one clock.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use sotto_client::engine::Engine;
use sotto_client::engine::api::{
    Command, ConnectionInfo, Event, Failure, IdentityChange, Keep, Login, Message, MessageBody,
    Now, SecurityKind,
};
use sotto_client::profile::{Location, NewAccount, Profile, Unlock};
use sotto_protocol::wire;
use sotto_protocol::{ClientMessageId, Username};

use crate::relay::{DEPLOYMENT, Relay};

pub(crate) const PASSWORD: &str = "correct horse battery";
const ROUNDS_MAX: usize = 10_000;

pub(crate) struct Person {
    pub(crate) location: Location,
    pub(crate) engine: Option<Engine>,
    pub(crate) online: bool,
    pub(crate) listening: bool,
    pub(crate) events: Vec<Event>,
}

pub(crate) type Tap = Box<dyn FnMut(usize, wire::ServerFrame) -> Vec<wire::ServerFrame>>;

pub(crate) struct World {
    pub(crate) relay: Relay,
    pub(crate) people: Vec<Person>,
    pub(crate) now: Now,
    /// Sees each frame to a client and says what arrives instead.
    pub(crate) tap: Option<Tap>,
    /// Frames that clients sent, all together.
    pub(crate) frames_sent: usize,
    /// And the frames themselves, for those who want to read along.
    record: Option<Vec<wire::ClientFrame>>,
    /// After so many frames the sender is killed.
    pub(crate) kill_after: Option<usize>,
    seeds: u32,
    pub(crate) ids: u8,
    directory: Rc<tempfile::TempDir>,
}

/// Two people who have just registered, to begin many worlds with.
pub(crate) struct Template {
    directory: Rc<tempfile::TempDir>,
    relay: Relay,
}

impl Template {
    pub(crate) fn pair() -> Self {
        let mut world = World::pair();
        world.settle();
        world.kill(0);
        world.kill(1);
        let directory = Rc::clone(&world.directory);
        copy_directory(
            &directory.path().join("home"),
            &directory.path().join("template"),
        );
        Self {
            directory,
            relay: world.relay,
        }
    }

    /// One world at a time: they share a place on disk.
    pub(crate) fn world(&self) -> World {
        let home = self.directory.path().join("home");
        std::fs::remove_dir_all(&home).unwrap();
        copy_directory(&self.directory.path().join("template"), &home);
        let mut world = World::new();
        world.directory = Rc::clone(&self.directory);
        world.relay = self.relay.fork();
        for who in ["alice", "bob"] {
            let location = world.location(who);
            let profile = Profile::open(&location, Unlock::Session).unwrap();
            let person = world.add(location, profile, Login::Device);
            world.connect(person);
        }
        world.run();
        world
    }
}

pub(crate) fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the MLS library compares lifetimes with the system clock"
)]
fn system_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_millis()).unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// In a folder below another one.
    pub(crate) fn new_in(folder: &Path) -> Self {
        Self::within(tempfile::tempdir_in(folder).unwrap())
    }

    fn within(directory: tempfile::TempDir) -> Self {
        let directory = Rc::new(directory);
        Self {
            relay: Relay::default(),
            people: Vec::new(),
            now: Now {
                unix_ms: system_ms(),
                monotonic_ms: 1_000,
            },
            tap: None,
            frames_sent: 0,
            record: None,
            kill_after: None,
            seeds: 0,
            ids: 0,
            directory,
        }
    }

    /// Two people who listen.
    pub(crate) fn pair() -> Self {
        let mut world = Self::new();
        world.register("alice");
        world.register("bob");
        world
    }

    /// Two people who have talked.
    pub(crate) fn contacts() -> Self {
        let mut world = Self::pair();
        world.send(0, "bob", "hello");
        world.run();
        world.accept(1, "alice");
        world.settle();
        assert_eq!(world.texts(1), ["hello"]);
        world
    }

    /// Keeps every frame that leaves a client from now on.
    pub(crate) fn record(&mut self) {
        self.record = Some(Vec::new());
    }

    pub(crate) fn recorded(&mut self) -> Vec<wire::ClientFrame> {
        self.record.take().unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn location(&self, profile: &str) -> Location {
        Location {
            home: self.path().join("home"),
            name: profile.to_owned(),
            runtime: self.path().join("runtime"),
        }
    }

    pub(crate) fn register(&mut self, who: &str) -> usize {
        let location = self.location(who);
        let account = NewAccount {
            username: name(who),
            deployment: DEPLOYMENT,
        };
        let (profile, authentication_key) =
            Profile::create(&location, &account, PASSWORD, self.now).unwrap();
        profile.keep_unlocked().unwrap();
        let login = Login::Register {
            authentication_key,
            invite: None,
        };
        let person = self.add(location, profile, login);
        self.connect(person);
        self.run();
        person
    }

    /// Somebody loses everything and begins anew under the same name, with another identity.
    pub(crate) fn begin_anew(&mut self, person: usize, who: &str) -> usize {
        self.kill(person);
        let location = self.location(&format!("{who}-again"));
        let account = NewAccount {
            username: name(who),
            deployment: DEPLOYMENT,
        };
        let (profile, _) = Profile::create(&location, &account, PASSWORD, self.now).unwrap();
        profile.keep_unlocked().unwrap();
        let authentication_key = profile.authentication_key(PASSWORD).unwrap();
        let login = Login::Password {
            authentication_key,
            identity: IdentityChange::Replace,
        };
        let again = self.add(location, profile, login);
        self.connect(again);
        self.run();
        again
    }

    pub(crate) fn add(&mut self, location: Location, profile: Profile, login: Login) -> usize {
        let mut engine = Engine::new(profile, login, self.seed(), self.now).unwrap();
        engine.listen(self.now).unwrap();
        self.people.push(Person {
            location,
            engine: Some(engine),
            online: false,
            listening: true,
            events: Vec::new(),
        });
        self.people.len() - 1
    }

    fn seed(&mut self) -> [u8; 32] {
        self.seeds += 1;
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&self.seeds.to_be_bytes());
        seed
    }

    pub(crate) fn engine(&mut self, person: usize) -> &mut Engine {
        self.people[person].engine.as_mut().unwrap()
    }

    pub(crate) fn connect(&mut self, person: usize) {
        self.relay.connect(person);
        self.people[person].online = true;
        let now = self.now;
        let info = ConnectionInfo {
            deployment: DEPLOYMENT,
            nonce: vec![7; 32],
            exporter: [9; 32],
            node: "relay".to_owned(),
            server_time_ms: now.unix_ms,
        };
        self.engine(person).handle_connected(info, now).unwrap();
    }

    pub(crate) fn disconnect(&mut self, person: usize) {
        self.relay.disconnect(person);
        self.people[person].online = false;
        let now = self.now;
        if let Some(engine) = &mut self.people[person].engine {
            engine.handle_disconnected(now).unwrap();
        }
    }

    /// The process is gone without a word.
    pub(crate) fn kill(&mut self, person: usize) {
        self.relay.disconnect(person);
        self.people[person].online = false;
        self.people[person].engine = None;
    }

    /// The program starts again on the same profile.
    pub(crate) fn start(&mut self, person: usize) {
        let profile = Profile::open(&self.people[person].location, Unlock::Session).unwrap();
        let mut engine = Engine::new(profile, Login::Device, self.seed(), self.now).unwrap();
        if self.people[person].listening {
            engine.listen(self.now).unwrap();
        }
        self.people[person].engine = Some(engine);
        self.drain(person);
    }

    pub(crate) fn restart(&mut self, person: usize) {
        self.kill(person);
        self.start(person);
        self.connect(person);
        self.run();
    }

    pub(crate) fn command(&mut self, person: usize, command: Command) {
        let now = self.now;
        self.engine(person).handle_command(command, now).unwrap();
        self.drain(person);
    }

    /// Somebody's request, or their changed identity, is accepted.
    pub(crate) fn accept(&mut self, person: usize, who: &str) {
        let (name, keep) = (name(who), Keep::Saved);
        self.command(person, Command::Accept { name, keep });
        self.run();
    }

    pub(crate) fn send(&mut self, person: usize, to: &str, text: &str) -> ClientMessageId {
        self.ids += 1;
        let client_id = ClientMessageId::from_bytes([self.ids; 16]);
        self.send_as(person, to, text, client_id);
        client_id
    }

    pub(crate) fn send_as(
        &mut self,
        person: usize,
        to: &str,
        text: &str,
        client_id: ClientMessageId,
    ) {
        let command = Command::Send {
            to: name(to).into(),
            text: text.to_owned(),
            client_id,
        };
        self.command(person, command);
    }

    fn drain(&mut self, person: usize) {
        let person = &mut self.people[person];
        if let Some(engine) = &mut person.engine {
            while let Some(event) = engine.poll_event() {
                person.events.push(event);
            }
        }
    }

    /// Moves frames until nobody has any.
    pub(crate) fn run(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if !self.round() {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    fn round(&mut self) -> bool {
        self.relay.now_ms = self.now.unix_ms;
        let mut moved = false;
        for person in 0..self.people.len() {
            self.drain(person);
            while let Some(frame) = self.next_frame(person) {
                moved = true;
                self.frames_sent += 1;
                if let Some(record) = &mut self.record {
                    record.push(frame.clone());
                }
                self.relay.handle(person, frame);
                if self.kill_after == Some(self.frames_sent) {
                    self.restart_now(person);
                }
            }
        }
        for person in 0..self.people.len() {
            while let Some(frame) = self.relay.take(person) {
                moved = true;
                self.arrive(person, frame);
            }
        }
        moved
    }

    fn restart_now(&mut self, person: usize) {
        self.kill(person);
        self.start(person);
        self.connect(person);
    }

    fn next_frame(&mut self, person: usize) -> Option<wire::ClientFrame> {
        let person = &mut self.people[person];
        person
            .engine
            .as_mut()
            .filter(|_| person.online)?
            .poll_frame()
    }

    fn arrive(&mut self, person: usize, frame: wire::ServerFrame) {
        let frames = match &mut self.tap {
            Some(tap) => tap(person, frame),
            None => vec![frame],
        };
        let now = self.now;
        for frame in frames {
            self.engine(person).handle_frame(frame, now).unwrap();
            self.drain(person);
        }
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn advance(&mut self, ms: u64) {
        let target = self.now.monotonic_ms + ms;
        for _ in 0..ROUNDS_MAX {
            self.run();
            let next = self
                .people
                .iter()
                .filter_map(|person| person.engine.as_ref()?.poll_timeout())
                .min()
                .unwrap_or(target)
                .clamp(self.now.monotonic_ms, target);
            let passed = next - self.now.monotonic_ms;
            self.now.monotonic_ms += passed;
            self.now.unix_ms += passed;
            let now = self.now;
            let engines = self
                .people
                .iter_mut()
                .filter_map(|person| person.engine.as_mut());
            for engine in engines {
                let due = engine.poll_timeout();
                if due.is_some_and(|at| at <= now.monotonic_ms) {
                    engine.handle_timeout(now).unwrap();
                }
            }
            if next == target {
                self.run();
                return;
            }
        }
        panic!("time does not pass");
    }

    /// Receipts and short rests are over.
    pub(crate) fn settle(&mut self) {
        self.advance(5_000);
    }

    pub(crate) fn messages(&self, person: usize) -> Vec<&Message> {
        self.people[person]
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Message(message) => Some(message),
                _ => None,
            })
            .collect()
    }

    /// What a person was shown, in order.
    pub(crate) fn texts(&self, person: usize) -> Vec<String> {
        self.messages(person).into_iter().map(text_of).collect()
    }

    pub(crate) fn security(&self, person: usize, kind: SecurityKind) -> usize {
        let of_kind = |event: &&Event| matches!(event, Event::Security(s) if s.kind == kind);
        self.people[person].events.iter().filter(of_kind).count()
    }

    pub(crate) fn sent(&self, person: usize) -> usize {
        let sent = |event: &&Event| matches!(event, Event::Sent { .. });
        self.people[person].events.iter().filter(sent).count()
    }

    pub(crate) fn requests(&self, person: usize) -> usize {
        let request = |event: &&Event| matches!(event, Event::Request(_));
        self.people[person].events.iter().filter(request).count()
    }

    pub(crate) fn failures(&self, person: usize) -> Vec<&Failure> {
        self.people[person]
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Failed { failure, .. } | Event::SendFailed { failure, .. } => Some(failure),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn history(&mut self, person: usize, peer: &str) -> Vec<String> {
        let messages = self
            .engine(person)
            .history(&name(peer).into(), 1_000)
            .unwrap();
        messages.iter().map(text_of).collect()
    }
}

pub(crate) fn text_of(message: &Message) -> String {
    match &message.body {
        MessageBody::Text(text) => text.clone(),
        MessageBody::Attachment(_) | MessageBody::Deleted | MessageBody::Unknown => "?".to_owned(),
    }
}

pub(crate) fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
