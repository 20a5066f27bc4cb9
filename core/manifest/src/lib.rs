//! `apocryph.yaml`, read into [`apocryph_model::Manifest`]. What is wrong is told at its line and
//! column, all of it at once where the form allows, with what is allowed instead.

mod containers;
mod convert;
mod document;
mod duration;
mod node;
mod placement;
mod places;
mod problem;
mod skeleton;
mod volumes;
mod yaml;

pub use problem::{InvalidManifest, Problem};

use apocryph_model::{Manifest, Name};
use miette::Diagnostic;
use places::Places;

/// The largest manifest, in bytes. Who reads a file needs to read no more than one byte beyond.
pub const MAX_BYTES: usize = 1 << 20;

/// Why a manifest cannot be used. Always its author's fault; a retry does not help.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ManifestError {
    /// Larger than [`MAX_BYTES`].
    #[error("{file} is larger than 1 MiB")]
    #[diagnostic(help("is this the right file? A manifest names images and secrets and does not hold them"))]
    TooLarge {
        /// The file's name.
        file: String,
    },
    /// Not UTF-8.
    #[error("{file} is not a text: byte {offset} is not UTF-8")]
    #[diagnostic(help("save the file as UTF-8"))]
    NotText {
        /// The file's name.
        file: String,
        /// Where the text ends, in bytes from the beginning.
        offset: usize,
    },
    /// Not a valid manifest.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(#[from] Box<InvalidManifest>),
}

/// Reads and validates a manifest. `file` is the name that errors show.
pub fn parse(bytes: &[u8], file: &str) -> Result<Manifest, ManifestError> {
    if bytes.len() > MAX_BYTES {
        return Err(ManifestError::TooLarge { file: file.into() });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| ManifestError::NotText { file: file.into(), offset: e.valid_up_to() })?;
    read(text, file).map_err(|invalid| Box::new(invalid).into())
}

fn read(text: &str, file: &str) -> Result<Manifest, InvalidManifest> {
    let malformed = |error| yaml::malformed(&error, file, text);
    let document = yaml::read(text).map_err(malformed)?;
    let places = Places::of(text).map_err(malformed)?;
    let converted = convert::Converter::new(text, &places).convert(document);
    converted.map_err(|problems| InvalidManifest::new(file, text, problems))
}

/// The JSON Schema (draft 2020-12) of `apocryph.yaml`, for editors.
pub fn schema() -> String {
    let schema = schemars::schema_for!(document::Pod);
    format!("{:#}", schema.as_value())
}

/// A commented manifest that deploys as it is: one container of `image` that serves HTTP at port 80.
pub fn default_manifest(name: &Name, image: &str) -> String {
    include_str!("default.yaml").replacen("{name}", name.as_str(), 1).replacen("{image}", image, 1)
}
