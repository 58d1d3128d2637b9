//! C14 and G2: a network that eats answers, and one that stops without a word.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{Deployment, texts, wait_for};

/// What becomes of one connection.
#[derive(Clone, Copy)]
enum Fate {
    Whole,
    /// Both ways end once so many bytes of the server have passed.
    CutAfter(usize),
}

/// How much passed through a connection that is over.
#[derive(Clone, Copy, Debug)]
struct Passed {
    up: usize,
    down: usize,
}

/// Stands between a client and the balancer.
struct Proxy {
    address: String,
    next: Arc<Mutex<Fate>>,
    ended: Arc<Mutex<Vec<Passed>>>,
    /// Connections made before this was set carry nothing any more, and stay open.
    frozen: Arc<Mutex<Arc<AtomicBool>>>,
}

impl Proxy {
    fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap().to_string(),
            next: Arc::new(Mutex::new(Fate::Whole)),
            ended: Arc::default(),
            frozen: Arc::default(),
        };
        let (next, ended) = (Arc::clone(&proxy.next), Arc::clone(&proxy.ended));
        let (frozen, server) = (Arc::clone(&proxy.frozen), server.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let fate = std::mem::replace(&mut *next.lock().unwrap(), Fate::Whole);
                let frozen = Arc::clone(&frozen.lock().unwrap());
                let (ended, server) = (Arc::clone(&ended), server.clone());
                thread::spawn(move || carry(client, &server, fate, &frozen, &ended));
            }
        });
        proxy
    }

    fn set_next(&self, fate: Fate) {
        *self.next.lock().unwrap() = fate;
    }

    /// Every connection that there is now goes silent; later ones work.
    fn freeze(&self) {
        let old = std::mem::take(&mut *self.frozen.lock().unwrap());
        old.store(true, Ordering::SeqCst);
    }

    /// The connections that ended since this was asked the last time; at least `count`.
    fn ended(&self, count: usize) -> Vec<Passed> {
        wait_for("the connections to end", || {
            (self.ended.lock().unwrap().len() >= count).then_some(())
        });
        std::mem::take(&mut *self.ended.lock().unwrap())
    }
}

fn carry(
    client: TcpStream,
    server: &str,
    fate: Fate,
    frozen: &Arc<AtomicBool>,
    ended: &Mutex<Vec<Passed>>,
) {
    let server = TcpStream::connect(server).unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let upwards = {
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let (frozen, sent) = (Arc::clone(frozen), Arc::clone(&sent));
        thread::spawn(move || pump(from, to, usize::MAX, &frozen, &sent))
    };
    let received = AtomicUsize::new(0);
    let limit = match fate {
        Fate::Whole => usize::MAX,
        Fate::CutAfter(limit) => limit,
    };
    pump(server, client, limit, frozen, &received);
    upwards.join().unwrap();
    ended.lock().unwrap().push(Passed {
        up: sent.load(Ordering::SeqCst),
        down: received.load(Ordering::SeqCst),
    });
}

/// Moves at most `limit` bytes, then ends both ways at once.
fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    limit: usize,
    frozen: &AtomicBool,
    count: &AtomicUsize,
) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let left = (limit - count.load(Ordering::SeqCst)).min(buffer.len());
        let Ok(read @ 1..) = from.read(&mut buffer[..left]) else {
            break;
        };
        count.fetch_add(read, Ordering::SeqCst);
        if frozen.load(Ordering::SeqCst) {
            continue;
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    if !frozen.load(Ordering::SeqCst) {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// C14: the answer to a message is lost at every place where it may be cut.
#[test]
fn eaten_acknowledgements_lose_and_double_nothing() {
    let deployment = Deployment::shared();
    let (mut alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let proxy = Proxy::to(deployment.env("SOTTO_SERVER"));
    alice.server.clone_from(&proxy.address);
    let mut sent = vec!["message 00".to_owned()];
    alice.ok(&["send", &bob.name, &sent[0]]);
    let whole = proxy.ended(1)[0];
    let mut after_upload = 0;
    for number in 1..=24 {
        let text = format!("message {number:02}");
        proxy.set_next(Fate::CutAfter(whole.down - 8 * number));
        alice.ok(&["send", &bob.name, &text]);
        let cut = proxy.ended(1)[0];
        // The message had left: what was lost is the answer.
        after_upload += usize::from(cut.up + 80 >= whole.up);
        sent.push(text);
    }
    assert!(after_upload >= 5, "only {after_upload} answers were eaten");
    let count = (sent.len()).to_string();
    let heard = bob
        .ok(&["listen", "--for", "20s", "--count", &count])
        .texts();
    assert_eq!(heard, sent);
    assert!(bob.ok(&["listen", "--for", "1s"]).texts().is_empty());
    let history = alice.ok(&["history", &bob.name]).texts();
    assert_eq!(history[1..], sent);
}

/// G2: the way to somebody who listens goes dead without a FIN. They notice
/// within 45 seconds, come back, and have everything.
#[test]
fn a_connection_that_goes_silent_is_replaced() {
    let deployment = Deployment::shared();
    let (alice, mut bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let proxy = Proxy::to(deployment.env("SOTTO_SERVER"));
    bob.server.clone_from(&proxy.address);
    let mut at_bob = bob.listen();
    alice.ok(&["send", &bob.name, "before"]);
    at_bob.until("the first message", |events| {
        texts(events).contains(&"before".to_owned())
    });
    proxy.freeze();
    let began = std::time::Instant::now();
    for number in 0..3 {
        alice.ok(&["send", &bob.name, &format!("into the dark {number}")]);
    }
    at_bob.until("what was sent meanwhile", |events| texts(events).len() >= 4);
    assert!(
        began.elapsed() < Duration::from_secs(55),
        "{:?}",
        began.elapsed()
    );
    let dark: Vec<_> = texts(&at_bob.events).into_iter().skip(1).collect();
    assert_eq!(
        dark,
        ["into the dark 0", "into the dark 1", "into the dark 2"]
    );
}
