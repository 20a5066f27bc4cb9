//! Where in the file each field stands.

use crate::{node::Node, yaml};
use miette::SourceSpan;
use serde_saphyr::{Location, Spanned};
use std::collections::BTreeMap;

/// The places of all fields, by paths such as `containers[1].ports[0].host`.
pub(crate) struct Places(BTreeMap<String, SourceSpan>);

impl Places {
    /// Finds every field of `text`.
    pub(crate) fn of(text: &str) -> Result<Self, serde_saphyr::Error> {
        let root: Spanned<Node> = yaml::read(text)?;
        let mut places = Self(BTreeMap::new());
        places.add(text, String::new(), root);
        Ok(places)
    }

    /// The place of the field at `path`, or of the nearest field around it.
    pub(crate) fn at(&self, path: &str) -> SourceSpan {
        let mut path = path;
        loop {
            if let Some(span) = self.0.get(path) {
                return *span;
            }
            let Some(end) = path.rfind(['.', '[']) else { break };
            path = &path[..end];
        }
        (0, 0).into()
    }

    fn add(&mut self, text: &str, path: String, node: Spanned<Node>) {
        self.0.insert(path.clone(), span(text, node.referenced));
        match node.value {
            Node::Null | Node::Bare | Node::Text(_) => {}
            Node::Sequence(items) => {
                for (index, item) in items.into_iter().enumerate() {
                    self.add(text, format!("{path}[{index}]"), item);
                }
            }
            Node::Mapping(entries) => {
                for (key, value) in entries {
                    let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                    self.add(text, path, value);
                }
            }
        }
    }
}

/// The bytes of `text` that a location stands for.
pub(crate) fn span(text: &str, location: Location) -> SourceSpan {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let span = location.span();
    let start = span.byte_offset().map_or_else(|| offset(text, location), number);
    (start.min(text.len()), span.byte_len().map_or(0, number)).into()
}

/// Where a location that has only a line and a column begins.
fn offset(text: &str, location: Location) -> usize {
    let line = usize::try_from(location.line().saturating_sub(1)).unwrap_or(usize::MAX);
    let column = usize::try_from(location.column().saturating_sub(1)).unwrap_or(usize::MAX);
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    before + text[before..].chars().take(column).map(char::len_utf8).sum::<usize>()
}
