//! Pictures between messages: the thumbnails of images from people who are known, decoded by a
//! worker and drawn from its pixels, where a person looks at a terminal that can show them.

use crate::attachment::picture::{Drawing, Images, Protocol, room};
use crate::attachment::preview;
use crate::cli::app::App;
use crate::cli::output::Audience;
use crate::engine::Engine;
use crate::engine::api::{Direction, Message, MessageBody};
use crate::exit::Failure;

/// The most cells of a picture.
const COLUMNS_MAX: u32 = 48;
const ROWS_MAX: u32 = 14;

/// Draws pictures, or does not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pictures(Option<Protocol>);

impl Pictures {
    /// By what the person chose and the terminal can.
    pub(crate) fn new(app: &App, chosen: Images) -> Self {
        let people = app.printer.audience() == Audience::People;
        let terminal = app.printer.width_cells().is_some();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self(if people && terminal {
            chosen.protocol(variable)
        } else {
            None
        })
    }

    /// Draws what a message shows, below it.
    pub(crate) async fn show(
        self,
        app: &mut App,
        engine: &Engine,
        message: &Message,
    ) -> Result<(), Failure> {
        let (Some(protocol), MessageBody::Attachment(file)) = (self.0, &message.body) else {
            return Ok(());
        };
        let known = message.direction == Direction::Outgoing
            || engine.may_show_pictures(&message.sender)?;
        if !known || file.thumbnail.is_empty() {
            return Ok(());
        }
        let cells = app.printer.width_cells().unwrap_or(0);
        let columns = u32::try_from(cells).unwrap_or(COLUMNS_MAX).min(COLUMNS_MAX);
        let (width, height) = room(protocol, columns, ROWS_MAX);
        match preview::pixels(&file.thumbnail, width, height).await {
            Some(pixels) => app.printer.picture(&Drawing::of(&pixels, protocol)),
            None => Ok(()),
        }
    }
}
