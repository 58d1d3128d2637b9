//! Environment variables over configuration keys.

use super::ConfigError;
use std::ffi::OsStr;
use toml::{Table, Value};

const PREFIX: &str = "SOTTO_BALANCER_";
/// Variables of the command line itself.
const NOT_KEYS: [&str; 2] = ["CONFIG", "READY_FILE"];

/// Every key: its section (empty at the top) and its name.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("", "listen"),
    ("", "admin"),
    ("", "backend"),
    ("limits", "connections_max"),
    ("limits", "connections_per_prefix_max"),
    ("limits", "connection_rate_per_prefix"),
    ("limits", "connection_burst_per_prefix"),
    ("limits", "handshakes_per_backend_max"),
    ("limits", "retry_reserve"),
    ("timeouts", "hello_ms"),
    ("timeouts", "connect_ms"),
    ("timeouts", "first_byte_ms"),
    ("timeouts", "last_answer_ms"),
    ("timeouts", "half_close_ms"),
    ("timeouts", "drain_ms"),
    ("timeouts", "backend_drain_ms"),
    ("health", "interval_ms"),
    ("health", "timeout_ms"),
    ("health", "fall"),
    ("health", "rise"),
    ("health", "eject_after"),
    ("health", "eject_base_ms"),
    ("health", "eject_max_ms"),
];

/// One key's new value.
pub(super) struct Override {
    section: &'static str,
    name: &'static str,
    value: Value,
}

/// The variable that overrides a key.
pub(super) fn variable(section: &str, name: &str) -> String {
    let path = if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}_{name}")
    };
    format!("{PREFIX}{}", path.to_ascii_uppercase())
}

/// Finds the overrides among `variables`; unknown names under our prefix are errors.
pub(super) fn overrides<K: AsRef<OsStr>, V: AsRef<OsStr>>(
    variables: impl IntoIterator<Item = (K, V)>,
) -> Result<Vec<Override>, ConfigError> {
    let mut found = Vec::new();
    for (name, text) in variables {
        let Some(name) = name
            .as_ref()
            .to_str()
            .filter(|name| name.starts_with(PREFIX))
        else {
            continue;
        };
        if NOT_KEYS
            .iter()
            .any(|other| name.strip_prefix(PREFIX) == Some(other))
        {
            continue;
        }
        let key = KEYS
            .iter()
            .find(|(section, key)| variable(section, key) == name);
        let (section, key) = *key.ok_or_else(|| ConfigError::UnknownVariable(name.to_owned()))?;
        let value = value(key, &text.as_ref().to_string_lossy());
        found.push(Override {
            section,
            name: key,
            value,
        });
    }
    Ok(found)
}

/// A value as in TOML, else a bare string; `listen` may list addresses with commas.
fn value(key: &str, text: &str) -> Value {
    let parsed: Option<Table> = toml::from_str(&format!("value = {text}")).ok();
    let value = parsed.and_then(|mut table| table.remove("value"));
    match (key, value) {
        (_, Some(value)) => value,
        ("listen", None) => Value::Array(
            text.split(',')
                .map(|one| Value::String(one.trim().to_owned()))
                .collect(),
        ),
        (_, None) => Value::String(text.to_owned()),
    }
}

/// Lays overrides over a file's table.
pub(super) fn overlay(mut table: Table, overrides: Vec<Override>) -> Table {
    for Override {
        section,
        name,
        value,
    } in overrides
    {
        if section.is_empty() {
            table.insert(name.to_owned(), value);
            continue;
        }
        let entry = table
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()));
        // A section that is no table is left alone: reading it then says what is wrong.
        if let Value::Table(inner) = entry {
            inner.insert(name.to_owned(), value);
        }
    }
    table
}
