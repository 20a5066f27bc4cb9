use crate::failure::Failure;
use std::{
    fs::{File, TryLockError},
    path::Path,
};

/// Held by the one daemon that uses a data directory. The system lets go of it at its end.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of `data_dir`.
    pub(super) fn take(data_dir: &Path) -> Result<Self, Failure> {
        let path = data_dir.join("lock");
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(Failure::file(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Failure::Locked(data_dir.into())),
            Err(TryLockError::Error(problem)) => Err(Failure::file(path)(problem)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_per_data_directory() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::take(folder.path()).unwrap();
        assert!(matches!(Lock::take(folder.path()), Err(Failure::Locked(_))));
        drop(held);
        assert!(Lock::take(folder.path()).is_ok());
    }
}
