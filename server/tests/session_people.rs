//! What people see of each other: by their own choice, and by the deployment's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use sotto_protocol::wire::UserFilter::{self, All, Online};
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::{ErrorCode, wire};
use support::client::Client;
use support::person::{Person, appended, code};
use support::{Deployment, eventually};

const NOBODY: i32 = wire::Shown::ToNobody as i32;
const TO_ALL: i32 = wire::Shown::ToAll as i32;

async fn users(client: &mut Client, prefix: &str, filter: UserFilter) -> Vec<wire::User> {
    let request = wire::ListUsers {
        prefix: prefix.to_owned(),
        filter: filter.into(),
        ..wire::ListUsers::default()
    };
    match client.ask(Request::ListUsers(request)).await {
        Response::Users(users) => users.users,
        other => panic!("{other:?}"),
    }
}

fn names(users: &[wire::User]) -> Vec<&str> {
    users.iter().map(|user| user.username.as_str()).collect()
}

fn get(username: &str) -> Request {
    Request::GetAccount(wire::GetAccount {
        username: username.to_owned(),
    })
}

async fn account(client: &mut Client, username: &str) -> wire::Account {
    match client.ask(get(username)).await {
        Response::Account(account) => account,
        other => panic!("{other:?}"),
    }
}

async fn show(client: &mut Client, directory: i32, online: i32, last_seen: i32) {
    let request = wire::SetVisibility {
        directory,
        online,
        last_seen,
    };
    let done = client.ask(Request::SetVisibility(request)).await;
    assert!(matches!(done, Response::Done(_)), "{done:?}");
}

#[tokio::test]
async fn everybody_chooses_what_others_see() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (_alice, mut alice) = Person::register("alice", &deployment, &server).await;
    let (_bob, mut bob) = Person::register("bob", &deployment, &server).await;
    let publish = |display_name: &str, status: &str| {
        Request::PutProfile(wire::PutProfile {
            display_name: display_name.to_owned(),
            status: status.to_owned(),
        })
    };
    let done = alice.ask(publish("Alice A.", "away until May")).await;
    assert!(matches!(done, Response::Done(_)), "{done:?}");
    for bad in ["a\nb", "\u{202e}x", "x\0"] {
        assert_eq!(
            code(alice.ask(publish(bad, "")).await),
            ErrorCode::Malformed
        );
        assert_eq!(
            code(alice.ask(publish("", bad)).await),
            ErrorCode::Malformed
        );
    }
    let long = "x".repeat(257);
    assert_eq!(
        code(alice.ask(publish("", &long)).await),
        ErrorCode::TooLarge
    );
    eventually("alice is seen", async || {
        let seen = account(&mut bob, "alice").await;
        assert_eq!(
            (seen.display_name.as_str(), seen.status.as_str()),
            ("Alice A.", "away until May")
        );
        seen.online && seen.last_seen_ms > 0 && seen.last_seen_ms.is_multiple_of(60_000)
    })
    .await;
    show(&mut alice, 0, NOBODY, NOBODY).await;
    let seen = account(&mut bob, "alice").await;
    assert!(!seen.online && seen.last_seen_ms == 0);
    eventually("bob is the only one seen online", async || {
        names(&users(&mut bob, "", Online).await) == ["bob"]
    })
    .await;
    assert_eq!(names(&users(&mut bob, "al", All).await), ["alice"]);
    assert!(
        account(&mut alice, "alice").await.online,
        "one sees oneself"
    );
    match alice.ask(Request::GetSettings(wire::GetSettings {})).await {
        Response::Settings(own) => assert_eq!(
            (
                own.directory,
                own.online,
                own.last_seen,
                own.display_name.as_str()
            ),
            (TO_ALL, NOBODY, NOBODY, "Alice A.")
        ),
        other => panic!("{other:?}"),
    }
    let wrong = wire::SetVisibility {
        directory: 9,
        ..wire::SetVisibility::default()
    };
    assert_eq!(
        code(alice.ask(Request::SetVisibility(wrong)).await),
        ErrorCode::Malformed
    );
}

/// E6, E7: an account that hides answers as one that is not there.
#[tokio::test]
async fn who_hides_cannot_be_told_from_nobody() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    alice.publish(&mut alice_client, 3).await;
    alice_client.resume().await;
    show(&mut alice_client, NOBODY, 0, 0).await;
    assert!(users(&mut bob_client, "al", All).await.is_empty());
    let find = |name: &str| {
        Request::FindPair(wire::FindPair {
            username: name.to_owned(),
        })
    };
    let hidden = bob_client.ask(get("alice")).await;
    assert_eq!(hidden, bob_client.ask(get("nobody-here")).await);
    assert_eq!(code(hidden), ErrorCode::UnknownUser);
    let found = bob_client.ask(find("alice")).await;
    assert_eq!(found, bob_client.ask(find("nobody-here")).await);
    // Whoever was told the name may write; being written to shows nothing yet.
    let (conversation, _) = bob.converse(&mut bob_client, &alice.username).await;
    assert_eq!(
        code(bob_client.ask(get("alice")).await),
        ErrorCode::UnknownUser
    );
    // Having read what follows does.
    let said = support::person::append(conversation, 1, [1; 16], b"hello");
    appended(bob_client.ask(said).await);
    alice_client.deliveries(2).await;
    eventually("contacts see each other", async || {
        matches!(bob_client.ask(get("alice")).await, Response::Account(_))
    })
    .await;
    assert!(
        users(&mut bob_client, "al", All).await.is_empty(),
        "in no list"
    );
}

#[tokio::test]
async fn hidden_names_are_tried_sixty_times_an_hour_over_all_servers() {
    let deployment = Deployment::new();
    let more = "directory = \"contacts\"";
    let servers = [deployment.start(more), deployment.start(more)];
    let (bob, first) = Person::register("bob", &deployment, &servers[0]).await;
    let (_alice, mut alice) = Person::register("alice", &deployment, &servers[0]).await;
    let second = bob.log_in(&deployment, &servers[1]).await;
    let mut clients = [first, second];
    let mut tried = 0;
    for number in 0..70 {
        let client = &mut clients[number % 2];
        let name = if number == 5 {
            "alice".to_owned()
        } else {
            format!("guess-{number}")
        };
        let claim = Request::ClaimKeyPackages(wire::ClaimKeyPackages {
            username: name.clone(),
            ciphersuite: 3,
        });
        let request = if number % 3 == 0 { claim } else { get(&name) };
        match code(client.ask(request).await) {
            ErrorCode::UnknownUser => tried += 1,
            ErrorCode::RateLimited => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(tried, 60);
    // Others are not affected, and lists name nobody who is no contact.
    assert_eq!(
        code(alice.ask(get("guess-1")).await),
        ErrorCode::UnknownUser
    );
    assert_eq!(names(&users(&mut alice, "", All).await), ["alice"]);
}

#[tokio::test]
async fn a_deployment_that_hides_its_directory_lists_nobody() {
    let deployment = Deployment::new();
    let server = deployment.start("directory = \"hidden\"");
    let (_alice, mut alice) = Person::register("alice", &deployment, &server).await;
    Person::register("bob", &deployment, &server).await;
    assert!(users(&mut alice, "", All).await.is_empty());
    assert_eq!(code(alice.ask(get("bob")).await), ErrorCode::UnknownUser);
    assert_eq!(account(&mut alice, "alice").await.username, "alice");
}
