//! What people show of themselves to everybody, and what this account shows:
//! lists, a look at one person, visibility.
//!
//! What the servers say here is shown and nothing else: no identity is pinned
//! by looking at somebody, though one that differs from the pinned is noticed.

use sotto_protocol::limits::{DISPLAY_NAME_BYTES_MAX, STATUS_BYTES_MAX};
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ErrorCode, Username, limits, wire};

use super::api::{CommandId, Event, PeopleCommand, Settings, Shown, User, UserFilter, Visibility};
use super::commands::ServerCommand;
use super::{Engine, EngineError};

/// Accounts that one list gathers.
const USERS_MAX: usize = 10_000;

/// What is asked of the server about what accounts show.
pub(super) enum PeopleAsk {
    Look(Username),
    Show(Visibility),
    Settings,
}

impl PeopleAsk {
    pub(super) fn request(&self) -> Ask {
        match self {
            Self::Look(name) => Ask::GetAccount(wire::GetAccount {
                username: name.as_str().to_owned(),
            }),
            Self::Show(visibility) => Ask::SetVisibility(wire::SetVisibility {
                directory: choice(visibility.directory),
                online: choice(visibility.online),
                last_seen: choice(visibility.last_seen),
            }),
            Self::Settings => Ask::GetSettings(wire::GetSettings {}),
        }
    }
}

fn choice(shown: Option<Shown>) -> i32 {
    match shown {
        None => wire::Shown::Unchanged,
        Some(Shown::ToEverybody) => wire::Shown::ToAll,
        Some(Shown::ToNobody) => wire::Shown::ToNobody,
    }
    .into()
}

fn shown(number: i32) -> Option<Shown> {
    match wire::Shown::try_from(number) {
        Ok(wire::Shown::ToAll) => Some(Shown::ToEverybody),
        Ok(wire::Shown::ToNobody) => Some(Shown::ToNobody),
        Ok(wire::Shown::Unchanged) | Err(_) => None,
    }
}

/// A text that somebody published; one that no server should pass on counts as none.
fn published(text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        return String::new();
    }
    text
}

fn user(user: wire::User) -> Option<User> {
    Some(User {
        name: Username::parse(&user.username).ok()?,
        online: user.online,
        last_seen_ms: (user.last_seen_ms > 0).then_some(user.last_seen_ms),
        display_name: published(user.display_name, DISPLAY_NAME_BYTES_MAX),
        status: published(user.status, STATUS_BYTES_MAX),
    })
}

fn settings(settings: wire::Settings) -> Option<Settings> {
    Some(Settings {
        directory: shown(settings.directory)?,
        online: shown(settings.online)?,
        last_seen: shown(settings.last_seen)?,
        display_name: published(settings.display_name, DISPLAY_NAME_BYTES_MAX),
        status: published(settings.status, STATUS_BYTES_MAX),
        file_bytes_used: settings.blob_bytes_used,
        file_bytes_max: settings.blob_bytes_max,
    })
}

pub(super) fn list_request(prefix: &str, filter: UserFilter, found: &[User]) -> Ask {
    Ask::ListUsers(wire::ListUsers {
        prefix: prefix.to_owned(),
        after: found
            .last()
            .map(|user| user.name.to_string())
            .unwrap_or_default(),
        limit: u32::try_from(limits::USERS_PAGE_MAX).unwrap_or(u32::MAX),
        filter: match filter {
            UserFilter::All => wire::UserFilter::All,
            UserFilter::Online => wire::UserFilter::Online,
        }
        .into(),
    })
}

impl Engine {
    pub(super) fn people_command(&mut self, id: CommandId, command: PeopleCommand) {
        let ask = match command {
            PeopleCommand::Look { name } => PeopleAsk::Look(name),
            PeopleCommand::Show(visibility) => PeopleAsk::Show(visibility),
            PeopleCommand::Settings => PeopleAsk::Settings,
        };
        self.ask_later(id, ServerCommand::People(ask));
    }

    /// The answer to a question that was not refused.
    pub(super) fn people_answered(
        &mut self,
        id: CommandId,
        ask: PeopleAsk,
        answer: Answer,
    ) -> Result<(), EngineError> {
        match (ask, answer) {
            (PeopleAsk::Look(name), Answer::Account(account)) => {
                return self.looked_at(id, &name, account);
            }
            (PeopleAsk::Show(_), Answer::Done(_)) => self.done(id),
            (PeopleAsk::Settings, Answer::Settings(own)) => match settings(own) {
                Some(settings) => self.emit(Event::Settings {
                    command: id,
                    settings: Box::new(settings),
                }),
                None => self.senseless(id),
            },
            _ => self.senseless(id),
        }
        Ok(())
    }

    fn looked_at(
        &mut self,
        id: CommandId,
        name: &Username,
        account: wire::Account,
    ) -> Result<(), EngineError> {
        let Some(identity) = self.account_identity(name, &account) else {
            self.failed(
                id,
                ErrorCode::CertificateInvalid.name(),
                "the server's answer about this person does not verify",
            );
            return Ok(());
        };
        let known = self.store().peer(name)?;
        if known.is_some_and(|person| person.identity.is_some()) {
            self.identity_shown(name, &identity)?;
        }
        let shown = user(wire::User {
            username: account.username,
            online: account.online,
            last_seen_ms: account.last_seen_ms,
            display_name: account.display_name,
            status: account.status,
        });
        match shown {
            Some(user) => self.emit(Event::User {
                command: id,
                user: Box::new(user),
            }),
            None => self.senseless(id),
        }
        Ok(())
    }

    pub(super) fn senseless(&mut self, id: CommandId) {
        self.failed(
            id,
            ErrorCode::Malformed.name(),
            "the server gave an answer that makes no sense",
        );
    }

    pub(super) fn users_answered(
        &mut self,
        id: CommandId,
        (prefix, filter, mut found): (String, UserFilter, Vec<User>),
        users: wire::Users,
    ) {
        let before = found.len();
        let page = users.users.into_iter().take(limits::USERS_PAGE_MAX);
        found.extend(page.filter_map(user));
        let grew = found.len() > before;
        if users.more && grew && found.len() < USERS_MAX {
            self.commands.push_front((
                id,
                ServerCommand::ListUsers {
                    prefix,
                    filter,
                    found,
                },
            ));
        } else {
            self.emit(Event::Users {
                command: id,
                users: found,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_people_is_bounded_and_read_strictly() {
        let bob = wire::User {
            username: "bob".to_owned(),
            online: true,
            last_seen_ms: 60_000,
            display_name: "x".repeat(DISPLAY_NAME_BYTES_MAX + 1),
            status: "there".to_owned(),
        };
        let shown = user(bob.clone()).unwrap();
        assert_eq!(shown.last_seen_ms, Some(60_000));
        assert_eq!(
            (shown.display_name.as_str(), shown.status.as_str()),
            ("", "there")
        );
        let hidden = wire::User {
            last_seen_ms: 0,
            ..bob.clone()
        };
        assert_eq!(user(hidden).unwrap().last_seen_ms, None);
        let odd = wire::User {
            username: "B\u{202e}b".to_owned(),
            ..bob
        };
        assert_eq!(user(odd), None);
        for number in [0, 3, -1] {
            let own = wire::Settings {
                directory: 1,
                online: 2,
                last_seen: number,
                ..wire::Settings::default()
            };
            assert_eq!(settings(own), None, "{number}");
        }
    }
}
