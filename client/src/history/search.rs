//! Full-text search over everything that is stored.
//!
//! Words are found by their beginnings, whatever their case and accents; what
//! stands in quotation marks is found as a run of whole words. Scripts that
//! write no blanks between words, and emoji, are indexed character by
//! character. A query without any word is looked for as it stands.
//!
//! Nothing that a person types is ever read as a query language: the index
//! gets a list of quoted words, as a bound parameter.

use sotto_crypto::Body;
use unicode_properties::{GeneralCategory, UnicodeEmoji as _, UnicodeGeneralCategory as _};

use super::message::{self, MessageRow};
use super::shelf::{SHELVES, on};
use super::{History, HistoryError};
use crate::engine::api::Keep;

/// The most words of one query; further ones are not looked at.
const TERMS_MAX: usize = 32;
/// The longest query, in bytes; the rest is not looked at.
const QUERY_BYTES_MAX: usize = 1_024;
/// Rows brought into the index in one step.
const STEP_ROWS: u32 = 500;

/// What a query asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    /// The match expression of the index, and the bare words in it; none where
    /// the query has no words.
    expression: Option<String>,
    /// Each word or run of words, in the form of the index.
    pub(crate) terms: Vec<String>,
    literal: String,
}

impl Query {
    /// Reads what a person typed. Nothing typed is wrong.
    pub(crate) fn read(text: &str) -> Self {
        let mut end = text.len().min(QUERY_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text.get(..end).unwrap_or_default();
        let mut terms = Vec::new();
        let mut parts = Vec::new();
        // Pieces between quotation marks alternate: outside, inside, outside…
        for (place, piece) in text.split('"').enumerate() {
            let inside = place % 2 == 1;
            let found: Vec<&str> = if inside {
                vec![piece]
            } else {
                piece.split_whitespace().collect()
            };
            for term in found {
                let words = words(term);
                if words.is_empty() || terms.len() >= TERMS_MAX {
                    continue;
                }
                let star = if inside { "" } else { " *" };
                parts.push(format!("\"{words}\"{star}"));
                terms.push(words);
            }
        }
        Self {
            expression: (!parts.is_empty()).then(|| parts.join(" ")),
            terms,
            literal: text.trim().to_owned(),
        }
    }
}

/// A text as the index has it: its letters and digits, with blanks between
/// words. Characters that are words by themselves stand alone.
pub(super) fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for character in text.chars() {
        match class_of(character) {
            Class::Part => words.push(character),
            Class::Alone => {
                words.push(' ');
                words.push(character);
                words.push(' ');
            }
            Class::Between => words.push(' '),
        }
    }
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What of a message can be found.
pub(super) fn words_of(body: &Body) -> String {
    match body {
        Body::Text(text) => words(&text.text),
        Body::Attachment(file) => format!("{} {}", words(&file.name), words(&file.caption)),
        _ => String::new(),
    }
}

enum Class {
    /// Of a word.
    Part,
    /// A word by itself.
    Alone,
    /// Between words.
    Between,
}

fn class_of(character: char) -> Class {
    match character {
        // Thai, Lao, Tibetan, Myanmar, Khmer; kana; Han and its extensions.
        '\u{e00}'..='\u{fff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}'
            if character.is_alphanumeric() =>
        {
            return Class::Alone;
        }
        _ => {}
    }
    match character.general_category() {
        GeneralCategory::OtherSymbol if character.is_emoji_char() => Class::Alone,
        GeneralCategory::NonspacingMark
        | GeneralCategory::SpacingMark
        | GeneralCategory::EnclosingMark => Class::Part,
        _ if character.is_alphanumeric() => Class::Part,
        _ => Class::Between,
    }
}

impl History {
    pub(super) fn index(&self, keep: Keep, place: i64, words: &str) -> Result<(), HistoryError> {
        if words.trim().is_empty() {
            return Ok(());
        }
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "INSERT INTO @.search (rowid, words) VALUES (?1, ?2)",
        ))?;
        statement.execute((place, words))?;
        Ok(())
    }

    pub(super) fn unindex(&self, keep: Keep, place: i64) -> Result<(), HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached(&on(keep, "DELETE FROM @.search WHERE rowid = ?1"))?;
        statement.execute([place])?;
        Ok(())
    }

    /// Messages that a query finds, the newest first, at most `limit`.
    pub(crate) fn search(
        &self,
        query: &Query,
        limit: u32,
    ) -> Result<Vec<(Keep, MessageRow)>, HistoryError> {
        let mut found = Vec::new();
        for keep in SHELVES {
            found.extend(self.search_in(keep, query, limit)?);
        }
        found.sort_by_key(|(_, row)| std::cmp::Reverse((row.stored_at_ms, row.seq)));
        found.truncate(limit as usize);
        Ok(found)
    }

    fn search_in(
        &self,
        keep: Keep,
        query: &Query,
        limit: u32,
    ) -> Result<Vec<(Keep, MessageRow)>, HistoryError> {
        if let Some(expression) = &query.expression {
            let mut statement = self.connection().prepare_cached(&on(
                keep,
                "SELECT * FROM @.message WHERE fate = 0 AND place IN (
                     SELECT rowid FROM @.search WHERE search MATCH ?1)
                 ORDER BY stored_at_ms DESC, seq DESC LIMIT ?2",
            ))?;
            let rows = statement.query_map((expression, limit), |row| Ok(message::read(row)))?;
            return rows.map(|row| Ok((keep, row??))).collect();
        }
        if query.literal.is_empty() {
            return Ok(Vec::new());
        }
        // No word in it, only signs: rare enough to look at everything.
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT * FROM @.message WHERE fate = 0 AND instr(content, ?1) > 0
             ORDER BY stored_at_ms DESC, seq DESC LIMIT ?2",
        ))?;
        let key = (query.literal.as_bytes(), limit);
        let rows = statement.query_map(key, |row| Ok(message::read(row)))?;
        rows.map(|row| Ok((keep, row??))).collect()
    }

    /// Brings messages that an older version wrote into today's form and the index.
    pub(super) fn index_the_rest(&self) -> Result<(), HistoryError> {
        loop {
            let rows = self.not_indexed()?;
            if rows.is_empty() {
                return Ok(());
            }
            self.begin()?;
            let done = rows
                .iter()
                .try_for_each(|(place, row)| self.renew(*place, row))
                .and_then(|()| self.commit());
            if done.is_err() {
                self.rollback();
                return done;
            }
        }
    }

    fn not_indexed(&self) -> Result<Vec<(i64, MessageRow)>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT * FROM main.message WHERE indexed = 0 ORDER BY place LIMIT ?1",
        )?;
        let rows = statement.query_map([STEP_ROWS], |row| {
            Ok((row.get::<_, i64>("place")?, message::read(row)))
        })?;
        rows.map(|row| row.map_err(HistoryError::from))
            .map(|row| row.and_then(|(place, read)| Ok((place, read?))))
            .collect()
    }

    fn renew(&self, place: i64, row: &MessageRow) -> Result<(), HistoryError> {
        self.connection().execute(
            "UPDATE main.message SET content = ?2, text = NULL, indexed = 1 WHERE place = ?1",
            (place, message::encode(&row.body)?),
        )?;
        self.index(Keep::Saved, place, &words_of(&row.body))
    }
}
