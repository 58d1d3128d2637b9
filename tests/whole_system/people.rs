//! What people show of themselves to everybody: by their own choice, and what
//! of it others see.

use serde_json::Value;

use crate::support::{Deployment, Person, canary, wait_for};

/// What somebody shows to everybody, as another sees it.
fn seen(by: &Person, of: &Person) -> Value {
    let said = by.ok(&["profile", "show", &of.name]);
    let found = said
        .events
        .into_iter()
        .find(|event| event["event"] == "user");
    found.unwrap()
}

#[test]
fn a_profile_is_published_and_taken_back_by_choice() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    let (name, status) = (canary(), canary());
    alice.ok(&["profile", "set", "--name", &name, "--status", &status]);
    assert_eq!(seen(&bob, &alice)["display_name"], "", "not published");
    alice.ok(&["profile", "publish"]);
    let shown = seen(&bob, &alice);
    assert_eq!(
        (shown["display_name"].as_str(), shown["status"].as_str()),
        (Some(name.as_str()), Some(status.as_str()))
    );
    let listed = bob.ok(&["users", &alice.name]);
    assert_eq!(listed.events[0]["display_name"], name.as_str());
    let own = alice.ok(&["settings"]);
    assert_eq!(own.events[0]["status"], status.as_str(), "{own:?}");
    alice.ok(&["profile", "unpublish"]);
    assert_eq!(seen(&bob, &alice)["status"], "");
    let nobody = bob.fails(&["profile", "show", "nobody-of-this-name"], 4);
    assert_eq!(nobody.error_code(), "unknown_user");
}

#[test]
fn everybody_chooses_who_finds_and_sees_them() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    let first = alice.ok(&["settings"]).events.remove(0);
    for what in ["directory", "online", "last_seen"] {
        assert_eq!(first[what], "everybody", "{first}");
    }
    assert_eq!(first["receipts"], true);
    assert!(first["file_bytes_max"].as_u64().unwrap() > 0, "{first}");
    // Seen to the minute, some time after she was there.
    wait_for("alice to have been seen", || {
        seen(&bob, &alice)["last_seen_ms"].as_u64()
    });
    let second = alice.ok(&["settings", "last-seen", "nobody"]);
    assert_eq!(second.events[0]["last_seen"], "nobody", "{second:?}");
    assert_eq!(second.events[0]["online"], "everybody", "{second:?}");
    assert!(seen(&bob, &alice)["last_seen_ms"].is_null());

    let listening = alice.listen();
    wait_for("alice to show as online", || {
        seen(&bob, &alice)["online"]
            .as_bool()
            .filter(|online| *online)
    });
    drop(listening);
    alice.ok(&["settings", "online", "nobody"]);
    let listening = alice.listen();
    assert_eq!(seen(&bob, &alice)["online"], false);
    let online = bob.ok(&["users", &alice.name, "--online"]);
    assert_eq!(online.events.len(), 0, "{online:?}");
    drop(listening);

    alice.ok(&["settings", "directory", "nobody"]);
    assert_eq!(bob.ok(&["users", &alice.name]).events.len(), 0);
    let hidden = bob.fails(&["profile", "show", &alice.name], 4);
    assert_eq!(hidden.error_code(), "unknown_user");
    alice.ok(&["settings", "directory", "everybody"]);
    assert_eq!(seen(&bob, &alice)["username"], alice.name.as_str());

    for wrong in [["directory", "on"], ["receipts", "nobody"]] {
        let refused = alice.fails(&["settings", wrong[0], wrong[1]], 2);
        assert_eq!(refused.error_code(), "usage");
    }
    let off = alice.ok(&["settings", "receipts", "off"]);
    assert_eq!(off.events[0]["on"], false);
    assert_eq!(alice.ok(&["settings"]).events[0]["receipts"], false);
}
