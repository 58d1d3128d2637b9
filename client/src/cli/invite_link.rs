//! Invite links on the command line: making, listing and ending them, deciding
//! about who comes by one, and coming in by one.

use std::time::Duration;

use serde_json::json;
use sotto_protocol::{ConversationId, Username};

use super::app::App;
use super::drive::{perform, until};
use super::group::{change, find, say_done};
use super::message_args::lifetime;
use super::output::{Style, own_words};
use super::render;
use crate::engine::api::{
    Admission, Command, Event, GroupCommand, JoinRequest, LinkCommand, LinkView, MembershipChange,
    Past,
};
use crate::exit::Failure;
use crate::invite_link::{InviteLink, id_text, link_id};
use crate::safe_text::SafeText;
use crate::talk::Talk;

/// How long `join` waits to be let in; an admin's client may come later.
const ADMITTED: Duration = Duration::from_secs(8);
/// How long it then waits for the group's title.
const TITLED: Duration = Duration::from_secs(3);
/// Digits of a link's id that name it, at least.
const ID_DIGITS_MIN: usize = 4;

/// `7d` and the like, in seconds; never without an end.
pub(super) fn link_lifetime(text: &str) -> Result<u32, String> {
    match lifetime(text) {
        Ok(0) => Err("a link ends at some time, at most a year from now".to_owned()),
        other => other,
    }
}

/// Makes a link and shows it.
pub(super) async fn make(
    app: &mut App,
    group: &str,
    (uses, lifetime_s): (u32, u32),
    admission: Admission,
) -> Result<(), Failure> {
    let group = find(app, group).await?;
    app.dialer()?;
    let command = LinkCommand::Make {
        group,
        uses,
        lifetime_s,
        admission,
    };
    match perform(app, Command::Group(GroupCommand::Link(command))).await? {
        Event::InviteLink { link, .. } => show(app, &link),
        _ => Ok(()),
    }
}

async fn views(app: &mut App, group: ConversationId) -> Result<Vec<LinkView>, Failure> {
    app.dialer()?;
    let command = LinkCommand::List { group };
    match perform(app, Command::Group(GroupCommand::Link(command))).await? {
        Event::InviteLinks { links, .. } => Ok(links),
        _ => Ok(Vec::new()),
    }
}

/// Shows the links that count.
pub(super) async fn list(app: &mut App, group: &str) -> Result<(), Failure> {
    let group = find(app, group).await?;
    for link in views(app, group).await? {
        show(app, &link)?;
    }
    Ok(())
}

fn show(app: &mut App, view: &LinkView) -> Result<(), Failure> {
    render::object(app, view.to_json())?;
    let text = match &view.link {
        Some(link) => link.text(),
        None => format!(
            "{} (made by an admin whose words are not here)",
            id_text(&view.id)
        ),
    };
    app.printer.line(&[(Style::Plain, &own_words(&text))])?;
    let now_ms = app.clock.now().unix_ms;
    let until = app.zone.short(view.expires_at_ms, now_ms);
    let uses = match view.uses_left {
        1 => "once".to_owned(),
        uses => format!("{uses} times"),
    };
    let admission = match view.admission {
        Some(Admission::ByAdmin) => ", an admin agrees to each",
        Some(Admission::ByLink) | None => "",
    };
    let about = own_words(&format!("  until {until}, {uses}{admission}"));
    app.printer.line(&[(Style::Faint, &about)])
}

/// Ends a link: named by itself, or by the first digits of its id.
pub(super) async fn end(app: &mut App, group: &str, word: &str) -> Result<(), Failure> {
    let group = find(app, group).await?;
    let link = match InviteLink::parse(word)
        .map(|link| link.id)
        .or_else(|| link_id(word))
    {
        Some(id) => id,
        None => by_digits(app, group, word).await?,
    };
    let command = GroupCommand::Link(LinkCommand::End { group, link });
    change(app, group, "link_ended", command).await
}

async fn by_digits(app: &mut App, group: ConversationId, word: &str) -> Result<[u8; 16], Failure> {
    let digits = word.to_ascii_lowercase();
    let mut found = Vec::new();
    if digits.len() >= ID_DIGITS_MIN {
        let links = views(app, group).await?;
        let ids = links.into_iter().map(|link| link.id);
        found.extend(ids.filter(|id| id_text(id).starts_with(&digits)));
    }
    match found.as_slice() {
        [id] => Ok(*id),
        [] => Err(Failure::named(
            "not_found",
            "the group has no such link; group links lists those that count",
        )),
        _ => Err(Failure::named(
            "usage",
            "several links begin with these digits; give more of them",
        )),
    }
}

/// Shows who waits for an admin's word.
pub(super) async fn requests(app: &mut App, group: &str) -> Result<(), Failure> {
    let group = find(app, group).await?;
    let waiting = app.offline().await?.join_requests(&group)?;
    for request in &waiting {
        show_request(app, request)?;
    }
    Ok(())
}

/// Somebody who waits for an admin's word.
pub(super) fn show_request(app: &mut App, request: &JoinRequest) -> Result<(), Failure> {
    render::object(app, request.to_json())?;
    let name = SafeText::from(&request.name);
    let group = Talk::Group(request.conversation);
    let past = match request.past {
        Past::None => "",
        Past::PutOut => ", whom an admin put out before,",
    };
    let rest = own_words(&format!(
        "{past} has an invite link of {} and asks to come in: sotto group approve '{group}' {1}, or sotto group reject '{group}' {1}",
        request.talk.label(request.title.as_deref()),
        request.name
    ));
    app.printer.line(&[
        (Style::Good, &own_words("● ")),
        (Style::Other, &name),
        (Style::Plain, &rest),
    ])
}

/// Decides about somebody.
pub(super) async fn decide(
    app: &mut App,
    group: &str,
    done: &str,
    command: fn(ConversationId, Username) -> LinkCommand,
    name: Username,
) -> Result<(), Failure> {
    let group = find(app, group).await?;
    change(app, group, done, GroupCommand::Link(command(group, name))).await
}

/// Asks to be let in, and waits a moment for it.
pub(super) async fn join(app: &mut App, link: InviteLink) -> Result<(), Failure> {
    let group = link.conversation;
    app.dialer()?;
    let command = LinkCommand::Join { link };
    perform(app, Command::Group(GroupCommand::Link(command))).await?;
    let engine = app.offline().await?;
    let view = engine.group(&group)?;
    let inside = view.as_ref().is_some_and(|view| view.role.is_some());
    let titled = view.is_some_and(|view| view.title.is_some());
    let me = engine.who_am_i()?.username;
    let mut session = app.online(engine)?;
    let mut outcome = Ok(());
    if !inside {
        outcome = until(app, &mut session, ADMITTED, |app, event| match &event {
            Event::Membership(told)
                if told.conversation == group
                    && told.subject == me
                    && told.change == MembershipChange::Joined =>
            {
                Ok(Some(()))
            }
            _ => render::aside(app, &event).map(|()| None),
        })
        .await;
    }
    if outcome.is_ok() && !titled {
        // Whoever lets somebody in says right after it what the group is called.
        let told = until(app, &mut session, TITLED, |app, event| match &event {
            Event::Group(news) if news.conversation == group => Ok(Some(())),
            _ => render::aside(app, &event).map(|()| None),
        });
        outcome = told.await.or_else(|failure| {
            let late = failure.code == "timed_out";
            if late { Ok(()) } else { Err(failure) }
        });
    }
    session.close().await;
    match outcome {
        Ok(()) => say_done(app, group, "joined"),
        Err(failure) if failure.code == "timed_out" => {
            render::object(
                app,
                json!({ "event": "join_asked", "conversation": group.to_string() }),
            )?;
            app.printer.say(
                "asked; you are in as soon as an admin's client has seen it, or an admin agreed",
            )
        }
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::Cli;

    #[test]
    fn commands_about_links_parse() {
        let parses = |line: &str| {
            let words = std::iter::once("sotto").chain(line.split(' '));
            Cli::try_parse_from(words).is_ok()
        };
        for line in [
            "group link #den",
            "group link #den --uses 5 --expires 4w --approve",
            "group links #den",
            "group unlink #den 0a1b",
            "group requests #den",
            "group approve #den eve",
            "group reject #den eve",
            "group join sotto:join/x",
            "room join sotto:join/x",
        ] {
            assert!(parses(line), "{line}");
        }
        for line in [
            "group link #den --uses 0",
            "group link #den --expires off",
            "group link #den --expires 2y",
        ] {
            assert!(!parses(line), "{line}");
        }
    }
}
