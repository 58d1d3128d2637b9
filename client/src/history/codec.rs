//! Columns to domain types and back. A value that this program cannot have
//! written is an error, never a guess.

use rusqlite::Row;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};

use super::HistoryError;
use crate::talk::Talk;

pub(super) fn name(row: &Row<'_>, column: &str) -> Result<Username, HistoryError> {
    let text: String = row.get(column)?;
    Username::parse(&text).map_err(|_| HistoryError::Invalid("name"))
}

pub(super) fn talk(row: &Row<'_>, column: &str) -> Result<Talk, HistoryError> {
    let text: String = row.get(column)?;
    Talk::parse(&text).ok_or(HistoryError::Invalid("talk"))
}

pub(super) fn conversation(row: &Row<'_>, column: &str) -> Result<ConversationId, HistoryError> {
    Ok(ConversationId::from_bytes(row.get(column)?))
}

pub(super) fn device(row: &Row<'_>, column: &str) -> Result<DeviceId, HistoryError> {
    Ok(DeviceId::from_bytes(row.get(column)?))
}

pub(super) fn client_id(row: &Row<'_>, column: &str) -> Result<ClientMessageId, HistoryError> {
    Ok(ClientMessageId::from_bytes(row.get(column)?))
}

/// An enum stored as a small number.
macro_rules! stored_enum {
    ($type:ident { $($variant:ident = $number:literal),* $(,)? }) => {
        impl $type {
            pub(super) const fn number(self) -> i64 {
                match self { $(Self::$variant => $number),* }
            }
            pub(super) fn from_number(number: i64) -> Result<Self, $crate::history::HistoryError> {
                match number {
                    $($number => Ok(Self::$variant),)*
                    _ => Err($crate::history::HistoryError::Invalid(stringify!($type))),
                }
            }
        }
    };
}
pub(super) use stored_enum;
