//! Groups on the command line: the grammar, and carrying it out.

use clap::Subcommand;
use serde_json::json;
use sotto_protocol::{ConversationId, Username};

use super::app::App;
use super::args::username;
use super::drive::perform;
use super::invite_link::{self, link_lifetime};
use super::output::{Style, own_words};
use super::people::{Shown, catch_up, excuse};
use super::render;
use super::room::{self, RoomAction};
use crate::desk::Desk;
use crate::engine::Engine;
use crate::engine::api::{
    Admission, Command, Event, GroupCommand, GroupMember, Invitation, LinkCommand, MemberTrust,
    role_name,
};
use crate::exit::Failure;
use crate::invite_link::{InviteLink, PREFIX};
use crate::safe_text::SafeText;
use crate::talk::Talk;

/// Digits of an id that name a group, at least.
const ID_DIGITS_MIN: usize = 6;

/// Commands about groups.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupArgs {
    /// Make a group, or change one
    #[command(subcommand)]
    Group(GroupAction),
    /// Make a room, enter one, or change its topic
    #[command(subcommand)]
    Room(RoomAction),
    /// List the public rooms
    Rooms,
    /// List invitations to groups
    Invites,
    /// Follow an invitation to a group, or an invite link
    Join {
        /// #title or #id, the first digits of the id, or a link
        group: String,
    },
}

/// What to do with a group. GROUP is `#title`, or `#` and an id or its first digits.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupAction {
    /// Make a group and invite people
    New {
        /// What the group is called, for its members only
        title: String,
        /// Whom to invite
        #[arg(value_parser = username)]
        names: Vec<Username>,
    },
    /// Invite people
    Add {
        group: String,
        #[arg(required = true, value_parser = username)]
        names: Vec<Username>,
    },
    /// Put people out
    Remove {
        group: String,
        #[arg(required = true, value_parser = username)]
        names: Vec<Username>,
    },
    /// Make members admins
    Promote {
        group: String,
        #[arg(required = true, value_parser = username)]
        names: Vec<Username>,
    },
    /// Make owners admins, and admins members
    Demote {
        group: String,
        #[arg(required = true, value_parser = username)]
        names: Vec<Username>,
    },
    /// Hand the group over: NAME becomes its owner in your place
    Owner {
        group: String,
        #[arg(value_parser = username)]
        name: Username,
    },
    /// Give the group another title
    Rename { group: String, title: String },
    /// Describe the group; an empty text takes the description away
    Describe { group: String, text: String },
    /// Put people out for good, or keep them out
    Ban {
        group: String,
        #[arg(required = true, value_parser = username)]
        names: Vec<Username>,
    },
    /// Let people in again
    Unban {
        group: String,
        #[arg(required = true, value_parser = username)]
        names: Vec<Username>,
    },
    /// Make an invite link: whoever has it may come in
    Link {
        group: String,
        /// How often it may be used
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        uses: u32,
        /// When it ends, such as 1h, 7d or 4w
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = link_lifetime)]
        expires: u32,
        /// An admin agrees to each who comes by it
        #[arg(long)]
        approve: bool,
    },
    /// List the invite links that count
    Links { group: String },
    /// End an invite link
    Unlink {
        group: String,
        /// The link, or the first digits of its id
        link: String,
    },
    /// Show who came by a link and waits for an admin's word
    Requests { group: String },
    /// Let somebody in who came by a link
    Approve {
        group: String,
        #[arg(value_parser = username)]
        name: Username,
    },
    /// Forget that somebody wants to come in; they are not told
    Reject {
        group: String,
        #[arg(value_parser = username)]
        name: Username,
    },
    /// Come in by an invite link
    Join { link: String },
    /// Leave the group; its history stays here
    Leave { group: String },
    /// Show who is in the group
    Members { group: String },
}

pub(crate) async fn carry_out(app: &mut App, args: GroupArgs) -> Result<(), Failure> {
    match args {
        GroupArgs::Group(action) => act(app, action).await,
        GroupArgs::Room(action) => room::act(app, action).await,
        GroupArgs::Rooms => room::rooms(app).await,
        GroupArgs::Invites => invites(app).await,
        GroupArgs::Join { group } => join(app, &group).await,
    }
}

async fn act(app: &mut App, action: GroupAction) -> Result<(), Failure> {
    match action {
        GroupAction::New { title, names } => new(app, title, names).await,
        GroupAction::Members { group } => members(app, &group).await,
        GroupAction::Link {
            group,
            uses,
            expires,
            approve,
        } => {
            let admission = if approve {
                Admission::ByAdmin
            } else {
                Admission::ByLink
            };
            invite_link::make(app, &group, (uses, expires), admission).await
        }
        GroupAction::Links { group } => invite_link::list(app, &group).await,
        GroupAction::Unlink { group, link } => invite_link::end(app, &group, &link).await,
        GroupAction::Requests { group } => invite_link::requests(app, &group).await,
        GroupAction::Approve { group, name } => {
            let command = |group, name| LinkCommand::Approve { group, name };
            invite_link::decide(app, &group, "approved", command, name).await
        }
        GroupAction::Reject { group, name } => {
            let command = |group, name| LinkCommand::Reject { group, name };
            invite_link::decide(app, &group, "rejected", command, name).await
        }
        GroupAction::Join { link } => match InviteLink::parse(&link) {
            Some(link) => invite_link::join(app, link).await,
            None => Err(not_a_link(&link)),
        },
        other => manage(app, other).await,
    }
}

/// What is wrong with a word that is no invite link.
pub(super) fn not_a_link(word: &str) -> Failure {
    let message = match word.trim().starts_with(PREFIX) {
        true => {
            "this invite link is mistyped or cut off, and nobody was asked; copy it again, whole"
        }
        false => {
            "this is no invite link; one begins with sotto:join/. To an invitation, sotto join GROUP"
        }
    };
    Failure::named("usage", message)
}

/// What changes a group.
async fn manage(app: &mut App, action: GroupAction) -> Result<(), Failure> {
    type Wish = fn(ConversationId, Vec<Username>) -> GroupCommand;
    let (done, group, names, command): (_, _, _, Wish) = match action {
        GroupAction::Rename { group, title } => {
            let group = find(app, &group).await?;
            let command = GroupCommand::Rename { group, title };
            return change(app, group, "renamed", command).await;
        }
        GroupAction::Describe { group, text } => {
            let group = find(app, &group).await?;
            let command = GroupCommand::Describe { group, text };
            return change(app, group, "described", command).await;
        }
        GroupAction::Leave { group } => {
            let group = find(app, &group).await?;
            return change(app, group, "left", GroupCommand::Leave { group }).await;
        }
        GroupAction::Owner { group, name } => {
            let group = find(app, &group).await?;
            let command = GroupCommand::HandOver { group, name };
            return change(app, group, "handed_over", command).await;
        }
        GroupAction::Ban { group, names } => ("banned", group, names, |group, names| {
            GroupCommand::Ban { group, names }
        }),
        GroupAction::Unban { group, names } => ("unbanned", group, names, |group, names| {
            GroupCommand::Unban { group, names }
        }),
        GroupAction::Add { group, names } => ("added", group, names, |group, names| {
            GroupCommand::Add { group, names }
        }),
        GroupAction::Remove { group, names } => ("removed", group, names, |group, names| {
            GroupCommand::Remove { group, names }
        }),
        GroupAction::Promote { group, names } => ("promoted", group, names, |group, names| {
            GroupCommand::Promote { group, names }
        }),
        GroupAction::Demote { group, names } => ("demoted", group, names, |group, names| {
            GroupCommand::Demote { group, names }
        }),
        // `act` dealt with the rest.
        _ => return Ok(()),
    };
    let group = find(app, &group).await?;
    change(app, group, done, command(group, names)).await
}

pub(super) async fn new(
    app: &mut App,
    title: String,
    members: Vec<Username>,
) -> Result<(), Failure> {
    let several = !members.is_empty() && !title.contains(' ');
    let outcome = made(app, GroupCommand::New { title, members }).await;
    outcome.map_err(|mut failure| {
        if several && failure.code == "unknown_user" {
            let hint = "; a title of several words stands in quotes: group new \"Sunday walk\" bob";
            failure.message.push_str(hint);
        }
        failure
    })
}

/// Makes a group or room and says so.
pub(super) async fn made(app: &mut App, command: GroupCommand) -> Result<(), Failure> {
    app.dialer()?;
    let command = Command::Group(command);
    let Event::GroupMade {
        conversation,
        title,
        ..
    } = perform(app, command).await?
    else {
        return Ok(());
    };
    let to = Talk::Group(conversation).label(Some(&title));
    render::object(
        app,
        json!({
            "event": "group_made",
            "conversation": conversation.to_string(),
            "to": to,
            "title": title,
        }),
    )?;
    app.printer.say(&format!("made {to}"))
}

/// Carries a change out and says so.
pub(super) async fn change(
    app: &mut App,
    group: ConversationId,
    done: &str,
    command: GroupCommand,
) -> Result<(), Failure> {
    app.dialer()?;
    perform(app, Command::Group(command)).await?;
    say_done(app, group, done)
}

pub(super) fn say_done(app: &mut App, group: ConversationId, done: &str) -> Result<(), Failure> {
    render::object(
        app,
        json!({ "event": done, "conversation": group.to_string() }),
    )?;
    app.printer.say(&done.replace('_', " "))
}

async fn members(app: &mut App, word: &str) -> Result<(), Failure> {
    let engine = app.offline().await?;
    let group = group_of(&engine, word)?;
    let Some(view) = engine.group(&group)? else {
        return Err(unknown());
    };
    for member in &view.members {
        show_member(app, group, member)?;
    }
    if !view.description.is_empty() {
        app.printer
            .line(&[(Style::Faint, &own_words(&view.description))])?;
    }
    Ok(())
}

fn show_member(app: &mut App, group: ConversationId, member: &GroupMember) -> Result<(), Failure> {
    render::object(
        app,
        json!({
            "event": "member",
            "conversation": group.to_string(),
            "name": member.name.as_str(),
            "role": role_name(member.role),
            "trust": member.trust.name(),
            "seen": member.seen,
        }),
    )?;
    let trust = match member.trust {
        MemberTrust::Own => "you",
        MemberTrust::Verified => "verified",
        MemberTrust::Pinned => "not compared yet",
        MemberTrust::Changed => "another identity than before",
    };
    let seen = if member.seen || member.trust == MemberTrust::Own {
        ""
    } else {
        ", invited"
    };
    let role = format!("  {:7}", role_name(member.role));
    let name = SafeText::line(&format!("{:10}", member.name.as_str()), 80);
    app.printer.line(&[
        (Style::Other, &name),
        (Style::Plain, &own_words(&role)),
        (Style::Faint, &own_words(&format!("{trust}{seen}"))),
    ])
}

/// A look at the server first, where there is one: an invitation may just have come.
async fn looked(app: &mut App) -> Result<Desk, Failure> {
    let engine = app.offline().await?;
    if app.dialer().is_err() {
        return Ok(engine);
    }
    let mut session = app.online(engine)?;
    let outcome = catch_up(app, &mut session, Shown::Aside).await;
    let engine = session.close().await;
    match outcome {
        Ok(()) => Ok(engine),
        Err(failure) => excuse(app, failure).map(|()| engine),
    }
}

async fn invites(app: &mut App) -> Result<(), Failure> {
    let engine = looked(app).await?;
    for invitation in engine.invitations()? {
        render::invitation(app, &invitation)?;
    }
    Ok(())
}

async fn join(app: &mut App, word: &str) -> Result<(), Failure> {
    if let Some(link) = InviteLink::parse(word) {
        return invite_link::join(app, link).await;
    }
    if word.trim().starts_with(PREFIX) {
        return Err(not_a_link(word));
    }
    let group = {
        let engine = looked(app).await?;
        group_of(&engine, word)?
    };
    perform(app, Command::Group(GroupCommand::Join { group })).await?;
    say_done(app, group, "joined")?;
    if app.dialer().is_err() {
        return Ok(());
    }
    let mut engine = app.offline().await?;
    engine.listen(app.clock.now())?;
    let mut session = app.online(engine)?;
    let outcome = catch_up(app, &mut session, Shown::Everything).await;
    session.close().await;
    outcome.or_else(|failure| excuse(app, failure))
}

/// `decline` with something that begins with `#`.
pub(crate) async fn decline(app: &mut App, word: &str) -> Result<(), Failure> {
    let group = {
        let engine = looked(app).await?;
        group_of(&engine, word)?
    };
    change(app, group, "declined", GroupCommand::Decline { group }).await
}

pub(super) async fn find(app: &mut App, word: &str) -> Result<ConversationId, Failure> {
    let engine = app.offline().await?;
    group_of(&engine, word)
}

/// The group that a word means: `#title`, `#id`, or the first digits of an id.
fn group_of(engine: &Engine, word: &str) -> Result<ConversationId, Failure> {
    let bare = word.strip_prefix('#').unwrap_or(word);
    if let Some(Talk::Group(group)) = Talk::parse(&format!("#{bare}")) {
        return Ok(group);
    }
    let chats = engine.chats()?;
    let titled = chats
        .iter()
        .filter(|chat| chat.title.as_deref() == Some(bare))
        .filter_map(|chat| chat.talk.group().copied());
    let titled: Vec<_> = titled.collect();
    if let Some(group) = only(&titled, bare)? {
        return Ok(group);
    }
    let invited = engine.invitations()?;
    let called = |invitation: &&Invitation| invitation.title.as_deref() == Some(bare);
    let titled = invited.iter().filter(called);
    let titled: Vec<_> = titled.map(|invitation| invitation.conversation).collect();
    if let Some(group) = only(&titled, bare)? {
        return Ok(group);
    }
    let hex = bare.len() >= ID_DIGITS_MIN && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex {
        let digits = bare.to_ascii_lowercase();
        let known = chats.iter().filter_map(|chat| chat.talk.group().copied());
        let mut found: Vec<_> = known
            .chain(invited.iter().map(|invitation| invitation.conversation))
            .filter(|id| id.to_string().starts_with(&digits))
            .collect();
        found.sort_unstable();
        found.dedup();
        if let Some(group) = only(&found, bare)? {
            return Ok(group);
        }
    }
    Err(unknown())
}

fn only(found: &[ConversationId], word: &str) -> Result<Option<ConversationId>, Failure> {
    match found {
        [] => Ok(None),
        [group] => Ok(Some(*group)),
        several => {
            let ids: Vec<_> = several.iter().map(|id| format!("#{id}")).collect();
            Err(Failure::named(
                "usage",
                format!(
                    "several groups are called {word}; say which: {}",
                    ids.join(", ")
                ),
            ))
        }
    }
}

fn unknown() -> Failure {
    Failure::named(
        "not_found",
        "there is no such group here; sotto chats and sotto invites list those that there are",
    )
}
