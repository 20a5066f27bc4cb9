//! A user's home, and the binary in it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

/// An empty home, which is also the working directory.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// The command with nothing of this process's environment.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apocryph"));
        command.args(line.split_whitespace()).current_dir(self.path());
        command.env_clear().env("HOME", self.path()).env("NO_COLOR", "1");
        command
    }

    pub(crate) fn run(&self, line: &str) -> String {
        self.shown(&self.command(line).output().unwrap())
    }

    /// Exit code, standard output and standard error, with the home's path replaced.
    pub(crate) fn shown(&self, output: &Output) -> String {
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).unwrap().replace(&self.path().display().to_string(), "HOME")
        };
        let code = output.status.code().expect("it was not killed");
        format!("exit {code}\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr))
    }
}
