//! What is asked at a terminal: the recovery key and its check, the code of a
//! new device. Nobody gets past a question by a wrong answer.

use crate::devices::{Linking, machine};
use crate::support::{Deployment, fresh_name, wait_for};
use crate::terminal::{Chat, bare};

/// The twelve words as the screen shows them, each behind its number.
fn words(screen: &str) -> Vec<String> {
    let mut words = Vec::new();
    let screen = bare(screen);
    for line in screen.lines() {
        let parts: Vec<&str> = line.split_whitespace().collect();
        if let [number, word] = parts.as_slice()
            && number.parse() == Ok(words.len() + 1)
        {
            words.push((*word).to_owned());
        }
    }
    words
}

/// The number of the word that was asked for last, and how many questions there were.
fn asked_for(screen: &str) -> (usize, usize) {
    let questions: Vec<&str> = screen.split("Type word ").skip(1).collect();
    let last = questions.last().and_then(|rest| rest.split(':').next());
    let number = last.and_then(|number| number.parse().ok());
    (number.unwrap_or(0), questions.len())
}

fn waits_for_question(chat: &Chat, count: usize) -> usize {
    wait_for("the next question", || {
        let (number, asked) = asked_for(&chat.screen());
        (asked == count && number > 0).then_some(number)
    })
}

#[test]
fn the_recovery_key_is_shown_once_and_checked_by_typing_it() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    let mut wrong = Chat::of(&alice, &["recovery", "new"], &[]);
    waits_for_question(&wrong, 1);
    wrong.types("certainly-not\n");
    let (screen, status) = wrong.ends();
    assert_ne!(status, 0, "{screen:?}");
    assert!(screen.contains("nothing was changed"), "{screen:?}");
    assert_eq!(alice.ok(&["recovery"]).events[0]["kept_here"], false);

    let mut right = Chat::of(&alice, &["recovery", "new"], &[]);
    let mut key = Vec::new();
    for question in 1..=3 {
        let number = waits_for_question(&right, question);
        if key.is_empty() {
            key = words(&right.screen());
            assert_eq!(key.len(), 12, "{:?}", right.screen());
        }
        right.types(&format!("{}\n", key[number - 1].to_uppercase()));
    }
    right.shows("backed up under this key");
    let (_, status) = right.ends();
    assert_eq!(status, 0);
    assert_eq!(alice.ok(&["recovery"]).events[0]["kept_here"], true);

    // The words that were shown are those that bring the account back.
    let new = machine(deployment, &alice);
    let mut back = Chat::of(&new, &["recover", &alice.name], &[]);
    back.shows("twelve words");
    back.types(&format!("{}\n", key.join("  ")));
    let (screen, status) = back.ends();
    assert_eq!(status, 0, "{screen:?}");
    let identity =
        |person: &crate::support::Person| person.ok(&["whoami"]).events[0]["identity"].clone();
    assert_eq!(identity(&new), identity(&alice));
}

#[test]
fn a_registration_offers_the_recovery_key_and_takes_later_for_an_answer() {
    let deployment = Deployment::shared();
    let alice = deployment.person(&fresh_name("alice"));
    let mut chat = Chat::asked(&alice, &["register", &alice.name]);
    chat.shows("Choose a password");
    chat.types(&format!("{}\n", alice.password));
    chat.shows("Repeat it");
    chat.types(&format!("{}\n", alice.password));
    chat.shows("Press Enter to see it now");
    chat.shows("sotto recovery new does");
    chat.types("later\n");
    let (screen, status) = chat.ends();
    assert_eq!(status, 0, "{screen:?}");
    assert!(screen.contains("when you are ready"), "{screen:?}");
    assert!(!screen.contains(&alice.password));
    assert_eq!(alice.ok(&["recovery"]).events[0]["kept_here"], false);
    alice.ok(&[
        "recovery",
        "new",
        "--recovery-key-file",
        alice.home().join("w").to_str().unwrap(),
    ]);
}

#[test]
fn a_device_is_linked_at_a_terminal_by_its_code_and_a_yes() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    let new = machine(deployment, &alice);
    let linking = Linking::start(&new, &alice.name);
    let mut no = Chat::of(&alice, &["devices", "link"], &[]);
    no.shows("Type the code");
    no.types(&format!("{}\n", linking.code));
    no.shows("Type yes:");
    // Enter alone, or anything but the word, is no agreement.
    no.types("y\n");
    let (screen, status) = no.ends();
    assert_ne!(status, 0, "{screen:?}");
    assert!(screen.contains("nothing was linked"), "{screen:?}");
    let mut yes = Chat::of(&alice, &["devices", "link"], &[]);
    yes.shows("Type the code");
    yes.types(&format!("{}\n", linking.code));
    yes.shows(&linking.fingerprint);
    yes.shows("If somebody asked you to type this code, stop");
    yes.shows("Type yes:");
    yes.types("yes\n");
    let (screen, status) = yes.ends();
    assert_eq!(status, 0, "{screen:?}");
    assert_eq!(linking.finish().last().unwrap()["event"], "linked");
    assert_eq!(alice.ok(&["devices"]).events.len(), 2);
}
