//! A run from its beginning to its verdict.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sotto_stack::process;

use crate::checker::{self, Verdict};
use crate::database::Bounds;
use crate::dice::Dice;
use crate::error::FaultsError;
use crate::history::{Cast, History, Kept, KeptMessage, Life, Stores, Token, What};
use crate::nemesis::{Fault, Going, Nemesis};
use crate::people::{Crowd, PEOPLE_MAX, People};
use crate::report::Report;
use crate::rpc::{Answer, Rpc};
use crate::site::{Plan, Site};
use crate::workload::{More, Saved, Scene, Sent, Worker};

/// Everything acknowledged is on every screen this long after the last fault, at the latest.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// How long a last question at a client is repeated.
const LAST_LIMIT: Duration = Duration::from_secs(60);
/// More than any conversation of a run has.
const HISTORY_MAX: &str = "100000";
/// Between two looks at whether everything is shown: each reads the whole history.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Files that each device saves at the end.
const LAST_SAVES: usize = 2;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `sotto` program: servers, balancer and clients.
    pub sotto: PathBuf,
    /// How long things break.
    pub length: Duration,
    /// Decides what people do and what breaks.
    pub seed: u64,
    /// Servers, at least one.
    pub servers: u16,
    /// People, 3 to 8; the first two have two devices.
    pub people: u16,
    /// What may break; everything strikes once before anything strikes again.
    pub faults: Vec<Fault>,
    /// Ends after so many faults, even when there is time left.
    pub strikes_max: Option<usize>,
    /// Where the history goes; kept whatever the verdict.
    pub history: PathBuf,
}

/// Runs, and judges. `progress` is told what happens, a line at a time.
///
/// # Errors
/// When there is no verdict: a part does not start, or does not come back after a fault.
pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Report, FaultsError> {
    let dir = folder()?;
    let canary = format!("{:016x}", Dice::new(options.seed, 99).number());
    let crowd = Crowd {
        people: usize::from(options.people.clamp(3, PEOPLE_MAX)),
        with_two: 2,
    };
    progress("starting the deployment, with a link between any two parts");
    let mut site = Site::start(&Plan {
        dir: dir.path(),
        sotto: &options.sotto,
        servers: options.servers.max(1),
        devices: crowd.devices(),
        seed: options.seed,
        bounds: match options.faults.contains(&Fault::DiskFull) {
            true => Bounds::Own,
            false => Bounds::None,
        },
    })?;
    let history = Arc::new(History::create(&options.history)?);
    progress("people get acquainted");
    let marks = (canary.as_str(), &history);
    let people = People::gather(dir.path(), &site, &options.sotto, crowd, marks)?;
    let stage = Stage::enter(options, people, &history)?;
    let outcome = stage.play(options, &mut site, progress);
    for device in &stage.scene.devices {
        device.end(Life::Ended, &history);
    }
    let mut report = outcome?;
    let logs = dir.path().join("up/log");
    site.deployment.stop();
    let [one, other] = site.database.homes();
    for found in holding(&[&logs, one, other], canary.as_bytes()) {
        let what = format!("a text of the run stands in clear in {}", found.display());
        report.violations.push(what);
    }
    Ok(report)
}

/// A folder for everything; Postgres passes through as another user.
fn folder() -> Result<tempfile::TempDir, FaultsError> {
    let dir = tempfile::Builder::new()
        .prefix("sotto-faults-")
        .tempdir()
        .map_err(FaultsError::system("making a folder"))?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711))
        .map_err(FaultsError::file(dir.path()))?;
    Ok(dir)
}

/// When everybody writes everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    First,
    Last,
}

/// Everybody at their places.
struct Stage {
    scene: Arc<Scene>,
    history: Arc<History>,
    cast: Arc<Cast>,
}

impl Stage {
    fn enter(
        options: &Options,
        people: People,
        history: &Arc<History>,
    ) -> Result<Self, FaultsError> {
        let People { cast, devices } = people;
        for device in &devices {
            device.start(&cast, history)?;
        }
        let scene = Scene::new(
            Arc::clone(&cast),
            Arc::clone(history),
            devices,
            options.seed,
        );
        Ok(Self {
            scene: Arc::new(scene),
            history: Arc::clone(history),
            cast,
        })
    }

    fn play(
        &self,
        options: &Options,
        site: &mut Site,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Report, FaultsError> {
        self.everybody_writes_everywhere()?;
        self.settle(Round::First)?;
        progress("everybody writes; things begin to break");
        let workers: Vec<_> = (0..self.scene.devices.len())
            .map(|device| {
                let worker = Worker::new(&self.scene, device);
                std::thread::spawn(move || worker.work())
            })
            .collect();
        let notes = (&self.cast, &self.history);
        let wanted = (options.faults.as_slice(), options.seed);
        let (mut nemesis, skipped) = Nemesis::new(site, &self.scene.devices, notes, wanted);
        for line in &skipped {
            progress(line);
        }
        let end = process::now() + options.length;
        let limit = options.strikes_max.unwrap_or(usize::MAX);
        let outcome = nemesis.rage(limit, || match process::now() < end {
            true => Going::On,
            false => Going::Over,
        });
        self.scene.rest();
        nemesis.look();
        let strikes = nemesis.struck();
        site.calm()?;
        for worker in workers {
            let _ = worker.join();
        }
        outcome?;
        progress(&format!(
            "{strikes} faults struck; waiting for everything to settle"
        ));
        let settled_ms = self.last_round()?;
        let stores = self.stores()?;
        let verdict = self
            .history
            .read(|records| checker::judge(&self.cast, records, &stores));
        Ok(self.report(options, verdict, skipped, (strikes, settled_ms)))
    }

    fn report(
        &self,
        options: &Options,
        verdict: Verdict,
        skipped: Vec<String>,
        (strikes, settled_ms): (usize, u64),
    ) -> Report {
        let devices = self.scene.devices.len();
        let figures = self
            .history
            .read(|records| checker::figures(records, devices));
        Report {
            seed: options.seed,
            seconds: self.history.now_ms() / 1_000,
            devices,
            strikes,
            settled_ms,
            tally: verdict.tally,
            faults: figures,
            skipped,
            violations: verdict.violations,
            history: self.history.path().to_owned(),
        }
    }

    /// Every device writes into each of its conversations.
    fn everybody_writes_everywhere(&self) -> Result<(), FaultsError> {
        for device in &self.scene.devices {
            let account = self.cast.devices[device.index];
            for (talk, of) in self.cast.talks.iter().enumerate() {
                if of.always.contains(&account) {
                    self.write_until_acked(device.index, talk)?;
                }
            }
        }
        Ok(())
    }

    fn write_until_acked(&self, device: usize, talk: usize) -> Result<(), FaultsError> {
        let who = self.cast.device_name(device);
        let mut failed = None;
        let sent = process::wait_until(LAST_LIMIT, || {
            let Some(mut line) = self.scene.devices[device].connect() else {
                return false;
            };
            let sent = self.scene.send(&mut line, device, talk, &More::default());
            match sent {
                Ok(sent) => sent == Sent::Acked,
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        });
        match (sent, failed) {
            (true, _) => Ok(()),
            (false, Some(error)) => Err(error),
            (false, None) => {
                let to = self.cast.address(talk, self.cast.devices[device]);
                self.history.note(What::Wrong {
                    sentence: format!("{who} could not write to {to} after the faults"),
                });
                Ok(())
            }
        }
    }

    /// Waits until all is shown that has to be; milliseconds that it took.
    fn settle(&self, what: Round) -> Result<u64, FaultsError> {
        let began_ms = self.history.now_ms();
        let missing = || {
            let count = |records: &[_]| checker::missing(&self.cast, records).len();
            self.history.read(count)
        };
        let end = process::now() + SETTLE_LIMIT;
        while missing() > 0 {
            if process::now() >= end {
                // At the end the checker says what is missing.
                return match what {
                    Round::First => Err(FaultsError::TimedOut("the first messages".to_owned())),
                    Round::Last => Ok(self.history.now_ms() - began_ms),
                };
            }
            process::wait_until(LOOK_INTERVAL, || false);
        }
        Ok(self.history.now_ms() - began_ms)
    }

    /// One more message from everybody to everybody, and everything on every screen; then files.
    fn last_round(&self) -> Result<u64, FaultsError> {
        self.everybody_writes_everywhere()?;
        let settled_ms = self.settle(Round::Last)?;
        let with_files: BTreeSet<(Token, String)> = self
            .cast
            .talks
            .iter()
            .filter(|talk| talk.sometimes.is_empty() && talk.always.len() > 2)
            .flat_map(|talk| self.history.recent(&talk.conversation))
            .filter(|(token, _)| self.scene.has_file(*token))
            .collect();
        for device in &self.scene.devices {
            for message in with_files.iter().rev().take(LAST_SAVES) {
                self.save_at_last(device.index, message);
            }
        }
        Ok(settled_ms)
    }

    /// A file has to be had whole now.
    fn save_at_last(&self, device: usize, message: &(Token, String)) {
        let mut last = Saved::Not("gone".to_owned());
        process::wait_until(LAST_LIMIT, || {
            let Some(mut line) = self.scene.devices[device].connect() else {
                return false;
            };
            last = self.scene.save(&mut line, device, message);
            last == Saved::Whole
        });
        if let Saved::Not(code) = &last {
            let who = self.cast.device_name(device);
            self.history.note(What::Wrong {
                sentence: format!("{who} does not get the file of {:?}: {code}", message.0),
            });
        }
    }

    /// What every device keeps of each of its conversations.
    fn stores(&self) -> Result<Stores, FaultsError> {
        let mut stores = Stores::new();
        for device in &self.scene.devices {
            let account = self.cast.devices[device.index];
            for (talk, of) in self.cast.talks.iter().enumerate() {
                if of.always.contains(&account) {
                    let kept = self.kept(device.index, talk)?;
                    stores.insert((device.index, talk), kept);
                }
            }
        }
        Ok(stores)
    }

    fn kept(&self, device: usize, talk: usize) -> Result<Kept, FaultsError> {
        let to = self.cast.address(talk, self.cast.devices[device]);
        let mut said = None;
        process::wait_until(LAST_LIMIT, || {
            let line = self.scene.devices[device].connect();
            let answer =
                line.map(|mut line: Rpc| line.command(&["history", &to, "--last", HISTORY_MAX]));
            if let Some(Answer::Done(objects)) = answer {
                said = Some(objects);
            }
            said.is_some()
        });
        let who = self.cast.device_name(device);
        let said = said.ok_or_else(|| FaultsError::client(&who, "its history is not to be had"))?;
        Ok(said.iter().map(|event| self.message(event)).collect())
    }

    fn message(&self, event: &Value) -> KeptMessage {
        let text = event["text"].as_str().unwrap_or_default();
        let mut reactions: Vec<String> = event["reactions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|reaction| {
                let mut by: Vec<String> = reaction["by"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(ToString::to_string)
                    .collect();
                by.sort();
                format!("{}{}", reaction["emoji"], by.join(""))
            })
            .collect();
        reactions.sort();
        KeptMessage {
            seq: event["seq"].as_u64().unwrap_or_default(),
            id: event["id"].as_str().unwrap_or_default().to_owned(),
            content: format!(
                "{} {text:?} {} {}",
                event["kind"],
                event["edited"],
                reactions.join(" ")
            ),
            token: Token::of(text, &self.cast.canary),
        }
    }
}

/// Files below some folders that hold `needle`.
fn holding(folders: &[&Path], needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|path| path.to_path_buf()).collect();
    while let Some(next) = open.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(path),
                Ok(kind) if kind.is_file() => {
                    let bytes = fs::read(&path).unwrap_or_default();
                    if bytes.windows(needle.len()).any(|window| window == needle) {
                        found.push(path);
                    }
                }
                _ => {}
            }
        }
    }
    found
}
