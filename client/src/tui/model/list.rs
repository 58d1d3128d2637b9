//! The list of conversations: requests and invitations first, then who spoke last.

use sotto_protocol::ConversationId;

use crate::engine::api::{Chat, Invitation, Mute, Request};
use crate::talk::Talk;
use crate::tui::ask::Chats;

/// One line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// Somebody who wants to talk.
    Request(&'a Request),
    /// Somebody invites to a group.
    Invitation(&'a Invitation),
    /// A conversation.
    Chat(&'a Chat),
}

/// Names an entry, so that the mark stays on it while the list changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKey {
    Request(Talk),
    Invitation(ConversationId),
    Chat(Talk),
}

impl Entry<'_> {
    /// Its name.
    pub(crate) fn key(&self) -> EntryKey {
        match self {
            Self::Request(request) => EntryKey::Request((&request.from).into()),
            Self::Invitation(invitation) => EntryKey::Invitation(invitation.conversation),
            Self::Chat(chat) => EntryKey::Chat(chat.talk.clone()),
        }
    }
}

/// The list, and the line that is marked.
#[derive(Debug, Default)]
pub(crate) struct List {
    all: Chats,
    marked: Option<EntryKey>,
}

impl List {
    /// Takes the list as it stands now.
    pub(crate) fn set(&mut self, all: Chats) {
        self.all = all;
    }

    /// Everything in it.
    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        let requests = self.all.requests.iter().map(Entry::Request);
        let invitations = self.all.invitations.iter().map(Entry::Invitation);
        let chats = self.all.chats.iter().map(Entry::Chat);
        requests.chain(invitations).chain(chats).collect()
    }

    /// Conversations, the latest active first.
    pub(crate) fn chats(&self) -> &[Chat] {
        &self.all.chats
    }

    /// Who wants to talk.
    pub(crate) fn requests(&self) -> &[Request] {
        &self.all.requests
    }

    /// Who invites.
    pub(crate) fn invitations(&self) -> &[Invitation] {
        &self.all.invitations
    }

    /// Messages that wait to be sent, in all.
    pub(crate) const fn queued(&self) -> u64 {
        self.all.queued
    }

    /// A conversation of the list.
    pub(crate) fn chat(&self, talk: &Talk) -> Option<&Chat> {
        self.all.chats.iter().find(|chat| chat.talk == *talk)
    }

    /// Gives a conversation another title, for tests.
    #[cfg(test)]
    pub(crate) fn retitle(&mut self, talk: &Talk, title: &str) {
        let chats = self.all.chats.iter_mut();
        for chat in chats.filter(|chat| chat.talk == *talk) {
            chat.title = Some(title.to_owned());
        }
    }

    /// Whether what is marked waits for an answer.
    pub(crate) fn marked_asks(&self) -> bool {
        let place = self.marked().unwrap_or_default();
        place < self.all.requests.len() + self.all.invitations.len()
    }

    /// What a conversation is called; a title is foreign text.
    pub(crate) fn label(&self, talk: &Talk) -> String {
        let title = self.chat(talk).and_then(|chat| chat.title.as_deref());
        talk.label(title)
    }

    /// Unread messages of conversations that are not silent.
    pub(crate) fn unread(&self) -> u64 {
        let heard = |chat: &&Chat| match chat.mute {
            None => true,
            Some(Mute::MentionsOnly) => chat.mentions > 0,
            Some(Mute::Until(_)) => false,
        };
        self.all
            .chats
            .iter()
            .filter(heard)
            .map(|chat| chat.unread)
            .sum()
    }

    /// A conversation was looked at: nothing in it is new until the list comes again.
    pub(crate) fn read(&mut self, talk: &Talk) {
        if let Some(chat) = self.all.chats.iter_mut().find(|chat| chat.talk == *talk) {
            chat.unread = 0;
            chat.mentions = 0;
        }
    }

    /// What was begun in a conversation, as the list shows it.
    pub(crate) fn set_draft(&mut self, talk: &Talk, text: &str) {
        if let Some(chat) = self.all.chats.iter_mut().find(|chat| chat.talk == *talk) {
            chat.draft = (!text.is_empty()).then(|| text.to_owned());
        }
    }

    /// The next conversation with something new after this one.
    pub(crate) fn next_unread(&self, after: Option<&Talk>) -> Option<Talk> {
        let chats = &self.all.chats;
        let start = after
            .and_then(|talk| chats.iter().position(|chat| chat.talk == *talk))
            .map_or(0, |place| place + 1);
        let (before, later) = chats.split_at_checked(start)?;
        later
            .iter()
            .chain(before)
            .find(|chat| chat.unread > 0 && Some(&chat.talk) != after)
            .map(|chat| chat.talk.clone())
    }

    /// The conversation before or after one.
    pub(crate) fn beside(&self, talk: Option<&Talk>, step: isize) -> Option<Talk> {
        let chats = &self.all.chats;
        let now = talk.and_then(|talk| chats.iter().position(|chat| chat.talk == *talk));
        let next = match now {
            Some(place) => place.checked_add_signed(step)?,
            None => 0,
        };
        chats.get(next).map(|chat| chat.talk.clone())
    }

    /// Where the mark stands.
    pub(crate) fn marked(&self) -> Option<usize> {
        let entries = self.entries();
        let found = self
            .marked
            .as_ref()
            .and_then(|key| entries.iter().position(|entry| entry.key() == *key));
        found.or(if entries.is_empty() { None } else { Some(0) })
    }

    /// Moves the mark; beyond the edges it stays.
    pub(crate) fn step(&mut self, step: isize) {
        let entries = self.entries();
        let now = self.marked().unwrap_or(0);
        let next = now
            .saturating_add_signed(step)
            .min(entries.len().saturating_sub(1));
        self.marked = entries.get(next).map(Entry::key);
    }

    /// Puts the mark on an entry.
    pub(crate) fn mark_place(&mut self, place: usize) {
        if let Some(key) = self.entries().get(place).map(Entry::key) {
            self.marked = Some(key);
        }
    }

    /// Puts the mark on a conversation.
    pub(crate) fn mark(&mut self, talk: &Talk) {
        self.marked = Some(EntryKey::Chat(talk.clone()));
    }
}
