//! The layers of an image.

use apocryph_model::Digest;

use crate::source::SourceError;
use crate::wire::Descriptor;

/// A layer within an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Layer {
    pub(crate) digest: Digest,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) format: LayerFormat,
}

/// How a layer's tar file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LayerFormat {
    Tar,
    Gzip,
    Zstd,
}

impl LayerFormat {
    fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Some(Self::Tar)
            }
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(Self::Gzip),
            "application/vnd.oci.image.layer.v1.tar+zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// By the first bytes of the file.
    pub(crate) fn sniff(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Tar,
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Tar => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

impl TryFrom<&Descriptor> for Layer {
    type Error = SourceError;

    fn try_from(descriptor: &Descriptor) -> Result<Self, SourceError> {
        let format = LayerFormat::of(&descriptor.media_type)
            .ok_or_else(|| SourceError::LayerFormat(descriptor.media_type.clone()))?;
        Ok(Self { digest: descriptor.digest, size: descriptor.size, format })
    }
}
