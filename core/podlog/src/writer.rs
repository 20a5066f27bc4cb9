//! A container's output on its way into its log file. See [`cri`](crate::cri) for the
//! format. A file that is full becomes `<name>.1`, in place of an earlier one: a container's log
//! takes at most twice [`FULL`], however much it writes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cri::write_entry;

/// In bytes.
const FULL: u64 = 4 << 20;
/// The longest text of an entry; longer lines are cut into several.
const MOST_TEXT: usize = 16 << 10;

/// One container's log file.
pub struct ContainerLog {
    path: PathBuf,
    file: File,
    written: u64,
}

/// One of a container's two streams; holds what has come of a line without its end.
#[derive(Default)]
pub struct Lines {
    held: Vec<u8>,
}

impl ContainerLog {
    /// Begins a log; what was there goes.
    ///
    /// # Errors
    /// As the file system says.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        Ok(Self { file: File::create(&path)?, path, written: 0 })
    }

    /// Goes on with a log; begins it where there is none.
    ///
    /// # Errors
    /// As the file system says.
    pub fn resume(path: PathBuf) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(&path)?;
        let written = file.metadata()?.len();
        Ok(Self { path, file, written })
    }

    /// Writes whole entries. What a full disk has no room for is lost, and the container goes on.
    pub fn append(&mut self, entries: &[u8]) {
        if self.written + entries.len() as u64 > FULL && self.rotate().is_err() {
            return;
        }
        if self.file.write_all(entries).is_ok() {
            self.written += entries.len() as u64;
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        fs::rename(&self.path, self.path.with_extension("log.1"))?;
        self.file = File::create(&self.path)?;
        self.written = 0;
        Ok(())
    }
}

impl Lines {
    /// Takes what the container wrote; gives how many bytes of the log that makes.
    pub fn take(&mut self, mut bytes: &[u8], stderr: bool, log: &mut ContainerLog) -> usize {
        let mut entries = Vec::with_capacity(bytes.len() + 128);
        while let Some(end) = self.next_end(bytes) {
            let (text, rest) = bytes.split_at(end);
            self.held.extend_from_slice(text);
            let whole = rest.first() == Some(&b'\n');
            self.emit(&mut entries, stderr, !whole);
            bytes = &rest[usize::from(whole)..];
        }
        self.held.extend_from_slice(bytes);
        log.append(&entries);
        entries.len()
    }

    /// The stream has ended: what is held is a line too.
    pub fn finish(&mut self, stderr: bool, log: &mut ContainerLog) {
        if !self.held.is_empty() {
            let mut entries = Vec::new();
            self.emit(&mut entries, stderr, false);
            log.append(&entries);
        }
    }

    /// Where the next entry ends: before a line end, or where there is enough for an entry.
    fn next_end(&self, bytes: &[u8]) -> Option<usize> {
        let room = MOST_TEXT - self.held.len();
        match bytes.iter().take(room + 1).position(|byte| *byte == b'\n') {
            Some(end) => Some(end),
            None => (bytes.len() > room).then_some(room),
        }
    }

    fn emit(&mut self, entries: &mut Vec<u8>, stderr: bool, partial: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        write_entry(entries, now, stderr, partial, &self.held);
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::parse_entry;
    use proptest::prelude::*;

    fn logged(chunks: &[&[u8]]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let mut log = ContainerLog::create(dir.path().join("c.log")).unwrap();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.take(chunk, false, &mut log);
        }
        lines.finish(false, &mut log);
        let text = fs::read(dir.path().join("c.log")).unwrap();
        let entries = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        entries.map(|line| parse_entry(line).unwrap().text).collect()
    }

    #[test]
    fn lines_are_put_together_and_cut() {
        assert_eq!(logged(&[b"on", b"e\ntwo\n\nthree"]), ["one", "two", "", "three"]);
        let long = vec![b'x'; MOST_TEXT * 2 + 1];
        let lengths: Vec<usize> = logged(&[&long, b"\n"]).iter().map(String::len).collect();
        assert_eq!(lengths, [MOST_TEXT, MOST_TEXT, 1]);
        let exact = [&vec![b'x'; MOST_TEXT][..], b"\nnext\n"].concat();
        assert_eq!(logged(&[&exact]).len(), 2);
    }

    #[test]
    fn a_full_file_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = ContainerLog::create(dir.path().join("c.log")).unwrap();
        let mut lines = Lines::default();
        for _ in 0..4 * FULL / 1000 {
            lines.take(&[&[b'y'; 999][..], b"\n"].concat(), true, &mut log);
        }
        let size = |name: &str| fs::metadata(dir.path().join(name)).unwrap().len();
        assert!(size("c.log") <= FULL && size("c.log.1") <= FULL && size("c.log.1") > FULL / 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost(text in "[a-z\n]{0,200}", cut in 0usize..200) {
            let cut = cut.min(text.len());
            let found = logged(&[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]);
            prop_assert_eq!(found.join("\n"), text.strip_suffix('\n').unwrap_or(&text));
        }
    }
}
