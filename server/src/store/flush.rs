//! The flusher: one task and connection that writes cursors, presence and the heartbeat.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::connect::{Database, Keeper, Profile, Task, WORK_LIMIT};
use super::cursors::Cursors;
use super::error::StoreError;
use super::presence::Presence;

/// At least this long between two writes of what is buffered.
const PAUSE: Duration = Duration::from_millis(80);

/// How often a server shows that it lives; three missed beats make it dead.
const HEARTBEAT: Duration = Duration::from_secs(5);

type Done = oneshot::Sender<Result<(), StoreError>>;

/// The task's handle.
pub(super) struct Flusher {
    close: mpsc::Sender<Done>,
    nudge: Arc<Notify>,
    _task: Task,
}

impl Flusher {
    pub(super) fn start(
        database: &Arc<Database>,
        cursors: &Arc<Cursors>,
        presence: &Arc<Presence>,
    ) -> Self {
        let (close, closing) = mpsc::channel(1);
        let nudge = Arc::new(Notify::new());
        let work = Work {
            keeper: Keeper::new(Arc::clone(database), Profile::Buffered),
            cursors: Arc::clone(cursors),
            presence: Arc::clone(presence),
        };
        Self {
            close,
            nudge: Arc::clone(&nudge),
            _task: Task::spawn(run(work, nudge, closing)),
        }
    }

    /// Notified when something waits to be written.
    pub(super) fn nudge(&self) -> Arc<Notify> {
        Arc::clone(&self.nudge)
    }

    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let ended = || StoreError::Unavailable("flusher ended".into());
        let (done, written) = oneshot::channel();
        self.close.send(done).await.map_err(|_| ended())?;
        written.await.map_err(|_| ended())?
    }
}

struct Work {
    keeper: Keeper,
    cursors: Arc<Cursors>,
    presence: Arc<Presence>,
}

/// What the task was woken for.
#[derive(Clone, Copy)]
enum Turn {
    Write,
    Beat,
    Leave,
}

async fn run(mut work: Work, nudge: Arc<Notify>, mut closing: mpsc::Receiver<Done>) {
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = heartbeat.tick() => work.turn(Turn::Beat).await.unwrap_or_else(warn),
            () = nudge.notified() => {
                work.turn(Turn::Write).await.unwrap_or_else(warn);
                tokio::time::sleep(PAUSE).await;
            }
            Some(done) = closing.recv() => {
                let _ = done.send(work.turn(Turn::Leave).await);
                return;
            }
        }
    }
}

fn warn(error: StoreError) {
    tracing::debug!(%error, "cursors and presence wait for the database");
}

impl Work {
    async fn turn(&mut self, turn: Turn) -> Result<(), StoreError> {
        let away = || StoreError::Unavailable("no connection".into());
        let link = self.keeper.link().await.ok_or_else(away)?;
        let (cursors, presence) = (&self.cursors, &self.presence);
        let work = async {
            match turn {
                Turn::Write => {}
                Turn::Beat => presence.beat(link).await?,
                Turn::Leave => {
                    cursors.write(link).await?;
                    return presence.leave(link).await;
                }
            }
            // With each beat too: what failed before is tried again.
            cursors.write(link).await?;
            presence.write(link).await
        };
        let outcome = tokio::time::timeout(WORK_LIMIT, work).await;
        let outcome = outcome.unwrap_or_else(|_| Err(StoreError::Unavailable("timed out".into())));
        if outcome.is_err() {
            self.keeper.discard();
        }
        outcome
    }
}
