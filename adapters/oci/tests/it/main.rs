//! Images from end to end: found, encrypted, served and decrypted, by this crate and by others.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it is skipped"
)]

mod bad_images;
mod pod_image;
mod registry;
mod registry_server;
mod skopeo;
mod sources;
