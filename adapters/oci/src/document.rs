//! Manifests and indexes: telling them apart, and choosing from an index.

use apocryph_seal::sha256;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::limits::MAX_MANIFEST_LEN;
use crate::source::SourceError;
use crate::verified::Damage;
use crate::wire::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, INDEX, Index, MANIFEST, Manifest, Platform};

/// What a reference or an index points at.
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// Reads a manifest or an index.
pub(crate) fn parse_document(bytes: &[u8]) -> Result<Document, SourceError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        media_type: Option<String>,
        manifests: Option<IgnoredAny>,
    }
    if bytes.len() as u64 > MAX_MANIFEST_LEN {
        return Err(SourceError::TooLong { what: "manifest", limit: MAX_MANIFEST_LEN });
    }
    let kind: Kind = parse("manifest", bytes)?;
    match kind.media_type.as_deref() {
        Some(INDEX | DOCKER_LIST) => parse("index", bytes).map(Document::Index),
        Some(MANIFEST | DOCKER_MANIFEST) => parse("manifest", bytes).map(Document::Manifest),
        None if kind.manifests.is_some() => parse("index", bytes).map(Document::Index),
        None => parse("manifest", bytes).map(Document::Manifest),
        Some(other) => Err(SourceError::Malformed(format!("its manifest is of the unknown type {other}"))),
    }
}

/// Parses a part of an image; `what` it is stands in the error.
pub(crate) fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, SourceError> {
    serde_json::from_slice(bytes)
        .map_err(|error| SourceError::Malformed(format!("its {what} cannot be read: {error}")))
}

/// The entry for the wanted platform; one that names no platform will do if it is alone.
pub(crate) fn choose(index: &Index) -> Result<&Descriptor, SourceError> {
    let wanted = Platform::wanted();
    let entries = &index.manifests;
    let fits = |entry: &&Descriptor| entry.platform.as_ref() == Some(&wanted);
    match entries.as_slice() {
        [only] if only.platform.is_none() => Ok(only),
        _ => entries.iter().find(fits).ok_or_else(|| SourceError::Platform(platforms_of(entries))),
    }
}

fn platforms_of(entries: &[Descriptor]) -> String {
    let known = entries.iter().filter_map(|entry| entry.platform.as_ref());
    // Entries for "unknown" hold attestations rather than images.
    let names = known.filter(|platform| platform.os != "unknown").map(ToString::to_string);
    names.collect::<Vec<_>>().join(", ")
}

/// Makes sure that `bytes` are what `expected` points at.
pub(crate) fn verify(bytes: &[u8], expected: &Descriptor) -> Result<(), SourceError> {
    let found = sha256(bytes);
    if found == expected.digest {
        Ok(())
    } else {
        Err(Damage::Digest { expected: expected.digest, found }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn index(entries: Value) -> Index {
        serde_json::from_value(json!({ "manifests": entries })).unwrap()
    }

    fn entry(platform: Option<(&str, &str)>) -> Value {
        let digest = sha256(format!("{platform:?}").as_bytes());
        let mut entry = json!({ "mediaType": MANIFEST, "digest": digest, "size": 1 });
        if let Some((os, architecture)) = platform {
            entry["platform"] = json!({ "os": os, "architecture": architecture, "variant": "v8" });
        }
        entry
    }

    #[test]
    fn the_wanted_platform_is_chosen() {
        let wanted = Platform::wanted();
        let mine = (wanted.os.as_str(), wanted.architecture.as_str());
        let several = index(json!([entry(Some(("windows", mine.1))), entry(Some(mine))]));
        assert_eq!(choose(&several).unwrap(), &several.manifests[1]);
        let alone = index(json!([entry(None)]));
        assert_eq!(choose(&alone).unwrap(), &alone.manifests[0]);
    }

    #[test]
    fn the_platforms_that_there_are_are_told() {
        let others = index(json!([
            entry(Some(("linux", "s390x"))),
            entry(Some(("unknown", "unknown"))),
            entry(Some(("plan9", "386"))),
        ]));
        let error = choose(&others).unwrap_err();
        assert_eq!(error.to_string(), "the image is for linux/s390x, plan9/386");
    }

    #[test]
    fn a_manifest_without_a_media_type_is_known_by_its_fields() {
        let config = entry(None);
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [] }).to_string();
        assert!(matches!(parse_document(manifest.as_bytes()), Ok(Document::Manifest(_))));
        let index = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
        assert!(matches!(parse_document(index.as_bytes()), Ok(Document::Index(_))));
        let other = json!({ "mediaType": "text/plain", "manifests": [] }).to_string();
        assert!(matches!(parse_document(other.as_bytes()), Err(SourceError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_document_is_answered(bytes: Vec<u8>) {
            let _ = parse_document(&bytes);
        }
    }
}
