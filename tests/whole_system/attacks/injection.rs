//! G14: every string that a person may type, as SQL.

use std::path::Path;

use crate::support::{Deployment, Said, files_holding, said, with_input};

const CORPUS: [&str; 22] = [
    "' OR '1'='1",
    "' OR 1=1 --",
    "'; DROP TABLE account; --",
    "\"; DELETE FROM log; --",
    "x') UNION SELECT password_hash FROM account --",
    "' AND pg_sleep(30) --",
    "\\'; SELECT 1; --",
    "%",
    "_",
    "%' ESCAPE '",
    "$1",
    "$$; SELECT 1; $$",
    "{\"a\":1}",
    "NULL",
    "0x27204f52",
    "a'||'b",
    "/* */",
    "sotto_hint",
    "', 'payload'); NOTIFY sotto_hint, '",
    "';ATTACH DATABASE '/tmp/x.db' AS x;--",
    "PRAGMA key='';",
    "\u{2019} OR 1=1",
];

/// Nothing that only a database says reaches a person.
fn assert_no_sql_error(said: &Said, what: &str) {
    let text = said.stderr.to_lowercase();
    for word in [
        "syntax",
        "sql",
        "postgres",
        "relation",
        "panicked",
        "unterminated",
    ] {
        assert!(!text.contains(word), "{what}: {said:?}");
    }
}

fn assert_no_log_holds(logs: &Path, needle: &str) {
    let found = files_holding(logs, needle.as_bytes());
    assert!(found.is_empty(), "{needle} in {found:?}");
}

#[test]
fn sql_in_every_string_is_only_text() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    // As a message: one line each, arriving as it was.
    let all = CORPUS.join("\n");
    let sent = said(with_input(alice.command(&["send", &bob.name, "-"]), &all));
    assert_eq!(sent.code, 0, "{sent:?}");
    let heard = bob.ok(&["listen", "--for", "20s", "--count", "1"]);
    assert!(heard.texts().contains(&all), "{heard:?}");
    // As the beginning of a name, at the server.
    for text in CORPUS {
        let found = alice.run(&["users", "--", text]);
        assert_no_sql_error(&found, text);
        assert!(found.events.is_empty(), "{text}: {found:?}");
        // What is too long for a name is told so; else nobody is called that.
        assert!(
            found.code == 0 || found.error_code() == "name_invalid",
            "{text}: {found:?}"
        );
    }
    // Where a name belongs: none of these is one, which the client says itself.
    for text in CORPUS.iter().step_by(4) {
        for command in ["send", "history", "accept", "decline", "block", "verify"] {
            let mut arguments = vec![command, "--", text];
            if command == "send" {
                arguments.push("hello");
            }
            let refused = alice.fails(&arguments, 2);
            assert_no_sql_error(&refused, text);
        }
        // A profile is a folder, and a strange one does not exist.
        let refused = alice.run(&["--profile", text, "whoami"]);
        assert!([2, 4].contains(&refused.code), "{refused:?}");
        assert_no_sql_error(&refused, text);
    }
    // As an invite code and as digits, which are free text.
    let confirmed = alice.run(&["verify", &bob.name, "--confirm", CORPUS[1]]);
    assert_ne!(confirmed.code, 0);
    assert_no_sql_error(&confirmed, "digits");
    let carol = deployment.person(&crate::support::fresh_name("carol"));
    let registered = carol.run(&["register", &carol.name, "--invite", CORPUS[2]]);
    assert_no_sql_error(&registered, "invite");
    // Everybody and everything is still there.
    assert_eq!(alice.ok(&["users", &bob.name]).events.len(), 1);
    assert_eq!(
        bob.ok(&["history", &alice.name]).texts(),
        ["hello".to_owned(), all]
    );
    assert_no_log_holds(&deployment.dir.join("log"), "syntax error");
}
