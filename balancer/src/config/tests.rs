//! Reading, overriding and refusing configurations.

use super::*;
use std::collections::BTreeMap;

const SMALLEST: &str = r#"
listen = ["127.0.0.1:0"]
[[backend]]
id = "s1"
address = "127.0.0.1:7001"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::from_parts(text, BTreeMap::<String, String>::new())
}

fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_parts(text, variables.iter().copied())
}

#[test]
fn reads_a_whole_file() {
    let config = parse(include_str!("../../../contrib/sotto-balancer.toml")).unwrap();
    assert_eq!(config.backends.len(), 3);
    assert_eq!(
        config.limits,
        Limits::default(),
        "the sample shows the defaults"
    );
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(config.health, Health::default());
    let small = parse(SMALLEST).unwrap();
    assert_eq!(small.backends[0].weight, 1);
    assert_eq!(small.backends[0].health, None);
}

#[test]
fn every_key_is_in_the_sample_and_has_a_variable() {
    let sample = include_str!("../../../contrib/sotto-balancer.toml");
    let table: toml::Table = toml::from_str(sample).unwrap();
    let mut keys = Vec::new();
    for (name, value) in &table {
        match value {
            toml::Value::Table(section) => {
                keys.extend(section.keys().map(|key| (name.clone(), key.clone())));
            }
            _ => keys.push((String::new(), name.clone())),
        }
    }
    keys.sort();
    let mut known: Vec<(String, String)> = environment::KEYS
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect();
    known.sort();
    assert_eq!(keys, known);
    // Each variable is applied: a wrong value in it is noticed.
    for (section, key) in environment::KEYS {
        let name = environment::variable(section, key);
        assert!(
            parse_with(SMALLEST, &[(&name, "[[true]]")]).is_err(),
            "{name}"
        );
    }
}

#[test]
fn variables_override_the_file() {
    let config = parse_with(
        SMALLEST,
        &[
            ("SOTTO_BALANCER_LISTEN", "127.0.0.1:1, [::1]:2"),
            ("SOTTO_BALANCER_ADMIN", "127.0.0.1:9001"),
            ("SOTTO_BALANCER_LIMITS_CONNECTIONS_MAX", "77"),
            (
                "SOTTO_BALANCER_BACKEND",
                r#"[{id = "x", address = "db.example:1", weight = 3}]"#,
            ),
            ("SOTTO_BALANCER_CONFIG", "ignored"),
            ("HOME", "/nowhere"),
        ],
    )
    .unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.admin, Some("127.0.0.1:9001".parse().unwrap()));
    assert_eq!(config.limits.connections_max, 77);
    assert_eq!(
        config.backends[0].address,
        Endpoint::Name("db.example".to_owned(), 1)
    );
    let unknown = parse_with(SMALLEST, &[("SOTTO_BALANCER_LISTNE", "x")]);
    assert!(matches!(unknown, Err(ConfigError::UnknownVariable(_))));
}

#[test]
fn refuses_what_makes_no_sense() {
    let cases = [
        (
            "listen = []\n[[backend]]\nid = \"a\"\naddress = \"127.0.0.1:1\"",
            "listen",
        ),
        ("listen = [\"127.0.0.1:0\"]\nbackend = []", "backend"),
        ("listen = [\"127.0.0.1:0\"]", "backend"),
        (
            &SMALLEST.replace("listen", "admin = \"0.0.0.0:1\"\nlisten"),
            "loopback",
        ),
        (&format!("{SMALLEST}weight = 0"), "weight"),
        (&format!("{SMALLEST}wieght = 1"), "unknown field"),
        (&format!("{SMALLEST}health = \"https://a:1/\""), "http://"),
        (&format!("{SMALLEST}health = \"http://a:1/ x\""), "http://"),
        (
            &format!("{SMALLEST}[[backend]]\nid = \"s1\"\naddress = \"127.0.0.1:2\""),
            "same id",
        ),
        (&SMALLEST.replace("s1", "s 1"), "allowed"),
        (
            &SMALLEST.replace("127.0.0.1:7001", "127.0.0.1"),
            "HOST:PORT",
        ),
        (
            &format!("{SMALLEST}[limits]\nconnections = 1"),
            "unknown field",
        ),
        (&format!("{SMALLEST}[timeouts]\nhello_ms = 0"), "hello_ms"),
        (
            &format!("{SMALLEST}[health]\neject_max_ms = 1"),
            "eject_max_ms",
        ),
        ("listen = ", "TOML"),
    ];
    for (text, part) in cases {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{part:?} not in: {error}");
    }
}

#[test]
fn health_address_is_short_for_a_url() {
    let config = parse(&format!("{SMALLEST}health_address = \"127.0.0.1:8001\"")).unwrap();
    let expected = "http://127.0.0.1:8001/readyz".parse().unwrap();
    assert_eq!(config.backends[0].health, Some(expected));
    let both = "health_address = \"a:1\"\nhealth = \"http://a:1/\"";
    assert!(parse(&format!("{SMALLEST}{both}")).is_err());
}
