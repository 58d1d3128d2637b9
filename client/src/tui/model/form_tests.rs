//! Forms: what is wrong with an answer is said, and nothing that is wrong leaves.

use super::*;

fn typed(form: &mut Form, texts: &[&str]) {
    for (place, text) in texts.iter().enumerate() {
        form.at = place;
        form.paste(text);
    }
}

#[test]
fn a_registration_is_checked_before_it_leaves() {
    let mut form = Form::register(None);
    typed(&mut form, &["Alice", "short", "other"]);
    assert!(form.submit().is_none());
    assert_eq!(form.at, 0);
    form.clear();
    form.paste("alice");
    assert!(form.submit().is_none());
    assert_eq!(form.at, 1);
    form.paste("er and longer");
    assert!(form.submit().is_none());
    assert_eq!(form.at, 2);
    form.clear();
    form.paste("shorter and longer\nsecond line");
    let Some(Ask::Enrol(Enrol::Register { name, invite, .. })) = form.submit() else {
        panic!("{:?}", form.remark);
    };
    assert_eq!((name.as_str(), invite), ("alice", None));
}

#[test]
fn the_ways_into_an_account_share_name_and_password() {
    let mut form = Form::login(None);
    typed(&mut form, &["alice", "canary-77"]);
    form.switch(1);
    assert_eq!(form.purpose, Purpose::Link);
    let Some(Ask::Enrol(Enrol::Link {
        name, device_name, ..
    })) = form.submit()
    else {
        panic!("{:?}", form.remark);
    };
    assert_eq!((name.as_str(), device_name), ("alice", None));
    form.switch(1);
    form.at = 2;
    form.paste("one two three");
    assert!(matches!(
        form.submit(),
        Some(Ask::Enrol(Enrol::Recover { words, .. })) if *words == "one two three"
    ));
    form.switch(1);
    assert_eq!(form.purpose, Purpose::Register);
    assert_eq!(form.fields[1].shown(), "•••••••••");
    form.switch(-1);
    assert_eq!(form.purpose, Purpose::Recover);
}

#[test]
fn nothing_but_the_word_yes_lets_a_device_in() {
    let mut form = Form::agree();
    for answer in ["", "y", "no", "yes please"] {
        form.clear();
        form.paste(answer);
        assert!(form.submit().is_none(), "{answer:?}");
    }
    form.clear();
    form.paste("yes");
    assert!(matches!(form.submit(), Some(Ask::LetIn)));
}

#[test]
fn another_password_is_typed_twice() {
    let mut form = Form::passwd();
    typed(&mut form, &["old", "long enough", "other"]);
    assert!(form.submit().is_none());
    assert_eq!(form.at, 2);
    form.clear();
    form.paste("long enough");
    assert!(matches!(form.submit(), Some(Ask::Passwd { .. })));
}

#[test]
fn secrets_are_dots() {
    let mut form = Form::login(None);
    typed(&mut form, &["alice", "canary-77"]);
    assert_eq!(form.fields[0].shown(), "alice");
    assert_eq!(form.fields[1].shown(), "•••••••••");
}

#[test]
fn recovery_words_are_typed_again() {
    let words = "a b c d e f g h i j k l";
    let mut form = Form::check(words, 10);
    let labels: Vec<&str> = form.fields.iter().map(|field| &*field.label).collect();
    assert_eq!(labels, ["Word 11", "Word 4", "Word 9"]);
    typed(&mut form, &["k", "x", "i"]);
    assert!(form.submit().is_none());
    assert_eq!(form.at, 1);
    form.clear();
    form.paste("D");
    assert!(matches!(
        form.submit(),
        Some(Ask::Enrol(Enrol::KeepRecovery))
    ));
}

#[test]
fn a_link_into_a_group_is_no_address() {
    let mut form = Form::server(None);
    typed(&mut form, &["sotto:join/00/11/22"]);
    assert!(form.submit().is_none());
    assert!(form.remark.unwrap().1.contains("no whole invite link"));
}
