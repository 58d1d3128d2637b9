//! The chapters of the demonstration, but for the killing of servers.

use std::time::Duration;

use serde_json::Value;

use super::person::texts;
use super::scan::scan;
use super::{DemoError, Stage};
use crate::sql;

/// How many bytes of a sealed message are shown.
const SHOWN_BYTES: usize = 160;

/// One sealed message as Postgres holds it.
#[derive(PartialEq, Eq)]
struct Sealed {
    conversation: String,
    seq: String,
    hex: String,
}

impl Stage {
    pub(super) fn register(&mut self) -> Result<(), DemoError> {
        self.chapter("Two people register")?;
        for person in [&self.alice, &self.bob] {
            person.succeed(&["register", person.name])?;
            self.holds(&format!(
                "{} has an account and this device's keys",
                person.name
            ));
        }
        let taken = self.bob.run(&["--profile", "other", "register", "alice"])?;
        if taken.code == Some(0) {
            return Err(DemoError::failed(
                "the name alice could be registered a second time",
            ));
        }
        self.holds("a taken name is refused");
        Ok(())
    }

    pub(super) fn become_acquainted(&mut self) -> Result<(), DemoError> {
        self.chapter("A stranger's first message is a request")?;
        let hello = self.write("hello bob, this is alice");
        self.alice.succeed(&["send", "bob", &hello])?;
        self.show(&format!("alice → bob: “{hello}”"));
        let seen = self.bob.succeed(&["listen", "--for", "3s"])?;
        if texts(&seen.events).any(|text| text == hello) {
            return Err(DemoError::failed(
                "a stranger's text was shown before it was accepted",
            ));
        }
        let requests = self.bob.succeed(&["requests"])?;
        if !mentions(&requests.events, "alice") {
            return Err(DemoError::failed("bob does not see alice's request"));
        }
        self.holds("bob sees that alice wants to talk, and nothing of what she says");
        self.bob.succeed(&["accept", "alice"])?;
        self.expect_in_history("bob", "alice", &hello)?;
        self.holds(&format!("bob accepts, and reads: “{hello}”"));
        Ok(())
    }

    pub(super) fn talk_both_ways(&mut self) -> Result<(), DemoError> {
        self.chapter("Messages both ways, and what Postgres holds of them")?;
        for (from, to, text) in [
            ("bob", "alice", "hi alice! the walls have ears here"),
            ("alice", "bob", "let them listen: they hear only noise"),
        ] {
            let text = self.write(text);
            let before = self.sealed()?;
            self.person(from).succeed(&["send", to, &text])?;
            let held = self.sealed()?;
            let Some(new) = held.iter().rfind(|sealed| !before.contains(sealed)) else {
                return Err(DemoError::failed(
                    "Postgres holds no row for an acknowledged message",
                ));
            };
            self.show(&format!("{from} → {to}, what they see:   “{text}”"));
            self.show_sealed(new);
            self.expect_in_history(to, from, &text)?;
            self.holds(&format!("{to} reads it"));
        }
        Ok(())
    }

    pub(super) fn write_to_somebody_offline(&mut self) -> Result<(), DemoError> {
        self.chapter("Bob is away; alice writes; bob comes back")?;
        let texts: Vec<String> = (1..=3)
            .map(|number| self.write(&format!("while you were away, part {number}")))
            .collect();
        for text in &texts {
            self.alice.succeed(&["send", "bob", text])?;
        }
        self.holds("alice's three messages are acknowledged: they are durable in Postgres");
        let back = self
            .bob
            .succeed(&["listen", "--count", "3", "--for", "30s"])?;
        let heard: Vec<&str> = super::person::texts(&back.events).collect();
        if heard != texts {
            return Err(DemoError::failed(format!(
                "bob came back and was given {heard:?}"
            )));
        }
        self.holds("bob connects, and all three arrive, in order");
        Ok(())
    }

    pub(super) fn search_for_plaintext(&mut self) -> Result<(), DemoError> {
        self.chapter("A search for every word of this talk in all that Postgres keeps")?;
        let database = self.deployment.database_url().to_owned();
        // What is only in memory so far must be looked at too.
        sql::execute(&database, "CHECKPOINT")?;
        let result = scan(&self.data, &self.written)?;
        if !result.found.is_empty() {
            return Err(DemoError::failed(format!(
                "plaintext found: {}",
                result.found.join(", ")
            )));
        }
        let known = scan(&self.data, &["alice".to_owned()])?;
        if known.found.is_empty() {
            return Err(DemoError::failed(
                "the search finds nothing, not even a known name",
            ));
        }
        self.holds(&format!(
            "none of {} messages is in any of {} MB of tables, indexes and logs",
            self.written.len(),
            result.bytes / 1_000_000
        ));
        self.show("(the search works: it finds the name “alice”, which servers must know)");
        Ok(())
    }

    pub(super) fn clean_up(&mut self) -> Result<(), DemoError> {
        self.chapter("Clean up")?;
        let pids: Vec<u32> = self
            .deployment
            .state()
            .processes
            .iter()
            .filter_map(|process| process.pid)
            .collect();
        self.deployment.stop();
        let left: Vec<u32> = pids.into_iter().filter(|pid| is_alive(*pid)).collect();
        if !left.is_empty() {
            return Err(DemoError::failed(format!(
                "processes are left behind: {left:?}"
            )));
        }
        self.holds("balancer, servers and Postgres have stopped; nothing is left behind");
        Ok(())
    }

    /// Marks a text as one that was written, with a tail that makes it unmistakable.
    pub(super) fn write(&mut self, text: &str) -> String {
        self.written.push(text.to_owned());
        text.to_owned()
    }

    fn person(&self, name: &str) -> &super::Person {
        if name == self.alice.name {
            &self.alice
        } else {
            &self.bob
        }
    }

    /// Lets a person listen until a message is in their own store.
    fn expect_in_history(&self, who: &str, with: &str, text: &str) -> Result<(), DemoError> {
        const ATTEMPTS: u32 = 5;
        let person = self.person(who);
        for _ in 0..ATTEMPTS {
            self.cancel.check()?;
            let history = person.succeed(&["history", with, "--last", "1000"])?;
            let count = texts(&history.events)
                .filter(|known| *known == text)
                .count();
            match count {
                0 => person.succeed(&["listen", "--count", "1", "--for", "5s"])?,
                1 => return Ok(()),
                _ => {
                    return Err(DemoError::failed(format!(
                        "{who} has “{text}” {count} times"
                    )));
                }
            };
        }
        Err(DemoError::failed(format!("{who} never received “{text}”")))
    }

    /// The sealed messages that Postgres holds now, oldest first. What everybody has received
    /// is deleted some minutes later, so there are never many.
    fn sealed(&self) -> Result<Vec<Sealed>, DemoError> {
        let query = "SELECT encode(conversation_id, 'hex'), seq, encode(payload, 'hex') \
                     FROM envelope ORDER BY stored_at, seq";
        let rows = sql::rows(self.deployment.database_url(), query)?;
        let sealed = |row: Vec<Option<String>>| {
            let mut cells = row.into_iter().flatten();
            Some(Sealed {
                conversation: cells.next()?,
                seq: cells.next()?,
                hex: cells.next()?,
            })
        };
        Ok(rows.into_iter().filter_map(sealed).collect())
    }

    fn show_sealed(&self, sealed: &Sealed) {
        let short = &sealed.conversation[..sealed.conversation.len().min(8)];
        let length = sealed.hex.len() / 2;
        self.show(&format!(
            "what Postgres holds:   conversation {short}…, seq {}, {length} bytes:",
            sealed.seq
        ));
        let shown = &sealed.hex[..sealed.hex.len().min(2 * SHOWN_BYTES)];
        for line in shown.as_bytes().chunks(64) {
            self.show(&format!("     {}", String::from_utf8_lossy(line)));
        }
    }
}

/// Whether a name occurs in any of the objects.
fn mentions(events: &[Value], name: &str) -> bool {
    events.iter().any(|event| {
        event
            .as_object()
            .is_some_and(|fields| fields.values().any(|value| value == name))
    })
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| {
        crate::process::wait_until(Duration::from_secs(2), || {
            rustix::process::test_kill_process(pid).is_err()
        });
        rustix::process::test_kill_process(pid).is_ok()
    })
}
