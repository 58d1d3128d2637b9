//! Entering a public room where the rules stand against it.

use sotto_client::engine::api::GroupCommand;

use crate::world::World;

#[test]
fn who_is_in_a_room_under_an_earlier_identity_is_told_so_at_once() {
    let mut world = World::people(2);
    let (title, topic) = ("lobby".to_owned(), String::new());
    world.group_command(0, GroupCommand::NewRoom { title, topic });
    let group = world.made(0).unwrap();
    let enter = || GroupCommand::Enter {
        group,
        title: "lobby".to_owned(),
    };
    world.group_command(1, enter());
    world.settle();
    let again = world.begin_anew(1, "bob");
    world.group_command(again, enter());
    let failure = world.failures(again).last().copied().cloned();
    let failure = failure.expect("an answer without waiting");
    assert_eq!(failure.code, "not_allowed");
    assert!(failure.message.contains("earlier identity"), "{failure:?}");
    // Asked again, it says the same, and claims no membership.
    world.group_command(again, enter());
    assert_eq!(world.failures(again).last().unwrap().code, "not_allowed");
    assert_eq!(world.failures(again).len(), 2);
}
