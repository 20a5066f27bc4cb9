//! `apocryphd` itself, as `deploy/Containerfile` makes it, but of the program that was built here.

use super::program::{ProgramError, base, read, with_own_program};
use crate::layout::Image;
use std::path::Path;

/// Chains are spoken to over TLS, for which the program wants somebody to trust.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The daemon and gateway, by the program that stands beside the one that runs; without what only
/// debuggers read.
pub fn apocryphd() -> Result<Image, ProgramError> {
    let layer = with_own_program(base(), "apocryphd", "usr/bin/apocryphd")?;
    let certificates = Path::new(CERTIFICATES);
    if !certificates.exists() {
        return Err(ProgramError::Missing { program: CERTIFICATES, package: "ca-certificates" });
    }
    let layer = layer.file(CERTIFICATES.trim_start_matches('/'), read(certificates)?, 0o644);
    Ok(Image::new(vec![layer]).entrypoint(&["/usr/bin/apocryphd"]).user("65532:65532"))
}
