//! A deployment whose servers tell each other by NATS: people talk, NATS is killed, they talk on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::nats_support::NatsServer;
use crate::support::{Deployment, Listening, texts, wait_for};

const SERVERS: u32 = 3;

/// GETs a path of a server's private port.
fn get(admin: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The private ports of all servers.
fn admins(deployment: &Deployment) -> Vec<String> {
    let status = deployment.status();
    let processes = status["processes"].as_array().unwrap().iter();
    let servers = processes.filter(|process| process["kind"] == "server");
    servers
        .map(|server| server["admin"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until each server says so of NATS as its bus.
fn wait_connected(admins: &[String], wanted: [bool; SERVERS as usize]) {
    wait_for("the bus's state", || {
        let states = admins.iter().map(|admin| {
            let status: Value = serde_json::from_str(&get(admin, "/status.json")).unwrap();
            assert_eq!(status["bus"], "nats");
            status["bus_connected"].as_bool().unwrap()
        });
        states.eq(wanted).then_some(())
    });
}

/// What other servers said and these heard, by NATS.
fn heard(admins: &[String]) -> u64 {
    let of = |admin: &String| -> u64 {
        let metrics = get(admin, "/metrics");
        let found = metrics
            .lines()
            .find_map(|line| line.strip_prefix("sotto_server_bus_messages_heard_total "));
        found.unwrap().parse().unwrap()
    };
    admins.iter().map(of).sum()
}

fn until_text(listening: &mut Listening, text: &str) {
    listening.until(text, |events| {
        texts(events).iter().any(|heard| heard == text)
    });
}

#[test]
fn a_deployment_talks_over_nats_and_outlives_it() {
    let mut nats = NatsServer::start(&[]);
    let url: &'static str = Box::leak(format!("nats://{}", nats.address()).into_boxed_str());
    let variables: &'static [(&str, &str)] = Box::leak(Box::new([("SOTTO_UP_SERVER_BUS", url)]));
    let deployment = Deployment::start_with(SERVERS, variables);
    let admins = admins(&deployment);
    assert_eq!(admins.len(), SERVERS as usize);
    wait_connected(&admins, [true; 3]);

    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut at_bob = bob.listen();
    let mut say = |text: &str| {
        alice.ok(&["send", &bob.name, text, "--timeout", "30s"]);
        until_text(&mut at_bob, text);
    };
    say("by nats");
    let before = heard(&admins);
    assert!(before > 0, "no server heard another");

    nats.kill9();
    say("it was killed");
    wait_connected(&admins, [false; 3]);
    say("nobody carries this");
    assert_eq!(deployment.status()["phase"], "ready");

    nats.restart();
    wait_connected(&admins, [true; 3]);
    say("it is back");
    wait_for("servers to hear each other again", || {
        (heard(&admins) > before).then_some(())
    });
    let expected = [
        "by nats",
        "it was killed",
        "nobody carries this",
        "it is back",
    ];
    assert_eq!(texts(&at_bob.kill()), expected);
}
