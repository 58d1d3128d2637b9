//! The people of a run: registered, acquainted with each other, in their groups, with further
//! devices linked, before anything breaks.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sotto_stack::process;

use crate::device::{Device, Ground};
use crate::error::FaultsError;
use crate::history::{Cast, History, Life, Talk};
use crate::rpc::{Answer, Rpc};
use crate::site::{Site, client_clock};
use crate::workload::conversation_of;

/// How their names begin.
const STEMS: [&str; 8] = ["ann", "ben", "cid", "dee", "eva", "fin", "gus", "hal"];
/// The most people of a run.
pub(crate) const PEOPLE_MAX: u16 = 8;
/// How long each step before the first fault may take.
const STEP_LIMIT: Duration = Duration::from_secs(60);

/// How many take part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    /// Accounts.
    pub(crate) people: usize,
    /// The first so many have two devices.
    pub(crate) with_two: usize,
}

impl Crowd {
    /// Devices in all.
    pub(crate) const fn devices(self) -> usize {
        self.people + self.with_two
    }

    /// The account of each device: first devices first.
    pub(crate) fn owners(self) -> Vec<usize> {
        (0..self.people).chain(0..self.with_two).collect()
    }
}

/// Everybody, ready; their clients do not run.
pub(crate) struct People {
    pub(crate) cast: Arc<Cast>,
    pub(crate) devices: Vec<Arc<Device>>,
}

impl People {
    /// Makes them in `dir`.
    ///
    /// # Errors
    /// When a client does not do what it should while nothing is broken.
    pub(crate) fn gather(
        dir: &Path,
        site: &Site,
        sotto: &Path,
        crowd: Crowd,
        (canary, history): (&str, &Arc<History>),
    ) -> Result<Self, FaultsError> {
        let mark: String = canary.chars().take(6).collect();
        let names = STEMS.iter().take(crowd.people);
        let mut cast = Cast {
            accounts: names.map(|stem| format!("{stem}{mark}")).collect(),
            devices: crowd.owners(),
            talks: Vec::new(),
            canary: canary.to_owned(),
        };
        let devices = homes(dir, site, sotto, &cast)?;
        let early = Arc::new(cast.clone());
        for device in &devices[..crowd.people] {
            device.run(&["register", &cast.accounts[device.index]], "")?;
            device.start(&early, history)?;
        }
        cast.talks = acquaint(&cast, &devices[..crowd.people], crowd)?;
        for device in &devices {
            device.end(Life::Ended, history);
        }
        for device in &devices[crowd.people..] {
            let account = cast.devices[device.index];
            link(&cast.accounts[account], &devices[account], device)?;
        }
        Ok(Self {
            cast: Arc::new(cast),
            devices,
        })
    }
}

fn homes(
    dir: &Path,
    site: &Site,
    sotto: &Path,
    cast: &Cast,
) -> Result<Vec<Arc<Device>>, FaultsError> {
    let mut devices = Vec::new();
    for (index, account) in cast.devices.iter().enumerate() {
        let password_file = dir.join(format!("password{account}"));
        fs::write(
            &password_file,
            format!("password of {account} {}", cast.canary),
        )
        .map_err(FaultsError::file(&password_file))?;
        let clocks = site.clocks.as_ref();
        let ground = Ground {
            sotto: sotto.to_owned(),
            ca: site.deployment.ca().to_owned(),
            variables: clocks
                .map(|clocks| clocks.variables(&client_clock(index)))
                .unwrap_or_default(),
        };
        let home = dir.join(format!("d{index}"));
        fs::create_dir_all(&home)
            .and_then(|()| fs::set_permissions(&home, fs::Permissions::from_mode(0o700)))
            .map_err(FaultsError::file(&home))?;
        let device = Device::new(index, &ground, site.door(index), home, password_file)?;
        devices.push(Arc::new(device));
    }
    Ok(devices)
}

/// Everybody with everybody, a group of all, and a group whose members change.
fn acquaint(cast: &Cast, devices: &[Arc<Device>], crowd: Crowd) -> Result<Vec<Talk>, FaultsError> {
    let mut lines = Vec::new();
    for device in devices {
        let who = || FaultsError::client(&cast.device_name(device.index), "its socket refuses");
        lines.push(device.connect().ok_or_else(who)?);
    }
    let mut talks = Vec::new();
    for one in 0..crowd.people {
        for other in one + 1..crowd.people {
            let said = until_done(&mut lines[one], &["send", &cast.accounts[other], "hello"])?;
            until_done(&mut lines[other], &["accept", &cast.accounts[one]])?;
            talks.push(Talk {
                conversation: conversation_of(&said).unwrap_or_default(),
                always: vec![one, other],
                sometimes: Vec::new(),
            });
        }
    }
    let others = cast.accounts[1..].iter().map(String::as_str);
    let hall: Vec<&str> = ["group new", "hall"].into_iter().chain(others).collect();
    let said = until_done(&mut lines[0], &hall)?;
    let hall = conversation_of(&said).unwrap_or_default();
    for line in &mut lines[1..] {
        until_done(line, &["join", &format!("#{hall}")])?;
    }
    talks.push(Talk {
        conversation: hall,
        always: (0..crowd.people).collect(),
        sometimes: Vec::new(),
    });
    let said = until_done(&mut lines[0], &["group new", "club"])?;
    talks.push(Talk {
        conversation: conversation_of(&said).unwrap_or_default(),
        always: vec![0],
        // A further device hears of an invitation that the first follows at its own time.
        sometimes: (crowd.with_two.max(1)..crowd.people).collect(),
    });
    Ok(talks)
}

/// Repeats a command until it succeeds: what it needs may still be under way.
fn until_done(line: &mut Rpc, words: &[&str]) -> Result<Vec<Value>, FaultsError> {
    let mut done = None;
    let mut said = String::new();
    process::wait_until(STEP_LIMIT, || {
        match line.command(words) {
            Answer::Done(objects) => done = Some(objects),
            Answer::Failed(code) => said = code,
            Answer::Gone => said = "gone".to_owned(),
        }
        done.is_some()
    });
    done.ok_or_else(|| FaultsError::client(&words.join(" "), said))
}

/// Makes `new` a further device of the account that `old` has.
fn link(account: &str, old: &Device, new: &Device) -> Result<(), FaultsError> {
    let words = ["link", account, "--device-name", "second"];
    let mut command = new.command(&words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = process::spawn(command).map_err(FaultsError::system("starting sotto link"))?;
    let mut line = String::new();
    let Some(stdout) = child.stdout.take() else {
        return Err(FaultsError::client(account, "no stdout"));
    };
    let mut stdout = BufReader::new(stdout);
    let _ = stdout.read_line(&mut line);
    let shown: Value = serde_json::from_str(&line).unwrap_or_default();
    let code = shown["code"].as_str().unwrap_or_default();
    old.run(&["devices", "link"], &format!("{code}\nyes\n"))?;
    // Read to the end, so that it never waits for us.
    for _ in stdout.lines().map_while(Result::ok) {}
    let output = child
        .wait_with_output()
        .map_err(FaultsError::system("waiting for sotto link"))?;
    new.said(&words, &output).map(drop)
}
