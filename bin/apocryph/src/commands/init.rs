use crate::{
    args::Init,
    failure::Failure,
    keys,
    printer::Printer,
    settings::{Settings, template},
};
use apocryph_model::Address;
use serde::Serialize;
use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// What `init` wrote, and what was there already.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Initialised {
    manifest: Written,
    config: Written,
    /// `None` where the key comes from the environment.
    key: Option<Written>,
    account: Address,
}

#[derive(Serialize)]
struct Written {
    path: PathBuf,
    /// Whether it was written now.
    new: bool,
}

pub(super) fn run(init: Init, settings: &Settings, printer: &Printer) -> Result<(), Failure> {
    let created = {
        make_parent(&settings.key.file)?;
        keys::create(&settings.key)?
    };
    let key = settings.key.hex.is_none();
    let key = key.then(|| Written { path: settings.key.file.clone(), new: created.is_some() });
    let account = match created {
        Some(created) => created.address(),
        None => keys::load(&settings.key)?.address(),
    };
    let manifest = apocryph_manifest::default_manifest(&init.name, &init.image);
    let initialised = Initialised {
        manifest: write_new(&init.file, &manifest)?,
        config: write_new(&settings.config, &template(settings))?,
        key,
        account,
    };
    printer.result("init", &initialised)
}

fn make_parent(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(|problem| Failure::Write { path: folder.into(), problem })
}

/// Writes a file that is not there; leaves one that is.
fn write_new(path: &Path, text: &str) -> Result<Written, Failure> {
    make_parent(path)?;
    let written = |new| Written { path: path.into(), new };
    match create_new(path, text) {
        Ok(()) => Ok(written(true)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(written(false)),
        Err(problem) => Err(Failure::Write { path: path.into(), problem }),
    }
}

fn create_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())
}

impl fmt::Display for Initialised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "manifest  {}", self.manifest)?;
        writeln!(f, "settings  {}", self.config)?;
        match &self.key {
            Some(key) => writeln!(f, "key       {key}")?,
            None => writeln!(f, "key       from the environment")?,
        }
        writeln!(f, "account   {}", self.account)?;
        f.write_str("Send the account some of the chain's coin and of a token, then: apocryph deploy")
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = if self.new { "" } else { " (was there, left as it is)" };
        write!(f, "{}{note}", self.path.display())
    }
}
