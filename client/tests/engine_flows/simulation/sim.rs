//! The scheduler: who has what on the way, until when, and what happens next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use sotto_client::engine::Engine;
use sotto_client::engine::api::{
    Connection, ConnectionInfo, Event, Login, MembershipChange, Now, SecurityKind,
};
use sotto_client::profile::{Location, Profile, Unlock};
use sotto_protocol::{ConversationId, DeviceId, wire};

mod anew;
mod people;
mod record;

pub(super) use record::{Asked, Shown, Stay, Told, What};

use super::dice::Dice;
use super::story::{self, Story};
use crate::relay::{DEPLOYMENT, Relay};
use crate::world::{World, copy_directory};

/// How many people there are.
pub(super) const PEOPLE: usize = 4;
/// Whose program each is; the last one is for whoever begins anew.
pub(super) const NAMES: [&str; PEOPLE + 1] = ["alice", "bob", "carol", "dave", "bob"];
/// How long things go wrong, in milliseconds of the simulation.
const STORM_MS: u64 = 25_000;
/// How long everything then takes to come to rest, each time.
const REST_MS: u64 = 60_000;
/// No simulation has more steps.
const STEPS_MAX: usize = 400_000;

/// Four people who have just registered, to begin many simulations with.
pub(super) struct Template {
    world: World,
}

impl Template {
    pub(super) fn new() -> Self {
        // In memory where there is such a place: everything durable waits for the disk.
        let memory = Path::new("/dev/shm");
        let mut world = match memory.is_dir() {
            true => World::new_in(memory),
            false => World::new(),
        };
        for who in &NAMES[..PEOPLE] {
            world.register(who);
        }
        world.settle();
        anew::prepare(&world);
        (0..PEOPLE).for_each(|person| world.kill(person));
        let directory = world.path().to_owned();
        copy_directory(&directory.join("home"), &directory.join("template"));
        Self { world }
    }
}

/// A connection.
struct Line {
    client: usize,
    up: VecDeque<(u64, wire::ClientFrame)>,
    down: VecDeque<(u64, wire::ServerFrame)>,
    latency_ms: u64,
}

struct Actor {
    location: Location,
    engine: Option<Engine>,
    line: Option<Line>,
    /// When the program starts, or connects, again.
    wake_at: Option<u64>,
    life: u32,
}

/// What happens next.
enum Due {
    Up(usize),
    Down(usize),
    Late(usize),
    Timer(usize),
    Wake(usize),
    Chance,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Storm,
    Calm,
}

pub(super) struct Simulation {
    pub(super) relay: Relay,
    actors: Vec<Actor>,
    pub(super) now: Now,
    dice: Dice,
    seed: u64,
    began_anew: bool,
    /// Who was told of whose other identity, and has not agreed to it yet.
    changed: anew::Changed,
    mood: Mood,
    chance_at: u64,
    lines_made: usize,
    numbers: [u32; NAMES.len()],
    /// Frames of connections that are cut for their clients, and arrive all the same.
    late: Vec<(usize, VecDeque<(u64, wire::ClientFrame)>)>,
    pub(super) devices: BTreeMap<DeviceId, usize>,
    pub(super) groups: Vec<ConversationId>,
    pub(super) asked: BTreeMap<[u8; 16], Asked>,
    pub(super) acked: BTreeMap<[u8; 16], (ConversationId, u64)>,
    pub(super) shown: Vec<Shown>,
    pub(super) stays: BTreeMap<(ConversationId, DeviceId), Vec<Stay>>,
    /// Who said yes to which group, by the epoch in which they came in.
    pub(super) agreed: BTreeSet<(ConversationId, usize, u64)>,
    pub(super) told: Vec<Told>,
    pub(super) wrong: Vec<String>,
    /// Commands that were refused.
    refusals: u32,
    cuts: u32,
    kills: u32,
    /// What happened, for those who want to read along.
    pub(super) story: Story,
}

impl Simulation {
    pub(super) fn new(template: &Template, seed: u64) -> Self {
        let (world, now) = (&template.world, template.world.now);
        let home = world.path().join("home");
        std::fs::remove_dir_all(&home).unwrap();
        copy_directory(&world.path().join("template"), &home);
        let relay = world.relay.fork();
        let mut devices = BTreeMap::new();
        for (who, name) in NAMES[..PEOPLE].iter().enumerate() {
            let own = relay.accounts[*name].certificates.keys();
            devices.extend(own.map(|device| (*device, who)));
        }
        let actor = |who: usize| Actor {
            location: world.location(&anew::profile_of(who)),
            engine: None,
            line: None,
            wake_at: (who < PEOPLE).then_some(now.monotonic_ms),
            life: 0,
        };
        Self {
            relay,
            actors: (0..NAMES.len()).map(actor).collect(),
            now,
            dice: Dice::new(seed, 0),
            seed,
            began_anew: false,
            changed: anew::Changed::new(),
            mood: Mood::Storm,
            chance_at: now.monotonic_ms + 500,
            lines_made: 0,
            numbers: [0; NAMES.len()],
            late: Vec::new(),
            devices,
            groups: Vec::new(),
            asked: BTreeMap::new(),
            acked: BTreeMap::new(),
            shown: Vec::new(),
            stays: BTreeMap::new(),
            agreed: BTreeSet::new(),
            told: Vec::new(),
            wrong: Vec::new(),
            refusals: 0,
            cuts: 0,
            kills: 0,
            story: Story::new(),
        }
    }

    pub(super) fn summary(&self) -> String {
        format!(
            "{} asked, {} acknowledged, {} shown, {} groups, {} cuts, {} kills",
            self.asked.len(),
            self.acked.len(),
            self.shown.len(),
            self.groups.len(),
            self.cuts,
            self.kills
        )
    }

    /// Everything goes wrong for a while.
    pub(super) fn storm(&mut self) {
        self.run_for(STORM_MS);
    }

    /// Nothing goes wrong any more; everybody answers what is open and writes once more.
    pub(super) fn heal(&mut self) {
        self.mood = Mood::Calm;
        let now = self.now.monotonic_ms;
        for actor in &mut self.actors {
            actor.wake_at = actor.wake_at.map(|at| at.min(now));
        }
        self.run_for(REST_MS);
        for _ in 0..2 {
            for who in 0..NAMES.len() {
                self.answer_everything(who);
            }
            self.run_for(REST_MS);
        }
        for who in 0..NAMES.len() {
            for talk in self.open_talks(who) {
                self.write(who, talk);
            }
        }
        self.run_for(REST_MS);
        // What was only now begun with whoever began anew.
        for who in 0..NAMES.len() {
            self.answer_everything(who);
        }
        self.run_for(REST_MS);
        for (who, who_is) in NAMES.iter().enumerate() {
            // A group may wait for its only admin, who lost everything.
            if self.began_anew {
                break;
            }
            let queued = self.actors[who]
                .engine
                .as_mut()
                .map(|engine| engine.queued().unwrap());
            if queued != Some(0) && !self.is_gone(who) {
                self.wrong
                    .push(format!("{who_is} still has {queued:?} messages to send"));
            }
        }
    }

    fn run_for(&mut self, ms: u64) {
        let end = self.now.monotonic_ms + ms;
        for _ in 0..STEPS_MAX {
            let (at, due) = self.next();
            if at >= end {
                self.pass_to(end);
                return;
            }
            self.pass_to(at);
            self.carry_out(due);
        }
        self.wrong.push("it does not come to rest".to_owned());
    }

    fn pass_to(&mut self, at: u64) {
        let passed = at.saturating_sub(self.now.monotonic_ms);
        self.now.monotonic_ms += passed;
        self.now.unix_ms += passed;
        self.relay.now_ms = self.now.unix_ms;
    }

    fn next(&self) -> (u64, Due) {
        let mut first = match self.mood {
            Mood::Storm => (self.chance_at, Due::Chance),
            Mood::Calm => (u64::MAX, Due::Chance),
        };
        let mut offer = |at: Option<u64>, due: Due| {
            if let Some(at) = at.filter(|at| *at < first.0) {
                first = (at, due);
            }
        };
        for (who, actor) in self.actors.iter().enumerate() {
            offer(actor.wake_at, Due::Wake(who));
            let engine = actor.engine.as_ref();
            offer(engine.and_then(Engine::poll_timeout), Due::Timer(who));
            if let Some(line) = &actor.line {
                offer(line.up.front().map(|(at, _)| *at), Due::Up(who));
                offer(line.down.front().map(|(at, _)| *at), Due::Down(who));
            }
        }
        for (index, (_, frames)) in self.late.iter().enumerate() {
            offer(frames.front().map(|(at, _)| *at), Due::Late(index));
        }
        first
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        self.story.tell(self.now.monotonic_ms, what);
    }

    fn carry_out(&mut self, due: Due) {
        match due {
            Due::Chance => self.chance(),
            Due::Wake(who) => self.wake(who),
            Due::Timer(who) => self.with_engine(who, |engine, now| engine.handle_timeout(now)),
            Due::Up(who) => {
                let line = self.actors[who].line.as_mut();
                let frame = line.and_then(|line| Some((line.client, line.up.pop_front()?.1)));
                if let Some((client, frame)) = frame {
                    self.at_server(client, frame);
                }
            }
            Due::Late(index) => {
                let (client, frames) = &mut self.late[index];
                let client = *client;
                let frame = frames.pop_front();
                let over = frames.is_empty();
                if let Some((_, frame)) = frame {
                    self.at_server(client, frame);
                }
                if over {
                    self.late.swap_remove(index);
                    self.relay.disconnect(client);
                }
            }
            Due::Down(who) => {
                let line = self.actors[who].line.as_mut();
                let frame = line.and_then(|line| line.down.pop_front());
                if let Some((_, frame)) = frame {
                    self.tell(|| format!("{} <- {}", NAMES[who], story::answered(&frame)));
                    self.with_engine(who, |engine, now| engine.handle_frame(frame, now));
                }
            }
        }
    }

    fn at_server(&mut self, client: usize, frame: wire::ClientFrame) {
        self.tell(|| format!("server <- {client} {}", story::asked(&frame)));
        self.relay.handle(client, frame);
        self.note_stays();
        for who in 0..self.actors.len() {
            while let Some((client, latency_ms)) = self.line_of(who) {
                let Some(frame) = self.relay.take(client) else {
                    break;
                };
                let at = self.arrival(latency_ms);
                if let Some(line) = &mut self.actors[who].line {
                    let last = line.down.back().map_or(0, |(at, _)| *at);
                    line.down.push_back((at.max(last), frame));
                }
            }
        }
    }

    fn line_of(&self, who: usize) -> Option<(usize, u64)> {
        let line = self.actors[who].line.as_ref()?;
        Some((line.client, line.latency_ms))
    }

    /// When something arrives that leaves now.
    fn arrival(&mut self, latency_ms: u64) -> u64 {
        let stall = match self.mood {
            Mood::Storm if self.dice.chance(15) => self.dice.within(500, 4_000),
            _ => 0,
        };
        self.now.monotonic_ms + 1 + self.dice.within(0, latency_ms) + stall
    }

    /// Who is in which log, from which place to which.
    fn note_stays(&mut self) {
        self.note_device();
        for (id, log) in &self.relay.logs {
            if log.group.is_none() {
                continue;
            }
            let head = log.entries.len() as u64;
            for device in self.devices.keys() {
                let out = log.left.get(device);
                let is_in = log.members.contains_key(device) && out.is_none();
                let stays = self.stays.entry((*id, *device)).or_default();
                match stays.last_mut().filter(|stay| !stay.is_over()) {
                    Some(stay) if !is_in => stay.end = Some(out.copied().unwrap_or(head)),
                    Some(_) => {}
                    None if is_in => stays.push(Stay {
                        after: head,
                        end: None,
                        epoch: log.epoch(),
                    }),
                    None => {}
                }
            }
        }
    }

    /// Calls an engine and takes what it has to say.
    fn with_engine<T, E: std::fmt::Debug>(
        &mut self,
        who: usize,
        call: impl FnOnce(&mut Engine, Now) -> Result<T, E>,
    ) {
        let now = self.now;
        let Some(engine) = &mut self.actors[who].engine else {
            return;
        };
        if let Err(error) = call(engine, now) {
            self.wrong.push(format!("{}: {error:?}", NAMES[who]));
        }
        self.drain(who);
    }

    fn drain(&mut self, who: usize) {
        let mut events = Vec::new();
        let mut frames = Vec::new();
        let actor = &mut self.actors[who];
        let Some(engine) = &mut actor.engine else {
            return;
        };
        while let Some(event) = engine.poll_event() {
            events.push(event);
        }
        if actor.line.is_some() {
            while let Some(frame) = engine.poll_frame() {
                frames.push(frame);
            }
        }
        for frame in frames {
            let latency_ms = self.line_of(who).map_or(0, |(_, latency_ms)| latency_ms);
            let at = self.arrival(latency_ms);
            if let Some(line) = &mut self.actors[who].line {
                let last = line.up.back().map_or(0, |(at, _)| *at);
                line.up.push_back((at.max(last), frame));
            }
        }
        let life = self.actors[who].life;
        for event in events {
            self.note(who, life, event);
        }
    }

    fn note(&mut self, who: usize, life: u32, event: Event) {
        self.tell(|| format!("{} ! {event:?}", NAMES[who]));
        match event {
            Event::Message(message) => self.shown.push(Shown {
                who,
                life,
                conversation: message.conversation,
                seq: message.seq,
                id: *message.id.as_bytes(),
            }),
            Event::Sent {
                id,
                conversation,
                seq,
                ..
            } => {
                let before = self.acked.insert(*id.as_bytes(), (conversation, seq));
                if before.is_some_and(|before| before != (conversation, seq)) {
                    self.wrong.push(format!("{id} was acknowledged twice"));
                }
            }
            Event::Receipt(receipt) => {
                self.told.push(Told {
                    shown_before: self.shown.len(),
                    conversation: receipt.conversation,
                    by: receipt.by.to_string(),
                    up_to: receipt.delivered_up_to.max(receipt.read_up_to),
                });
            }
            Event::Failed {
                command: Some(_), ..
            } => self.refusals += 1,
            // What waits for somebody's word stays queued.
            Event::SendFailed { id, failure, .. } if failure.code != "key_changed" => {
                if let Some(asked) = self.asked.get_mut(id.as_bytes()) {
                    asked.failed = true;
                }
            }
            // The transport stands, and nobody would speak on it any more.
            Event::Connection(Connection::Lost) => self.cut(who),
            Event::GroupMade { conversation, .. } => {
                self.groups.push(conversation);
            }
            Event::Membership(told)
                if told.change == MembershipChange::Joined
                    && told.subject.as_str() == NAMES[who] =>
            {
                self.agreed.insert((told.conversation, who, told.epoch));
            }
            Event::Security(security) if security.kind == SecurityKind::KeyChanged => {
                if let Some(subject) = security.subject.filter(|_| self.began_anew) {
                    self.changed.insert((who, subject.to_string()));
                }
            }
            Event::Security(security) if self.is_worth_telling(security.kind) => {
                let what = format!("{} reports {:?}", NAMES[who], security.kind);
                self.wrong.push(what);
            }
            _ => {}
        }
    }

    /// Whoever begins anew has conversations made anew.
    fn is_worth_telling(&self, kind: SecurityKind) -> bool {
        match kind {
            SecurityKind::DeviceAdded => false,
            SecurityKind::RecoveryStarted
            | SecurityKind::RecoveryDone
            | SecurityKind::UnverifiedDevice => !self.began_anew,
            _ => true,
        }
    }

    fn wake(&mut self, who: usize) {
        self.actors[who].wake_at = None;
        if self.actors[who].engine.is_none() {
            self.start(who);
        }
        self.lines_made += 1;
        let client = self.lines_made;
        self.tell(|| format!("{} connects as {client}", NAMES[who]));
        self.relay.connect(client);
        let latency_ms = match self.mood {
            Mood::Storm => self.dice.within(2, 150),
            Mood::Calm => 5,
        };
        self.actors[who].line = Some(Line {
            client,
            up: VecDeque::new(),
            down: VecDeque::new(),
            latency_ms,
        });
        let info = ConnectionInfo {
            deployment: DEPLOYMENT,
            nonce: vec![7; 32],
            exporter: [9; 32],
            node: "relay".to_owned(),
            server_time_ms: self.now.unix_ms,
        };
        self.with_engine(who, |engine, now| engine.handle_connected(info, now));
    }

    fn start(&mut self, who: usize) {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.dice.number().to_be_bytes());
        let actor = &mut self.actors[who];
        actor.life += 1;
        let profile = Profile::open(&actor.location, Unlock::Session).unwrap();
        let mut engine = Engine::new(profile, Login::Device, seed, self.now).unwrap();
        engine.listen(self.now).unwrap();
        actor.engine = Some(engine);
        self.drain(who);
    }

    /// The connection is gone; what is on its way to the server may arrive there late.
    fn cut(&mut self, who: usize) {
        let Some(line) = self.actors[who].line.take() else {
            return;
        };
        self.cuts += 1;
        self.tell(|| format!("{} is cut", NAMES[who]));
        if self.dice.chance(500) && !line.up.is_empty() {
            let later = self.dice.within(0, 3_000);
            let frames = line.up.into_iter().map(|(at, frame)| (at + later, frame));
            self.late.push((line.client, frames.collect()));
        } else {
            self.relay.disconnect(line.client);
        }
        let away = self.dice.within(20, 3_000);
        self.actors[who].wake_at = Some(self.now.monotonic_ms + away);
        self.with_engine(who, |engine, now| engine.handle_disconnected(now));
    }

    fn kill(&mut self, who: usize) {
        if !self.may_be_killed(who) {
            return;
        }
        self.cut(who);
        if self.actors[who].engine.take().is_some() {
            self.tell(|| format!("{} is killed", NAMES[who]));
            self.kills += 1;
            let away = self.dice.within(20, 4_000);
            self.actors[who].wake_at = Some(self.now.monotonic_ms + away);
        }
    }
}
