//! What a key can do: every action of the full-screen interface, each with a stable name for the
//! settings, a word for the status line and a line for the key help.
//!
//! It knows no keys and does nothing itself.

/// Under which heading of the key help an action stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Group {
    /// The program itself.
    General,
    /// Moving between conversations.
    Conversations,
    /// Moving in messages and lists.
    Moving,
    /// What is done with the selected message.
    Selected,
    /// Writing.
    Writing,
    /// Moving and deleting in what is written.
    Editing,
    /// Answers to requests and questions.
    Answers,
    /// Screens of their own.
    Screens,
}

impl Group {
    /// The heading.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::General => "General",
            Self::Conversations => "Conversations",
            Self::Moving => "Moving",
            Self::Selected => "The selected message",
            Self::Writing => "Writing",
            Self::Editing => "Editing",
            Self::Answers => "Answers",
            Self::Screens => "Screens",
        }
    }
}

macro_rules! actions {
    ($($variant:ident $name:literal $short:literal $group:ident $help:literal;)*) => {
        /// Something that a key does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Action {
            $(#[doc = $help] $variant,)*
        }

        impl Action {
            /// All, in the order of the key help.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its stable name in the settings.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// A word or two for the status line.
            pub(crate) const fn short(self) -> &'static str {
                match self { $(Self::$variant => $short,)* }
            }

            /// One line for the key help.
            pub(crate) const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }

            /// Under which heading it stands.
            pub(crate) const fn group(self) -> Group {
                match self { $(Self::$variant => Group::$group,)* }
            }
        }
    };
}

actions! {
    Help "help" "keys" General "Show the keys that work here";
    Commands "commands" "commands" General "Find a command by a few of its letters";
    Back "back" "back" General "Leave what is open, or the field that is typed in";
    FocusNext "focus-next" "next pane" General "Go to the next pane";
    FocusPrevious "focus-previous" "pane before" General "Go to the pane before";
    FocusChats "focus-chats" "conversations" General "Go to the list of conversations";
    FocusMessages "focus-messages" "messages" General "Go to the messages, to select one";
    FocusComposer "focus-composer" "write" General "Begin to write";
    ToggleMembers "toggle-members" "members" General "Show or hide the members";
    Redraw "redraw" "redraw" General "Draw the screen anew";
    Lock "lock" "lock" General "Lock the screen until the password is typed";
    Suspend "suspend" "suspend" General "Stop until the shell continues Sotto with fg";
    Quit "quit" "quit" General "Leave Sotto; what is queued goes out the next time";

    Palette "palette" "go to" Conversations "Go to a conversation by a few of its letters";
    NextUnread "next-unread" "next unread" Conversations "Go to the next conversation with something new";
    NextChat "next-chat" "next" Conversations "Go to the next conversation";
    PreviousChat "previous-chat" "before" Conversations "Go to the conversation before";

    Up "up" "up" Moving "Go up: a message, or a line of a list";
    Down "down" "down" Moving "Go down: a message, or a line of a list";
    PageUp "page-up" "page up" Moving "Look one page further up";
    PageDown "page-down" "page down" Moving "Look one page further down";
    Top "top" "oldest" Moving "Go to the oldest message, or the first of a list";
    Bottom "bottom" "newest" Moving "Go to the newest message, or the last of a list";
    SearchHere "search-here" "search" Moving "Search in this conversation as you type";
    Search "search" "search all" Moving "Search in all conversations as you type";
    Confirm "confirm" "choose" Moving "Take what is marked";

    Reply "reply" "reply" Selected "Answer it";
    Edit "edit" "edit" Selected "Give your message another text";
    React "react" "react" Selected "React to it with an emoji";
    Copy "copy" "copy" Selected "Copy its text";
    Save "save" "save" Selected "Save its file";
    Forward "forward" "forward" Selected "Pass it on to another conversation";
    Pin "pin" "pin" Selected "Pin it, or take the pin off";
    Details "details" "details" Selected "Show who has it, when it was sent, and how it was sealed";
    ShowPicture "show-picture" "picture" Selected "Show its picture, or hide it";
    JumpToReply "jump-to-reply" "answered" Selected "Go to the message that it answers";
    Transfer "transfer" "pause" Selected "Pause its file on the way, or go on";
    Delete "delete-message" "delete" Selected "Take your message back for everyone";

    Send "send" "send" Writing "Send what is written";
    NewLine "new-line" "new line" Writing "Begin a new line";
    EditLast "edit-last" "edit last" Writing "Give your last message another text";
    OpenEditor "open-editor" "editor" Writing "Write in the program of $EDITOR, or one that is there";
    Complete "complete" "complete" Writing "Complete a name, command, emoji or path";
    CompletePrevious "complete-previous" "back" Writing "Take the completion before";
    HistoryPrevious "history-previous" "earlier" Writing "Go a line up, or bring back what was sent before";
    HistoryNext "history-next" "later" Writing "Go a line down, or bring back what was sent after";
    Attach "attach" "attach" Writing "Send a file";

    Left "left" "left" Editing "Go left";
    Right "right" "right" Editing "Go right";
    WordLeft "word-left" "word left" Editing "Go to the beginning of the word";
    WordRight "word-right" "word right" Editing "Go to the end of the word";
    LineStart "line-start" "start" Editing "Go to the beginning of the line";
    LineEnd "line-end" "end" Editing "Go to the end of the line";
    DeleteBack "delete-back" "delete" Editing "Delete to the left";
    DeleteForward "delete" "delete" Editing "Delete to the right";
    DeleteWord "delete-word" "delete word" Editing "Delete to the beginning of the word";
    DeleteToStart "delete-to-start" "delete line" Editing "Delete to the beginning of the line";
    DeleteToEnd "delete-to-end" "delete rest" Editing "Delete to the end of the line";
    Yank "yank" "put back" Editing "Put back what was deleted last";
    Undo "undo" "undo" Editing "Take the last change of the text back";
    Redo "redo" "redo" Editing "Make that change again";

    Accept "accept" "accept" Answers "Accept what is marked, or a changed identity";
    AcceptUnsaved "accept-unsaved" "accept unsaved" Answers "Accept the request, and keep nothing of it on this disk";
    Decline "decline" "decline" Answers "Turn the marked request or invitation down";
    Block "block" "block" Answers "Block who is marked";
    Yes "yes" "yes" Answers "Answer yes";
    No "no" "no" Answers "Answer no";

    Requests "requests" "requests" Screens "Who wants to talk with you";
    People "people" "people" Screens "People of this deployment, and who of them is online";
    Rooms "rooms" "rooms" Screens "Rooms that anybody may enter";
    Members "members" "members" Screens "Who is in this group, and what can be done with them";
    Pins "pins" "pinned" Screens "What is pinned in this conversation";
    Verify "verify" "verify" Screens "Compare the safety number, in digits or as a QR code";
    Devices "devices" "devices" Screens "Your devices";
    Settings "settings" "settings" Screens "Theme, keys, mouse, bell, notifications, pictures, idle lock";
}

impl Action {
    /// The action of this stable name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.name() == name)
    }
}
