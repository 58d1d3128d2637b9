//! How things look: named styles in four themes, and none of colour where `NO_COLOR` is set.
//!
//! It refuses to let colour alone say anything: whoever draws puts a word or a sign beside it.

use ratatui::style::{Color, Modifier, Style};

/// Which theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ThemeName {
    /// Light letters on dark.
    #[default]
    Dark,
    /// Dark letters on light.
    Light,
    /// Only the strongest differences.
    HighContrast,
    /// Colours that people with any of the common colour blindnesses tell apart.
    ColourBlind,
}

impl ThemeName {
    /// All.
    #[cfg(test)]
    pub(crate) const ALL: &'static [Self] = &[
        Self::Dark,
        Self::Light,
        Self::HighContrast,
        Self::ColourBlind,
    ];

    /// Its stable name in the settings.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::HighContrast => "high-contrast",
            Self::ColourBlind => "colour-blind",
        }
    }
}

/// Whether there are colours at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    /// Yes.
    Shown,
    /// `NO_COLOR` is set: bold, underlined and reversed only.
    None,
}

impl Colours {
    /// By `NO_COLOR` (set and not empty) as the environment has it.
    pub(crate) fn of_environment() -> Self {
        match std::env::var_os("NO_COLOR") {
            Some(value) if !value.is_empty() => Self::None,
            _ => Self::Shown,
        }
    }
}

/// Styles by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Theme {
    /// Ordinary text.
    pub(crate) text: Style,
    /// What matters less: times, hints, system lines.
    pub(crate) dim: Style,
    /// The own name before own messages.
    pub(crate) own: Style,
    /// Other people's names.
    pub(crate) other: Style,
    /// Something that was not read yet: a conversation's name, the new divider.
    pub(crate) unread: Style,
    /// Words that speak to this account by name, and their badges.
    pub(crate) mention: Style,
    /// Somebody who wants to talk, an invitation.
    pub(crate) request: Style,
    /// A web address.
    pub(crate) link: Style,
    /// What failed or needs care.
    pub(crate) warning: Style,
    /// A changed key and its like: cannot be overlooked.
    pub(crate) security: Style,
    /// Encrypted, verified, delivered.
    pub(crate) good: Style,
    /// Frames between panes.
    pub(crate) border: Style,
    /// The frame of the pane that has the keys.
    pub(crate) border_focused: Style,
    /// The marked line of a list.
    pub(crate) selected: Style,
    /// The line on top.
    pub(crate) title: Style,
    /// The line at the bottom.
    pub(crate) status: Style,
    /// Keys in the status line and the key help.
    pub(crate) key: Style,
    /// Letters that a search or a palette found.
    pub(crate) found: Style,
    /// What is written in the composer but not sent.
    pub(crate) draft: Style,
    /// What a message answers.
    pub(crate) quote: Style,
    /// Reactions below a message.
    pub(crate) reaction: Style,
    /// A QR code: dark on light in every theme, so that cameras read it.
    pub(crate) code: Style,
}

impl Theme {
    /// A theme.
    pub(crate) fn named(name: ThemeName, colours: Colours) -> Self {
        match (colours, name) {
            (Colours::None, _) => Self::plain(),
            (Colours::Shown, ThemeName::Dark) => dark(),
            (Colours::Shown, ThemeName::Light) => light(),
            (Colours::Shown, ThemeName::HighContrast) => high_contrast(),
            (Colours::Shown, ThemeName::ColourBlind) => colour_blind(),
        }
    }

    /// No colours: bold, underlined and reversed only.
    pub(crate) fn plain() -> Self {
        let (none, bold) = (Style::new(), Style::new().add_modifier(Modifier::BOLD));
        let underlined = Style::new().add_modifier(Modifier::UNDERLINED);
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        let loud = reversed.add_modifier(Modifier::BOLD);
        Self {
            text: none,
            dim: none,
            own: bold,
            other: bold,
            unread: bold,
            mention: bold.add_modifier(Modifier::UNDERLINED),
            request: bold,
            link: underlined,
            warning: bold,
            security: loud,
            good: none,
            border: none,
            border_focused: bold,
            selected: reversed,
            title: bold,
            status: reversed,
            key: bold,
            found: underlined,
            draft: none,
            quote: none,
            reaction: none,
            code: none,
        }
    }

    /// Every style with its name.
    #[cfg(test)]
    pub(crate) fn all(&self) -> [(&'static str, Style); 22] {
        [
            ("text", self.text),
            ("dim", self.dim),
            ("own", self.own),
            ("other", self.other),
            ("unread", self.unread),
            ("mention", self.mention),
            ("request", self.request),
            ("link", self.link),
            ("warning", self.warning),
            ("security", self.security),
            ("good", self.good),
            ("border", self.border),
            ("border_focused", self.border_focused),
            ("selected", self.selected),
            ("title", self.title),
            ("status", self.status),
            ("key", self.key),
            ("found", self.found),
            ("draft", self.draft),
            ("quote", self.quote),
            ("reaction", self.reaction),
            ("code", self.code),
        ]
    }
}

const fn fg(colour: Color) -> Style {
    Style::new().fg(colour)
}

/// Black on white whatever the terminal's own colours are.
const CODE: Style = Style::new()
    .fg(Color::Rgb(0, 0, 0))
    .bg(Color::Rgb(255, 255, 255));

fn dark() -> Theme {
    let bold = Modifier::BOLD;
    Theme {
        text: Style::new(),
        dim: fg(Color::DarkGray),
        own: fg(Color::Cyan).add_modifier(bold),
        other: fg(Color::Green).add_modifier(bold),
        unread: fg(Color::White).add_modifier(bold),
        mention: fg(Color::LightYellow).add_modifier(bold),
        request: fg(Color::LightMagenta),
        link: fg(Color::LightBlue).add_modifier(Modifier::UNDERLINED),
        warning: fg(Color::Yellow),
        security: Style::new()
            .fg(Color::White)
            .bg(Color::Red)
            .add_modifier(bold),
        good: fg(Color::Green),
        border: fg(Color::DarkGray),
        border_focused: fg(Color::Cyan),
        selected: Style::new().add_modifier(Modifier::REVERSED),
        title: Style::new()
            .fg(Color::White)
            .bg(Color::Indexed(236))
            .add_modifier(bold),
        status: Style::new().fg(Color::Gray).bg(Color::Indexed(236)),
        key: Style::new().fg(Color::LightCyan).add_modifier(bold),
        found: fg(Color::LightYellow).add_modifier(Modifier::UNDERLINED),
        draft: fg(Color::Gray),
        quote: fg(Color::Gray).add_modifier(Modifier::ITALIC),
        reaction: fg(Color::LightCyan),
        code: CODE,
    }
}

fn light() -> Theme {
    let bold = Modifier::BOLD;
    Theme {
        text: Style::new(),
        dim: fg(Color::Indexed(242)),
        own: fg(Color::Indexed(24)).add_modifier(bold),
        other: fg(Color::Indexed(22)).add_modifier(bold),
        unread: fg(Color::Black).add_modifier(bold),
        mention: fg(Color::Indexed(130)).add_modifier(bold),
        request: fg(Color::Indexed(90)),
        link: fg(Color::Indexed(25)).add_modifier(Modifier::UNDERLINED),
        warning: fg(Color::Indexed(130)),
        security: Style::new()
            .fg(Color::Indexed(231))
            .bg(Color::Indexed(124))
            .add_modifier(bold),
        good: fg(Color::Indexed(22)),
        border: fg(Color::Indexed(245)),
        border_focused: fg(Color::Indexed(25)),
        selected: Style::new().add_modifier(Modifier::REVERSED),
        title: Style::new()
            .fg(Color::Black)
            .bg(Color::Indexed(253))
            .add_modifier(bold),
        status: Style::new().fg(Color::Indexed(238)).bg(Color::Indexed(253)),
        key: fg(Color::Indexed(25)).add_modifier(bold),
        found: fg(Color::Indexed(130)).add_modifier(Modifier::UNDERLINED),
        draft: fg(Color::Indexed(240)),
        quote: fg(Color::Indexed(240)).add_modifier(Modifier::ITALIC),
        reaction: fg(Color::Indexed(24)),
        code: CODE,
    }
}

fn high_contrast() -> Theme {
    let bold = Modifier::BOLD;
    let white = fg(Color::Indexed(231));
    let yellow = fg(Color::Indexed(226));
    Theme {
        text: white,
        dim: white,
        own: white.add_modifier(bold),
        other: yellow.add_modifier(bold),
        unread: yellow.add_modifier(bold),
        mention: Style::new()
            .fg(Color::Indexed(16))
            .bg(Color::Indexed(226))
            .add_modifier(bold),
        request: yellow.add_modifier(bold),
        link: white.add_modifier(Modifier::UNDERLINED),
        warning: yellow.add_modifier(bold),
        security: Style::new()
            .fg(Color::Indexed(231))
            .bg(Color::Indexed(160))
            .add_modifier(bold),
        good: white,
        border: white,
        border_focused: yellow.add_modifier(bold),
        selected: Style::new()
            .fg(Color::Indexed(16))
            .bg(Color::Indexed(231))
            .add_modifier(bold),
        title: Style::new()
            .fg(Color::Indexed(16))
            .bg(Color::Indexed(231))
            .add_modifier(bold),
        status: Style::new().fg(Color::Indexed(16)).bg(Color::Indexed(231)),
        key: Style::new().add_modifier(bold.union(Modifier::UNDERLINED)),
        found: yellow.add_modifier(Modifier::UNDERLINED),
        draft: white,
        quote: white,
        reaction: white,
        code: CODE,
    }
}

/// Blue, orange and vermilion of Okabe and Ito's palette, which differ in brightness too.
fn colour_blind() -> Theme {
    const BLUE: Color = Color::Indexed(74);
    const ORANGE: Color = Color::Indexed(214);
    const VERMILION: Color = Color::Indexed(166);
    const YELLOW: Color = Color::Indexed(227);
    let bold = Modifier::BOLD;
    Theme {
        own: fg(BLUE).add_modifier(bold),
        other: fg(ORANGE).add_modifier(bold),
        unread: fg(Color::White).add_modifier(bold),
        mention: fg(YELLOW).add_modifier(bold.union(Modifier::UNDERLINED)),
        request: fg(YELLOW),
        link: fg(BLUE).add_modifier(Modifier::UNDERLINED),
        warning: fg(ORANGE),
        security: Style::new()
            .fg(Color::Indexed(231))
            .bg(VERMILION)
            .add_modifier(bold),
        good: fg(BLUE),
        border_focused: fg(BLUE),
        key: fg(YELLOW).add_modifier(bold),
        found: fg(YELLOW).add_modifier(Modifier::UNDERLINED),
        ..dark()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_there_are_none() {
        for name in ThemeName::ALL {
            for (style_name, style) in Theme::named(*name, Colours::None).all() {
                assert_eq!((style.fg, style.bg), (None, None), "{style_name}");
            }
        }
    }

    #[test]
    fn what_must_not_be_overlooked_differs_from_all_else() {
        for name in ThemeName::ALL {
            for colours in [Colours::Shown, Colours::None] {
                let theme = Theme::named(*name, colours);
                for (other, style) in theme.all() {
                    assert!(
                        other == "security" || style != theme.security,
                        "{name:?} {other}"
                    );
                }
                assert_ne!(theme.unread, theme.text);
                assert_ne!(theme.selected, theme.text);
                assert_ne!(theme.mention, theme.unread);
            }
        }
    }

    #[test]
    fn a_code_is_dark_on_light_wherever_there_are_colours() {
        for name in ThemeName::ALL {
            assert_eq!(Theme::named(*name, Colours::Shown).code, CODE);
        }
    }
}
