//! References to images, as skopeo and podman write them (containers-transports(5)).

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    /// `docker://host/name:tag`, or without `docker://`: in a registry.
    Registry(String),
    /// `docker-daemon:name:tag`: in the local Docker daemon.
    DockerDaemon(String),
    /// `oci:folder[:tag]`: in an image layout.
    Layout { folder: PathBuf, tag: Option<String> },
    /// `oci-archive:file[:tag]`: in a tar file of an image layout.
    LayoutArchive { file: PathBuf, tag: Option<String> },
    /// `docker-archive:file[:name:tag]`: in what `docker save` writes.
    DockerArchive { file: PathBuf, tag: Option<String> },
}

/// Why a reference cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ReferenceError {
    #[error("it is empty")]
    Empty,
    #[error(
        "the transport {0} is unknown: use docker://, docker-daemon:, oci:, oci-archive: or docker-archive:"
    )]
    Transport(String),
}

impl Reference {
    /// Reads `text`; relative paths are relative to `folder`.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<Self, ReferenceError> {
        if let Some(name) = text.strip_prefix("docker://") {
            return Ok(Self::Registry(non_empty(name)?));
        }
        let Some((transport, rest)) = text.split_once(':') else {
            return Ok(Self::Registry(non_empty(text)?));
        };
        match transport {
            "docker-daemon" => Ok(Self::DockerDaemon(non_empty(rest)?)),
            "oci" => in_file(rest, folder).map(|(folder, tag)| Self::Layout { folder, tag }),
            "oci-archive" => in_file(rest, folder).map(|(file, tag)| Self::LayoutArchive { file, tag }),
            "docker-archive" => in_file(rest, folder).map(|(file, tag)| Self::DockerArchive { file, tag }),
            _ if is_other_transport(transport, rest) => Err(ReferenceError::Transport(transport.to_owned())),
            _ => Ok(Self::Registry(non_empty(text)?)),
        }
    }
}

fn non_empty(text: &str) -> Result<String, ReferenceError> {
    if text.is_empty() { Err(ReferenceError::Empty) } else { Ok(text.to_owned()) }
}

fn in_file(rest: &str, folder: &Path) -> Result<(PathBuf, Option<String>), ReferenceError> {
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(non_empty(tag)?)),
        None => (rest, None),
    };
    Ok((folder.join(non_empty(path)?), tag))
}

/// Tells `dir:/tmp/x` and `http://x` from `name:tag` and `host:5000/name`.
fn is_other_transport(transport: &str, rest: &str) -> bool {
    rest.starts_with('/') || matches!(transport, "containers-storage" | "sif" | "ostree" | "tarball")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(text, Path::new("/pod"))
    }

    fn registry(name: &str) -> Result<Reference, ReferenceError> {
        Ok(Reference::Registry(name.to_owned()))
    }

    #[test]
    fn registries() {
        assert_eq!(parse("nginx"), registry("nginx"));
        assert_eq!(parse("nginx:1.27"), registry("nginx:1.27"));
        assert_eq!(parse("docker://nginx:1.27"), registry("nginx:1.27"));
        assert_eq!(parse("host:5000/a/b@sha256:00"), registry("host:5000/a/b@sha256:00"));
    }

    #[test]
    fn files() {
        let tag = Some("v1".to_owned());
        let folder = PathBuf::from("/pod/images");
        assert_eq!(parse("oci:images:v1"), Ok(Reference::Layout { folder, tag }));
        let file = PathBuf::from("/abs/image.tar");
        let reference = Reference::LayoutArchive { file: file.clone(), tag: None };
        assert_eq!(parse("oci-archive:/abs/image.tar"), Ok(reference));
        let tag = Some("web:v1".to_owned());
        let reference = Reference::DockerArchive { file, tag };
        assert_eq!(parse("docker-archive:/abs/image.tar:web:v1"), Ok(reference));
        assert_eq!(parse("docker-daemon:web:v1"), Ok(Reference::DockerDaemon("web:v1".to_owned())));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for text in ["", "docker://", "oci:", "oci:images:", "docker-daemon:"] {
            assert_eq!(parse(text), Err(ReferenceError::Empty), "{text}");
        }
        for (text, transport) in [("dir:/tmp/x", "dir"), ("https://x/y", "https")] {
            assert_eq!(parse(text), Err(ReferenceError::Transport(transport.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text: String) {
            let _ = parse(&text);
        }
    }
}
