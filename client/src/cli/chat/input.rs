//! What a line of a chat means: words to send, or after `/` a command of the
//! command line, with the conversation of the chat put in where one is left out.
//!
//! Pure. A line that begins with `/` and is no command is never sent as words.

use crate::cli::message_args::lifetime;

/// What a typed line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing.
    Nothing,
    /// These words are to be sent.
    Say(String),
    /// This command is to be run.
    Run(Vec<String>),
    /// What can be typed is to be told.
    Help,
    /// The chat is to end.
    Quit,
    /// It cannot be meant; says why.
    Unclear(&'static str),
}

/// Commands about a message, which comes first.
const ABOUT_MESSAGE: &[&str] = &["edit", "delete", "react", "pin", "unpin", "forward", "save"];
/// Commands about a conversation, which comes first.
const ABOUT_TALK: &[&str] = &[
    "history", "timer", "mute", "unmute", "typing", "export", "contact",
];
/// Commands about the other person.
const ABOUT_PERSON: &[&str] = &["accept", "decline", "block", "unblock", "verify"];

/// Reads a line; `talk` is the chat's own conversation as commands name it.
pub(crate) fn read(line: &str, talk: &str) -> Input {
    let line = line.trim_end_matches(['\n', '\r']);
    let command = match line.strip_prefix('/') {
        None => return say(line),
        Some(rest) if rest.starts_with('/') => return say(rest),
        Some(command) => command.trim(),
    };
    let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
    match word {
        "" | "help" | "?" => return Input::Help,
        "quit" | "q" | "exit" => return Input::Quit,
        "reply" => return with_text(rest, |message, text| reply(message, text, talk)),
        "edit" if !rest.trim_start().contains(['"', '\'']) => {
            return with_text(rest, |message, text| {
                let message = here(message, talk);
                owned(&["edit", &message, "--", text])
            });
        }
        _ => {}
    }
    let Some(mut words) = split(command) else {
        return Input::Unclear("a quotation mark is not closed");
    };
    if words.iter().any(|word| word == "-") {
        return Input::Unclear("there is no stdin in a chat; give the text itself");
    }
    fill_in(&mut words, talk);
    Input::Run(words)
}

fn say(text: &str) -> Input {
    match text.trim() {
        "" => Input::Nothing,
        _ => Input::Say(text.to_owned()),
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A message and a text that is taken as it stands.
fn with_text(rest: &str, make: impl FnOnce(&str, &str) -> Vec<String>) -> Input {
    match rest.trim_start().split_once(' ') {
        Some((message, text)) if text.trim() == "-" => {
            let _ = message;
            Input::Unclear("there is no stdin in a chat; give the text itself")
        }
        Some((message, text)) if !text.trim().is_empty() => Input::Run(make(message, text)),
        _ => {
            Input::Unclear("first the message, as @theirs, @17 or digits of its id, then the text")
        }
    }
}

fn reply(message: &str, text: &str, talk: &str) -> Vec<String> {
    let message = here(message, talk);
    owned(&["send", "--reply", &message, "--", talk, text])
}

/// A message by its place is one of this chat where nothing else is said.
fn here(message: &str, talk: &str) -> String {
    if message.starts_with('@') {
        format!("{talk}{message}")
    } else {
        message.to_owned()
    }
}

/// Puts in what is left out.
fn fill_in(words: &mut Vec<String>, talk: &str) {
    let Some(command) = words.first().cloned() else {
        return;
    };
    let command = command.as_str();
    if command == "group" {
        return fill_in_group(words, talk);
    }
    if ABOUT_MESSAGE.contains(&command)
        && let Some(message) = words.get_mut(1)
    {
        *message = here(message, talk);
        return;
    }
    let next = words.get(1).map(String::as_str);
    let left_out = match next {
        None => ABOUT_TALK.contains(&command) || ABOUT_PERSON.contains(&command),
        Some(next) if next.starts_with("--") => {
            ABOUT_TALK.contains(&command) || ABOUT_PERSON.contains(&command)
        }
        Some(next) => command == "timer" && lifetime(next).is_ok(),
    };
    if left_out {
        words.insert(1, talk.to_owned());
    }
}

/// In a group, what is done with a group is done with this one where none is named.
fn fill_in_group(words: &mut Vec<String>, talk: &str) {
    let about_one = words.get(1).is_some_and(|action| {
        !action.starts_with('-') && !["new", "join", "help"].contains(&action.as_str())
    });
    let named = words.get(2).is_some_and(|word| word.starts_with('#'));
    if talk.starts_with('#') && about_one && !named {
        words.insert(2, talk.to_owned());
    }
}

/// Words as a shell would part them: by white space, with quotation marks of
/// either kind and `\` before a character that is meant as it stands. `None`
/// where a quotation is not closed.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, space) if space.is_whitespace() => words.extend(word.take()),
            (None | Some('"'), '\\') => word
                .get_or_insert_default()
                .push(characters.next().unwrap_or('\\')),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Vec<String> {
        match read(line, "bob") {
            Input::Run(words) => words,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn words_are_sent_and_commands_never() {
        assert_eq!(read("hi there\n", "bob"), Input::Say("hi there".to_owned()));
        assert_eq!(read("//bin/ls\n", "bob"), Input::Say("/bin/ls".to_owned()));
        assert_eq!(read("  \n", "bob"), Input::Nothing);
        assert_eq!(read("/", "bob"), Input::Help);
        assert_eq!(read("/quit", "bob"), Input::Quit);
        assert_eq!(run("/nonsense bob"), ["nonsense", "bob"]);
        for unclear in [
            "/send carol \"x",
            "/reply @theirs",
            "/reply",
            "/send carol -",
            "/edit @mine -",
        ] {
            assert!(
                matches!(read(unclear, "bob"), Input::Unclear(_)),
                "{unclear}"
            );
        }
    }

    #[test]
    fn a_groups_commands_are_about_the_open_group() {
        let group = |line: &str| match read(line, "#walk") {
            Input::Run(words) => words.join(" "),
            other => panic!("{other:?}"),
        };
        for (line, words) in [
            ("/group promote bob", "group promote #walk bob"),
            ("/group members", "group members #walk"),
            ("/group link --uses 5", "group link #walk --uses 5"),
            ("/group add #crew bob", "group add #crew bob"),
            ("/group new hike bob", "group new hike bob"),
            ("/group join sotto:join/x", "group join sotto:join/x"),
            ("/group --help", "group --help"),
            ("/group", "group"),
        ] {
            assert_eq!(group(line), words);
        }
        assert_eq!(run("/group members"), ["group", "members"]);
    }

    #[test]
    fn what_is_left_out_is_the_chats_own_conversation() {
        for (line, words) in [
            ("/history", "history bob"),
            ("/history --last 3", "history bob --last 3"),
            ("/history carol", "history carol"),
            ("/timer 1h", "timer bob 1h"),
            ("/timer carol 1h", "timer carol 1h"),
            ("/mute --for 8h", "mute bob --for 8h"),
            ("/block", "block bob"),
            ("/block carol", "block carol"),
            ("/react @theirs 👍", "react bob@theirs 👍"),
            ("/forward @17 carol", "forward bob@17 carol"),
            ("/forward 3fa9c2 carol", "forward 3fa9c2 carol"),
            ("/delete carol@mine", "delete carol@mine"),
            ("/users --online", "users --online"),
            ("/draft", "draft"),
        ] {
            assert_eq!(run(line).join(" "), words, "{line}");
        }
        let Input::Run(words) = read("/timer 1h", "#0123") else {
            panic!()
        };
        assert_eq!(words, ["timer", "#0123", "1h"]);
    }

    #[test]
    fn texts_after_a_message_are_taken_as_they_stand() {
        assert_eq!(
            run("/reply @theirs don't  --reply \"x"),
            [
                "send",
                "--reply",
                "bob@theirs",
                "--",
                "bob",
                "don't  --reply \"x"
            ]
        );
        assert_eq!(
            run("/edit @mine a second thought"),
            ["edit", "bob@mine", "--", "a second thought"]
        );
        assert_eq!(
            run("/edit @mine \"a second\""),
            ["edit", "bob@mine", "a second"]
        );
        assert_eq!(
            run("/send '#Sunday walk' \"at \\\"nine\\\"\" a\\ b ''"),
            ["send", "#Sunday walk", "at \"nine\"", "a b", ""]
        );
    }
}
