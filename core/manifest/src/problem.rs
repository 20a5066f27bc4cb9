//! What is wrong with a manifest, shown at its line and column.

use miette::{Diagnostic, NamedSource, SourceSpan};

/// A manifest that is not valid: every problem that was found, in the order of the file.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{file} is not a valid manifest")]
#[diagnostic(help("mend the file and run the command again; nothing was signed or sent"))]
pub struct InvalidManifest {
    file: String,
    #[source_code]
    text: NamedSource<String>,
    #[related]
    problems: Vec<Problem>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Problem {
    message: String,
    label: String,
    #[label("{label}")]
    place: SourceSpan,
    #[help]
    help: Option<String>,
}

impl InvalidManifest {
    pub(crate) fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place.offset());
        Self { file: file.into(), text: NamedSource::new(file, text.into()), problems }
    }

    /// Every problem that was found, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { message: message.into(), label: label.into(), place: (0, 0).into(), help: None }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(crate) fn at(self, place: SourceSpan) -> Self {
        Self { place, ..self }
    }
}
