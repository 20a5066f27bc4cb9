//! The pod as a provider would see it, but for images and secret values: so that the provider's own
//! check is asked.

use apocryph_model::{
    Container, ContainerSpec, Digest, EnvValue, Manifest, PodSpec, Volume, VolumeKind, VolumeSource,
    VolumeSpec,
};
use std::collections::BTreeMap;

/// Its shape.
pub(crate) fn skeleton(manifest: &Manifest) -> PodSpec {
    PodSpec {
        name: manifest.name.clone(),
        containers: manifest.containers.iter().map(skeleton_container).collect(),
        volumes: manifest.volumes.iter().map(skeleton_volume).collect(),
        scale: manifest.scale,
    }
}

fn skeleton_container(container: &Container) -> ContainerSpec {
    let value = |value: &EnvValue| match value {
        EnvValue::Literal(text) => text.clone(),
        EnvValue::Secret(_) => String::new(),
    };
    ContainerSpec {
        name: container.name.clone(),
        image: Digest([0; 32]),
        entrypoint: container.entrypoint.clone(),
        command: container.command.clone(),
        working_dir: container.working_dir.clone(),
        user: container.user.clone(),
        env: container.env.iter().map(|(name, v)| (name.clone(), value(v))).collect(),
        ports: container.ports.clone(),
        mounts: container.mounts.clone(),
        resources: container.resources,
    }
}

fn skeleton_volume(volume: &Volume) -> VolumeSpec {
    let name = volume.name.clone();
    match &volume.source {
        VolumeSource::Empty(kind) => VolumeSpec { name, kind: *kind, files: BTreeMap::new() },
        VolumeSource::Secret(files) => VolumeSpec {
            name,
            kind: VolumeKind::Secret,
            files: files.keys().map(|file| (file.clone(), Vec::new())).collect(),
        },
    }
}
