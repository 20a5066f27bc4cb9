//! Images made on the fly: an OCI image layout folder (OCI Image Format, "Image Layout") out of
//! lists of files. Equal contents give equal digests.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use apocryph_model::Digest;
use apocryph_seal::sha256;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tar::{EntryType, Header};

/// One layer: the entries of its tar file, in order.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    entries: Vec<Entry>,
    /// What stands in place of a tar file of the entries.
    raw: Option<Vec<u8>>,
    gzip: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    path: String,
    kind: Kind,
    mode: u32,
}

#[derive(Debug, Clone)]
enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(String),
    Device { kind: EntryType, major: u32, minor: u32 },
}

/// An image: its layers, and what its configuration says.
#[derive(Debug, Clone)]
pub struct Image {
    layers: Vec<Layer>,
    architecture: String,
    run: BTreeMap<&'static str, Value>,
}

/// What stands in a layout folder after writing.
#[derive(Debug, Clone)]
pub struct WrittenImage {
    /// The digest of the manifest.
    pub manifest: Digest,
    /// The digest of the configuration.
    pub config: Digest,
    /// The digests of the layers, from the bottom up.
    pub layers: Vec<Digest>,
}

impl Layer {
    /// An empty, uncompressed layer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A layer of these bytes, whatever they are.
    #[must_use]
    pub fn raw(bytes: Vec<u8>) -> Self {
        Self { raw: Some(bytes), ..Self::default() }
    }

    /// With a file; `mode` as in chmod.
    #[must_use]
    pub fn file(self, path: &str, contents: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.entry(path, Kind::File(contents.into()), mode)
    }

    /// With a directory; `mode` as in chmod.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(path, Kind::Directory, mode)
    }

    /// With a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, Kind::Symlink(target.to_owned()), 0o777)
    }

    /// With a block device.
    #[must_use]
    pub fn block_device(self, path: &str, major: u32, minor: u32) -> Self {
        self.entry(path, Kind::Device { kind: EntryType::Block, major, minor }, 0o666)
    }

    /// With a character device.
    #[must_use]
    pub fn character_device(self, path: &str, major: u32, minor: u32) -> Self {
        self.entry(path, Kind::Device { kind: EntryType::Char, major, minor }, 0o666)
    }

    /// Compressed with gzip.
    #[must_use]
    pub fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    /// The layer's tar file, uncompressed.
    ///
    /// # Errors
    /// If a path is too long for a tar file.
    pub fn to_tar(&self) -> io::Result<Vec<u8>> {
        if let Some(raw) = &self.raw {
            return Ok(raw.clone());
        }
        let mut tar = tar::Builder::new(Vec::new());
        for entry in &self.entries {
            entry.append_to(&mut tar)?;
        }
        tar.into_inner()
    }

    fn entry(mut self, path: &str, kind: Kind, mode: u32) -> Self {
        self.entries.push(Entry { path: path.to_owned(), kind, mode });
        self
    }

    fn media_type(&self) -> &'static str {
        if self.gzip {
            "application/vnd.oci.image.layer.v1.tar+gzip"
        } else {
            "application/vnd.oci.image.layer.v1.tar"
        }
    }

    fn compress(&self, tar: Vec<u8>) -> io::Result<Vec<u8>> {
        if !self.gzip {
            return Ok(tar);
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar)?;
        gzip.finish()
    }
}

impl Entry {
    fn append_to(&self, tar: &mut tar::Builder<Vec<u8>>) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_mode(self.mode);
        match &self.kind {
            Kind::File(contents) => {
                header.set_size(contents.len() as u64);
                tar.append_data(&mut header, &self.path, contents.as_slice())
            }
            Kind::Directory => {
                header.set_entry_type(EntryType::Directory);
                header.set_size(0);
                tar.append_data(&mut header, &self.path, io::empty())
            }
            Kind::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                tar.append_link(&mut header, &self.path, target)
            }
            Kind::Device { kind, major, minor } => {
                header.set_entry_type(*kind);
                header.set_size(0);
                header.set_device_major(*major)?;
                header.set_device_minor(*minor)?;
                tar.append_data(&mut header, &self.path, io::empty())
            }
        }
    }
}

impl Image {
    /// An image for this machine's architecture, of these layers from the bottom up.
    #[must_use]
    pub fn new(layers: Vec<Layer>) -> Self {
        Self { layers, architecture: host_architecture().to_owned(), run: BTreeMap::new() }
    }

    /// With another layer, above those that it has.
    #[must_use]
    pub fn with_layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// For another architecture, named as Go names it.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = architecture.to_owned();
        self
    }

    /// What it starts.
    #[must_use]
    pub fn entrypoint(self, words: &[&str]) -> Self {
        self.run("Entrypoint", json!(words))
    }

    /// The default arguments.
    #[must_use]
    pub fn command(self, words: &[&str]) -> Self {
        self.run("Cmd", json!(words))
    }

    /// The environment, as `NAME=value`.
    #[must_use]
    pub fn environment(self, variables: &[&str]) -> Self {
        self.run("Env", json!(variables))
    }

    /// The working directory.
    #[must_use]
    pub fn working_directory(self, path: &str) -> Self {
        self.run("WorkingDir", json!(path))
    }

    /// The user, as `user`, `uid` or `uid:gid`.
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        self.run("User", json!(user))
    }

    /// What asks it to end, by name.
    #[must_use]
    pub fn stop_signal(self, name: &str) -> Self {
        self.run("StopSignal", json!(name))
    }

    /// Writes the image into one file, an archive of a layout, under its full name.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_archive(&self, file: &Path, name: &str) -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        self.write_to(folder.path(), "latest")?;
        let index = folder.path().join("index.json");
        let mut named: Value = serde_json::from_slice(&fs::read(&index)?)?;
        named["manifests"][0]["annotations"] = json!({ "io.containerd.image.name": name });
        fs::write(index, named.to_string())?;
        let mut tar = tar::Builder::new(fs::File::create(file)?);
        tar.append_dir_all("", folder.path())?;
        tar.finish()
    }

    /// Writes the image into the layout folder `folder` under `tag`, beside what is there.
    ///
    /// # Errors
    /// If the folder cannot be written or holds an index that is not one.
    pub fn write_to(&self, folder: &Path, tag: &str) -> io::Result<WrittenImage> {
        fs::create_dir_all(folder.join("blobs/sha256"))?;
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for layer in &self.layers {
            let tar = layer.to_tar()?;
            diff_ids.push(sha256(&tar));
            let bytes = layer.compress(tar)?;
            layers.push(descriptor(layer.media_type(), write_blob(folder, &bytes)?, bytes.len()));
        }
        let config = to_bytes(&self.config(&diff_ids))?;
        let config_digest = write_blob(folder, &config)?;
        let manifest = to_bytes(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config_digest, config.len()),
            "layers": layers,
        }))?;
        let manifest_digest = write_blob(folder, &manifest)?;
        let mut entry = descriptor(MANIFEST, manifest_digest, manifest.len());
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        add_to_index(folder, tag, entry)?;
        let layers = layers.iter().filter_map(|layer| layer["digest"].as_str()?.parse().ok());
        Ok(WrittenImage { manifest: manifest_digest, config: config_digest, layers: layers.collect() })
    }

    fn config(&self, diff_ids: &[Digest]) -> Value {
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": self.run,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        })
    }

    fn run(mut self, name: &'static str, value: Value) -> Self {
        self.run.insert(name, value);
        self
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// This machine's architecture as Go, and so OCI, names it.
#[must_use]
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn descriptor(media_type: &str, digest: Digest, size: usize) -> Value {
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

fn write_blob(folder: &Path, bytes: &[u8]) -> io::Result<Digest> {
    let digest = sha256(bytes);
    fs::write(folder.join("blobs/sha256").join(digest.hex()), bytes)?;
    Ok(digest)
}

fn add_to_index(folder: &Path, tag: &str, entry: Value) -> io::Result<()> {
    let path = folder.join("index.json");
    let mut index: Value = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            json!({ "schemaVersion": 2, "manifests": [] })
        }
        Err(error) => return Err(error),
    };
    let manifests = index["manifests"].as_array_mut().ok_or(io::ErrorKind::InvalidData)?;
    manifests.retain(|other| other["annotations"]["org.opencontainers.image.ref.name"] != tag);
    manifests.push(entry);
    fs::write(path, to_bytes(&index)?)
}

fn to_bytes(value: &Value) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contents_give_equal_digests() {
        let image = Image::new(vec![
            Layer::new().directory("etc", 0o755).file("etc/motd", "hello", 0o644),
            Layer::new().symlink("motd", "etc/motd").gzip(),
        ])
        .entrypoint(&["/bin/true"]);
        let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let first = image.write_to(one.path(), "latest").unwrap();
        let second = image.write_to(two.path(), "other").unwrap();
        assert_eq!(first.manifest, second.manifest);
        assert_eq!(first.layers.len(), 2);
    }

    #[test]
    fn a_tag_is_replaced_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let image = |text: &str| Image::new(vec![Layer::new().file("text", text, 0o644)]);
        image("one").write_to(folder.path(), "a").unwrap();
        image("two").write_to(folder.path(), "b").unwrap();
        let last = image("three").write_to(folder.path(), "a").unwrap();
        let index: Value =
            serde_json::from_slice(&fs::read(folder.path().join("index.json")).unwrap()).unwrap();
        let manifests = index["manifests"].as_array().unwrap();
        assert_eq!(manifests.len(), 2);
        assert_eq!(manifests[1]["digest"], last.manifest.to_string());
    }
}
