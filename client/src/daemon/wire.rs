//! JSON-RPC 2.0 over a stream, one object a line, every line bounded.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

use crate::exit::Failure;
use crate::safe_text::escape_json;

/// The most bytes of one request.
pub(super) const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// The most bytes of one answer.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The codes of the specification that are used here; every refusal of a command has [`REFUSED`].
pub(super) const PARSE_ERROR: i32 = -32700;
pub(super) const INVALID_REQUEST: i32 = -32600;
pub(super) const METHOD_NOT_FOUND: i32 = -32601;
pub(super) const INVALID_PARAMS: i32 = -32602;
pub(super) const REFUSED: i32 = -32000;

/// A request. One without an id is not answered.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    pub(super) jsonrpc: String,
    /// `Some(Null)` where it is there and null: that is answered too.
    #[serde(default, deserialize_with = "present")]
    pub(super) id: Option<Value>,
    pub(super) method: String,
    #[serde(default)]
    pub(super) params: Value,
}

fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

/// For whom a command's words are, where it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The command and its arguments.
    pub(crate) args: Vec<String>,
    /// The folder that relative paths begin in.
    pub(crate) folder: PathBuf,
    /// Whether colours are wanted.
    pub(crate) colour: bool,
    /// Cells of a line, on a terminal.
    pub(crate) width_cells: Option<usize>,
}

/// What a command said, and how it ended.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The exit code.
    pub(crate) exit: u8,
    /// What went to stdout and stderr, in order.
    pub(crate) said: Vec<(Stream, String)>,
}

/// Where words go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stream {
    /// Results.
    Out,
    /// Remarks and failures.
    Err,
}

/// The answer to a request that succeeded.
pub(super) fn result(id: &Value, result: &Value) -> String {
    line(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

/// The answer to one that did not.
pub(super) fn error(id: &Value, code: i32, message: &str, data: &Value) -> String {
    line(&json!({
        "jsonrpc": "2.0",
        "id": id,
        "error": { "code": code, "message": message, "data": data },
    }))
}

/// The answer to a command that was refused: its code and exit code are the data.
pub(super) fn refused(id: &Value, failure: &Failure) -> String {
    let data = json!({
        "code": failure.code,
        "exit": failure.exit as u8,
        "retry_after": failure.retry_after_ms,
    });
    error(id, REFUSED, &failure.message, &data)
}

/// Something that happened.
pub(super) fn notification(method: &str, params: &Value) -> String {
    line(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
}

fn line(object: &Value) -> String {
    format!("{}\n", escape_json(&object.to_string()))
}

/// Reads one line; `None` at the end, or when it exceeds `bytes_max`.
pub(crate) async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    bytes_max: usize,
) -> Option<String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let read = reader.take(limit).read_until(b'\n', &mut bytes).await;
    match read {
        Ok(1..) if bytes.ends_with(b"\n") => String::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// A line of a program that may send anything.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Text.
    Text(String),
    /// Bytes that are none.
    NotText,
    /// It went on beyond the limit, and was passed over to its end.
    TooLong,
}

/// Reads one line of at most `bytes_max`; `None` at the end. Of a longer one nothing is kept.
pub(super) async fn read_any_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    bytes_max: usize,
) -> Option<Line> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut too_long = false;
    loop {
        let mut bytes = Vec::new();
        let read = reader.take(limit).read_until(b'\n', &mut bytes).await;
        match read {
            Ok(1..) if !bytes.ends_with(b"\n") && bytes.len() >= bytes_max => too_long = true,
            Ok(1..) if bytes.ends_with(b"\n") && too_long => return Some(Line::TooLong),
            Ok(1..) if bytes.ends_with(b"\n") => {
                return Some(String::from_utf8(bytes).map_or(Line::NotText, Line::Text));
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_long_or_no_text_does_not_end_the_reading() {
        let mut reader = b"abcdefghijkl\n\xff\n12345\nrest".as_slice();
        let mut lines = Vec::new();
        while let Some(line) = read_any_line(&mut reader, 8).await {
            lines.push(line);
        }
        let text = Line::Text("12345\n".to_owned());
        assert_eq!(lines, [Line::TooLong, Line::NotText, text]);
    }

    #[tokio::test]
    async fn lines_are_bounded_and_whole() {
        let read = async |text: &str, most| {
            let mut reader = text.as_bytes();
            read_line(&mut reader, most).await
        };
        assert_eq!(read("abc\ndef", 10).await.as_deref(), Some("abc\n"));
        for (text, most) in [("abcdef\n", 4), ("abc", 10), ("", 10)] {
            assert_eq!(read(text, most).await, None, "{text}");
        }
    }
}
