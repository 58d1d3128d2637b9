//! Lets `SOTTO_SERVER_<KEY>` override each key of the file.

use toml::{Table, Value};

use super::ConfigError;

enum Kind {
    Text,
    Number,
    /// Separated by commas.
    List,
}

/// Every key and what it takes. A test keeps it equal to the keys of `Config`.
const KEYS: &[(&str, Kind)] = &[
    ("listen", Kind::Text),
    ("admin", Kind::Text),
    ("admin_public", Kind::Text),
    ("database_url", Kind::Text),
    ("database_ca", Kind::Text),
    ("bus", Kind::Text),
    ("bus_ca", Kind::Text),
    ("tls_cert", Kind::Text),
    ("tls_key", Kind::Text),
    ("trusted_proxies", Kind::List),
    ("registration", Kind::Text),
    ("directory", Kind::Text),
    ("ready_file", Kind::Text),
    ("name", Kind::Text),
    ("connections_max", Kind::Number),
    ("handshakes_max", Kind::Number),
    ("password_workers", Kind::Number),
    ("bcrypt_cost", Kind::Number),
    ("retention_days", Kind::Number),
    ("drain_seconds", Kind::Number),
    ("registrations_per_hour", Kind::Number),
    ("blob_bytes_max", Kind::Number),
    ("blob_quota_bytes", Kind::Number),
    ("blob_days", Kind::Number),
    ("s3_bucket", Kind::Text),
    ("s3_endpoint", Kind::Text),
    ("s3_region", Kind::Text),
    ("s3_prefix", Kind::Text),
    ("s3_access_key_id", Kind::Text),
    ("s3_secret_access_key", Kind::Text),
];

/// Every key.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(key, _)| *key)
}

/// The variable that overrides a key.
pub(super) fn variable_of(key: &str) -> String {
    format!("SOTTO_SERVER_{}", key.to_ascii_uppercase())
}

/// Puts what the environment says over what the file said.
pub(super) fn overlay(
    table: &mut Table,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    for (key, kind) in KEYS {
        let name = variable_of(key);
        let Some(text) = variable(&name) else {
            continue;
        };
        let value = match kind {
            Kind::Text => Value::String(text),
            Kind::Number => {
                Value::Integer(text.trim().parse().map_err(|_| ConfigError::Variable {
                    variable: name,
                    expected: "a whole number",
                })?)
            }
            Kind::List => Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Value::String(item.to_owned()))
                    .collect(),
            ),
        };
        table.insert((*key).to_owned(), value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::KEYS;

    #[test]
    fn every_key_has_a_variable() {
        let source = include_str!("../config.rs");
        let body = source.split("pub struct Config {").nth(1).unwrap();
        let body = body.split("\n}").next().unwrap();
        let fields: Vec<_> = body
            .lines()
            .filter_map(|line| line.trim().strip_prefix("pub "))
            .filter_map(|field| field.split(':').next())
            .collect();
        let keys: Vec<_> = KEYS.iter().map(|(key, _)| *key).collect();
        assert_eq!(fields, keys);
    }
}
