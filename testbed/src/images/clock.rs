//! A web server that tells its own times, to be measured with.

use std::process::Command;

use super::program::{ProgramError, base, read};
use crate::layout::Image;

/// Serves HTTP at port 8080, statically linked; what it answers is told in `clock.c`.
///
/// # Errors
/// If there is no C compiler, or it fails.
pub fn clock() -> Result<Image, ProgramError> {
    let server = base().file("bin/clock", compiled()?, 0o755);
    Ok(Image::new(vec![server]).entrypoint(&["/bin/clock"]))
}

/// By the C compiler that Rust links with.
fn compiled() -> Result<Vec<u8>, ProgramError> {
    let file = |source| ProgramError::File { path: "clock.c".into(), source };
    let folder = tempfile::tempdir().map_err(file)?;
    let (source, program) = (folder.path().join("clock.c"), folder.path().join("clock"));
    std::fs::write(&source, include_str!("clock.c")).map_err(file)?;
    let mut compiler = Command::new("cc");
    let compiled = compiler.args(["-static", "-Os", "-s", "-o"]).arg(&program).arg(&source).status();
    match compiled {
        Ok(status) if status.success() => read(&program),
        _ => Err(ProgramError::Missing { program: "cc", package: "gcc" }),
    }
}
