//! Reads a tar stream (POSIX pax, ustar and GNU) that a stranger wrote, in bounded memory.
//!
//! The `tar` crate's own iterator reads GNU long names whole, however long they say they are; so
//! the loop over entries is ours, and only the header blocks are parsed by the crate.

use std::io::{self, Read};

use tar::Header;

const BLOCK: usize = 512;
/// The longest GNU long name or pax header. A Linux path has 4 KiB, an extended attribute 64 KiB.
const MAX_EXTENSION: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Device,
    Other,
}

/// One entry. The contents of a file follow in the stream: see [`TarStream::contents`].
#[derive(Debug)]
pub(super) struct TarEntry {
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// In seconds since the Unix epoch.
    pub(super) mtime: u64,
    pub(super) size: u64,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
}

/// What the headers before an entry said of it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    xattrs: Vec<(String, Vec<u8>)>,
    sparse: bool,
}

pub(super) struct TarStream<R> {
    source: R,
    /// Contents of the current entry that were not read.
    unread: u64,
    /// What fills its last block.
    padding: u64,
}

impl<R: Read> TarStream<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, unread: 0, padding: 0 }
    }

    /// The next entry; `None` at the end of the archive.
    pub(super) fn next(&mut self) -> io::Result<Option<TarEntry>> {
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let size = unless_blank(&header.as_old().size, || header.entry_size())?;
            match header.entry_type().as_byte() {
                b'L' => extensions.path = Some(self.name(size)?),
                b'K' => extensions.link = Some(self.name(size)?),
                b'x' => extensions.read_pax(&self.extension(size)?)?,
                b'g' => drop(self.extension(size)?),
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    /// The contents of the entry that `next` gave last.
    pub(super) fn contents(&mut self) -> impl Read + '_ {
        Contents { stream: self }
    }

    /// Everything after the last entry.
    pub(super) fn into_rest(self) -> R {
        self.source
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> io::Result<TarEntry> {
        if extensions.sparse || header.entry_type().is_gnu_sparse() {
            return Err(malformed("a sparse file, which is not supported"));
        }
        let kind = kind_of(header);
        let old = header.as_old();
        let size = || unless_blank(&old.size, || header.entry_size());
        let size = extensions.size.map_or_else(size, Ok)?;
        self.begin(if kind == EntryKind::File { size } else { 0 });
        let link = extensions.link.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        Ok(TarEntry {
            path: extensions.path.unwrap_or_else(|| header.path_bytes().into_owned()),
            kind,
            link: link.unwrap_or_default(),
            mode: (unless_blank(&old.mode, || header.mode().map(u64::from))? & 0o7777) as u32,
            uid: extensions.uid.map_or_else(|| id(unless_blank(&old.uid, || header.uid())?), Ok)?,
            gid: extensions.gid.map_or_else(|| id(unless_blank(&old.gid, || header.gid())?), Ok)?,
            mtime: header.mtime().unwrap_or(0),
            size,
            xattrs: extensions.xattrs,
        })
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        let skip = self.unread + self.padding;
        let skipped = io::copy(&mut (&mut self.source).take(skip), &mut io::sink())?;
        if skipped < skip {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.begin(0);
        let mut block = [0; BLOCK];
        if !read_block(&mut self.source, &mut block)? || block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        if header.cksum()? != checksum(&block) {
            return Err(malformed("a header's checksum does not match"));
        }
        Ok(Some(header.clone()))
    }

    fn begin(&mut self, size: u64) {
        self.unread = size;
        self.padding = size.next_multiple_of(BLOCK as u64).saturating_sub(size);
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(malformed("an extended header of more than 1 MiB"));
        }
        self.begin(size);
        let mut bytes = vec![0; size as usize];
        self.contents().read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn name(&mut self, size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.extension(size)?;
        if bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }
}

struct Contents<'a, R> {
    stream: &'a mut TarStream<R>,
}

impl<R: Read> Read for Contents<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.stream.unread).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.stream.source.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.stream.unread -= read as u64;
        Ok(read)
    }
}

impl Extensions {
    /// Pax extended headers: records of `length SP key=value LF` (POSIX.1-2017, pax).
    fn read_pax(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (record, rest) = pax_record(bytes).ok_or_else(|| malformed("a malformed pax header"))?;
            self.take(record.0, record.1)?;
            bytes = rest;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(id(number(value)?)?),
            b"gid" => self.gid = Some(id(number(value)?)?),
            _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
            _ => {
                let name = key.strip_prefix(b"SCHILY.xattr.").and_then(|name| std::str::from_utf8(name).ok());
                self.xattrs.extend(name.map(|name| (name.to_owned(), value.to_vec())));
            }
        }
        Ok(())
    }
}

type PaxRecord<'a> = (&'a [u8], &'a [u8]);

fn pax_record(bytes: &[u8]) -> Option<(PaxRecord<'_>, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some(((&record[..equals], &record[equals + 1..]), &bytes[length..]))
}

fn kind_of(header: &Header) -> EntryKind {
    match header.entry_type().as_byte() {
        b'0' | b'\0' | b'7' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' | b'4' => EntryKind::Device,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        _ => EntryKind::Other,
    }
}

/// A number field that was left blank, as some archivers do, is 0.
fn unless_blank(field: &[u8], number: impl FnOnce() -> io::Result<u64>) -> io::Result<u64> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(0) } else { number() }
}

/// False at the end of the stream; an error where it ends within the block.
fn read_block(source: &mut impl Read, block: &mut [u8; BLOCK]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < BLOCK {
        match source.read(&mut block[filled..])? {
            0 if filled == 0 => return Ok(false),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(true)
}

/// The sum of all bytes, those of the checksum itself taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let bytes = block.iter().enumerate();
    bytes.map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum()
}

fn number(value: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| malformed("a pax header's number is none"))
}

/// The highest id means "leave as it is" to chown(2).
fn id(id: u64) -> io::Result<u32> {
    u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(|| malformed("an owner out of range"))
}

fn malformed(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, contents) in entries {
            let mut header = Header::new_gnu();
            header.set_size(contents.len() as u64);
            header.set_mode(0o640);
            tar.append_data(&mut header, path, *contents).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn read_all(bytes: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut stream = TarStream::new(bytes);
        let mut found = Vec::new();
        while let Some(entry) = stream.next()? {
            let mut contents = Vec::new();
            stream.contents().read_to_end(&mut contents)?;
            found.push((entry.path, contents));
        }
        Ok(found)
    }

    fn raw_header(kind: u8, size: u64) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    #[test]
    fn long_names_and_skipped_contents() {
        let long = "d/".repeat(120) + "file";
        let bytes = archive(&[(&long, b"one"), ("b", &[7; 1000]), ("c", b"")]);
        let found = read_all(&bytes).unwrap();
        assert_eq!(found[0], (long.into_bytes(), b"one".to_vec()));
        let mut stream = TarStream::new(&bytes[..]);
        let paths: Vec<_> = std::iter::from_fn(|| stream.next().unwrap()).map(|e| e.path).collect();
        assert_eq!(paths[1..], [b"b".to_vec(), b"c".to_vec()]);
    }

    #[test]
    fn pax_values_may_hold_anything() {
        let mut extensions = Extensions::default();
        extensions.read_pax(b"30 SCHILY.xattr.user.a=x\n=y\nz\n14 path=a b/c\n").unwrap();
        assert_eq!(extensions.xattrs, [("user.a".to_owned(), b"x\n=y\nz".to_vec())]);
        assert_eq!(extensions.path.as_deref(), Some(&b"a b/c"[..]));
        assert!(Extensions::default().read_pax(b"99 path=a\n").is_err());
    }

    #[test]
    fn a_huge_long_name_is_refused_before_it_is_read() {
        let error = read_all(&raw_header(b'L', 1 << 40)).unwrap_err();
        assert!(error.to_string().contains("1 MiB"), "{error}");
    }

    #[test]
    fn damage_is_noticed() {
        let good = archive(&[("a", b"contents")]);
        let mut bad = good.clone();
        bad[0] ^= 1;
        assert!(read_all(&bad).is_err());
        assert!(read_all(&good[..515]).is_err());
        assert!(read_all(&raw_header(b'S', 0)).is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let _ = read_all(&bytes);
            // With valid checksums, what is behind them is reached too.
            for block in bytes.chunks_exact_mut(BLOCK) {
                let mut header = Header::from_byte_slice(block).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
            let _ = read_all(&bytes);
        }

        #[test]
        fn what_is_written_is_read(contents in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let found = read_all(&archive(&[("x", &contents), ("y", b"end")])).unwrap();
            prop_assert_eq!(&found[0].1, &contents);
            prop_assert_eq!(&found[1].1, b"end");
        }
    }
}
