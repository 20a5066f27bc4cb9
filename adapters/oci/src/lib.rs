//! Container images, on both sides of the market.
//!
//! * the publisher's: [`OciImages`] finds an image where skopeo would (a registry, the Docker
//!   daemon, a layout, an archive) and encrypts it into files, in the format of ocicrypt;
//! * the provider's: [`registry`] serves those files to the nodes that run them, by OCI
//!   Distribution.

mod document;
mod encrypt;
mod encrypted;
mod image;
mod images;
mod layer;
mod limits;
mod reference;
pub mod registry;
mod source;
mod verified;
mod wire;

pub use images::{DockerPlaces, OciImages};
