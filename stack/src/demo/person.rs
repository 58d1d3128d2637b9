//! A person of the demonstration: the real client as child processes, its JSON lines as events.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::DemoError;
use crate::files::{self, Access};
use crate::process::{self, DeathSignal};

/// Events that may wait to be looked at; the client waits when there are more.
const EVENTS_MAX: usize = 10_000;

/// What a client says on stderr is kept up to this length.
const COMPLAINT_BYTES_MAX: u64 = 64 * 1024;

/// Longer than any command of the demonstration takes on a slow machine.
const COMMAND_LIMIT: Duration = Duration::from_secs(90);

/// Somebody with a home and a password of their own.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) name: &'static str,
    program: PathBuf,
    /// What the client is told through its environment.
    environment: Vec<(&'static str, String)>,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) events: Vec<Value>,
    pub(crate) complaint: String,
}

impl Person {
    /// Makes a home below `folder` with a random password in it.
    pub(crate) fn new(
        name: &'static str,
        program: &Path,
        folder: &Path,
        server: &str,
        ca: &Path,
    ) -> Result<Self, DemoError> {
        let home = folder.join(name);
        let runtime = home.join("run");
        files::make_dir(&runtime, 0o700)?;
        let password_file = home.join("password");
        let password: String = (0..24)
            .map(|_| char::from(rand::random_range(b'a'..=b'z')))
            .collect();
        files::write(&password_file, &format!("{password}\n"), Access::Private)?;
        let text = |path: PathBuf| path.display().to_string();
        let environment = vec![
            ("SOTTO_HOME", text(home.join("sotto"))),
            ("SOTTO_PROFILE", name.to_owned()),
            ("SOTTO_PASSWORD_FILE", text(password_file)),
            ("SOTTO_SERVER", server.to_owned()),
            ("SOTTO_CA", ca.display().to_string()),
            ("XDG_RUNTIME_DIR", text(runtime)),
        ];
        Ok(Self {
            name,
            program: program.to_owned(),
            environment,
        })
    }

    /// Starts a command of the client and leaves it running.
    pub(crate) fn start(&self, args: &[&str]) -> Result<Running, DemoError> {
        let mut command = process::bound_command(&self.program, DeathSignal::Kill);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SOTTO_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.arg("--json").args(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let what = format!("{}: sotto {}", self.name, args.join(" "));
        Running::new(process::spawn(command)?, what)
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Result<Answer, DemoError> {
        let mut running = self.start(args)?;
        running.close_input();
        running.finish(COMMAND_LIMIT)
    }

    /// Runs a command that has to succeed.
    pub(crate) fn succeed(&self, args: &[&str]) -> Result<Answer, DemoError> {
        let answer = self.run(args)?;
        if answer.code == Some(0) {
            return Ok(answer);
        }
        Err(DemoError::Failed(format!(
            "{}: `sotto {}` ended with {:?}: {}",
            self.name,
            args.join(" "),
            answer.code,
            answer.complaint.trim()
        )))
    }
}

/// A client that runs.
#[derive(Debug)]
pub(crate) struct Running {
    what: String,
    child: Child,
    input: Option<ChildStdin>,
    events: Receiver<Result<Value, String>>,
    complaint: Option<JoinHandle<String>>,
}

impl Running {
    fn new(mut child: Child, what: String) -> Result<Self, DemoError> {
        let input = child.stdin.take();
        let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(DemoError::Failed(format!("{what}: no pipes")));
        };
        let (sender, events) = sync_channel(EVENTS_MAX);
        std::thread::Builder::new().spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).map_err(|_| line);
                if sender.send(event).is_err() {
                    return;
                }
            }
        })?;
        let complaint = std::thread::Builder::new().spawn(move || {
            let mut bytes = Vec::new();
            // What cannot be read is not shown.
            let _ = errors.take(COMPLAINT_BYTES_MAX).read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })?;
        Ok(Self {
            what,
            child,
            input,
            events,
            complaint: Some(complaint),
        })
    }

    /// The next event; `None` when there is none within `limit` or the client has ended.
    pub(crate) fn next(&mut self, limit: Duration) -> Result<Option<Value>, DemoError> {
        match self.events.recv_timeout(limit) {
            Ok(Ok(event)) => Ok(Some(event)),
            Ok(Err(line)) => Err(DemoError::Failed(format!(
                "{}: not JSON on stdout: {line}",
                self.what
            ))),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(None),
        }
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, text: &str) -> Result<(), DemoError> {
        let input = self.input.as_mut();
        let written = input.map(|input| writeln!(input, "{text}").and_then(|()| input.flush()));
        match written {
            Some(Ok(())) => Ok(()),
            _ => Err(DemoError::Failed(format!(
                "{}: does not read what is typed",
                self.what
            ))),
        }
    }

    /// Tells the client that nothing more will be typed.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// Whether the client is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the end and collects what is left.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<Answer, DemoError> {
        let deadline = process::now() + limit;
        let mut events = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(process::now());
            match self.next(left)? {
                Some(event) => events.push(event),
                None => break,
            }
        }
        let left = deadline.saturating_duration_since(process::now());
        let status = process::wait_for_exit(&mut self.child, left.max(Duration::from_secs(1)))?;
        let Some(status) = status else {
            let seconds = limit.as_secs();
            return Err(DemoError::Failed(format!(
                "{}: did not end within {seconds} s",
                self.what
            )));
        };
        let complaint = self.complaint.take().and_then(|thread| thread.join().ok());
        Ok(Answer {
            code: status.code(),
            events,
            complaint: complaint.unwrap_or_default(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended ones only have to be reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The texts of the incoming messages among events.
pub(crate) fn texts(events: &[Value]) -> impl Iterator<Item = &str> {
    events
        .iter()
        .filter(|event| event["event"] == "message" && event["direction"] != "out")
        .filter_map(|event| event["text"].as_str())
}
