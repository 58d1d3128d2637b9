//! What breaks things: one fault after the other, each drawn and measured from one seed.
//!
//! A fault strikes, lasts, and is lifted; between two there is a rest in which everybody may get
//! on. What ends although nobody ended it is reported.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use sotto_stack::deployment::{BALANCER, Kind, Notice};
use sotto_stack::{process, sql};

use crate::database::Bounds;
use crate::device::Device;
use crate::dice::Dice;
use crate::error::FaultsError;
use crate::history::{Cast, History, Life, Stage, What};
use crate::link::Weather;
use crate::site::{Site, client_clock};

/// Between two faults, in milliseconds.
const REST_MS: (u64, u64) = (1_500, 4_000);
/// How long a fault lasts that is lifted, in milliseconds.
const LAST_MS: (u64, u64) = (2_000, 7_000);
/// How far a clock is put off, in seconds: minutes to hours.
const SHIFT_SECS: (u64, u64) = (90, 4 * 3600);

/// Ends the connections on which servers hear notices: those on which they also give notice and ask
/// where logs stand, by whichever of these they did last.
const END_LISTENERS: &str = "\
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
      AND (query ILIKE 'listen%' OR query ILIKE 'select pg_notify%'
           OR query ILIKE 'select id, head from conversation where id = any%')";

/// Something that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A server dies and is started again.
    ServerKilled,
    /// All servers die, one after the other.
    ServersKilledInTurn,
    /// The balancer dies and is started again.
    BalancerKilled,
    /// A server stands still.
    ServerStopped,
    /// The balancer stands still.
    BalancerStopped,
    /// A client dies and is started again.
    ClientKilled,
    /// A client stands still.
    ClientStopped,
    /// The database is switched off and on.
    DatabaseRestarted,
    /// The database's main process dies.
    DatabaseKilled,
    /// The primary dies and its synchronous standby takes its place.
    StandbyPromoted,
    /// The database's disk is full.
    DiskFull,
    /// Connections on which servers hear notices are ended.
    NoticesEnded,
    /// Connections on which servers hear notices go silent.
    NoticesSilent,
    /// A server and the database do not reach each other.
    ServerCutFromDatabase,
    /// The balancer and a server do not reach each other.
    BalancerCutFromServer,
    /// Some clients reach nobody.
    ClientsCutOff,
    /// Connections of some clients break at once and cannot be made.
    ClientsRefused,
    /// All links of clients are slow, jerky and break now and then.
    LinksRough,
    /// A server's clock jumps.
    ServerClockJumps,
    /// A client's clock jumps.
    ClientClockJumps,
    /// Each server is asked to end and replaced, as for a new version.
    ServersReplaced,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::ServerKilled,
        Self::ServersKilledInTurn,
        Self::BalancerKilled,
        Self::ServerStopped,
        Self::BalancerStopped,
        Self::ClientKilled,
        Self::ClientStopped,
        Self::DatabaseRestarted,
        Self::DatabaseKilled,
        Self::StandbyPromoted,
        Self::DiskFull,
        Self::NoticesEnded,
        Self::NoticesSilent,
        Self::ServerCutFromDatabase,
        Self::BalancerCutFromServer,
        Self::ClientsCutOff,
        Self::ClientsRefused,
        Self::LinksRough,
        Self::ServerClockJumps,
        Self::ClientClockJumps,
        Self::ServersReplaced,
    ];

    /// Its name on the command line and in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServerKilled => "server-killed",
            Self::ServersKilledInTurn => "servers-killed-in-turn",
            Self::BalancerKilled => "balancer-killed",
            Self::ServerStopped => "server-stopped",
            Self::BalancerStopped => "balancer-stopped",
            Self::ClientKilled => "client-killed",
            Self::ClientStopped => "client-stopped",
            Self::DatabaseRestarted => "database-restarted",
            Self::DatabaseKilled => "database-killed",
            Self::StandbyPromoted => "standby-promoted",
            Self::DiskFull => "disk-full",
            Self::NoticesEnded => "notices-ended",
            Self::NoticesSilent => "notices-silent",
            Self::ServerCutFromDatabase => "server-cut-from-database",
            Self::BalancerCutFromServer => "balancer-cut-from-server",
            Self::ClientsCutOff => "clients-cut-off",
            Self::ClientsRefused => "clients-refused",
            Self::LinksRough => "links-rough",
            Self::ServerClockJumps => "server-clock-jumps",
            Self::ClientClockJumps => "client-clock-jumps",
            Self::ServersReplaced => "servers-replaced",
        }
    }

    /// The fault of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Going {
    On,
    Over,
}

/// Breaks a site.
pub(crate) struct Nemesis<'a> {
    pub(crate) site: &'a mut Site,
    pub(crate) devices: &'a [Arc<Device>],
    pub(crate) cast: &'a Arc<Cast>,
    pub(crate) history: &'a Arc<History>,
    dice: Dice,
    /// Those that this machine can do, in an order that is dealt out again and again.
    faults: Vec<Fault>,
    hand: Vec<Fault>,
    struck: usize,
}

impl<'a> Nemesis<'a> {
    /// One that has the wanted faults at hand, and why it has not the others.
    pub(crate) fn new(
        site: &'a mut Site,
        devices: &'a [Arc<Device>],
        (cast, history): (&'a Arc<Cast>, &'a Arc<History>),
        (wanted, seed): (&[Fault], u64),
    ) -> (Self, Vec<String>) {
        let mut skipped = Vec::new();
        let mut faults = wanted.to_vec();
        faults.retain(|fault| {
            let why = cannot(site, *fault);
            if let Some(why) = why {
                skipped.push(format!("{} skipped: {why}", fault.name()));
            }
            why.is_none()
        });
        let nemesis = Self {
            site,
            devices,
            cast,
            history,
            dice: Dice::new(seed, 1),
            faults,
            hand: Vec::new(),
            struck: 0,
        };
        (nemesis, skipped)
    }

    /// Breaks one thing after the other until `going` says that it is over, or so many have struck.
    /// Every fault strikes once before any strikes again.
    ///
    /// # Errors
    /// When something does not come back.
    pub(crate) fn rage(
        &mut self,
        strikes_max: usize,
        mut going: impl FnMut() -> Going,
    ) -> Result<(), FaultsError> {
        while self.struck < strikes_max {
            let rest = self.dice.within(REST_MS.0, REST_MS.1);
            self.pass(rest);
            let Some(fault) = self.deal() else {
                return Ok(());
            };
            if going() == Going::Over {
                return Ok(());
            }
            self.strike(fault)?;
        }
        Ok(())
    }

    /// Faults that have struck so far.
    pub(crate) const fn struck(&self) -> usize {
        self.struck
    }

    fn deal(&mut self) -> Option<Fault> {
        if self.hand.is_empty() {
            self.hand.clone_from(&self.faults);
        }
        if self.hand.is_empty() {
            return None;
        }
        let card = self.dice.index(self.hand.len());
        Some(self.hand.swap_remove(card))
    }

    fn strike(&mut self, fault: Fault) -> Result<(), FaultsError> {
        if fault == Fault::StandbyPromoted {
            self.site.database.follow()?;
        }
        self.note(fault, String::new(), Stage::Strikes);
        let whom = match fault {
            Fault::ServerKilled
            | Fault::ServersKilledInTurn
            | Fault::BalancerKilled
            | Fault::ServerStopped
            | Fault::BalancerStopped
            | Fault::ServersReplaced => self.hit_processes(fault)?,
            Fault::ClientKilled | Fault::ClientStopped => self.hit_client(fault)?,
            Fault::DatabaseRestarted
            | Fault::DatabaseKilled
            | Fault::StandbyPromoted
            | Fault::DiskFull
            | Fault::NoticesEnded => self.hit_database(fault)?,
            Fault::ServerClockJumps | Fault::ClientClockJumps => self.hit_clock(fault)?,
            _ => self.hit_links(fault),
        };
        self.note(fault, whom, Stage::Lifted);
        self.struck += 1;
        Ok(())
    }

    fn note(&self, fault: Fault, whom: String, stage: Stage) {
        self.history.note(What::Fault {
            number: self.struck,
            name: fault.name(),
            whom,
            stage,
        });
    }

    fn last(&mut self) {
        let lasts = self.dice.within(LAST_MS.0, LAST_MS.1);
        self.pass(lasts);
    }

    /// Lets time pass, and notices who ended by itself.
    fn pass(&mut self, ms: u64) {
        process::wait_until(Duration::from_millis(ms), || false);
        self.look();
    }

    /// Reports what ended by itself, and starts it again.
    pub(crate) fn look(&mut self) {
        for notice in self.site.deployment.watch(process::now()) {
            if let Notice::Ended { name, status, .. } = notice {
                self.history.note(What::Wrong {
                    sentence: format!("{name} ended by itself: {status:?}"),
                });
            }
        }
        for device in self.devices {
            if device.has_ended() {
                let who = self.cast.device_name(device.index);
                self.history.note(What::Wrong {
                    sentence: format!("the client {who} ended by itself"),
                });
                device.end(Life::Killed, self.history);
                // Tried again at the next look.
                let _ = device.start(self.cast, self.history);
            }
        }
    }

    fn servers(&self) -> Vec<String> {
        let processes = self.site.deployment.state().processes;
        let servers = processes.into_iter();
        servers
            .filter(|process| process.kind == Kind::Server)
            .map(|process| process.name)
            .collect()
    }

    fn any_server(&mut self) -> (usize, String) {
        let servers = self.servers();
        let index = self.dice.index(servers.len());
        (index, servers.get(index).cloned().unwrap_or_default())
    }

    fn hit_processes(&mut self, fault: Fault) -> Result<String, FaultsError> {
        let (_, server) = self.any_server();
        match fault {
            Fault::ServerKilled => self.kill(&server)?,
            Fault::BalancerKilled => self.kill(BALANCER)?,
            Fault::ServersKilledInTurn => {
                for server in self.servers() {
                    self.kill(&server)?;
                }
            }
            Fault::ServersReplaced => {
                for server in self.servers() {
                    self.site.deployment.signal(&server, Signal::TERM)?;
                    // It lets its clients go first, and is taken away when it has ended.
                    self.pass_until_ended(&server);
                    self.site.deployment.kill(&server)?;
                    self.site.deployment.start_again(&server)?;
                }
            }
            _ => {
                let name = match fault {
                    Fault::BalancerStopped => BALANCER.to_owned(),
                    _ => server.clone(),
                };
                self.site.deployment.signal(&name, Signal::STOP)?;
                self.last();
                self.site.deployment.signal(&name, Signal::CONT)?;
                return Ok(name);
            }
        }
        Ok(match fault {
            Fault::ServerKilled => server,
            Fault::BalancerKilled => BALANCER.to_owned(),
            _ => "all servers".to_owned(),
        })
    }

    fn kill(&mut self, name: &str) -> Result<(), FaultsError> {
        self.site.deployment.kill(name)?;
        let away = self.dice.within(0, 2_000);
        process::wait_until(Duration::from_millis(away), || false);
        Ok(self.site.deployment.start_again(name)?)
    }

    /// Waits for a process that was asked to end.
    fn pass_until_ended(&self, name: &str) {
        let processes = self.site.deployment.state().processes;
        let of_name = processes.iter().find(|process| process.name == name);
        let Some(pid) = of_name.and_then(|process| process.pid) else {
            return;
        };
        let limit = Duration::from_secs(15);
        process::wait_until(limit, || has_ended(pid));
    }

    fn hit_client(&mut self, fault: Fault) -> Result<String, FaultsError> {
        let index = self.dice.index(self.devices.len());
        let Some(device) = self.devices.get(index) else {
            return Ok(String::new());
        };
        if fault == Fault::ClientStopped {
            device.signal(Signal::STOP);
            self.last();
            device.signal(Signal::CONT);
        } else {
            device.end(Life::Killed, self.history);
            let away = self.dice.within(0, 3_000);
            process::wait_until(Duration::from_millis(away), || false);
            device.start(self.cast, self.history)?;
        }
        Ok(self.cast.device_name(index))
    }

    fn hit_database(&mut self, fault: Fault) -> Result<String, FaultsError> {
        let away = Duration::from_millis(self.dice.within(0, 2_000));
        let database = &mut self.site.database;
        match fault {
            Fault::DatabaseRestarted => database.stop_immediate(),
            Fault::DatabaseKilled => database.kill(),
            Fault::StandbyPromoted => {
                database.promote()?;
                return Ok(String::new());
            }
            Fault::NoticesEnded => {
                let url = database.url(crate::database::NAME);
                let ended = sql::rows(&url, END_LISTENERS)?;
                return Ok(format!("{} connections", ended.len()));
            }
            _ => {
                database.fill()?;
                let lasts = self.dice.within(LAST_MS.0, LAST_MS.1);
                process::wait_until(Duration::from_millis(lasts), || false);
                database.empty()?;
                database.revive()?;
                return Ok(String::new());
            }
        }
        process::wait_until(away, || false);
        self.site.database.revive()?;
        Ok(String::new())
    }

    fn hit_clock(&mut self, fault: Fault) -> Result<String, FaultsError> {
        let Some(clocks) = self.site.clocks.clone() else {
            return Ok(String::new());
        };
        let name = match fault {
            Fault::ServerClockJumps => self.any_server().1,
            _ => client_clock(self.dice.index(self.devices.len())),
        };
        let seconds = self.dice.within(SHIFT_SECS.0, SHIFT_SECS.1);
        let seconds = i64::try_from(seconds).unwrap_or(0);
        let shift = if self.dice.chance(500) {
            seconds
        } else {
            -seconds
        };
        clocks.set(&name, shift)?;
        self.last();
        clocks.set(&name, 0)?;
        Ok(format!("{name} by {shift} s"))
    }

    fn hit_links(&mut self, fault: Fault) -> String {
        let (index, server) = self.any_server();
        let some: Vec<usize> = (0..self.site.clients.len())
            .filter(|_| self.dice.chance(500))
            .collect();
        let delay = Duration::from_millis(self.dice.within(10, 120));
        let site = &self.site;
        let set = |weather: Weather| match fault {
            Fault::NoticesSilent => {
                for link in site.servers.iter().flat_map(|links| &links.database) {
                    link.set(weather);
                }
            }
            Fault::ServerCutFromDatabase => {
                for link in site.servers.iter().skip(index).take(1) {
                    link.database.iter().for_each(|link| link.set(weather));
                }
            }
            Fault::BalancerCutFromServer => {
                for link in site.servers.iter().skip(index).take(1) {
                    link.balancer.iter().for_each(|link| link.set(weather));
                }
            }
            Fault::ClientsCutOff | Fault::ClientsRefused => {
                let chosen = some.iter().filter_map(|index| site.clients.get(*index));
                chosen.for_each(|link| link.set(weather));
            }
            _ => site.clients.iter().for_each(|link| link.set(weather)),
        };
        set(match fault {
            Fault::NoticesSilent => Weather::NoNotices,
            Fault::LinksRough => Weather::Rough(delay),
            Fault::ClientsRefused => Weather::Closed,
            _ => Weather::Silent,
        });
        let lasts = self.dice.within(LAST_MS.0, LAST_MS.1);
        process::wait_until(Duration::from_millis(lasts), || false);
        set(Weather::Fair);
        match fault {
            Fault::ServerCutFromDatabase | Fault::BalancerCutFromServer => server,
            Fault::ClientsCutOff | Fault::ClientsRefused => format!("devices {some:?}"),
            _ => String::new(),
        }
    }
}

/// Why a machine cannot do a fault.
fn cannot(site: &Site, fault: Fault) -> Option<&'static str> {
    match fault {
        Fault::DiskFull if site.database.bounds() == Bounds::None => {
            Some("mounting a small file system needs root")
        }
        Fault::ServerClockJumps | Fault::ClientClockJumps if site.clocks.is_none() => {
            Some("the library of the package faketime is not installed")
        }
        _ => None,
    }
}

/// Whether a process is no more, or only waits to be reaped.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| {
        let state = stat.rsplit(')').next().unwrap_or_default();
        state.trim_start().starts_with('Z')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
        }
        assert_eq!(Fault::named("rain"), None);
    }

    #[test]
    fn a_living_process_has_not_ended() {
        assert!(!has_ended(std::process::id()));
        assert!(has_ended(u32::MAX));
    }
}
