//! Showing messages: as they arrive, and those of before.

use std::time::Duration;

use super::app::App;
use super::args::Listen;
use super::drive::{Interrupts, Troubles};
use super::files::Pictures;
use super::names;
use super::render::{self, Place};
use crate::attachment::picture::Images;
use crate::engine::api::{Connection, Direction, Event};
use crate::exit::Failure;
use crate::notice::Notice;
use crate::runtime::Session;

/// When to stop.
struct Bounds {
    duration: Option<Duration>,
    /// Messages and requests still wanted.
    left: Option<u64>,
    pictures: Pictures,
}

/// Whether any server let this device in.
#[derive(PartialEq, Eq)]
enum Reached {
    Yes,
    No,
}

pub(crate) async fn listen(app: &mut App, args: Listen) -> Result<(), Failure> {
    app.dialer()?;
    app.notify = args.notify;
    let pictures = Pictures::new(app, args.images);
    let mut engine = app.offline().await?;
    // Those that came while other commands ran; they were not asked to be counted.
    for request in engine.requests()? {
        render::request(app, &request)?;
    }
    for invitation in engine.invitations()? {
        render::invitation(app, &invitation)?;
    }
    engine.listen(app.clock.now())?;
    let mut session = app.online(engine)?;
    let bounds = Bounds {
        duration: args.duration,
        left: args.count,
        pictures,
    };
    let end = listen_on(app, &mut session, bounds).await;
    session.close().await;
    end
}

async fn listen_on(
    app: &mut App,
    session: &mut Session,
    mut bounds: Bounds,
) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let mut troubles = Troubles::default();
    let mut reached = Reached::No;
    let time_up = super::drive::after(bounds.duration);
    tokio::pin!(time_up);
    loop {
        let happening = tokio::select! {
            biased;
            () = interrupts.next() => return Ok(()),
            happening = session.next() => happening?,
            () = &mut time_up => {
                return match reached {
                    Reached::Yes => Ok(()),
                    Reached::No => Err(troubles.out_of_time()),
                };
            }
        };
        let Some(event) = troubles.heed(app, happening)? else {
            continue;
        };
        if matches!(event, Event::Connection(Connection::LoggedIn(_))) && reached == Reached::No {
            reached = Reached::Yes;
            app.printer.note("listening; Ctrl-C ends");
        }
        render::event(app, &event)?;
        if let Event::Message(message) = &event {
            bounds.pictures.show(app, session.engine(), message).await?;
        }
        let arrived = match &event {
            Event::Message(message) => message.direction == Direction::Incoming,
            Event::Request(_) | Event::Invitation(_) => true,
            _ => false,
        };
        if let Some(notice) = Notice::of(&event) {
            app.announce(&notice)?;
        }
        if arrived {
            bounds.left = bounds.left.map(|left| left.saturating_sub(1));
            if bounds.left == Some(0) {
                return Ok(());
            }
        }
    }
}

pub(crate) async fn history(
    app: &mut App,
    name: &str,
    last: u32,
    images: Images,
) -> Result<(), Failure> {
    let pictures = Pictures::new(app, images);
    let engine = app.offline().await?;
    let talk = names::talk(&engine, name)?;
    let messages = engine.history(&talk, last)?;
    if messages.is_empty() {
        names::known(&engine, &talk)?;
    }
    for message in &messages {
        render::message(app, message, Place::Archive)?;
        pictures.show(app, &engine, message).await?;
    }
    Ok(())
}
