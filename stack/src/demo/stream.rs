//! Killing servers with SIGKILL in the middle of a stream of messages.
//!
//! Alice types a stream, a few messages ahead of what bob has read; after a third of it the
//! server that bob is connected to is killed, after two thirds alice's. Both clients go on by
//! themselves. Bob has to see every message once and in order.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;

use super::person::{Running, texts};
use super::{DemoError, Stage};
use crate::deployment::Kind;

/// Messages in the stream.
const MESSAGES: usize = 200;

/// What each of them begins with.
const STREAM: &str = "one of many, number";

/// How far alice types ahead of what bob has read.
const WINDOW: usize = 20;

/// How long the next message may take to arrive, a dead server and a reconnect included.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// How long a client may take to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

impl Stage {
    pub(super) fn kill_servers_in_a_stream(&mut self) -> Result<(), DemoError> {
        self.chapter("Servers are killed in the middle of a stream of messages")?;
        let before = self.sessions();
        let mut listener = self.bob.start(&["listen"])?;
        let bobs = self.wait_for_session(&before, "bob")?;
        let before = self.sessions();
        let mut typist = self.alice.start(&["chat", "bob"])?;
        let alices = self.wait_for_session(&before, "alice")?;
        self.show(&format!("bob is connected to {bobs}, alice to {alices}"));

        let stream: Vec<String> = (1..=MESSAGES)
            .map(|number| format!("{STREAM} {number}"))
            .collect();
        self.written.push(STREAM.to_owned());
        let mut kills = BTreeMap::from([(MESSAGES / 3, bobs), (2 * MESSAGES / 3, alices)]);
        let heard = self.pump(&stream, &mut typist, &mut listener, &mut kills)?;
        judge(&stream, &heard)?;
        self.holds(&format!(
            "bob saw all {MESSAGES} messages, each exactly once, in order"
        ));

        typist.close_input();
        let ended = typist.finish(Duration::from_secs(30))?;
        if ended.code != Some(0) {
            return Err(DemoError::failed(format!(
                "alice's client ended with {:?}",
                ended.code
            )));
        }
        self.expect_nothing_more(listener)?;
        self.check_histories(&stream)?;
        self.holds("both histories hold the same 200 messages in the same order");
        self.wait_for_all_servers()
    }

    /// Types and listens in turn, killing at the appointed counts of heard messages.
    fn pump(
        &mut self,
        stream: &[String],
        typist: &mut Running,
        listener: &mut Running,
        kills: &mut BTreeMap<usize, String>,
    ) -> Result<Vec<String>, DemoError> {
        let mut heard: Vec<String> = Vec::new();
        let mut typed = 0;
        let mut last_heard = crate::process::now();
        while heard.len() < stream.len() {
            self.cancel.check()?;
            while typed < stream.len() && typed < heard.len() + WINDOW {
                typist.type_line(&stream[typed])?;
                typed += 1;
            }
            if let Some(name) = kills
                .first_entry()
                .filter(|entry| *entry.key() <= heard.len())
            {
                self.kill(&name.remove(), heard.len())?;
            }
            self.watch();
            let wait = crate::process::POLL_INTERVAL;
            let before = heard.len();
            while let Some(event) = listener.next(wait)? {
                heard.extend(texts(&[event]).map(str::to_owned));
                if heard.len() >= typed || heard.len() >= before + WINDOW {
                    break;
                }
            }
            if heard.len() > before {
                last_heard = crate::process::now();
            } else if crate::process::now() - last_heard > SILENCE_LIMIT || !listener.is_running() {
                let count = heard.len();
                return Err(DemoError::failed(format!(
                    "bob heard {count} messages, then nothing"
                )));
            }
        }
        Ok(heard)
    }

    fn kill(&mut self, name: &str, heard: usize) -> Result<(), DemoError> {
        let pid = self.pid(name);
        // Alice and bob may have been on the same server, which is dead or just coming back.
        if self.deployment.signal(name, Signal::KILL).is_ok() {
            let pid = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            self.show(&format!(
                "kill -9 {name}{pid}, after bob has seen {heard} messages"
            ));
        }
        Ok(())
    }

    fn pid(&self, name: &str) -> Option<u32> {
        let state = self.deployment.state();
        state
            .processes
            .iter()
            .find(|process| process.name == name)
            .and_then(|process| process.pid)
    }

    /// Sessions by server; servers that do not answer are left out.
    fn sessions(&self) -> BTreeMap<String, u64> {
        let servers = self.deployment.state().processes;
        servers
            .into_iter()
            .filter(|process| process.kind == Kind::Server)
            .filter_map(|process| {
                let sessions = self.deployment.sessions(&process.name).ok()?;
                Some((process.name, sessions))
            })
            .collect()
    }

    /// The server that got one more session than before.
    fn wait_for_session(
        &mut self,
        before: &BTreeMap<String, u64>,
        who: &str,
    ) -> Result<String, DemoError> {
        let mut found = None;
        self.watch_until(CONNECT_LIMIT, |stage| {
            found = stage
                .sessions()
                .into_iter()
                .find(|(name, sessions)| before.get(name).is_none_or(|old| sessions > old))
                .map(|(name, _)| name);
            Ok(found.is_some())
        })?;
        found.ok_or_else(|| DemoError::failed(format!("no server has a session of {who}")))
    }

    /// A duplicate would come right behind: listens a little longer.
    fn expect_nothing_more(&mut self, mut listener: Running) -> Result<(), DemoError> {
        let mut extra = Vec::new();
        self.watch_until(Duration::from_secs(2), |_| {
            if let Some(event) = listener.next(crate::process::POLL_INTERVAL)? {
                extra.extend(texts(&[event]).map(str::to_owned));
            }
            Ok(false)
        })?;
        if extra.is_empty() {
            return Ok(());
        }
        Err(DemoError::failed(format!(
            "bob was shown more than was written: {extra:?}"
        )))
    }

    fn check_histories(&self, stream: &[String]) -> Result<(), DemoError> {
        for (person, other) in [(&self.bob, "alice"), (&self.alice, "bob")] {
            let history = person.succeed(&["history", other, "--last", "1000"])?;
            let held: Vec<String> = history
                .events
                .iter()
                .filter_map(|event| event["text"].as_str())
                .filter(|text| text.starts_with(STREAM))
                .map(str::to_owned)
                .collect();
            judge(stream, &held).map_err(|error| {
                DemoError::failed(format!("the history of {}: {error}", person.name))
            })?;
        }
        Ok(())
    }

    fn wait_for_all_servers(&mut self) -> Result<(), DemoError> {
        let back = self.watch_until(CONNECT_LIMIT, |stage| {
            Ok(stage.sessions().len() == usize::from(super::SERVERS))
        })?;
        if !back {
            return Err(DemoError::failed("a killed server did not come back"));
        }
        self.holds("the killed servers are back");
        Ok(())
    }
}

/// Compares what was heard with what was written.
fn judge(written: &[String], heard: &[String]) -> Result<(), DemoError> {
    if written == heard {
        return Ok(());
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for text in heard {
        *counts.entry(text).or_default() += 1;
    }
    let lost: Vec<&String> = written
        .iter()
        .filter(|text| !counts.contains_key(text.as_str()))
        .collect();
    let doubled: Vec<&str> = counts
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|(text, _)| *text)
        .collect();
    Err(DemoError::failed(format!(
        "{} of {} messages, lost {lost:?}, more than once {doubled:?}, or out of order",
        heard.len(),
        written.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn loss_duplication_and_disorder_are_told() {
        let written = list(&["a", "b", "c"]);
        assert!(judge(&written, &written).is_ok());
        let lost = judge(&written, &list(&["a", "c"])).unwrap_err().to_string();
        assert!(lost.contains("lost [\"b\"]"), "{lost}");
        let doubled = judge(&written, &list(&["a", "b", "b", "c"]))
            .unwrap_err()
            .to_string();
        assert!(doubled.contains("more than once [\"b\"]"), "{doubled}");
        assert!(judge(&written, &list(&["a", "c", "b"])).is_err());
    }
}
