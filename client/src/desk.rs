//! An engine and whose it is: this command's own, or a daemon's that lends it.
//!
//! A lent engine goes back by itself, with the connection that it used, however a command ends.
//! It is never copied: while one command has it, the daemon and all others wait.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::Engine;
use crate::engine::api::Event;
use crate::profile::Profile;
use crate::runtime::Way;

/// Told of every event of a lent engine.
pub(crate) type Observer = Box<dyn FnMut(&Event) + Send>;

/// What a daemon lends to one command after the other.
#[derive(Clone)]
pub(crate) struct Lender {
    held: Arc<Mutex<Held>>,
}

struct Held {
    engine: Option<Engine>,
    way: Option<Way>,
    observer: Observer,
}

impl Lender {
    /// A lender without an engine yet.
    pub(crate) fn new(observer: Observer) -> Self {
        let held = Held {
            engine: None,
            way: None,
            observer,
        };
        Self {
            held: Arc::new(Mutex::new(held)),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine, if nobody has it.
    pub(crate) fn lend(&self) -> Option<Desk> {
        let engine = self.held().engine.take()?;
        Some(Desk {
            engine: Some(engine),
            lender: Some(self.clone()),
        })
    }

    /// The connection that goes with the engine, if there is one.
    pub(crate) fn take_way(&self) -> Option<Way> {
        self.held().way.take()
    }

    /// Takes the connection back.
    pub(crate) fn keep_way(&self, way: Way) {
        self.held().way = Some(way);
    }

    /// Tells the observer.
    pub(crate) fn observe(&self, event: &Event) {
        (self.held().observer)(event);
    }
}

/// An engine to work with.
pub(crate) struct Desk {
    /// Gone only while the desk itself goes.
    engine: Option<Engine>,
    lender: Option<Lender>,
}

impl Desk {
    /// The same engine, to be lent from now on.
    pub(crate) fn lent_by(mut self, lender: &Lender) -> Self {
        self.lender = Some(lender.clone());
        self
    }

    /// The same engine, which goes back to nobody from now on.
    pub(crate) fn keep(&mut self) {
        self.lender = None;
    }

    /// Whose it is.
    pub(crate) fn lender(&self) -> Option<&Lender> {
        self.lender.as_ref()
    }

    /// Nothing, for a moment, in the place of a desk that is moved.
    pub(crate) fn vacant() -> Self {
        Self {
            engine: None,
            lender: None,
        }
    }

    /// The profile under the engine, for whoever owns both.
    pub(crate) fn into_profile(mut self) -> Profile {
        match self.engine.take() {
            Some(engine) => engine.into_profile(),
            None => unreachable!("{GONE}"),
        }
    }
}

const GONE: &str = "a desk has its engine as long as anybody has the desk";

impl From<Engine> for Desk {
    fn from(engine: Engine) -> Self {
        Self {
            engine: Some(engine),
            lender: None,
        }
    }
}

impl Deref for Desk {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        match &self.engine {
            Some(engine) => engine,
            None => unreachable!("{GONE}"),
        }
    }
}

impl DerefMut for Desk {
    fn deref_mut(&mut self) -> &mut Engine {
        match &mut self.engine {
            Some(engine) => engine,
            None => unreachable!("{GONE}"),
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let (Some(engine), Some(lender)) = (self.engine.take(), &self.lender) {
            lender.held().engine = Some(engine);
        }
    }
}
