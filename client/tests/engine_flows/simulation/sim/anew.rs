//! Somebody who lost everything and begins anew under the same name, as another identity.

use std::collections::BTreeSet;

use sotto_client::engine::Engine;
use sotto_client::engine::api::{Command, IdentityChange, Keep, Login};
use sotto_client::profile::{NewAccount, Profile, Unlock};

use super::{NAMES, PEOPLE, Simulation};
use crate::relay::DEPLOYMENT;
use crate::world::{PASSWORD, World, name};

/// Who may begin anew.
const WHO: usize = 1;
/// As whom.
pub(super) const ANEW: usize = PEOPLE;
/// One in so many seeds has it.
const SEEDS_EACH: u64 = 4;

/// Profiles by actor.
pub(super) fn profile_of(who: usize) -> String {
    match who {
        ANEW => format!("{}-again", NAMES[who]),
        _ => NAMES[who].to_owned(),
    }
}

/// The profile to begin anew with lies ready: passwords are dear.
pub(super) fn prepare(world: &World) {
    let account = NewAccount {
        username: name(NAMES[ANEW]),
        deployment: DEPLOYMENT,
    };
    let location = world.location(&profile_of(ANEW));
    let (profile, _) = Profile::create(&location, &account, PASSWORD, world.now).unwrap();
    profile.keep_unlocked().unwrap();
}

impl Simulation {
    /// The program that a person uses now.
    pub(super) fn program_of(&self, person: usize) -> usize {
        match person == WHO && self.is_gone(WHO) {
            true => ANEW,
            false => person,
        }
    }

    pub(in crate::simulation) fn is_gone(&self, who: usize) -> bool {
        match who {
            WHO => self.began_anew,
            ANEW => !self.began_anew,
            _ => false,
        }
    }

    /// Whether everybody still is who they were.
    pub(in crate::simulation) const fn is_whole(&self) -> bool {
        !self.began_anew
    }

    pub(super) fn may_begin_anew(&self) -> bool {
        self.seed.is_multiple_of(SEEDS_EACH) && !self.began_anew
    }

    pub(super) fn begin_anew(&mut self) {
        self.kill(WHO);
        self.actors[WHO].wake_at = None;
        self.began_anew = true;
        self.tell(|| format!("{} begins anew", NAMES[WHO]));
        let profile = Profile::open(&self.actors[ANEW].location, Unlock::Session).unwrap();
        let authentication_key = profile.authentication_key(PASSWORD).unwrap();
        let login = Login::Password {
            authentication_key,
            identity: IdentityChange::Replace,
        };
        let mut engine = Engine::new(profile, login, [0xa1; 32], self.now).unwrap();
        engine.listen(self.now).unwrap();
        self.actors[ANEW].engine = Some(engine);
        self.actors[ANEW].wake_at = Some(self.now.monotonic_ms + 50);
    }

    /// A program that has not logged in yet is not killed: its password would be asked for again.
    pub(super) fn may_be_killed(&self, who: usize) -> bool {
        who != ANEW || self.devices.values().any(|one| *one == ANEW)
    }

    /// The server knows a device of whoever began anew.
    pub(super) fn note_device(&mut self) {
        if self.began_anew {
            let devices = self.relay.accounts[NAMES[ANEW]].certificates.keys();
            for device in devices {
                self.devices.entry(*device).or_insert(ANEW);
            }
        }
    }

    /// Agrees to whoever has another identity now.
    pub(super) fn accept_changed(&mut self, who: usize) {
        for (by, other) in std::mem::take(&mut self.changed) {
            if by == who && self.actors[who].engine.is_some() {
                let name = name(&other);
                let keep = Keep::Saved;
                self.command(who, Command::Accept { name, keep });
            } else {
                self.changed.insert((by, other));
            }
        }
    }
}

/// Who was told of whose changed identity.
pub(super) type Changed = BTreeSet<(usize, String)>;
