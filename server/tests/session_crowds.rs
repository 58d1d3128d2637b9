//! Many at once: lengths that are claimed and never sent, guesses that fill the
//! queue, and everybody coming back after a server died. Figures have wide
//! margins, since other work shares the machine: they tell a bounded cost from
//! one that grows with the crowd, and nothing finer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;

use sotto_protocol::ErrorCode;
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use support::client::{Client, error};
use support::person::{Person, appended};
use support::{Deployment, Process};
use tokio::task::JoinSet;

/// Connections at once in G3.
const CROWD: usize = 2_000;
/// Tasks that open connections side by side.
const HANDS: usize = 16;

/// A process's memory in use, in KiB.
fn resident_kib(process: &Process) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}

/// Connections that greeted, so that the server holds all that a connection costs.
async fn crowd(listen: SocketAddr, ca: PathBuf, count: usize) -> Vec<Client> {
    let mut hands = JoinSet::new();
    for hand in 0..HANDS {
        let ca = ca.clone();
        let share = count / HANDS + usize::from(hand < count % HANDS);
        hands.spawn(async move {
            let mut all = Vec::with_capacity(share);
            for _ in 0..share {
                let mut client = Client::connect(listen, &ca).await;
                client.hello().await;
                all.push(client);
            }
            all
        });
    }
    hands.join_all().await.into_iter().flatten().collect()
}

/// G3: what two thousand connections say they will send, and do not, takes no
/// memory; what none may send is refused for each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_claimed_lengths_take_no_memory() {
    let deployment = Deployment::new();
    let server = deployment.start("connections_max = 4096");
    let ca = deployment.certificates.ca.clone();
    let mut held = crowd(server.listen, ca, CROWD).await;
    let before = resident_kib(&server);
    // The largest frame before a login, and its first byte.
    let claim = [&(16_u32 * 1024).to_be_bytes()[..], &[0x08]].concat();
    for client in &mut held {
        // On a slow machine the first were hung up on for not logging in.
        let _ = client.send_raw(&claim).await;
    }
    // All were read by when a newcomer's greeting is answered after them.
    let mut last = Client::connect(server.listen, &deployment.certificates.ca).await;
    last.hello().await;
    let grown = resident_kib(&server).saturating_sub(before);
    // A record that was read costs about 4 KiB; what was claimed would be 16.
    assert!(
        grown < CROWD * 6,
        "{grown} KiB for {CROWD} claims of 16 KiB each"
    );
    drop(held);
    // A length that nobody may claim: each is told so, and is gone.
    let mut held = crowd(server.listen, deployment.certificates.ca.clone(), 200).await;
    for length in [u32::MAX, 8 * 1024 * 1024 - 1] {
        for client in held.drain(..100) {
            let mut client = client;
            client.send_raw(&length.to_be_bytes()).await.unwrap();
            let answer = client.frame().await.body.unwrap();
            assert_eq!(error(answer).0, ErrorCode::TooLarge);
            assert!(client.try_frame().await.is_none());
        }
    }
    assert!(!server.log_text().contains("panicked"));
}

/// F10: while guesses keep every password worker busy for long, what others
/// send is stored at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_guesses_delays_nobodys_messages() {
    let deployment = Deployment::new();
    let server = deployment.start("bcrypt_cost = 4\npassword_workers = 1");
    let (alice, mut alices) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bobs) = Person::register("bob", &deployment, &server).await;
    bob.publish(&mut bobs, 1).await;
    let at_alice = alice.group_with(&mut alices, &[&bob]).await;
    drop(server);
    // A guess costs some ten times as much from here on.
    let server = deployment.start("bcrypt_cost = 9\npassword_workers = 1");
    let mut alices = alice.log_in(&deployment, &server).await;
    let guessers = crowd(server.listen, deployment.certificates.ca.clone(), 200).await;
    let mut flood = JoinSet::new();
    for (number, mut client) in guessers.into_iter().enumerate() {
        let deployment = *alice.me.certificate().deployment();
        flood.spawn(async move {
            let person = Person::new(&format!("guess{number}"), deployment);
            client.refused(person.password_request()).await.0
        });
    }
    let (mut answered, mut sent) = (0, 0);
    while !flood.is_empty() {
        let message = at_alice.message(b"meanwhile");
        appended(alices.ask(message).await);
        // Before the first answer the guesses may not have arrived yet.
        sent += u32::from(answered > 0);
        while let Some(answer) = flood.try_join_next() {
            let fair = [ErrorCode::RateLimited, ErrorCode::WrongCredentials];
            assert!(fair.contains(&answer.unwrap()));
            answered += 1;
        }
    }
    // Behind the guesses that were taken on, the first would be stored after all of them.
    assert!(sent > 1, "{sent} sent");
}

/// G17: whoever was on a server that died is back on another soon, by the
/// device's signature alone: no password is hashed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_comes_back_without_a_password_being_hashed() {
    const PEOPLE: usize = 300;
    let deployment = Deployment::new();
    let mut dying = deployment.start("");
    let other = deployment.start("");
    let mut people = Vec::with_capacity(PEOPLE);
    for number in 0..PEOPLE {
        let name = format!("person{number:03}");
        let (person, mut client) = Person::register(&name, &deployment, &dying).await;
        client.resume().await;
        people.push((person, client));
    }
    let hashed = other.metric("password_checks_total").await;
    let (listen, ca) = (other.listen, deployment.certificates.ca.clone());
    dying.kill();
    let mut storm = JoinSet::new();
    for (person, mut lost) in people {
        let ca = ca.clone();
        storm.spawn(async move {
            while lost.try_frame().await.is_some() {}
            let mut client = Client::connect(listen, &ca).await;
            let hello = client.hello().await;
            let login = person.device_login(&hello, &client);
            let answer = client.ask(Request::DeviceLogin(login)).await;
            assert!(matches!(answer, Response::LoggedIn(_)), "{answer:?}");
            client.resume().await;
            client
        });
    }
    let back = storm.join_all().await;
    assert_eq!(back.len(), PEOPLE);
    assert_eq!(other.metric("password_checks_total").await, hashed);
}
