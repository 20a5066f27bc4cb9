//! `apocryphd` itself, as `deploy/Containerfile` makes it, but of the program that was built here.

use super::program::{ProgramError, base, read, with_libraries};
use crate::layout::Image;
use std::{io, path::Path, process::Command};

/// Chains are spoken to over TLS, for which the program wants somebody to trust.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The daemon and gateway, by the program that stands beside the one that runs; without what only
/// debuggers read.
pub fn apocryphd() -> Result<Image, ProgramError> {
    let program = crate::program("apocryphd");
    let folder = tempfile::tempdir().map_err(at("a temporary folder"))?;
    let stripped = folder.path().join("apocryphd");
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(&program).status();
    match status.map_err(at("strip"))? {
        status if status.success() => {}
        status => return Err(at("strip")(io::Error::other(status.to_string()))),
    }
    let layer = base().file("usr/bin/apocryphd", read(&stripped)?, 0o755);
    let layer = with_libraries(layer, &program)?;
    let certificates = Path::new(CERTIFICATES);
    if !certificates.exists() {
        return Err(ProgramError::Missing { program: CERTIFICATES, package: "ca-certificates" });
    }
    let layer = layer.file(CERTIFICATES.trim_start_matches('/'), read(certificates)?, 0o644);
    Ok(Image::new(vec![layer]).entrypoint(&["/usr/bin/apocryphd"]).user("65532:65532"))
}

fn at(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> ProgramError {
    let path = path.as_ref().into();
    |source| ProgramError::File { path, source }
}
