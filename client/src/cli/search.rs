//! `search`, and how drafts look.

use serde_json::json;

use super::app::App;
use super::output::{Style, own_words};
use super::{names, render};
use crate::exit::Failure;
use crate::safe_text::SafeText;
use crate::talk::Talk;

/// Cells of a snippet, and of a draft.
const SNIPPET_CELLS: usize = 160;

pub(crate) async fn search(
    app: &mut App,
    query: &str,
    talk: Option<&str>,
    last: u32,
) -> Result<(), Failure> {
    let engine = app.offline().await?;
    let talk = talk.map(|word| names::talk(&engine, word)).transpose()?;
    if let Some(talk) = &talk {
        names::known(&engine, talk)?;
    }
    let mut hits = engine.search(query, talk.as_ref(), last)?;
    // Found newest first; shown like everything else, the newest last.
    hits.reverse();
    let now_ms = app.clock.now().unix_ms;
    for hit in &hits {
        render::object(app, hit.to_json())?;
        let message = &hit.message;
        let time = app.zone.short(message.stored_at_ms, now_ms);
        let head = own_words(&format!("{} {time} ", render::short_id(message)));
        let talk = message.talk.label(message.title.as_deref());
        let place = SafeText::line(&format!("{talk} · {}", message.sender), 80);
        let bar = own_words(" │ ");
        let snippet = SafeText::line(&hit.snippet, SNIPPET_CELLS);
        app.printer.line(&[
            (Style::Faint, &head),
            (Style::Other, &place),
            (Style::Faint, &bar),
            (Style::Plain, &snippet),
        ])?;
    }
    if hits.is_empty() {
        app.printer.note("nothing found");
    }
    Ok(())
}

pub(super) fn show_draft(app: &mut App, talk: &Talk, text: Option<&str>) -> Result<(), Failure> {
    render::object(
        app,
        json!({ "event": "draft", "to": talk.to_string(), "text": text }),
    )?;
    let to = own_words(&format!("{talk}: "));
    let text = match text {
        Some(text) => (Style::Plain, SafeText::line(text, SNIPPET_CELLS)),
        None => (Style::Faint, own_words("no draft")),
    };
    app.printer.line(&[(Style::Other, &to), (text.0, &text.1)])
}
