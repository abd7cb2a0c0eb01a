//! SVG pictures, element by element: text is escaped in one place.
//!
//! ```
//! use clearwater::svg::{Element, Picture, text};
//!
//! let mut picture = Picture::new(Element::new("svg").set("viewBox", "0 0 40 20"));
//! picture.line([text(8, 14, "a & b").set("fill", "#666")]);
//! assert_eq!(
//!     picture.finish(),
//!     "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 40 20\">\n\
//!      <text x=\"8\" y=\"14\" fill=\"#666\">a &amp; b</text>\n</svg>\n"
//! );
//! ```

use std::fmt::{self, Display, Write as _};

use crate::text::xml_escaped;

/// An element with its attributes in the order in which they were set.
#[derive(Clone, Debug)]
#[must_use]
pub struct Element {
    name: &'static str,
    attributes: String,
    content: String,
}

impl Element {
    /// An element without attributes and content.
    pub const fn new(name: &'static str) -> Self {
        Self { name, attributes: String::new(), content: String::new() }
    }

    /// The element with one more attribute.
    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        let _ = write!(self.attributes, " {name}=\"{}\"", xml_escaped(&value.to_string()));
        self
    }

    /// The element with a text in it.
    pub fn text(mut self, text: &str) -> Self {
        self.content.push_str(&xml_escaped(text));
        self
    }

    /// The element with another one in it.
    pub fn with(mut self, child: &Self) -> Self {
        let _ = write!(self.content, "{child}");
        self
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, attributes, content } = self;
        if content.is_empty() {
            write!(f, "<{name}{attributes}/>")
        } else {
            write!(f, "<{name}{attributes}>{content}</{name}>")
        }
    }
}

/// A text whose baseline begins at a point.
pub fn text(x: impl Display, y: impl Display, words: &str) -> Element {
    Element::new("text").set("x", x).set("y", y).text(words)
}

/// A rectangle by its upper left corner and its size.
pub fn rect(x: impl Display, y: impl Display, width: impl Display, height: impl Display) -> Element {
    Element::new("rect").set("x", x).set("y", y).set("width", width).set("height", height)
}

/// A straight line between two points.
pub fn line(x1: impl Display, y1: impl Display, x2: impl Display, y2: impl Display) -> Element {
    Element::new("line").set("x1", x1).set("y1", y1).set("x2", x2).set("y2", y2)
}

/// What another element is called where the mouse rests on it.
pub fn title(words: &str) -> Element {
    Element::new("title").text(words)
}

/// The definition of the head that [`ARROW`] puts at the end of a line.
pub(crate) fn arrow_head() -> Element {
    let marker = Element::new("marker").set("id", "a").set("viewBox", "0 0 8 8").set("refX", 8).set("refY", 4);
    let marker = marker.set("markerWidth", 8).set("markerHeight", 8).set("markerUnits", "userSpaceOnUse");
    let head = Element::new("path").set("d", "M0 0L8 4L0 8z");
    Element::new("defs").with(&marker.set("orient", "auto").with(&head))
}

/// The `marker-end` of a line that is an arrow.
pub(crate) const ARROW: &str = "url(#a)";

/// A picture that is being drawn.
#[derive(Clone, Debug)]
pub struct Picture(String);

impl Picture {
    /// A picture with nothing in it yet; `root` has the attributes of `svg`.
    pub fn new(root: Element) -> Self {
        let attributes = root.attributes;
        Self(format!("<svg xmlns=\"http://www.w3.org/2000/svg\"{attributes}>\n"))
    }

    /// Adds elements, as one line of the file.
    pub fn line(&mut self, elements: impl IntoIterator<Item = Element>) {
        for element in elements {
            let _ = write!(self.0, "{element}");
        }
        self.0.push('\n');
    }

    /// The file.
    pub fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}
