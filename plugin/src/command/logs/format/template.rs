//! Forms of the user's own.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Time,
    Component,
    Pod,
    Container,
    Node,
    Namespace,
    Source,
    Level,
    Thread,
    Place,
    Text,
    Message,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Field(Field),
}

/// A form of the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(pub(super) Vec<Piece>);

/// Reads `'{time} {component} {message}'`; `{{` and `}}` stand for braces.
pub(crate) fn template(text: &str) -> Result<Template, String> {
    const FIELDS: [(&str, Field); 12] = [
        ("time", Field::Time),
        ("component", Field::Component),
        ("pod", Field::Pod),
        ("container", Field::Container),
        ("node", Field::Node),
        ("namespace", Field::Namespace),
        ("source", Field::Source),
        ("level", Field::Level),
        ("thread", Field::Thread),
        ("place", Field::Place),
        ("text", Field::Text),
        ("message", Field::Message),
    ];
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let tail = &rest[at..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            literal.push_str(&tail[..1]);
            rest = &tail[2..];
            continue;
        }
        let end = tail.find('}').filter(|_| tail.starts_with('{'));
        let Some(end) = end else { return Err("a brace without its other half; {{ and }} write braces".to_owned()) };
        let name = &tail[1..end];
        let Some((_, field)) = FIELDS.iter().find(|(n, _)| *n == name) else {
            let known: Vec<_> = FIELDS.iter().map(|(n, _)| *n).collect();
            return Err(format!("no field {name:?}; known: {}", known.join(", ")));
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Field(*field));
        rest = &tail[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(Template(pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_name_their_fields() {
        let Template(pieces) = template("{time} {{{component}}} x").unwrap();
        assert_eq!(
            pieces,
            [
                Piece::Field(Field::Time),
                Piece::Literal(" {".into()),
                Piece::Field(Field::Component),
                Piece::Literal("} x".into()),
            ]
        );
        assert!(template("{tme}").unwrap_err().starts_with("no field \"tme\"; known: time"));
        assert!(template("{time").is_err() && template("time}").is_err());
    }
}
