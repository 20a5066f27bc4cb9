//! `init`: the configuration, with every setting explained, and the keys.

use crate::{
    args::{Init, Overrides},
    failure::Failure,
    keys,
    printer::Printer,
    settings::{Settings, default_config, template},
};
use apocryph_model::{Address, PeerId};
use serde::Serialize;
use std::{
    fmt,
    fs::{self, OpenOptions},
    io::Write as _,
    path::PathBuf,
};

/// What there is now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    config: PathBuf,
    made: Vec<PathBuf>,
    account: Address,
    peer: Option<PeerId>,
}

/// What exists is left as it is.
pub(crate) fn init(overrides: Overrides, known: &Init, printer: &Printer) -> Result<(), Failure> {
    let config = overrides.config.clone().unwrap_or_else(default_config);
    let mut made = Vec::new();
    if !config.exists() {
        write_new(&config, &template(known, &overrides.rpc))?;
        made.push(config.clone());
    }
    // A template without an endpoint is to be filled in; the keys can be made before.
    let overrides = Overrides { rpc: endpoint_or_none(overrides.rpc), ..overrides };
    let settings = Settings::load(overrides)?;
    made.extend(keys::create(&settings)?);
    let account = keys::account(&settings)?.address();
    let peer = keys::node(&settings)?.peer_id().to_string().parse().ok();
    printer.result(&Ready { config, made, account, peer })
}

fn endpoint_or_none(rpc: Vec<url::Url>) -> Vec<url::Url> {
    match rpc.is_empty() {
        true => "http://127.0.0.1:8545".parse().into_iter().collect(),
        false => rpc,
    }
}

/// Writes a new file.
pub(super) fn write_new(path: &PathBuf, text: &str) -> Result<(), Failure> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
    };
    write().map_err(Failure::file(path))
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for path in &self.made {
            writeln!(f, "wrote    {}", path.display())?;
        }
        writeln!(f, "account  {}", self.account)?;
        if let Some(peer) = &self.peer {
            writeln!(f, "peer     {peer}")?;
        }
        writeln!(
            f,
            "next     set [chain] and [prices] in {}; apocryphd check; apocryphd register; apocryphd run",
            self.config.display()
        )
    }
}
