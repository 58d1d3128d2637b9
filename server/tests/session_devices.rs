//! Further devices, their end, the relay that links them, and backups.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::{ErrorCode, wire};
use support::Deployment;
use support::client::{Client, error};
use support::person::{Person, authentication_key, code};

fn done(answer: Response) {
    assert!(matches!(answer, Response::Done(_)), "{answer:?}");
}

fn add(device: &Person) -> Request {
    Request::AddDevice(wire::AddDevice {
        certificate: device.me.certificate().as_bytes().to_vec(),
    })
}

fn revoke(device: &Person) -> Request {
    Request::RevokeDevice(wire::RevokeDevice {
        device_id: device.device().to_vec(),
    })
}

/// A revoked device is out at once, on every server, whether its deliveries have begun or not.
#[tokio::test]
async fn a_revoked_device_is_out_at_once_everywhere() {
    let deployment = Deployment::new();
    let servers = [deployment.start(""), deployment.start("")];
    let (alice, mut client) = Person::register("alice", &deployment, &servers[0]).await;
    let phone = alice.second_device();
    done(client.ask(add(&phone)).await);
    let mut reading = phone.log_in(&deployment, &servers[1]).await;
    reading.resume().await;
    let mut transferring = phone.log_in(&deployment, &servers[1]).await;
    done(client.ask(revoke(&phone)).await);
    for session in [&mut reading, &mut transferring] {
        match session.push().await {
            Response::Error(refused) => {
                assert_eq!(error(Response::Error(refused)).0, ErrorCode::NotLoggedIn);
            }
            other => panic!("{other:?}"),
        }
        assert!(session.try_frame().await.is_none(), "the connection ends");
    }
    let mut late = Client::connect(servers[1].listen, &deployment.certificates.ca).await;
    let hello = late.hello().await;
    let login = Request::DeviceLogin(phone.device_login(&hello, &late));
    assert_eq!(code(late.ask(login).await), ErrorCode::WrongCredentials);
    // Nor does the password bring it back, whatever it holds.
    let mut again = Client::connect(servers[0].listen, &deployment.certificates.ca).await;
    again.hello().await;
    let refused = code(again.ask(phone.password_request()).await);
    assert_eq!(refused, ErrorCode::CertificateInvalid);
    assert_eq!(
        code(client.ask(revoke(&phone)).await),
        ErrorCode::UnknownDevice
    );
}

#[tokio::test]
async fn devices_are_added_and_revoked_by_their_own_account_only() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    // Under another identity key, or another name: refused.
    let forged = Person::new("alice", *alice.me.certificate().deployment());
    assert_eq!(
        code(alice_client.ask(add(&forged)).await),
        ErrorCode::IdentityMismatch
    );
    let alices = alice.second_device();
    assert_eq!(
        code(bob_client.ask(add(&alices)).await),
        ErrorCode::CertificateInvalid
    );
    assert_eq!(
        code(bob_client.ask(revoke(&alice)).await),
        ErrorCode::UnknownDevice
    );
    assert_eq!(
        code(bob_client.ask(revoke(&bob)).await),
        ErrorCode::Malformed
    );
    for _ in 0..7 {
        done(alice_client.ask(add(&alice.second_device())).await);
    }
    let ninth = alice_client.ask(add(&alice.second_device())).await;
    assert_eq!(code(ninth), ErrorCode::TooManyDevices);
}

#[tokio::test]
async fn a_new_device_and_an_old_one_meet_by_a_code() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (_alice, mut old) = Person::register("alice", &deployment, &server).await;
    let mut new = Client::connect(server.listen, &deployment.certificates.ca).await;
    let place = vec![5; 16];
    let offer = |bytes: usize| {
        Request::PutLinkOffer(wire::PutLinkOffer {
            rendezvous_id: place.clone(),
            offer: vec![1; bytes],
        })
    };
    let look = Request::GetLinkAnswer(wire::GetLinkAnswer {
        rendezvous_id: place.clone(),
    });
    assert_eq!(
        code(new.ask(offer(9)).await),
        ErrorCode::NotLoggedIn,
        "before hello"
    );
    new.hello().await;
    assert_eq!(code(new.ask(offer(4_097)).await), ErrorCode::TooLarge);
    done(new.ask(offer(4_096)).await);
    done(new.ask(offer(4_096)).await);
    let other = Request::PutLinkOffer(wire::PutLinkOffer {
        rendezvous_id: place.clone(),
        offer: vec![2; 9],
    });
    assert_eq!(
        code(new.ask(other).await),
        ErrorCode::UnknownLink,
        "the place is taken"
    );
    let answer_of = |answer: Response| match answer {
        Response::LinkAnswer(answer) => answer.answer,
        other => panic!("{other:?}"),
    };
    assert!(answer_of(new.ask(look.clone()).await).is_empty());
    // Looking for somebody's offer needs a login.
    let get = |place: u8| {
        Request::GetLinkOffer(wire::GetLinkOffer {
            rendezvous_id: vec![place; 16],
        })
    };
    assert_eq!(code(new.ask(get(5)).await), ErrorCode::NotLoggedIn);
    assert_eq!(code(old.ask(get(6)).await), ErrorCode::UnknownLink);
    match old.ask(get(5)).await {
        Response::LinkOffer(found) => assert_eq!(found.offer, vec![1; 4_096]),
        other => panic!("{other:?}"),
    }
    let put = Request::PutLinkAnswer(wire::PutLinkAnswer {
        rendezvous_id: place.clone(),
        answer: vec![3; 65_536],
    });
    done(old.ask(put.clone()).await);
    assert_eq!(
        code(old.ask(put).await),
        ErrorCode::UnknownLink,
        "answered already"
    );
    assert_eq!(answer_of(new.ask(look.clone()).await), vec![3; 65_536]);
    assert!(
        answer_of(new.ask(look).await).is_empty(),
        "it can be had once"
    );
    // Codes are not guessed.
    let mut refused = ErrorCode::UnknownLink;
    for _ in 0..30 {
        refused = code(old.ask(get(7)).await);
    }
    assert_eq!(refused, ErrorCode::RateLimited);
}

#[tokio::test]
async fn a_backup_needs_the_key_and_is_replaced_by_who_saw_the_last() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut client) = Person::register("alice", &deployment, &server).await;
    let put = |bytes: usize, previous| {
        Request::PutBackup(wire::PutBackup {
            backup: vec![9; bytes],
            previous,
        })
    };
    assert_eq!(code(client.ask(put(0, 0)).await), ErrorCode::Malformed);
    assert_eq!(
        code(client.ask(put(512 * 1024 + 1, 0)).await),
        ErrorCode::TooLarge
    );
    for previous in 0..2 {
        match client.ask(put(512 * 1024, previous)).await {
            Response::Backup(stored) => {
                assert_eq!((stored.number, stored.backup.len()), (previous + 1, 0));
            }
            other => panic!("{other:?}"),
        }
    }
    let (refused, stale) = error(client.ask(put(9, 1)).await);
    assert_eq!((refused, stale.current_epoch), (ErrorCode::StaleEpoch, 2));
    let mut fresh = Client::connect(server.listen, &deployment.certificates.ca).await;
    fresh.hello().await;
    let get = |username: &str, password: char| {
        Request::GetBackup(wire::GetBackup {
            username: username.to_owned(),
            authentication_key: authentication_key(password),
        })
    };
    let wrong = fresh.ask(get("alice", 'x')).await;
    assert_eq!(
        wrong,
        fresh.ask(get("nobody", 'x')).await,
        "the same answer"
    );
    assert_eq!(code(wrong), ErrorCode::WrongCredentials);
    match fresh.ask(get("alice", alice.password)).await {
        Response::Backup(found) => {
            assert_eq!((found.number, found.backup.len()), (2, 512 * 1024));
        }
        other => panic!("{other:?}"),
    }
    let (bob, _) = Person::register("bob", &deployment, &server).await;
    assert_eq!(
        code(fresh.ask(get("bob", bob.password)).await),
        ErrorCode::NoBackup
    );
}

/// F6: a backup is no way around the limit of logins, and it closes the connection as they do.
#[tokio::test]
async fn backups_share_the_limit_of_logins() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut client) = Person::register("alice", &deployment, &server).await;
    let get = Request::GetBackup(wire::GetBackup {
        username: "alice".to_owned(),
        authentication_key: authentication_key('x'),
    });
    let mut checked = 0;
    for _ in 0..3 {
        let mut guesser = Client::connect(server.listen, &deployment.certificates.ca).await;
        guesser.hello().await;
        for _ in 0..6 {
            match code(guesser.ask(get.clone()).await) {
                ErrorCode::WrongCredentials => checked += 1,
                ErrorCode::RateLimited => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(checked, 10);
    // The victim's device still logs in.
    client.resume().await;
    alice.log_in(&deployment, &server).await;
}
