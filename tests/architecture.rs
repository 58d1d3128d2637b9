//! The structure that ARCHITECTURE.md promises, checked: which crate imports
//! which, where SQL and the MLS library may be named, how long files are,
//! which packages must be recent and which must be absent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests, which clippy does not recognise as such"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, semver::Version};

/// Without packages for other platforms: a fresh machine does not have them.
fn metadata() -> Metadata {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .other_options(
            ["--locked", "--filter-platform", platform.as_str()]
                .map(str::to_owned)
                .to_vec(),
        )
        .exec()
        .unwrap()
}

/// What each crate's non-test code imports of the workspace.
fn own_imports(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let own: BTreeSet<_> = metadata
        .workspace_packages()
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    metadata
        .workspace_packages()
        .iter()
        .map(|package| {
            let imports = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| dependency.name.clone())
                .filter(|name| own.contains(name))
                .collect();
            (package.name.to_string(), imports)
        })
        .collect()
}

#[test]
fn imports_run_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("sotto-protocol", &[][..]),
        ("sotto-roster", &["sotto-protocol"][..]),
        ("sotto-crypto", &["sotto-protocol", "sotto-roster"][..]),
        ("sotto-server", &["sotto-protocol", "sotto-roster"][..]),
        ("sotto-balancer", &["sotto-protocol"][..]),
        (
            "sotto-client",
            &["sotto-protocol", "sotto-roster", "sotto-crypto"][..],
        ),
        ("sotto-stack", &[][..]),
        ("sotto-faults", &["sotto-stack"][..]),
    ]);
    for (name, imports) in own_imports(&metadata()) {
        if let Some(allowed) = allowed.get(name.as_str()) {
            for import in imports {
                assert!(
                    allowed.contains(&import.as_str()),
                    "{name} must not import {import}"
                );
            }
        }
    }
}

/// Every package that a crate's non-test build links, as cargo resolves it for that crate alone.
fn linked_into(name: &str) -> BTreeMap<String, BTreeSet<Version>> {
    let listed = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "-p",
            name,
            "-e",
            "normal",
            "--prefix",
            "none",
            "-f",
            "{p}",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let mut packages: BTreeMap<String, BTreeSet<Version>> = BTreeMap::new();
    for line in String::from_utf8(listed.stdout).unwrap().lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            let version = Version::parse(version.trim_start_matches('v')).unwrap();
            packages.entry(name.to_owned()).or_default().insert(version);
        }
    }
    packages
}

#[test]
fn nothing_that_opens_payloads_is_linked_into_servers_or_balancer() {
    for name in ["sotto-server", "sotto-balancer"] {
        let linked = linked_into(name);
        assert!(linked.len() > 20, "{name}: {linked:?}");
        for forbidden in [
            "sotto-crypto",
            "sotto-client",
            "rusqlite",
            "openmls_sqlite_storage",
        ] {
            assert!(!linked.contains_key(forbidden), "{name} links {forbidden}");
        }
    }
    let balancer = linked_into("sotto-balancer");
    assert!(
        !balancer.contains_key("rustls"),
        "the balancer holds no TLS"
    );
    assert!(
        !balancer.contains_key("tokio-postgres"),
        "the balancer holds no database"
    );
    assert!(!linked_into("sotto-protocol").contains_key("tokio"));
    assert!(!linked_into("sotto-crypto").contains_key("tokio"));
}

/// E8: a link in a message can be fetched by nothing, since nothing here could.
#[test]
fn no_web_client_is_linked_into_the_client() {
    let linked = linked_into("sotto-client");
    for web in [
        "hyper",
        "reqwest",
        "ureq",
        "curl",
        "isahc",
        "attohttpc",
        "http",
    ] {
        assert!(!linked.contains_key(web), "the client links {web}");
    }
}

#[test]
fn every_crate_takes_the_workspace_lints_and_so_forbids_unsafe() {
    for package in metadata().workspace_packages() {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{}",
            package.name
        );
    }
    let root = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(root.contains("unsafe_code = \"forbid\""));
}

#[test]
fn packages_with_published_flaws_are_recent_or_absent() {
    let minimums = [
        ("bcrypt", "0.19.2"),
        ("tokio-postgres", "0.7.18"),
        ("postgres-protocol", "0.6.12"),
        ("rustls", "0.23.18"),
        ("rustls-webpki", "0.103.13"),
        ("tokio", "1.44.2"),
        ("bytes", "1.11.1"),
        ("curve25519-dalek", "4.1.3"),
        ("ed25519-dalek", "2.0.0"),
        ("hpke-rs", "0.6.0"),
        ("rand", "0.8.6"),
        ("lru", "0.18.2"),
    ];
    let absent = ["rustls-pemfile", "atty", "ansi_term"];
    for (name, versions) in ["sotto", "sotto-bench"].into_iter().flat_map(linked_into) {
        assert!(!absent.contains(&name.as_str()), "{name} is unmaintained");
        for (_, minimum) in minimums.iter().filter(|(flawed, _)| *flawed == name) {
            let minimum = Version::parse(minimum).unwrap();
            assert!(
                versions.iter().all(|version| *version >= minimum),
                "{name} {versions:?} < {minimum}"
            );
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Our own Rust files, relative to the root, without generated ones.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = [
        "src", "tests", "protocol", "roster", "crypto", "server", "balancer", "client", "stack",
        "bench", "faults",
    ]
    .iter()
    .map(|name| root().join(name))
    .collect();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("gen") && !path.ends_with("target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

/// The part of a file before its test module.
fn product_code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn is_test(path: &str) -> bool {
    path.contains("tests/")
        || path.contains("/tests")
        || path.contains("testing")
        || path.contains("benches/")
}

#[test]
fn files_stay_short_and_say_their_purpose() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let name = relative(&path);
        assert!(
            text.lines().count() <= 600,
            "{name} has {} lines",
            text.lines().count()
        );
        assert!(
            text.starts_with("//!"),
            "{name} does not open with its purpose"
        );
    }
}

#[test]
fn sql_lives_in_the_two_stores_only() {
    let homes = [
        "server/src/store/",
        "server/src/bus",
        "server/src/migrate",
        "client/src/history/",
        "stack/",
        "bench/",
        "faults/",
        "src/",
    ];
    let statements = [
        "SELECT ",
        "INSERT INTO",
        "DELETE FROM",
        "UPDATE ",
        "LISTEN ",
        "PRAGMA ",
    ];
    for path in sources() {
        let name = relative(&path);
        if is_test(&name) || homes.iter().any(|home| name.starts_with(home)) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for line in product_code(&text)
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for statement in statements {
                assert!(
                    !line.contains(&format!("\"{statement}")),
                    "SQL in {name}: {line}"
                );
            }
        }
    }
}

#[test]
fn the_mls_library_is_named_in_two_places_only() {
    for path in sources() {
        let name = relative(&path);
        let allowed = is_test(&name)
            || name.starts_with("roster/src/public_group")
            || name.starts_with("crypto/src/mls");
        let text = fs::read_to_string(&path).unwrap();
        let code = product_code(&text)
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let names_it = code.into_iter().any(|line| line.contains("openmls"));
        assert!(allowed || !names_it, "{name} names the MLS library");
    }
}

#[test]
fn every_clock_reading_is_declared() {
    // Clippy bans the calls; this keeps the exceptions few.
    let exceptions: usize = sources()
        .iter()
        .filter(|path| !is_test(&relative(path)))
        .map(|path| fs::read_to_string(path).unwrap())
        .map(|text| {
            product_code(&text)
                .matches("clippy::disallowed_methods")
                .count()
        })
        .sum();
    assert!(
        exceptions <= 30,
        "{exceptions} exceptions from the clock and queue rules"
    );
}
