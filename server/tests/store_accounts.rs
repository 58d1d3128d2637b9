//! Accounts, devices, the directory, key packages and limits, on a real Postgres.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod store_support;

use std::time::Duration;

use bytes::Bytes;
use sotto_server::store::{AccountError, ClaimError, Listing, NewKeyPackage, Taken, UserFilter};
use store_support::*;

fn package(number: u32, suite: u16) -> NewKeyPackage {
    NewKeyPackage {
        reference: [&rand::random::<[u8; 28]>()[..], &number.to_be_bytes()].concat(),
        ciphersuite: suite,
        data: Bytes::from(format!("package {number}")),
        not_after_ms: 4_000_000_000_000,
    }
}

#[tokio::test]
async fn names_that_look_alike_exist_once() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    for taken in ["alice", "a.lice", "a1ice"] {
        let refused = store.register(registration(taken, device_id())).await;
        assert!(matches!(refused, Err(AccountError::NameTaken)), "{taken}");
    }
    let refused = store.register(registration("bob", alice.device)).await;
    assert!(matches!(refused, Err(AccountError::DeviceTaken)));
    // A refused registration leaves nothing.
    assert!(store.credentials(&name("bob")).await.unwrap().is_none());
    let known = store.credentials(&alice.name).await.unwrap().unwrap();
    assert_eq!(
        (known.account, known.authentication_hash.as_str()),
        (alice.account, "hash")
    );
    store
        .change_hash(alice.account, "other".into())
        .await
        .unwrap();
    let known = store.credentials(&alice.name).await.unwrap().unwrap();
    assert_eq!(known.authentication_hash, "other");
}

#[tokio::test]
async fn an_invite_is_used_up_only_by_registrations() {
    let World {
        store,
        database: _database,
    } = world().await;
    store
        .create_invite("welcome", 1, Duration::from_secs(60))
        .await
        .unwrap();
    store
        .create_invite("late", 5, Duration::ZERO)
        .await
        .unwrap();
    let invited = |username: &str, code: &str| {
        let mut wanted = registration(username, device_id());
        wanted.invite = Some(code.into());
        wanted
    };
    for wrong in ["late", "x' OR '1'='1", ""] {
        let refused = store.register(invited("alice", wrong)).await;
        assert!(
            matches!(refused, Err(AccountError::InviteInvalid)),
            "{wrong}"
        );
    }
    person(&store, "bob").await;
    let refused = store.register(invited("bob", "welcome")).await;
    assert!(matches!(refused, Err(AccountError::NameTaken)));
    store.register(invited("alice", "welcome")).await.unwrap();
    let refused = store.register(invited("carol", "welcome")).await;
    assert!(matches!(refused, Err(AccountError::InviteInvalid)));
}

#[tokio::test]
async fn devices_are_added_up_to_the_limit_and_ended_by_a_new_identity() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    let mut devices = vec![alice.device];
    for _ in 1..8 {
        devices.push(device_id());
        store
            .add_device(alice.account, new_device(devices[devices.len() - 1]))
            .await
            .unwrap();
    }
    let refused = store
        .add_device(alice.account, new_device(device_id()))
        .await;
    assert!(matches!(refused, Err(AccountError::TooManyDevices)));
    // A known device logs in again; under another key it is somebody else's.
    store
        .add_device(alice.account, new_device(alice.device))
        .await
        .unwrap();
    let mut other_key = new_device(alice.device);
    other_key.device_key = [6; 32];
    let refused = store.add_device(alice.account, other_key).await;
    assert!(matches!(refused, Err(AccountError::DeviceTaken)));
    let last_resort = Some(package(1, 1));
    store
        .publish_key_packages(alice.device, vec![], last_resort)
        .await
        .unwrap();
    let fresh = device_id();
    let mut ended = store
        .replace_identity(alice.account, [8; 32], new_device(fresh), b"")
        .await
        .unwrap();
    ended.sort_unstable();
    devices.sort_unstable();
    assert_eq!(ended, devices);
    assert!(store.device(alice.device).await.unwrap().is_none());
    assert!(
        store
            .member_states(alice.device, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let row = store.device(fresh).await.unwrap().unwrap();
    assert_eq!((row.identity_key, row.account), ([8; 32], alice.account));
    assert_eq!(
        store
            .account(&alice.name, alice.account)
            .await
            .unwrap()
            .unwrap()
            .certificates
            .len(),
        1
    );
    let claim = store
        .claim_key_packages(alice.account, &alice.name, 1)
        .await;
    assert!(matches!(claim, Err(ClaimError::NoKeyPackage)));
}

#[tokio::test]
async fn listing_takes_prefixes_as_they_are() {
    let World {
        store,
        database: _database,
    } = world().await;
    for username in ["anna", "ann-b", "bert", "cleo_x"] {
        person(&store, username).await;
    }
    let me = person(&store, "cleozz").await.account;
    let names = async |prefix: &str, after: &str, limit| {
        let page = store
            .list_users(
                (me, Listing::Shown),
                (prefix, after),
                limit,
                UserFilter::All,
            )
            .await
            .unwrap();
        let names: Vec<String> = page.users.iter().map(|u| u.username.to_string()).collect();
        (names.join(" "), page.more)
    };
    assert_eq!(
        names("", "", 200).await,
        ("ann-b anna bert cleo_x cleozz".into(), false)
    );
    assert_eq!(names("an", "", 1).await, ("ann-b".into(), true));
    assert_eq!(names("an", "ann-b", 1).await, ("anna".into(), false));
    assert_eq!(names("cleo_", "", 9).await, ("cleo_x".into(), false));
    for pattern in [
        "%",
        "_",
        "a%",
        "\\",
        "'; DROP TABLE account; --",
        "é",
        "\0",
        "a\0",
        "Ann",
        "\u{7f}",
    ] {
        assert_eq!(
            names(pattern, "", 9).await,
            (String::new(), false),
            "{pattern:?}"
        );
    }
}

#[tokio::test]
async fn presence_is_seen_from_another_server_and_ends() {
    let World { store, database } = world().await;
    let other = open(database.url()).await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await.account;
    let online = async || {
        let page = other
            .list_users((bob, Listing::Shown), ("", ""), 9, UserFilter::Online)
            .await
            .unwrap();
        let account = other.account(&alice.name, bob).await.unwrap().unwrap();
        let listed = page.users.iter().any(|user| user.username == alice.name);
        assert!(page.users.len() <= 1);
        listed && account.online
    };
    let (one, two) = (store.online(alice.device), store.online(alice.device));
    eventually("online", &online).await;
    drop(one);
    store.close().await.unwrap();
    drop((two, store));
    eventually("offline", async || !online().await).await;
    let third = open(database.url()).await;
    let guard = third.online(alice.device);
    eventually("online again", &online).await;
    drop(guard);
    eventually("offline again", async || !online().await).await;
}

#[tokio::test]
async fn a_one_time_key_package_is_given_once_then_the_last_resort() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let claim = store.claim_key_packages(bob.account, &alice.name, 1).await;
    assert!(matches!(claim, Err(ClaimError::NoKeyPackage)));
    let claim = store
        .claim_key_packages(bob.account, &name("nobody"), 1)
        .await;
    assert!(matches!(claim, Err(ClaimError::UnknownUser)));
    let one_time = vec![package(1, 1), package(2, 1), package(3, 2)];
    let left = store
        .publish_key_packages(alice.device, one_time.clone(), Some(package(9, 1)))
        .await
        .unwrap();
    assert_eq!(left, 3);
    // Published again after a lost answer: nothing is doubled.
    let left = store
        .publish_key_packages(alice.device, one_time, None)
        .await
        .unwrap();
    assert_eq!(left, 3);
    let mut given = Vec::new();
    for _ in 0..3 {
        let claimed = store
            .claim_key_packages(bob.account, &alice.name, 1)
            .await
            .unwrap();
        assert_eq!(claimed.identity_key, [9; 32]);
        given.push(String::from_utf8(claimed.packages[0].1.to_vec()).unwrap());
    }
    given[..2].sort_unstable();
    assert_eq!(given, ["package 1", "package 2", "package 9"]);
    let count = store.key_package_count(alice.device).await.unwrap();
    assert_eq!((count.one_time, count.last_resort), (1, true));
}

#[tokio::test]
async fn claims_of_one_account_for_another_are_few_an_hour_over_all_servers() {
    let World { store, database } = world().await;
    let other = open(database.url()).await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let carol = person(&store, "carol").await;
    let packages = (0..100).map(|number| package(number, 1)).collect();
    store
        .publish_key_packages(alice.device, packages, None)
        .await
        .unwrap();
    let mut served = 0;
    for number in 0..40 {
        let server = if number % 2 == 0 { &store } else { &other };
        match server.claim_key_packages(bob.account, &alice.name, 1).await {
            Ok(_) => served += 1,
            Err(ClaimError::RateLimited { retry_after_ms }) => {
                assert!((1..=3_600_000).contains(&retry_after_ms));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(served, 5);
    assert_eq!(
        store
            .key_package_count(alice.device)
            .await
            .unwrap()
            .one_time,
        95
    );
    assert!(
        store
            .claim_key_packages(carol.account, &alice.name, 1)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn concurrent_claims_never_share_a_package() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    let packages = (0..20).map(|number| package(number, 1)).collect();
    store
        .publish_key_packages(alice.device, packages, Some(package(99, 1)))
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..30 {
        let claimer = person(&store, &format!("claimer{number:02}x")).await;
        let (store, target) = (store.clone(), alice.name.clone());
        tasks.spawn(async move {
            let claimed = store
                .claim_key_packages(claimer.account, &target, 1)
                .await
                .unwrap();
            claimed.packages[0].1.clone()
        });
    }
    let mut given = tasks.join_all().await;
    given.retain(|data| data.as_ref() != b"package 99");
    let served = given.len();
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), served, "a one-time package was served twice");
    let left = store
        .key_package_count(alice.device)
        .await
        .unwrap()
        .one_time;
    assert_eq!(served + left as usize, 20);
}

#[tokio::test]
async fn key_packages_are_bounded_and_expire() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    for _ in 0..3 {
        let packages = (0..100).map(|number| package(number, 1)).collect();
        store
            .publish_key_packages(alice.device, packages, None)
            .await
            .unwrap();
    }
    let count = store.key_package_count(alice.device).await.unwrap();
    assert_eq!((count.one_time, count.last_resort), (200, false));
    let mut expired = package(1, 7);
    expired.not_after_ms = 1_000;
    let (one_time, resort) = (
        vec![expired.clone()],
        Some(NewKeyPackage {
            reference: vec![1],
            ..expired
        }),
    );
    store
        .publish_key_packages(alice.device, one_time, resort)
        .await
        .unwrap();
    let claim = store
        .claim_key_packages(alice.account, &alice.name, 7)
        .await;
    assert!(matches!(claim, Err(ClaimError::NoKeyPackage)));
}

#[tokio::test]
async fn limits_are_shared_and_their_windows_end() {
    let World { store, database } = world().await;
    let other = open(database.url()).await;
    let hour = Duration::from_secs(3600);
    for server in [&store, &other, &store] {
        assert_eq!(
            server.take(&[b"login", b"alice"], hour, 3).await.unwrap(),
            Taken::Allowed
        );
    }
    let Taken::RetryAfter(wait_ms) = other.take(&[b"login", b"alice"], hour, 3).await.unwrap()
    else {
        panic!("a fourth use was allowed");
    };
    assert!((3_500_000..=3_600_000).contains(&wait_ms));
    // Parts are not run together.
    assert_eq!(
        store.take(&[b"loginalice"], hour, 1).await.unwrap(),
        Taken::Allowed
    );
    assert_eq!(
        store.take(&[b"logina", b"lice"], hour, 1).await.unwrap(),
        Taken::Allowed
    );
    let short = Duration::from_millis(1);
    eventually("the window ends", async || {
        store.take(&[b"short"], short, 1).await.unwrap() == Taken::Allowed
    })
    .await;
}
