//! Deployments as files of this machine, one folder per chain:
//!
//! ```text
//! <state>/<chain id>/<name>.json          the deployment, with its keys
//!                    <name>.ended         whose it was, once it has ended
//!                    <name>.lock          held while a run works on it
//!                    <name>/spec.sealed   the spec that was shipped last
//!                    <name>/images/       encrypted images
//!                    .scratch/            what is needed in passing
//! ```
//!
//! Files are for their owner alone and replaced as a whole: a crash leaves the old or the new.

use apocryph_model::{Address, Name};
use apocryph_publisher::{Deployment, Deployments, LocalBlob, Lock, StateError};
use apocryph_seal::sha256;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The deployments on one chain.
pub(crate) struct FileDeployments {
    folder: PathBuf,
}

struct FileLock {
    _held: File,
}

impl Lock for FileLock {}

impl FileDeployments {
    /// Those in the folder `state`, on the chain with this id.
    pub(crate) fn open(state: &Path, chain: u64) -> Result<Self, StateError> {
        let folder = state.join(chain.to_string());
        let deployments = Self { folder };
        make_folder(&deployments.scratch())?;
        Ok(deployments)
    }

    /// For what is needed in passing.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.join(".scratch")
    }

    fn record(&self, name: &Name) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    fn end_of(&self, name: &Name) -> PathBuf {
        self.folder.join(format!("{name}.ended"))
    }

    fn ciphertext(&self, name: &Name) -> PathBuf {
        self.folder.join(name.as_str())
    }

    fn sealed(&self, name: &Name) -> PathBuf {
        self.ciphertext(name).join("spec.sealed")
    }
}

impl Deployments for FileDeployments {
    fn lock(&self, name: &Name) -> Result<Box<dyn Lock>, StateError> {
        let path = self.folder.join(format!("{name}.lock"));
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(&path).map_err(|e| disk(&path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(FileLock { _held: file })),
            Err(TryLockError::WouldBlock) => Err(StateError::Locked(name.clone())),
            Err(TryLockError::Error(e)) => Err(disk(&path, &e)),
        }
    }

    fn find(&self, name: &Name) -> Result<Option<Deployment>, StateError> {
        let path = self.record(name);
        let Some(json) = read(&path)? else { return Ok(None) };
        serde_json::from_slice(&json).map(Some).map_err(|e| damaged(&path, &e))
    }

    fn list(&self) -> Result<Vec<Deployment>, StateError> {
        let entries = fs::read_dir(&self.folder).map_err(|e| disk(&self.folder, &e))?;
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(|e| disk(&self.folder, &e))?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".json"));
            names.extend(name.and_then(|name| name.parse::<Name>().ok()));
        }
        names.sort();
        names.iter().filter_map(|name| self.find(name).transpose()).collect()
    }

    fn keep(&self, deployment: &Deployment) -> Result<(), StateError> {
        let path = self.record(&deployment.name);
        let json = serde_json::to_vec_pretty(deployment).map_err(|e| disk(&path, &io::Error::other(e)))?;
        replace(&path, &json)
    }

    fn forget(&self, name: &Name) -> Result<(), StateError> {
        let ciphertext = self.ciphertext(name);
        gone(&ciphertext, fs::remove_dir_all(&ciphertext))?;
        let record = self.record(name);
        gone(&record, fs::remove_file(&record))
    }

    fn end(&self, deployment: &Deployment) -> Result<(), StateError> {
        replace(&self.end_of(&deployment.name), deployment.publisher.to_string().as_bytes())?;
        self.forget(&deployment.name)
    }

    fn ended(&self, name: &Name) -> Result<Option<Address>, StateError> {
        let path = self.end_of(name);
        let Some(publisher) = read(&path)? else { return Ok(None) };
        let publisher = String::from_utf8_lossy(&publisher).parse();
        publisher.map(Some).map_err(|_| damaged(&path, &"this is no address"))
    }

    fn images(&self, name: &Name) -> Result<PathBuf, StateError> {
        let path = self.ciphertext(name).join("images");
        make_folder(&path)?;
        Ok(path)
    }

    /// Files alone: what the folders within hold is the images' adapter's own.
    fn keep_only(&self, name: &Name, blobs: &[LocalBlob]) -> Result<(), StateError> {
        let folder = self.images(name)?;
        let mut stale = files(&folder).map_err(|e| disk(&folder, &e))?;
        stale.retain(|path| !blobs.iter().any(|blob| blob.path == *path));
        stale.iter().try_for_each(|path| gone(path, fs::remove_file(path)))
    }

    fn keep_spec(&self, name: &Name, envelope: &[u8]) -> Result<LocalBlob, StateError> {
        make_folder(&self.ciphertext(name))?;
        let path = self.sealed(name);
        replace(&path, envelope)?;
        Ok(blob(path, envelope))
    }

    fn spec(&self, name: &Name) -> Result<Option<(LocalBlob, Vec<u8>)>, StateError> {
        let path = self.sealed(name);
        let envelope = read(&path)?;
        Ok(envelope.map(|envelope| (blob(path, &envelope), envelope)))
    }
}

fn damaged(path: &Path, problem: &dyn ToString) -> StateError {
    StateError::Damaged { path: path.display().to_string(), problem: problem.to_string() }
}

fn blob(path: PathBuf, content: &[u8]) -> LocalBlob {
    LocalBlob { digest: sha256(content), size: content.len() as u64, path }
}

fn make_folder(path: &Path) -> Result<(), StateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| disk(path, &e))
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(disk(path, &e)),
    }
}

/// Writes beside, then renames: whoever reads sees all of the old or all of the new.
fn replace(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let fresh = path.with_extension("new");
    write_through(&fresh, content).map_err(|e| disk(&fresh, &e))?;
    fs::rename(&fresh, path).map_err(|e| disk(path, &e))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| disk(folder, &e))
}

fn write_through(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn gone(path: &Path, removed: io::Result<()>) -> Result<(), StateError> {
    match removed {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(disk(path, &e)),
        _ => Ok(()),
    }
}

fn disk(path: &Path, error: &io::Error) -> StateError {
    StateError::Disk { path: path.display().to_string(), problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::{Address, Amount, Tariff, Terms};
    use apocryph_publisher::{BegunPayment, SealedSpec, SpecKey};
    use std::os::unix::fs::PermissionsExt as _;

    fn deployment(name: &str) -> Deployment {
        Deployment {
            name: name.parse().unwrap(),
            publisher: Address([1; 20]),
            provider: Address([2; 20]),
            provider_name: "somewhere".into(),
            addresses: vec![],
            token: Address([3; 20]),
            terms: Terms { tariff: Tariff::default(), meter_key: Address::ZERO, payout: Address([2; 20]) },
            epoch: Some(1),
            unattested: true,
            image_key: Some("pem".into()),
            spec: Some(SealedSpec { digest: sha256(b"spec"), key: SpecKey::new([7; 32]) }),
            endpoints: vec![],
            payment: Some(BegunPayment { amount: Amount(2), up_to: Amount(5) }),
        }
    }

    #[test]
    fn what_is_kept_is_found_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = FileDeployments::open(folder.path(), 1).unwrap();
        for name in ["web", "api"] {
            state.keep(&deployment(name)).unwrap();
        }
        assert_eq!(state.find(&"web".parse().unwrap()).unwrap(), Some(deployment("web")));
        assert_eq!(state.list().unwrap(), [deployment("api"), deployment("web")]);
        let mode = fs::metadata(folder.path().join("1/web.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let elsewhere = FileDeployments::open(folder.path(), 2).unwrap();
        assert_eq!(elsewhere.list().unwrap(), []);
    }

    #[test]
    fn forgetting_leaves_nothing_and_repeats() {
        let folder = tempfile::tempdir().unwrap();
        let state = FileDeployments::open(folder.path(), 1).unwrap();
        let name = "web".parse().unwrap();
        state.keep(&deployment("web")).unwrap();
        state.images(&name).unwrap();
        let kept = state.keep_spec(&name, b"sealed").unwrap();
        assert_eq!(state.spec(&name).unwrap().unwrap(), (kept, b"sealed".to_vec()));
        assert_eq!(state.ended(&name), Ok(None));
        for _ in 0..2 {
            state.forget(&name).unwrap();
            let left = fs::read_dir(folder.path().join("1")).unwrap();
            let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left, [".scratch"]);
        }
    }

    #[test]
    fn whose_deployment_ended_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let state = FileDeployments::open(folder.path(), 1).unwrap();
        let web = deployment("web");
        state.keep(&web).unwrap();
        for _ in 0..2 {
            state.end(&web).unwrap();
            assert_eq!(state.ended(&web.name), Ok(Some(web.publisher)));
            assert_eq!((state.find(&web.name), state.list()), (Ok(None), Ok(vec![])));
        }
        fs::write(state.end_of(&web.name), "nobody").unwrap();
        assert!(matches!(state.ended(&web.name), Err(StateError::Damaged { .. })));
    }

    #[test]
    fn images_of_an_earlier_version_go() {
        let folder = tempfile::tempdir().unwrap();
        let state = FileDeployments::open(folder.path(), 1).unwrap();
        let name = "web".parse().unwrap();
        let images = state.images(&name).unwrap();
        for file in ["old", "new"] {
            fs::write(images.join(file), file).unwrap();
        }
        fs::create_dir(images.join("layers")).unwrap();
        state.keep_only(&name, &[blob(images.join("new"), b"new")]).unwrap();
        let left = |file: &str| images.join(file).exists();
        assert_eq!(["old", "new", "layers"].map(left), [false, true, true]);
    }

    #[test]
    fn one_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let state = FileDeployments::open(folder.path(), 1).unwrap();
        let name = "web".parse().unwrap();
        let held = state.lock(&name).unwrap();
        assert_eq!(state.lock(&name).err(), Some(StateError::Locked(name.clone())));
        drop(held);
        assert!(state.lock(&name).is_ok());
    }

    #[test]
    fn damage_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let state = FileDeployments::open(folder.path(), 1).unwrap();
        fs::write(folder.path().join("1/web.json"), b"{\"name\": \"web\"").unwrap();
        let error = state.find(&"web".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("web.json is damaged: EOF"), "{error}");
    }
}
