//! The stream parser: elements out of bytes that arrive in pieces.
//!
//! Knows just the XML that XMPP allows (RFC 6120, section 11): one opening tag for the whole stream,
//! then complete elements. It refuses document types, processing instructions, comments, entities
//! of one's own, and elements that are too large, too deep or have too many parts. Namespace
//! prefixes are dropped, since every name that is looked for here is unambiguous without.

use std::borrow::Cow;

use bytes::{Buf as _, BytesMut};
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// The largest element, in bytes; also the largest opening tag of a stream.
pub(crate) const ELEMENT_BYTES_MAX: usize = 64 * 1024;
/// The deepest nesting below an element of the stream.
const DEPTH_MAX: usize = 16;
/// Attributes of one tag.
const ATTRIBUTES_MAX: usize = 32;
/// Elements within one element of the stream, itself included.
const PARTS_MAX: usize = 256;

/// What is wrong with the bytes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XmlError {
    /// Not well-formed.
    #[error("the XML is not well-formed: {0}")]
    Malformed(String),
    /// Well-formed, but not allowed in a stream.
    #[error("the stream holds {0}, which XMPP forbids")]
    Forbidden(&'static str),
    /// Larger, deeper or with more parts than is read here.
    #[error("an element has {0}")]
    TooMuch(&'static str),
}

/// One element with all that is in it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    /// Its name without a prefix.
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    /// The text directly in it.
    pub(crate) text: String,
    children: Vec<Element>,
}

impl Element {
    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first element of that name directly in it.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The elements directly in it.
    pub(crate) fn children(&self) -> &[Self] {
        &self.children
    }
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// The stream was opened.
    Opened(Element),
    /// An element of the stream.
    Element(Element),
    /// The stream was closed by the other side.
    Closed,
}

/// Cuts a stream into elements.
#[derive(Debug, Default)]
pub(crate) struct StreamParser {
    stream: Stream,
    /// Bytes of the present element that were looked at without finding its end.
    looked_at: usize,
}

impl StreamParser {
    /// Takes the next item off the front of `bytes`, when it is there as a whole.
    ///
    /// # Errors
    /// When the bytes are nothing that a stream may hold.
    pub(crate) fn take(&mut self, bytes: &mut BytesMut) -> Result<Option<Arrived>, XmlError> {
        let blank = bytes.iter().take_while(|byte| byte.is_ascii_whitespace());
        let blank = blank.count();
        // Whitespace between elements keeps a connection alive and says nothing.
        if blank > 0 && self.looked_at == 0 {
            bytes.advance(blank);
        }
        // Nothing ends without this byte: what is looked at again and again is bounded by it.
        let fresh = bytes.get(self.looked_at..).unwrap_or_default();
        if !fresh.contains(&b'>') {
            self.looked_at = bytes.len();
            return too_large(bytes.len());
        }
        // What follows the last such byte can end nothing yet, and may stop within a character.
        let last = bytes.iter().rposition(|byte| *byte == b'>').unwrap_or(0);
        let ended = bytes.get(..=last).unwrap_or_default();
        match Scan::over(ended, self.stream)? {
            Some((arrived, length)) => {
                self.stream = match arrived {
                    Arrived::Closed => Stream::Closed,
                    _ => Stream::Open,
                };
                self.looked_at = 0;
                if length > ELEMENT_BYTES_MAX {
                    return too_large(length);
                }
                bytes.advance(length);
                Ok(Some(arrived))
            }
            None => {
                self.looked_at = bytes.len();
                too_large(bytes.len())
            }
        }
    }
}

fn too_large(bytes: usize) -> Result<Option<Arrived>, XmlError> {
    if bytes > ELEMENT_BYTES_MAX {
        return Err(XmlError::TooMuch("too many bytes"));
    }
    Ok(None)
}

/// Whether the peer has opened its stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stream {
    #[default]
    Closed,
    Open,
}

/// One look at the bytes of one item.
struct Scan<'a> {
    reader: Reader<&'a [u8]>,
    /// Elements that are open, the outermost first.
    open: Vec<Element>,
    parts: usize,
}

impl<'a> Scan<'a> {
    /// The item at the front with its length, or nothing when it is not whole.
    fn over(bytes: &'a [u8], stream: Stream) -> Result<Option<(Arrived, usize)>, XmlError> {
        let mut reader = Reader::from_reader(bytes);
        // The end of the stream has no beginning here; other ends are checked below.
        reader.config_mut().allow_unmatched_ends = true;
        let mut scan = Self {
            reader,
            open: Vec::new(),
            parts: 0,
        };
        let arrived = match stream {
            Stream::Open => scan.item()?,
            Stream::Closed => scan.opening()?,
        };
        let length = usize::try_from(scan.reader.buffer_position()).unwrap_or(usize::MAX);
        Ok(arrived.map(|arrived| (arrived, length)))
    }

    fn opening(&mut self) -> Result<Option<Arrived>, XmlError> {
        loop {
            match self.event()? {
                None => return Ok(None),
                Some(Event::Decl(_)) => {}
                Some(Event::Text(text)) if text.iter().all(u8::is_ascii_whitespace) => {}
                Some(Event::Start(tag)) if tag.local_name().as_ref() == b"stream" => {
                    return Ok(Some(Arrived::Opened(element(&tag)?)));
                }
                Some(_) => return Err(XmlError::Malformed("no stream was opened".to_owned())),
            }
        }
    }

    fn item(&mut self) -> Result<Option<Arrived>, XmlError> {
        loop {
            let Some(event) = self.event()? else {
                return Ok(None);
            };
            match event {
                Event::Start(tag) => {
                    let element = element(&tag)?;
                    self.enter(element)?;
                }
                Event::Empty(tag) => {
                    let element = element(&tag)?;
                    self.enter(element)?;
                    if let Some(whole) = self.leave() {
                        return Ok(Some(Arrived::Element(whole)));
                    }
                }
                Event::End(tag) => {
                    let name = tag.local_name();
                    if self.open.is_empty() {
                        return match name.as_ref() {
                            b"stream" => Ok(Some(Arrived::Closed)),
                            _ => Err(XmlError::Malformed("an end without a beginning".to_owned())),
                        };
                    }
                    if let Some(whole) = self.leave() {
                        return Ok(Some(Arrived::Element(whole)));
                    }
                }
                Event::Text(text) => self.text(&text.decode().map_err(malformed)?)?,
                Event::CData(text) => self.text(&text.decode().map_err(malformed)?)?,
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(malformed)?;
                    let text = match character {
                        Some(character) => Cow::Owned(character.to_string()),
                        None => {
                            let name = reference.decode().map_err(malformed)?;
                            let known = resolve_xml_entity(&name);
                            known.map(Cow::Borrowed).ok_or(ENTITY)?
                        }
                    };
                    self.text(&text)?;
                }
                Event::Comment(_) => return Err(XmlError::Forbidden("a comment")),
                Event::Decl(_) | Event::PI(_) => {
                    return Err(XmlError::Forbidden("a processing instruction"));
                }
                Event::DocType(_) => return Err(XmlError::Forbidden("a document type")),
                Event::Eof => return Ok(None),
            }
        }
    }

    /// The next event; nothing when the bytes end within it.
    fn event(&mut self) -> Result<Option<Event<'a>>, XmlError> {
        use quick_xml::Error;
        use quick_xml::errors::{IllFormedError, SyntaxError};
        match self.reader.read_event() {
            Ok(Event::Eof) => Ok(None),
            Ok(Event::DocType(_)) => Err(XmlError::Forbidden("a document type")),
            Ok(event) => Ok(Some(event)),
            Err(Error::IllFormed(IllFormedError::UnclosedReference)) => {
                let rest = self.reader.get_ref();
                // A bare ampersand before more markup is wrong; at the end it is only half there.
                match rest.contains(&b'<') {
                    true => Err(XmlError::Malformed("an unclosed reference".to_owned())),
                    false => Ok(None),
                }
            }
            Err(Error::Syntax(SyntaxError::UnclosedComment)) => {
                Err(XmlError::Forbidden("a comment"))
            }
            Err(Error::Syntax(SyntaxError::UnclosedDoctype)) => {
                Err(XmlError::Forbidden("a document type"))
            }
            Err(Error::Syntax(SyntaxError::UnclosedPI)) => {
                Err(XmlError::Forbidden("a processing instruction"))
            }
            Err(Error::Syntax(_)) => Ok(None),
            Err(error) => Err(malformed(error)),
        }
    }

    fn enter(&mut self, element: Element) -> Result<(), XmlError> {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(XmlError::TooMuch("too many parts"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(XmlError::TooMuch("too many levels"));
        }
        self.open.push(element);
        Ok(())
    }

    /// Closes the innermost element; gives it back when it was the outermost.
    fn leave(&mut self) -> Option<Element> {
        let closed = self.open.pop()?;
        match self.open.last_mut() {
            Some(parent) => {
                parent.children.push(closed);
                None
            }
            None => Some(closed),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(element) => {
                element.text.push_str(text);
                Ok(())
            }
            None if text.trim_ascii().is_empty() => Ok(()),
            None => Err(XmlError::Malformed("text between elements".to_owned())),
        }
    }
}

/// Somebody's own entity, as in attacks that make a short text long.
const ENTITY: XmlError = XmlError::Forbidden("an entity of its own");

fn element(tag: &BytesStart<'_>) -> Result<Element, XmlError> {
    let mut element = Element {
        name: utf8(tag.local_name().as_ref())?,
        ..Element::default()
    };
    for attribute in tag.attributes() {
        if element.attributes.len() >= ATTRIBUTES_MAX {
            return Err(XmlError::TooMuch("too many attributes"));
        }
        let attribute = attribute.map_err(malformed)?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|_| ENTITY)?;
        let name = utf8(attribute.key.local_name().as_ref())?;
        element.attributes.push((name, value.into_owned()));
    }
    Ok(element)
}

fn utf8(bytes: &[u8]) -> Result<String, XmlError> {
    let text = std::str::from_utf8(bytes).map_err(malformed)?;
    Ok(text.to_owned())
}

fn malformed(error: impl std::fmt::Display) -> XmlError {
    XmlError::Malformed(error.to_string())
}

#[cfg(test)]
#[path = "xml_tests.rs"]
mod tests;
