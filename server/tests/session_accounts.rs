//! Accounts and logins over real TLS and Postgres.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, IdentityChange};
use sotto_protocol::{DeploymentId, ErrorCode};
use support::Deployment;
use support::client::{Client, error};
use support::person::{Person, authentication_key, code};

#[tokio::test]
async fn a_person_registers_returns_and_leaves() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut client) = Person::register("alice", &deployment, &server).await;
    let answer = client.ask(alice.register_request()).await;
    assert_eq!(code(answer), ErrorCode::Malformed, "a login after a login");
    let mut again = alice.log_in(&deployment, &server).await;
    assert_eq!(server.metric("sessions").await, 2);
    assert!(matches!(
        again.ask(Request::Logout(wire::Logout {})).await,
        Response::Done(_)
    ));
    assert!(again.try_frame().await.is_none(), "logout ends the session");
    let mut third = Client::connect(server.listen, &deployment.certificates.ca).await;
    let hello = third.hello().await;
    let login = alice.device_login(&hello, &third);
    assert_eq!(
        third.refused(Request::DeviceLogin(login)).await.0,
        ErrorCode::WrongCredentials
    );
    // The account is still there for a new device under the same identity.
    let phone = alice.second_device();
    assert!(matches!(
        third.ask(phone.password_request()).await,
        Response::LoggedIn(_)
    ));
}

#[tokio::test]
async fn names_are_taken_once_and_look_alikes_with_them() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (_, client) = Person::register("modern", &deployment, &server).await;
    drop(client);
    for name in ["modern", "modem", "m.odern"] {
        let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
        let hello = client.hello().await;
        let id = DeploymentId::from_slice(&hello.deployment_id).unwrap();
        let other = Person::new(name, id);
        assert_eq!(
            client.refused(other.register_request()).await.0,
            ErrorCode::NameTaken,
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_registration_is_told() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
    let hello = client.hello().await;
    let id = DeploymentId::from_slice(&hello.deployment_id).unwrap();
    let bob = Person::new("bob", id);
    let Request::Register(good) = bob.register_request() else {
        unreachable!()
    };
    let elsewhere = Person::new("bob", DeploymentId::from_bytes([9; 16]));
    let wrong = [
        (
            wire::Register {
                username: "b\u{43e}b".to_owned(),
                ..good.clone()
            },
            ErrorCode::NameInvalid,
        ),
        (
            wire::Register {
                username: "eve".to_owned(),
                ..good.clone()
            },
            ErrorCode::CertificateInvalid,
        ),
        (
            wire::Register {
                authentication_key: "short".to_owned(),
                ..good.clone()
            },
            ErrorCode::Malformed,
        ),
        (
            wire::Register {
                certificate: elsewhere.me.certificate().as_bytes().to_vec(),
                ..good.clone()
            },
            ErrorCode::CertificateInvalid,
        ),
    ];
    for (request, expected) in wrong {
        assert_eq!(client.refused(Request::Register(request)).await.0, expected);
    }
    assert!(matches!(
        client.ask(Request::Register(good)).await,
        Response::LoggedIn(_)
    ));
}

#[tokio::test]
async fn registration_can_be_closed_and_is_limited() {
    let deployment = Deployment::new();
    let closed = deployment.start("registration = \"closed\"");
    let limited = deployment.start("registrations_per_hour = 2");
    let mut client = Client::connect(closed.listen, &deployment.certificates.ca).await;
    let hello = client.hello().await;
    assert_eq!(hello.registration(), wire::RegistrationMode::Closed);
    let id = DeploymentId::from_slice(&hello.deployment_id).unwrap();
    let answer = client
        .refused(Person::new("carol", id).register_request())
        .await;
    assert_eq!(answer.0, ErrorCode::RegistrationClosed);
    for name in ["dave", "erin"] {
        Person::register(name, &deployment, &limited).await;
    }
    let mut client = Client::connect(limited.listen, &deployment.certificates.ca).await;
    client.hello().await;
    let (code, error) = client
        .refused(Person::new("frank", id).register_request())
        .await;
    assert_eq!(code, ErrorCode::RateLimited);
    assert!(error.retry_after_ms > 0);
}

/// E9: an unknown user and a wrong password are answered with the same bytes.
#[tokio::test]
async fn unknown_users_and_wrong_passwords_look_alike() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, _client) = Person::register("alice", &deployment, &server).await;
    let id = *alice.me.certificate().deployment();
    let mut answers = Vec::new();
    for mut person in [alice, Person::new("nobody", id)] {
        person.password = 'x';
        let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
        let hello = client.hello().await;
        answers.push(error(client.ask(person.password_request()).await));
        let mut login = person.device_login(&hello, &client);
        login.signature[7] ^= 1;
        answers.push(error(client.ask(Request::DeviceLogin(login)).await));
    }
    assert_eq!(answers[0].0, ErrorCode::WrongCredentials);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
}

/// F6: ten real comparisons an hour for an account, over all servers; the
/// device's own login goes on.
#[tokio::test]
async fn guessing_is_limited_over_servers_and_locks_no_device_out() {
    let deployment = Deployment::new();
    let servers = [deployment.start(""), deployment.start("")];
    let (alice, _client) = Person::register("alice", &deployment, &servers[0]).await;
    let before = servers[0].metric("password_checks_total").await;
    let mut limited = 0;
    for attempt in 0..14 {
        let server = &servers[attempt % 2];
        let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
        client.hello().await;
        let mut guess = alice.password_login();
        guess.authentication_key = authentication_key('z');
        match client.refused(Request::PasswordLogin(guess)).await.0 {
            ErrorCode::WrongCredentials => {}
            ErrorCode::RateLimited => limited += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(limited, 4);
    let checks = servers[0].metric("password_checks_total").await - before
        + servers[1].metric("password_checks_total").await;
    assert_eq!(checks, 10);
    let mut client = Client::connect(servers[0].listen, &deployment.certificates.ca).await;
    client.hello().await;
    let right = client.refused(alice.password_request()).await.0;
    assert_eq!(right, ErrorCode::RateLimited);
    alice.log_in(&deployment, &servers[1]).await;
    let after = servers[1].metric("password_checks_total").await;
    alice.log_in(&deployment, &servers[1]).await;
    assert_eq!(
        servers[1].metric("password_checks_total").await,
        after,
        "no bcrypt at a device login"
    );
}

/// F7: a device login is good for one connection and one attempt.
#[tokio::test]
async fn a_replayed_device_login_is_refused() {
    let deployment = Deployment::new();
    let servers = [deployment.start(""), deployment.start("")];
    let (alice, _client) = Person::register("alice", &deployment, &servers[0]).await;
    let mut first = Client::connect(servers[0].listen, &deployment.certificates.ca).await;
    let hello = first.hello().await;
    let captured = alice.device_login(&hello, &first);
    for server in &servers {
        let mut other = Client::connect(server.listen, &deployment.certificates.ca).await;
        other.hello().await;
        let refused = other.refused(Request::DeviceLogin(captured.clone())).await;
        assert_eq!(refused.0, ErrorCode::WrongCredentials);
    }
    // The challenge is used up by a failed attempt, too.
    let mut wrong = captured.clone();
    wrong.signature[0] ^= 1;
    for attempt in [wrong, captured] {
        let refused = first.refused(Request::DeviceLogin(attempt)).await;
        assert_eq!(refused.0, ErrorCode::WrongCredentials);
    }
}

#[tokio::test]
async fn a_new_identity_is_put_in_place_only_when_asked_for_and_ends_the_others() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut old) = Person::register("alice", &deployment, &server).await;
    old.resume().await;
    let id = *alice.me.certificate().deployment();
    let fresh = Person::new("alice", id);
    let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
    client.hello().await;
    assert_eq!(
        client.refused(fresh.password_request()).await.0,
        ErrorCode::IdentityMismatch
    );
    let mut login = fresh.password_login();
    login.identity_change = IdentityChange::Replace.into();
    assert!(matches!(
        client.ask(Request::PasswordLogin(login)).await,
        Response::LoggedIn(_)
    ));
    // The old device's live session ends, and it cannot come back.
    let end = error(old.push().await).0;
    assert_eq!(end, ErrorCode::NotLoggedIn);
    assert!(old.try_frame().await.is_none());
    let mut back = Client::connect(server.listen, &deployment.certificates.ca).await;
    let hello = back.hello().await;
    let login = alice.device_login(&hello, &back);
    assert_eq!(
        back.refused(Request::DeviceLogin(login)).await.0,
        ErrorCode::WrongCredentials
    );
    let account = match client.ask(get_account("alice")).await {
        Response::Account(account) => account,
        other => panic!("{other:?}"),
    };
    assert_eq!(account.identity_key, fresh.identity.public());
    assert_eq!(
        account.certificates,
        [fresh.me.certificate().as_bytes().to_vec()]
    );
}

fn get_account(username: &str) -> Request {
    Request::GetAccount(wire::GetAccount {
        username: username.to_owned(),
    })
}

#[tokio::test]
async fn a_password_changes_only_for_who_knows_it() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (mut alice, mut client) = Person::register("alice", &deployment, &server).await;
    let change = |current: char, new: char| {
        Request::ChangePassword(wire::ChangePassword {
            current_authentication_key: authentication_key(current),
            new_authentication_key: authentication_key(new),
        })
    };
    assert_eq!(
        client.refused(change('q', 'r')).await.0,
        ErrorCode::WrongCredentials
    );
    assert!(matches!(
        client.ask(change('p', 'r')).await,
        Response::Done(_)
    ));
    let mut other = Client::connect(server.listen, &deployment.certificates.ca).await;
    other.hello().await;
    assert_eq!(
        other.refused(alice.password_request()).await.0,
        ErrorCode::WrongCredentials
    );
    alice.password = 'r';
    assert!(matches!(
        other.ask(alice.password_request()).await,
        Response::LoggedIn(_)
    ));
}

#[tokio::test]
async fn people_are_listed_and_looked_up() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (_, mut alice) = Person::register("alice", &deployment, &server).await;
    let (bob_person, bob) = Person::register("bob", &deployment, &server).await;
    drop(bob);
    let list = |prefix: &str, filter: wire::UserFilter| {
        Request::ListUsers(wire::ListUsers {
            prefix: prefix.to_owned(),
            filter: filter.into(),
            ..Default::default()
        })
    };
    let names = |answer| match answer {
        Response::Users(users) => users
            .users
            .into_iter()
            .map(|user| user.username)
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        names(alice.ask(list("", wire::UserFilter::All)).await),
        ["alice", "bob"]
    );
    assert_eq!(
        names(alice.ask(list("b", wire::UserFilter::All)).await),
        ["bob"]
    );
    for hostile in ["%", "_", "b%", "' OR 1=1 --", "\\"] {
        assert!(
            names(alice.ask(list(hostile, wire::UserFilter::All)).await).is_empty(),
            "{hostile}"
        );
    }
    support::eventually("bob is offline", async || {
        names(alice.ask(list("", wire::UserFilter::Online)).await) == ["alice"]
    })
    .await;
    match alice.ask(get_account("bob")).await {
        Response::Account(account) => {
            assert_eq!(account.identity_key, bob_person.identity.public())
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        code(alice.ask(get_account("eve")).await),
        ErrorCode::UnknownUser
    );
}

/// B7: what one account takes of another's one-time packages is bounded; the
/// last-resort package remains.
#[tokio::test]
async fn key_packages_are_claimed_once_each_and_limited() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    let answer = alice_client.ask(claim("bob")).await;
    assert_eq!(code(answer), ErrorCode::NoKeyPackage);
    assert_eq!(bob.publish(&mut bob_client, 8).await, 8);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let claimed = alice.claim(&mut alice_client, "bob").await;
        assert_eq!(claimed.identity_key, bob.identity.public());
        assert!(
            seen.insert(claimed.packages[0].key_package.clone()),
            "served twice"
        );
    }
    let (code, refusal) = error(alice_client.ask(claim("bob")).await);
    assert_eq!(code, ErrorCode::RateLimited);
    assert!(refusal.retry_after_ms > 0);
    assert!(
        refusal.message.contains("invited this person"),
        "{refusal:?}"
    );
    // Somebody else's package, or one in the wrong place, is not taken.
    let wrong = [
        wire::PublishKeyPackages {
            one_time: vec![alice.key_package(sotto_crypto::KeyPackageUse::OneTime)],
            last_resort: Vec::new(),
        },
        wire::PublishKeyPackages {
            one_time: vec![bob.key_package(sotto_crypto::KeyPackageUse::LastResort)],
            last_resort: Vec::new(),
        },
        wire::PublishKeyPackages {
            one_time: vec![vec![1; 100]],
            last_resort: Vec::new(),
        },
    ];
    for request in wrong {
        let refused = bob_client
            .refused(Request::PublishKeyPackages(request))
            .await;
        assert_eq!(refused.0, ErrorCode::KeyPackageInvalid);
    }
}

fn claim(username: &str) -> Request {
    Request::ClaimKeyPackages(wire::ClaimKeyPackages {
        username: username.to_owned(),
        ciphersuite: 3,
    })
}
