//! Words that the command line and the full-screen client share: what is told of a message beside
//! its text, and of a change among members. Foreign text stays in it as it came: whoever shows it
//! cleans it.

use crate::engine::api::{
    Failure, JoinRequest, Membership, MembershipChange, Message, Past, role_name,
};
use crate::talk::Talk;

/// Characters of a group's id that name it in a command, with the sign before them.
pub(crate) const ID_CHARS: usize = 9;
/// So many who reacted alike are named; more are counted.
const REACTED_NAMES_MAX: usize = 3;

/// What else there is to a message, in one line; nothing for an ordinary one.
pub(crate) fn notes(message: &Message) -> Option<String> {
    let details = &message.details;
    let mut notes = Vec::new();
    for reaction in &details.reactions {
        let by = match reaction.by.as_slice() {
            names if names.len() <= REACTED_NAMES_MAX => {
                let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                names.join(", ")
            }
            names => names.len().to_string(),
        };
        notes.push(format!("{} {by}", reaction.emoji.as_str()));
    }
    let marks = [
        (details.edited, "edited"),
        (details.forwarded, "forwarded"),
        (details.pinned, "pinned"),
        (details.expires_after_s > 0, "disappears"),
    ];
    let set = marks.iter().filter(|(set, _)| *set);
    notes.extend(set.map(|(_, mark)| (*mark).to_owned()));
    if let Some(why) = &details.not_sent {
        notes.push(format!("not sent: {}", why.message));
    }
    (!notes.is_empty()).then(|| notes.join(" · "))
}

/// A timer's seconds, in the largest unit that they fill.
pub(crate) fn span(seconds: u32) -> String {
    let units = [(7 * 86_400, "w"), (86_400, "d"), (3_600, "h"), (60, "min")];
    let filled = units
        .iter()
        .find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    match filled {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None => format!("{seconds} s"),
    }
}

/// Whether a message that could not be sent waits still: the person can do something about it.
pub(crate) fn waits_still(failure: &Failure) -> bool {
    matches!(failure.code, "key_changed" | "no_key_package")
}

/// Somebody who came by an invite link waits for an admin's word; with the commands for it.
pub(crate) fn join_wish(wish: &JoinRequest) -> String {
    let past = match wish.past {
        Past::None => "",
        Past::PutOut => ", whom an admin put out before,",
    };
    // As many of its digits as name it.
    let group = Talk::Group(wish.conversation).to_string();
    let group = group.get(..ID_CHARS).unwrap_or(&group);
    format!(
        "{0}{past} has an invite link of {1} and asks to come in: /group approve {group} {0} or \
         /group reject {group} {0}",
        wish.name,
        wish.talk.label(wish.title.as_deref())
    )
}

/// What happened to a member, as it goes on after the name.
pub(crate) fn membership(shown: &Membership) -> String {
    let place = match &shown.talk {
        Talk::Group(_) => shown.talk.label(shown.title.as_deref()),
        Talk::Person(name) => format!("the conversation with {name}"),
    };
    match shown.change {
        MembershipChange::Joined => format!("is in {place} now"),
        MembershipChange::Removed => format!("was put out of {place}"),
        MembershipChange::Left => format!("left {place}"),
        MembershipChange::Declined => format!("did not want to come into {place}"),
        MembershipChange::Role(role) => format!("is {} of {place} now", role_name(role)),
        MembershipChange::Banned => format!("is banned from {place}"),
        MembershipChange::Unbanned => format!("may come into {place} again"),
        MembershipChange::DeviceAdded => format!("has a further device in {place}"),
        MembershipChange::DeviceRemoved => format!("has a device less in {place}"),
    }
}
