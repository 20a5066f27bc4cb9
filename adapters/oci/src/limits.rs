//! Bounds on what an image may be, wherever it comes from.

/// The longest manifest or index, in bytes: what registries commonly accept.
pub(crate) const MAX_MANIFEST_LEN: u64 = 4 << 20;
/// The longest image configuration, in bytes.
pub(crate) const MAX_CONFIG_LEN: u64 = 4 << 20;
/// The most layers of an image; overlay file systems stack few more.
pub(crate) const MAX_LAYERS: usize = 128;
/// How many indexes may lead to a manifest: a layout's own, and an image's.
pub(crate) const MAX_INDEX_DEPTH: usize = 3;
/// The most files in an archive.
pub(crate) const MAX_ARCHIVE_ENTRIES: usize = 10_000;
