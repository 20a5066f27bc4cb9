//! One small file out of an image's encrypted layers, without unpacking them.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType};

use super::image_error::ImageError;
use super::sealed_layer::SealedLayer;

/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What a layer says of a file.
enum Found {
    Contents(Vec<u8>),
    /// It is deleted here, or no file.
    Hidden,
    /// Lower layers tell.
    Nothing,
}

/// The contents of `path` in the image of these layers, which are given from the bottom up; `None`
/// where it has no such file. Blocks while it reads.
pub(super) fn read_file(layers: Vec<SealedLayer>, path: &str) -> Result<Option<Vec<u8>>, ImageError> {
    for layer in layers.into_iter().rev() {
        match layer.read(|tar| look_in_tar(tar, Path::new(path)))? {
            Found::Contents(contents) => return Ok(Some(contents)),
            Found::Hidden => return Ok(None),
            Found::Nothing => {}
        }
    }
    Ok(None)
}

/// The last entry of a name is the one that counts. Names that stand beside their headers are left
/// alone: they may be of any length, and no path that is asked for needs one.
fn look_in_tar(tar: impl Read, path: &Path) -> io::Result<Found> {
    let (folder, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
    let whiteout = folder.join([OsStr::new(".wh."), name].join(OsStr::new("")));
    let opaque = folder.join(".wh..wh..opq");
    let (mut found, mut lower_hidden) = (Found::Nothing, false);
    for entry in Archive::new(tar).entries()?.raw(true) {
        let mut entry = entry?;
        let at = normal(&entry.path()?);
        lower_hidden |= at == whiteout || at == opaque;
        if at == path {
            found = Found::Hidden;
            if matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
                let mut contents = Vec::new();
                entry.by_ref().take(MAX_FILE).read_to_end(&mut contents)?;
                found = Found::Contents(contents);
            }
        }
    }
    Ok(if matches!(found, Found::Nothing) && lower_hidden { Found::Hidden } else { found })
}

/// Without what leads nowhere: `./etc/group` is `etc/group`.
fn normal(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_seal::LayerEncryptor;
    use std::io::Write as _;

    fn layer(entries: &[(&str, &str)], gzip: bool) -> SealedLayer {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, contents) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, contents.as_bytes()).unwrap();
        }
        let mut plain = tar.into_inner().unwrap();
        if gzip {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&plain).unwrap();
            plain = encoder.finish().unwrap();
        }
        let mut encryptor = LayerEncryptor::new().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(encryptor.update(&plain).unwrap()).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let layer = encryptor.finish().unwrap();
        let media_type = if gzip { "x.tar+gzip" } else { "x.tar" };
        SealedLayer { file, digest: layer.digest, keys: layer.keys, media_type: media_type.into() }
    }

    fn group(layers: Vec<SealedLayer>) -> Option<String> {
        read_file(layers, "etc/group").unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_uppermost_file_counts_unless_it_is_hidden() {
        let base = || layer(&[("./etc/group", "base"), ("etc/passwd", "p")], false);
        let other = || layer(&[("etc/other", "o")], true);
        assert_eq!(group(vec![base(), other()]).as_deref(), Some("base"));
        let upper = || layer(&[("etc/group", "upper")], true);
        assert_eq!(group(vec![base(), upper()]).as_deref(), Some("upper"));
        assert_eq!(group(vec![base(), layer(&[("etc/.wh.group", "")], true)]), None);
        assert_eq!(group(vec![base(), layer(&[("etc/.wh..wh..opq", "")], false)]), None);
        assert_eq!(group(vec![other()]), None);
    }

    #[test]
    fn long_names_are_not_read() {
        let long = "x/".repeat(200);
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        tar.append_data(&mut header, &long, io::empty()).unwrap();
        let tar = tar.into_inner().unwrap();
        assert!(matches!(look_in_tar(&tar[..], Path::new(&long)).unwrap(), Found::Nothing));
    }

    #[test]
    fn an_altered_layer_is_not_believed() {
        let altered = layer(&[("etc/group", "g")], false);
        altered.file.set_len(1024).unwrap();
        assert!(read_file(vec![altered], "etc/group").is_err());
    }
}
