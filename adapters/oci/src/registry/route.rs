//! The paths of the endpoint.

use apocryph_model::Digest;

/// The longest repository name, as registries commonly bound it.
const MAX_NAME_LEN: usize = 255;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v2/`
    Base,
    /// `/v2/<name>/manifests/<digest>`
    Manifest(Digest),
    /// `/v2/<name>/blobs/<digest>`
    Blob(Digest),
}

/// Why a path names nothing, in the specification's words (OCI Distribution, "Error Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoute {
    /// Not a path of the pull side.
    Elsewhere,
    /// The repository's name is malformed.
    Name,
    /// A tag, or a digest of another kind, where a manifest's digest should be.
    ManifestReference,
    /// Not a digest.
    Digest,
}

pub(super) fn route(path: &str) -> Result<Route, NoRoute> {
    let path = path.strip_prefix("/v2").ok_or(NoRoute::Elsewhere)?;
    if matches!(path, "" | "/") {
        return Ok(Route::Base);
    }
    let path = path.strip_prefix('/').ok_or(NoRoute::Elsewhere)?;
    let (rest, reference) = path.rsplit_once('/').ok_or(NoRoute::Elsewhere)?;
    let (name, kind) = rest.rsplit_once('/').ok_or(NoRoute::Elsewhere)?;
    if !is_name(name) {
        return Err(NoRoute::Name);
    }
    match kind {
        "manifests" => reference.parse().map(Route::Manifest).map_err(|_| NoRoute::ManifestReference),
        "blobs" => reference.parse().map(Route::Blob).map_err(|_| NoRoute::Digest),
        _ => Err(NoRoute::Elsewhere),
    }
}

fn is_name(name: &str) -> bool {
    let is_component = |component: &str| {
        component.starts_with(is_alphanumeric)
            && component.ends_with(is_alphanumeric)
            && component.chars().all(|c| is_alphanumeric(c) || matches!(c, '.' | '_' | '-'))
    };
    name.len() <= MAX_NAME_LEN && name.split('/').all(is_component)
}

fn is_alphanumeric(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_seal::sha256;
    use proptest::prelude::*;

    #[test]
    fn the_paths() {
        let digest = sha256(b"blob");
        assert_eq!(route("/v2/"), Ok(Route::Base));
        assert_eq!(route("/v2"), Ok(Route::Base));
        let manifest = format!("/v2/pod/web/manifests/{digest}");
        assert_eq!(route(&manifest), Ok(Route::Manifest(digest)));
        assert_eq!(route(&format!("/v2/a/blobs/{digest}")), Ok(Route::Blob(digest)));
        assert_eq!(route("/v2/a/manifests/latest"), Err(NoRoute::ManifestReference));
        assert_eq!(route("/v2/a/blobs/sha256:00"), Err(NoRoute::Digest));
        assert_eq!(route(&format!("/v2/../blobs/{digest}")), Err(NoRoute::Name));
        for path in ["/", "/v3/", "/v2x", "/v2/a", "/v2/a/tags/list", "/v2/a/blobs/uploads/"] {
            assert!(route(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_answered(path in "/v2[ -~]{0,80}") {
            let _ = route(&path);
        }
    }
}
