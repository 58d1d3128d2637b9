//! Rooms on the command line: public ones that are listed and entered by
//! anybody, and private ones, which are groups.

use clap::Subcommand;
use serde_json::json;

use super::app::App;
use super::drive::perform;
use super::group::{change, find, made, new, not_a_link, say_done};
use super::invite_link;
use super::output::{Style, own_words};
use super::render;
use crate::engine::api::{Command, Event, GroupCommand, Room};
use crate::exit::Failure;
use crate::invite_link::{InviteLink, PREFIX};
use crate::safe_text::SafeText;

/// Cells of a title or topic in the list.
const TITLE_CELLS: usize = 64;

/// What to do with a room.
#[derive(Debug, Subcommand)]
pub(crate) enum RoomAction {
    /// Make a room
    #[command(group = clap::ArgGroup::new("kind").required(true))]
    New {
        /// What it is called; a public room's title is in clear
        title: String,
        /// Listed, and open to everybody of the deployment
        #[arg(long, group = "kind")]
        public: bool,
        /// Found by invitation or invite link only
        #[arg(long, group = "kind")]
        private: bool,
        /// What a public room is about, in clear
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            conflicts_with = "private"
        )]
        topic: String,
    },
    /// Enter a public room, or a private one by an invite link
    Join {
        /// As `rooms` lists it, or a link
        title: String,
    },
    /// Change what a public room is about
    Topic {
        /// #title or #id
        room: String,
        text: String,
    },
}

pub(super) async fn act(app: &mut App, action: RoomAction) -> Result<(), Failure> {
    match action {
        RoomAction::New {
            title,
            private: true,
            ..
        } => new(app, title, Vec::new()).await,
        RoomAction::New { title, topic, .. } => {
            made(app, GroupCommand::NewRoom { title, topic }).await
        }
        RoomAction::Join { title } => match InviteLink::parse(&title) {
            Some(link) => invite_link::join(app, link).await,
            None if title.trim().starts_with(PREFIX) => Err(not_a_link(&title)),
            None => join(app, &title).await,
        },
        RoomAction::Topic { room, text } => {
            let group = find(app, &room).await?;
            let command = GroupCommand::Topic { group, topic: text };
            change(app, group, "topic_set", command).await
        }
    }
}

async fn list(app: &mut App) -> Result<Vec<Room>, Failure> {
    match perform(app, Command::Group(GroupCommand::Rooms)).await? {
        Event::Rooms { rooms, .. } => Ok(rooms),
        _ => Ok(Vec::new()),
    }
}

async fn join(app: &mut App, word: &str) -> Result<(), Failure> {
    let title = word.strip_prefix('#').unwrap_or(word);
    let rooms = list(app).await?;
    let exact = rooms.iter().find(|room| room.title == title);
    let alike = || {
        rooms
            .iter()
            .find(|room| room.title.eq_ignore_ascii_case(title))
    };
    let Some(room) = exact.or_else(alike) else {
        return Err(Failure::named(
            "not_found",
            "there is no public room with this title; sotto rooms lists them",
        ));
    };
    let command = GroupCommand::Enter {
        group: room.conversation,
        title: room.title.clone(),
    };
    perform(app, Command::Group(command)).await?;
    say_done(app, room.conversation, "joined")
}

pub(super) async fn rooms(app: &mut App) -> Result<(), Failure> {
    for room in list(app).await? {
        render::object(
            app,
            json!({
                "event": "room",
                "conversation": room.conversation.to_string(),
                "title": room.title,
                "topic": room.topic,
                "members": room.members,
                "joined": room.joined,
                "access": "public",
            }),
        )?;
        let mark = if room.joined { "● " } else { "○ " };
        let count = format!("  public, {} in  ", room.members);
        app.printer.line(&[
            (Style::Good, &own_words(mark)),
            (Style::Other, &SafeText::line(&room.title, TITLE_CELLS)),
            (Style::Faint, &own_words(&count)),
            (Style::Plain, &SafeText::line(&room.topic, TITLE_CELLS)),
        ])?;
    }
    Ok(())
}
