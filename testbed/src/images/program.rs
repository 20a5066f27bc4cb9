//! A program of this machine, with all that it needs to start elsewhere.

use crate::layout::Layer;
use std::path::{Path, PathBuf};
use std::{fs, io, process::Command};

/// Why a program cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not installed.
    #[error("{program} is not on this machine: install the Debian package {package}")]
    Missing {
        /// The program.
        program: &'static str,
        /// Its package.
        package: &'static str,
    },
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The dynamic linker finds no library of this name.
    #[error("{program} needs {library}, which is not on this machine")]
    Library {
        /// The program.
        program: PathBuf,
        /// What it needs.
        library: String,
    },
}

/// The usual root folder of a container, without any program.
pub(crate) fn base() -> Layer {
    Layer::new()
        .directory("etc", 0o755)
        .file("etc/passwd", "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n", 0o644)
        .file("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644)
        .directory("run", 0o755)
        .directory("tmp", 0o1777)
}

/// `layer` with `program` of this machine at `place`, and with the program's libraries.
pub(crate) fn with_program(
    layer: Layer,
    package: &'static str,
    program: &'static str,
    place: &str,
) -> Result<Layer, ProgramError> {
    let path = Path::new(program);
    if !path.exists() {
        return Err(ProgramError::Missing { program, package });
    }
    let layer = layer.file(place, read(path)?, 0o755);
    with_libraries(layer, path)
}

/// `layer` with a program of this workspace, by what stands beside the one that runs, at `place`; without
/// what only debuggers read.
pub(crate) fn with_own_program(layer: Layer, name: &str, place: &str) -> Result<Layer, ProgramError> {
    let program = crate::program(name);
    let folder = tempfile::tempdir().map_err(at("a temporary folder"))?;
    let stripped = folder.path().join(name);
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(&program).status();
    match status.map_err(at("strip"))? {
        status if status.success() => {}
        status => {
            return Err(at(&program)(io::Error::other(format!("strip: {status}: `make build` makes it"))));
        }
    }
    with_libraries(layer.file(place, read(&stripped)?, 0o755), &program)
}

/// `layer` with the libraries of a program.
fn with_libraries(layer: Layer, program: &Path) -> Result<Layer, ProgramError> {
    libraries(program)?.iter().try_fold(layer, |layer, library| {
        let place = library.to_string_lossy();
        Ok(layer.file(place.trim_start_matches('/'), read(library)?, 0o755))
    })
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, ProgramError> {
    fs::read(path).map_err(at(path))
}

fn at(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> ProgramError {
    let path = path.as_ref().into();
    |source| ProgramError::File { path, source }
}

/// What the dynamic linker would load for a program; nothing for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, ProgramError> {
    let output = Command::new("ldd").arg(program).env("LC_ALL", "C").output();
    let output = output.map_err(at("ldd"))?;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines.lines().filter_map(|line| library(program, line.trim()).transpose()).collect()
}

/// One line of ldd: `name => path (address)`, `path (address)` or `name => not found`.
fn library(program: &Path, line: &str) -> Result<Option<PathBuf>, ProgramError> {
    let (name, target) = line.split_once(" => ").unwrap_or((line, line));
    if target.starts_with("not found") {
        return Err(ProgramError::Library { program: program.into(), library: name.into() });
    }
    let path = target.split(" (").next().unwrap_or_default();
    Ok(path.starts_with('/').then(|| path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ldd_are_read() {
        let read = |line| library(Path::new("/bin/x"), line);
        assert_eq!(read("linux-vdso.so.1 (0x00007ffd)").unwrap(), None);
        assert_eq!(read("not a dynamic executable").unwrap(), None);
        let library = Some("/lib/libz.so.1".into());
        assert_eq!(read("libz.so.1 => /lib/libz.so.1 (0x00007f)").unwrap(), library);
        assert_eq!(read("/lib64/ld.so.2 (0x00007f)").unwrap(), Some("/lib64/ld.so.2".into()));
        assert!(read("libq.so.1 => not found").unwrap_err().to_string().contains("needs libq.so.1"));
    }

    #[test]
    fn a_dynamic_program_comes_with_its_libraries() {
        let layer = with_program(base(), "bash", "/bin/bash", "bin/shell").unwrap();
        let tar = layer.to_tar().unwrap();
        let mut tar = tar::Archive::new(tar.as_slice());
        let paths: Vec<_> =
            tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
        assert!(paths.iter().any(|path| path == Path::new("bin/shell")));
        assert!(paths.iter().any(|path| path.to_string_lossy().contains("libc.so")));
    }

    #[test]
    fn a_program_that_is_not_there_names_its_package() {
        let error = with_program(base(), "nothing-light", "/usr/sbin/nothing", "bin/x").unwrap_err();
        assert!(error.to_string().contains("install the Debian package nothing-light"));
    }
}
