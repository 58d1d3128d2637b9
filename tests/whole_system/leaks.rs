//! Canaries: what people type is nowhere but in their own encrypted stores.

use std::path::Path;

use crate::support::{Deployment, canary, files_holding};

#[test]
fn what_people_write_is_in_no_file_of_the_deployment_nor_readable_at_home() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let secret = format!("secret-{}", canary());
    alice.ok(&["send", &bob.name, &secret]);
    let heard = bob.ok(&["listen", "--for", "20s", "--count", "1"]);
    assert!(heard.texts().contains(&secret));

    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for needle in [secret.as_bytes(), hex.as_bytes(), &wide] {
        assert_absent(&deployment.dir, needle);
        assert_absent(alice.home(), needle);
        assert_absent(bob.home(), needle);
    }
    // The password is in the file that the person wrote, and nowhere else.
    let password = alice.password.as_bytes();
    assert_absent(&deployment.dir, password);
    let found = files_holding(alice.home(), password);
    assert_eq!(found, std::slice::from_ref(&alice.password_file));
    // The scan can find something: names are known to the servers.
    assert!(!files_holding(&deployment.dir, alice.name.as_bytes()).is_empty());
}

#[test]
fn logs_tell_events_not_people() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    alice.ok(&["whoami"]);
    assert_absent(&deployment.dir.join("log"), alice.name.as_bytes());
}

fn assert_absent(directory: &Path, needle: &[u8]) {
    let found = files_holding(directory, needle);
    assert!(found.is_empty(), "a canary is in {found:?}");
}
