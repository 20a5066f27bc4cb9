//! Secrets and volumes.

use crate::{convert::Converter, document};
use apocryph_model::{SecretSource, Volume, VolumeKind, VolumeSource};
use std::collections::BTreeMap;

impl Converter<'_> {
    pub(crate) fn read_secrets(&mut self, secrets: BTreeMap<String, document::Secret>) {
        for (name, secret) in secrets {
            let source = match (secret.file, secret.env, secret.literal) {
                (Some(file), None, None) => SecretSource::File(file.into()),
                (None, Some(variable), None) => SecretSource::Env(variable),
                (None, None, Some(text)) => SecretSource::Literal(text),
                _ => {
                    let path = format!("secrets.{name}");
                    self.problem(&path, "its source is not clear", "expected one of file, env, literal");
                    SecretSource::Literal(String::new())
                }
            };
            self.secrets.insert(name, source);
        }
    }

    pub(crate) fn secret(&mut self, path: &str, name: &str) -> Option<SecretSource> {
        let source = self.secrets.get(name).cloned();
        if source.is_none() {
            let known: Vec<_> = self.secrets.keys().map(String::as_str).collect();
            let label = match known.as_slice() {
                [] => "there are none: add it under `secrets`".into(),
                known => format!("add it under `secrets`; there are: {}", known.join(", ")),
            };
            self.problem(path, format!("there is no secret {name:?}"), label);
        }
        source
    }

    pub(crate) fn volume(&mut self, path: &str, volume: document::Volume) -> Option<Volume> {
        let name = self.parse(&format!("{path}.name"), &volume.name);
        let source = match (volume.ephemeral, volume.persistent, volume.secret) {
            (Some(size), None, None) => self
                .parse(&format!("{path}.ephemeral"), &size)
                .map(|size| VolumeSource::Empty(VolumeKind::Ephemeral { size })),
            (None, Some(size), None) => self
                .parse(&format!("{path}.persistent"), &size)
                .map(|size| VolumeSource::Empty(VolumeKind::Persistent { size })),
            (None, None, Some(files)) => self.secret_files(&format!("{path}.secret"), files),
            _ => {
                self.problem(path, "its kind is not clear", "expected one of ephemeral, persistent, secret");
                None
            }
        };
        Some(Volume { name: name?, source: source? })
    }

    fn secret_files(&mut self, path: &str, files: BTreeMap<String, String>) -> Option<VolumeSource> {
        let mut sources = BTreeMap::new();
        for (file, secret) in files {
            let source = self.secret(&format!("{path}.{file}"), &secret)?;
            sources.insert(file, source);
        }
        Some(VolumeSource::Secret(sources))
    }
}
