//! E8: an address in what somebody wrote is text. Nothing of the client goes
//! there, wherever and however the text is shown.

use std::io::ErrorKind;
use std::net::TcpListener;

use super::plain;
use crate::groups::group_of;
use crate::support::{Deployment, fresh_name};

#[test]
fn nobody_knocks_at_an_address_that_somebody_wrote() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    door.set_nonblocking(true).unwrap();
    let port = door.local_addr().unwrap().port();
    let address = format!("http://127.0.0.1:{port}/pixel.png");
    let text =
        format!("look: {address} https://localhost:{port}/ ![x]({address}) ftp://127.0.0.1:{port}");
    // In a text, an answer, a group's title and description, and the name of a file.
    alice.ok(&["send", &bob.name, &text]);
    let named = alice.home().join(format!("127.0.0.1:{port}.url"));
    std::fs::write(&named, format!("[InternetShortcut]\nURL={address}\n")).unwrap();
    let file = named.to_str().unwrap().to_owned();
    alice.ok(&["send", &bob.name, &text, "--file", &file]);
    alice.ok(&["profile", "set", "--status", &text[..60]]);
    let title = format!("{} {}", fresh_name("t"), &address);
    let group = group_of(&title, &[&alice, &bob]);
    alice.ok(&["send", &group, &text]);
    // As objects and for people, as it comes, later, searched for and exported.
    let heard = bob.ok(&["listen", "--for", "5s", "--count", "4"]);
    assert!(heard.texts().contains(&text), "{heard:?}");
    bob.ok(&["history", &alice.name]);
    bob.ok(&["search", "pixel"]);
    bob.ok(&["invites"]);
    for arguments in [
        &["history", alice.name.as_str()][..],
        &["history", &group],
        &["chats"],
        &["listen", "--for", "1s"],
    ] {
        let shown = plain(&bob, arguments).output().unwrap();
        assert!(shown.status.success(), "{shown:?}");
    }
    let came = door.accept().map(|(_, who)| who);
    assert_eq!(came.unwrap_err().kind(), ErrorKind::WouldBlock);
}
