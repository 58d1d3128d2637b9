//! The profile: made, locked, unlocked, damaged.

use super::*;

const NOW: Now = Now {
    unix_ms: 1_800_000_000_000,
    monotonic_ms: 0,
};
const PASSWORD: &str = "canary-51f0aa7d password";

fn location(directory: &tempfile::TempDir) -> Location {
    Location {
        home: directory.path().join("home"),
        name: "alice".to_owned(),
        runtime: directory.path().join("runtime"),
    }
}

fn account() -> NewAccount {
    NewAccount {
        username: Username::parse("alice").unwrap(),
        deployment: DeploymentId::from_bytes([5; 16]),
    }
}

fn create(location: &Location) -> Profile {
    let (profile, _) = Profile::create(location, &account(), PASSWORD, NOW).unwrap();
    profile
}

#[test]
fn a_profile_opens_with_its_password_or_while_unlocked_and_not_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let location = location(&directory);
    assert!(matches!(
        Profile::open(&location, Unlock::Session),
        Err(ProfileError::Missing)
    ));
    let profile = create(&location);
    assert!(matches!(
        Profile::open(&location, Unlock::Session),
        Err(ProfileError::InUse)
    ));
    profile.keep_unlocked().unwrap();
    drop(profile);
    let profile = Profile::open(&location, Unlock::Session).unwrap();
    assert_eq!(profile.account_state().unwrap(), AccountState::Registering);
    profile.lock();
    drop(profile);
    assert!(matches!(
        Profile::open(&location, Unlock::Session),
        Err(ProfileError::PasswordNeeded)
    ));
    assert!(matches!(
        Profile::open(&location, Unlock::Password("wrong password")),
        Err(ProfileError::WrongPassword)
    ));
    let profile = Profile::open(&location, Unlock::Password(PASSWORD)).unwrap();
    assert!(matches!(
        Profile::create(&location, &account(), PASSWORD, NOW),
        Err(ProfileError::InUse)
    ));
    profile.wipe().unwrap();
    assert!(!location.directory().exists());
}

#[test]
fn a_changed_password_is_the_only_one_once_the_change_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let location = location(&directory);
    let profile = create(&location);
    // A password that never opened this profile: only the server can say whether it is right,
    // and until then nothing is written.
    for outcome in [
        Profile::abandon_password_change,
        Profile::finish_password_change,
    ] {
        profile
            .begin_password_change("operator's password", "other password")
            .unwrap();
        assert!(!location.directory().join("key.next").exists());
        outcome(&profile).unwrap();
    }
    profile
        .begin_password_change("other password", PASSWORD)
        .unwrap();
    profile.finish_password_change().unwrap();
    profile
        .begin_password_change(PASSWORD, "next password")
        .unwrap();
    drop(profile);
    // Nobody knows what the server did: both open.
    drop(Profile::open(&location, Unlock::Password(PASSWORD)).unwrap());
    let profile = Profile::open(&location, Unlock::Password("next password")).unwrap();
    profile.finish_password_change().unwrap();
    drop(profile);
    assert!(matches!(
        Profile::open(&location, Unlock::Password(PASSWORD)),
        Err(ProfileError::WrongPassword)
    ));
    drop(Profile::open(&location, Unlock::Password("next password")).unwrap());
}

#[test]
fn a_copied_home_is_unreadable_and_holds_no_word_of_the_password() {
    let directory = tempfile::tempdir().unwrap();
    let location = location(&directory);
    let profile = create(&location);
    profile.keep_unlocked().unwrap();
    drop(profile);
    for entry in std::fs::read_dir(location.directory()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for canary in [b"canary-51f0aa7d".as_slice(), b"alice", b"SQLite format 3"] {
            let found = bytes.windows(canary.len()).any(|window| window == canary);
            assert!(!found, "{}", path.display());
        }
    }
    // The copy has the wrapped session key, and not what opens it.
    let copied = Location {
        runtime: directory.path().join("elsewhere"),
        ..location.clone()
    };
    assert!(matches!(
        Profile::open(&copied, Unlock::Session),
        Err(ProfileError::PasswordNeeded)
    ));
    let header = std::fs::read(location.key()).unwrap();
    let info = at_rest::inspect(&header).unwrap();
    assert!(info.parameters.memory_kib >= 64 * 1024);
}

#[test]
fn a_damaged_file_is_named_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let location = location(&directory);
    let profile = create(&location);
    profile.keep_unlocked().unwrap();
    drop(profile);
    let whole = std::fs::read(location.database()).unwrap();
    let mut damaged = whole.clone();
    for byte in damaged.iter_mut().skip(16).step_by(97) {
        *byte ^= 0x55;
    }
    std::fs::write(location.database(), &damaged).unwrap();
    assert!(matches!(
        Profile::open(&location, Unlock::Session),
        Err(ProfileError::History(HistoryError::Corrupted))
    ));
    std::fs::write(location.database(), &whole[..whole.len() / 2]).unwrap();
    assert!(Profile::open(&location, Unlock::Session).is_err());
    std::fs::write(location.database(), &whole).unwrap();
    drop(Profile::open(&location, Unlock::Session).unwrap());
    std::fs::write(location.key(), b"sotto key 1\nshort").unwrap();
    assert!(matches!(
        Profile::open(&location, Unlock::Password(PASSWORD)),
        Err(ProfileError::Corrupted(_))
    ));
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let location = location(&directory);
    let profile = create(&location);
    profile.keep_unlocked().unwrap();
    let connection = profile.history().connection();
    connection
        .execute_batch("PRAGMA user_version = 1000")
        .unwrap();
    drop(profile);
    assert!(matches!(
        Profile::open(&location, Unlock::Session),
        Err(ProfileError::History(HistoryError::NewerSchema {
            found: 1000,
            ..
        }))
    ));
}

#[test]
fn names_that_are_paths_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for bad in ["", "..", ".hidden", "a/b", "a\0b", "a b", &"a".repeat(65)] {
        let mut location = location(&directory);
        location.name = bad.to_owned();
        assert!(matches!(
            Profile::open(&location, Unlock::Session),
            Err(ProfileError::BadName)
        ));
    }
}

#[test]
fn a_runtime_directory_that_others_can_enter_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let location = location(&directory);
    let profile = create(&location);
    std::fs::create_dir(&location.runtime).unwrap();
    std::fs::set_permissions(&location.runtime, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(profile.keep_unlocked().is_err());
    std::fs::set_permissions(&location.runtime, std::fs::Permissions::from_mode(0o700)).unwrap();
    profile.keep_unlocked().unwrap();
}

#[test]
fn every_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let location = location(&directory);
    let profile = create(&location);
    profile.keep_unlocked().unwrap();
    for entry in std::fs::read_dir(location.directory()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
    }
}
