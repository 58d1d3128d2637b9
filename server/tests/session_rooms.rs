//! Rooms: who comes in, who is kept out, and how rooms and invite links are known.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use prost::Message as _;
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, EnvelopeKind};
use sotto_protocol::{ConversationId, ErrorCode};
use support::client::Client;
use support::group::{any_id, group_info};
use support::person::{Person, appended, code};
use support::{Deployment, now_ms};

#[tokio::test]
async fn anybody_enters_a_public_group_but_who_is_banned() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    let mut at_alice = alice.room(&mut alice_client).await;
    let conversation = at_alice.conversation;
    alice_client.resume().await;
    bob_client.resume().await;
    let early = match bob_client.ask(group_info(conversation)).await {
        Response::GroupInfo(info) => info,
        other => panic!("{other:?}"),
    };
    let mut at_bob = bob.enter(&mut bob_client, conversation).await;
    let commit = alice_client.deliveries(1).await.remove(0);
    assert_eq!(commit.kind(), EnvelopeKind::Commit);
    appended(bob_client.ask(at_bob.message(b"hi")).await);
    assert_eq!(&alice_client.deliveries(1).await[0].payload[..], b"hi");
    // Alice follows Bob's commit and bans him.
    at_alice = alice.enter(&mut alice_client, conversation).await;
    let mut rules = at_alice.rules();
    rules.banned.insert(bob.username.clone());
    let banned = alice
        .change(&mut alice_client, &mut at_alice, rules, &[&bob])
        .await;
    let banned = appended(banned);
    let late = at_bob.message(b"still here?");
    assert_eq!(
        code(bob_client.ask(late).await),
        ErrorCode::UnknownConversation
    );
    assert_eq!(
        code(bob_client.ask(group_info(conversation)).await),
        ErrorCode::Banned
    );
    let (_, request) = bob.entry(conversation, &early);
    assert_eq!(code(bob_client.ask(request).await), ErrorCode::Banned);
    let mut rules = at_alice.rules();
    rules.banned.clear();
    let lifted = alice
        .change(&mut alice_client, &mut at_alice, rules, &[])
        .await;
    assert_eq!(appended(lifted).seq, banned.seq + 1);
    at_bob = bob.enter(&mut bob_client, conversation).await;
    appended(bob_client.ask(at_bob.message(b"back")).await);
}

#[tokio::test]
async fn a_closed_group_is_not_entered() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    let closed = alice.group_with(&mut alice_client, &[]).await;
    let refused = code(bob_client.ask(group_info(closed.conversation)).await);
    assert_eq!(refused, ErrorCode::UnknownConversation);
    // Not even with a group info from a friend.
    let info = match alice_client.ask(group_info(closed.conversation)).await {
        Response::GroupInfo(info) => info,
        other => panic!("{other:?}"),
    };
    let joined = sotto_crypto::Group::rejoin(
        &bob.store(),
        &bob.me,
        sotto_crypto::Address {
            conversation: closed.conversation,
            generation: 0,
        },
        &info.group_info,
        &any_id(),
    );
    assert!(joined.is_err(), "the own client refuses as well");
}

fn set_room(conversation: ConversationId, title: &str, topic: &str) -> Request {
    Request::SetRoom(wire::SetRoom {
        conversation_id: conversation.to_vec(),
        title: title.to_owned(),
        topic: topic.to_owned(),
        keep_topic: false,
    })
}

async fn rooms(client: &mut Client, prefix: &str, after: &str, limit: u32) -> wire::Rooms {
    let request = wire::ListRooms {
        prefix: prefix.to_owned(),
        after: after.to_owned(),
        limit,
    };
    match client.ask(Request::ListRooms(request)).await {
        Response::Rooms(rooms) => rooms,
        other => panic!("{other:?}"),
    }
}

fn titles(rooms: &wire::Rooms) -> Vec<&str> {
    rooms.rooms.iter().map(|room| room.title.as_str()).collect()
}

#[tokio::test]
async fn rooms_are_listed_by_their_admins_under_titles_of_their_own() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    let one = alice.room(&mut alice_client).await.conversation;
    let two = bob.room(&mut bob_client).await.conversation;
    let done = alice_client
        .ask(set_room(one, "Garden", "what grows"))
        .await;
    assert!(matches!(done, Response::Done(_)), "{done:?}");
    for taken in [
        "Garden",
        "garden",
        "GARDEN",
        "Gаrden",
        "Ｇarden",
        "gar-den",
        "g a r d e n",
    ] {
        let refused = code(bob_client.ask(set_room(two, taken, "")).await);
        assert_eq!(refused, ErrorCode::TitleTaken, "{taken}");
    }
    for bad in ["a\nb", " a", "a\u{202e}b", "a\u{200b}", "\0", "x\u{1b}[0m"] {
        for request in [set_room(two, bad, ""), set_room(two, "Kitchen", bad)] {
            let refused = code(bob_client.ask(request).await);
            assert_eq!(refused, ErrorCode::Malformed, "{bad:?}");
        }
    }
    let refused = code(bob_client.ask(set_room(two, "--", "")).await);
    assert_eq!(refused, ErrorCode::Malformed, "a title of signs alone");
    let long = "x".repeat(65);
    let refused = code(bob_client.ask(set_room(two, &long, "")).await);
    assert_eq!(refused, ErrorCode::TooLarge);
    // Not by somebody else, nor for a group that is not public, nor for one that is not there.
    let refused = code(bob_client.ask(set_room(one, "Mine", "")).await);
    assert_eq!(refused, ErrorCode::UnknownConversation);
    bob.enter(&mut bob_client, one).await;
    let refused = code(bob_client.ask(set_room(one, "Mine", "")).await);
    assert_eq!(refused, ErrorCode::NotAllowed);
    let closed = alice.group_with(&mut alice_client, &[]).await.conversation;
    let refused = code(alice_client.ask(set_room(closed, "Cellar", "")).await);
    assert_eq!(refused, ErrorCode::NotAllowed);
    let done = bob_client.ask(set_room(two, "Kitchen", "")).await;
    assert!(matches!(done, Response::Done(_)), "{done:?}");
    // Another title, the same topic; and still no title of somebody else's.
    let renamed = |title: &str| {
        let mut request = set_room(one, title, "");
        if let Request::SetRoom(request) = &mut request {
            request.keep_topic = true;
        }
        request
    };
    let refused = code(alice_client.ask(renamed("kitchen")).await);
    assert_eq!(refused, ErrorCode::TitleTaken);
    let done = alice_client.ask(renamed("Orchard")).await;
    assert!(matches!(done, Response::Done(_)), "{done:?}");
    let listed = rooms(&mut bob_client, "", "", 10).await;
    assert_eq!(titles(&listed), ["Kitchen", "Orchard"]);
    assert_eq!(listed.rooms[1].topic, "what grows");
}

#[tokio::test]
async fn rooms_are_found_by_title_page_by_page() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    let one = alice.room(&mut alice_client).await.conversation;
    let two = bob.room(&mut bob_client).await.conversation;
    bob.enter(&mut bob_client, one).await;
    let listed = alice_client.ask(set_room(one, "Garden", "what grows"));
    assert!(matches!(listed.await, Response::Done(_)));
    let listed = bob_client.ask(set_room(two, "Kitchen", ""));
    assert!(matches!(listed.await, Response::Done(_)));
    let all = rooms(&mut alice_client, "", "", 0).await;
    assert_eq!(titles(&all), ["Garden", "Kitchen"]);
    let garden = &all.rooms[0];
    assert_eq!(
        (garden.topic.as_str(), garden.members, garden.joined),
        ("what grows", 2, true)
    );
    assert!(!all.rooms[1].joined && !all.more);
    let first = rooms(&mut alice_client, "", "", 1).await;
    assert!(first.more && titles(&first) == ["Garden"]);
    let rest = rooms(&mut alice_client, "", "GARDEN", 1).await;
    assert!(!rest.more && titles(&rest) == ["Kitchen"]);
    assert_eq!(
        titles(&rooms(&mut alice_client, "kIt", "", 9).await),
        ["Kitchen"]
    );
    for pattern in ["%", "_", "\\", "'; DROP TABLE room; --", "\0", "\u{10ffff}"] {
        assert!(
            rooms(&mut alice_client, pattern, "", 9)
                .await
                .rooms
                .is_empty()
        );
    }
    // Renamed by itself, then taken off; the title is free again.
    for title in ["GARDEN", "Orchard", ""] {
        let done = alice_client.ask(set_room(one, title, "")).await;
        assert!(matches!(done, Response::Done(_)), "{title} {done:?}");
    }
    let done = bob_client.ask(set_room(two, "Garden", "")).await;
    assert!(matches!(done, Response::Done(_)), "{done:?}");
    assert_eq!(
        titles(&rooms(&mut alice_client, "", "", 0).await),
        ["Garden"]
    );
}

fn create_link(conversation: ConversationId, link: u8, uses: u32, life_ms: u64) -> Request {
    Request::CreateJoinLink(wire::CreateJoinLink {
        conversation_id: conversation.to_vec(),
        link_id: vec![link; 16],
        expires_at_ms: now_ms() + life_ms,
        uses,
    })
}

async fn links(client: &mut Client, conversation: ConversationId) -> Vec<wire::JoinLink> {
    let list = Request::ListJoinLinks(wire::ListJoinLinks {
        conversation_id: conversation.to_vec(),
    });
    match client.ask(list).await {
        Response::JoinLinks(links) => links.links,
        other => panic!("{other:?}"),
    }
}

fn request_join(conversation: ConversationId, link: u8) -> Request {
    Request::RequestJoin(wire::RequestJoin {
        conversation_id: conversation.to_vec(),
        link_id: vec![link; 16],
        client_id: any_id().to_vec(),
        proof: vec![7; 32],
    })
}

#[tokio::test]
async fn a_link_leads_to_one_request_for_each_who_uses_it() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    let at_alice = alice.group_with(&mut alice_client, &[]).await;
    let group = at_alice.conversation;
    alice_client.resume().await;
    for (uses, life_ms) in [
        (0, 9_999),
        (10_001, 9_999),
        (1, 0),
        (1, 400 * 24 * 3_600_000),
    ] {
        let refused = alice_client.ask(create_link(group, 1, uses, life_ms)).await;
        assert_eq!(code(refused), ErrorCode::Malformed);
    }
    let hour = 3_600_000;
    for _ in 0..2 {
        let done = alice_client.ask(create_link(group, 1, 2, hour)).await;
        assert!(matches!(done, Response::Done(_)), "{done:?}");
    }
    // Strangers make no links, and one that nobody made leads nowhere.
    let refused = bob_client.ask(create_link(group, 2, 1, hour)).await;
    assert_eq!(code(refused), ErrorCode::UnknownConversation);
    let refused = bob_client.ask(request_join(group, 2)).await;
    assert_eq!(code(refused), ErrorCode::UnknownInvite);
    let nowhere = ConversationId::from_bytes([8; 16]);
    let refused = bob_client.ask(request_join(nowhere, 1)).await;
    assert_eq!(code(refused), ErrorCode::UnknownInvite);
    for _ in 0..3 {
        let done = bob_client.ask(request_join(group, 1)).await;
        assert!(matches!(done, Response::Done(_)), "{done:?}");
    }
    let asked = alice_client.deliveries(1).await.remove(0);
    assert_eq!(asked.kind(), EnvelopeKind::JoinRequest);
    let request = wire::JoinRequest::decode(asked.payload).unwrap();
    assert_eq!(
        (request.username.as_str(), request.proof),
        ("bob", vec![7; 32])
    );
    assert_eq!(request.identity_key, bob.identity.public());
    let known = links(&mut alice_client, group).await;
    assert_eq!((known.len(), known[0].uses_left), (1, 1));
    assert!(!alice_client.has_pushes());
    let revoke = Request::RevokeJoinLink(wire::RevokeJoinLink {
        conversation_id: group.to_vec(),
        link_id: vec![1; 16],
    });
    let done = alice_client.ask(revoke.clone()).await;
    assert!(matches!(done, Response::Done(_)), "{done:?}");
    assert_eq!(
        code(alice_client.ask(revoke).await),
        ErrorCode::UnknownInvite
    );
    let refused = bob_client.ask(request_join(group, 1)).await;
    assert_eq!(code(refused), ErrorCode::UnknownInvite);
}

/// A mistyped secret does not stand in the way of the right one, and takes no further use.
#[tokio::test]
async fn another_proof_by_the_same_link_is_heard_at_once() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (_, mut bob_client) = Person::register("bob", &deployment, &server).await;
    let group = alice.group_with(&mut alice_client, &[]).await.conversation;
    alice_client.resume().await;
    let done = alice_client.ask(create_link(group, 1, 2, 3_600_000)).await;
    assert!(matches!(done, Response::Done(_)), "{done:?}");
    for proof in [7, 7, 8, 8] {
        let mut request = request_join(group, 1);
        if let Request::RequestJoin(request) = &mut request {
            request.proof = vec![proof; 32];
        }
        let done = bob_client.ask(request).await;
        assert!(matches!(done, Response::Done(_)), "{done:?}");
    }
    let asked = alice_client.deliveries(2).await;
    let proofs: Vec<_> = asked
        .into_iter()
        .map(|asked| wire::JoinRequest::decode(asked.payload).unwrap().proof)
        .collect();
    assert_eq!(proofs, [vec![7; 32], vec![8; 32]]);
    let known = links(&mut alice_client, group).await;
    assert_eq!((known.len(), known[0].uses_left), (1, 1));
    assert!(!alice_client.has_pushes());
}

#[tokio::test]
async fn the_last_use_of_a_link_is_taken_once() {
    let deployment = Deployment::new();
    let servers = [deployment.start(""), deployment.start("")];
    let (alice, mut alice_client) = Person::register("alice", &deployment, &servers[0]).await;
    let group = alice.group_with(&mut alice_client, &[]).await.conversation;
    let done = alice_client.ask(create_link(group, 1, 2, 3_600_000)).await;
    assert!(matches!(done, Response::Done(_)), "{done:?}");
    let mut clients = Vec::new();
    for (number, name) in ["bob", "carol", "dave", "erin", "frank", "grace"]
        .iter()
        .enumerate()
    {
        let server = &servers[number % 2];
        clients.push(Person::register(name, &deployment, server).await.1);
    }
    let mut sent = Vec::new();
    for client in &mut clients {
        sent.push(client.send(request_join(group, 1)).await);
    }
    let mut done = 0;
    for (client, id) in clients.iter_mut().zip(sent) {
        match client.answer(id).await {
            Response::Done(_) => done += 1,
            refused => assert_eq!(code(refused), ErrorCode::UnknownInvite),
        }
    }
    assert_eq!(done, 2);
}

#[tokio::test]
async fn links_are_for_closed_groups_and_not_for_who_is_banned_or_in() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    let room = alice.room(&mut alice_client).await.conversation;
    let refused = alice_client.ask(create_link(room, 1, 1, 9_999)).await;
    assert_eq!(code(refused), ErrorCode::NotAllowed);
    let mut at_alice = alice.group_with(&mut alice_client, &[]).await;
    let group = at_alice.conversation;
    let done = alice_client.ask(create_link(group, 1, 9, 3_600_000)).await;
    assert!(matches!(done, Response::Done(_)), "{done:?}");
    let refused = alice_client.ask(request_join(group, 1)).await;
    assert_eq!(code(refused), ErrorCode::ConversationExists);
    let mut rules = at_alice.rules();
    rules.banned.insert(bob.username.clone());
    let banned = alice
        .change(&mut alice_client, &mut at_alice, rules, &[])
        .await;
    appended(banned);
    let refused = bob_client.ask(request_join(group, 1)).await;
    assert_eq!(code(refused), ErrorCode::Banned);
}
