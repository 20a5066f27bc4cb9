//! Containers.

use crate::{convert::Converter, document, node::Node, places::span};
use apocryph_model::{Bytes, Container, EnvValue, Hostname, Millicores, Mount, Port, Resources};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;

impl Converter<'_> {
    pub(crate) fn container(&mut self, path: &str, container: document::Container) -> Option<Container> {
        let name = self.parse(&format!("{path}.name"), &container.name);
        let image = self.image(&format!("{path}.image"), container.image);
        let env = self.env(&format!("{path}.env"), container.env);
        let ports = self.each(&format!("{path}.ports"), container.ports, Self::port);
        let mounts = self.each(&format!("{path}.mounts"), container.mounts, Self::mount);
        let resources = self.resources(&format!("{path}.resources"), &container.resources);
        Some(Container {
            name: name?,
            image: image?,
            entrypoint: container.entrypoint,
            command: container.command,
            working_dir: container.working_dir,
            user: container.user,
            env,
            ports,
            mounts,
            resources: resources?,
        })
    }

    fn image(&mut self, path: &str, image: String) -> Option<String> {
        let plausible = (1..=1024).contains(&image.len()) && !image.contains(char::is_whitespace);
        if !plausible {
            let label = "expected a reference such as docker.io/library/nginx:1.27 or oci:folder:tag";
            self.problem(path, "this is not an image reference", label);
        }
        plausible.then_some(image)
    }

    fn env(&mut self, path: &str, env: BTreeMap<String, Spanned<Node>>) -> BTreeMap<String, EnvValue> {
        let mut values = BTreeMap::new();
        for (name, node) in env {
            if let Some(value) = self.env_value(&format!("{path}.{name}"), node) {
                values.insert(name, value);
            }
        }
        values
    }

    fn env_value(&mut self, path: &str, node: Spanned<Node>) -> Option<EnvValue> {
        match node.value {
            Node::Text(text) => Some(EnvValue::Literal(text)),
            Node::Bare => {
                let place = span(self.text, node.defined);
                let written = self.text.get(place.offset()..place.offset() + place.len())?;
                Some(EnvValue::Literal(written.into()))
            }
            Node::Mapping(entries) => match entries.as_slice() {
                [(key, Spanned { value: Node::Text(name), .. })] if key == "secret" => {
                    self.secret(path, name).map(EnvValue::Secret)
                }
                _ => self.no_env_value(path),
            },
            Node::Null | Node::Sequence(_) => self.no_env_value(path),
        }
    }

    fn no_env_value(&mut self, path: &str) -> Option<EnvValue> {
        self.problem(path, "this is not a value", "expected a text (\"\" for none) or {secret: name}");
        None
    }

    fn port(&mut self, path: &str, port: document::Port) -> Option<Port> {
        let number = |this: &mut Self, field: &str, value| {
            this.number(&format!("{path}.{field}"), value, 1, u16::MAX.into())
        };
        match (port.http, port.tcp, port.published) {
            (Some(http), None, None) => {
                let container_port = number(self, "http", http);
                let host_path = format!("{path}.host");
                let host = self.parse_optional::<Hostname>(&host_path, port.host.as_deref());
                Some(Port::Http { container_port: container_port?, host })
            }
            (None, Some(tcp), published) if port.host.is_none() => {
                let container_port = number(self, "tcp", tcp);
                let published = published.and_then(|value| number(self, "published", value));
                Some(Port::Tcp { container_port: container_port?, published })
            }
            _ => {
                let label = "expected {http: port, host: name} or {tcp: port, published: port}";
                self.problem(path, "this is not a port", label);
                None
            }
        }
    }

    fn mount(&mut self, path: &str, mount: document::Mount) -> Option<Mount> {
        let volume = self.parse(&format!("{path}.volume"), &mount.volume)?;
        Some(Mount { volume, path: mount.path, read_only: mount.read_only })
    }

    fn resources(&mut self, path: &str, resources: &document::Resources) -> Option<Resources> {
        let cpu = self.parse::<Millicores>(&format!("{path}.cpu"), &resources.cpu);
        let memory = self.parse::<Bytes>(&format!("{path}.memory"), &resources.memory);
        let storage = self.parse::<Bytes>(&format!("{path}.storage"), &resources.storage);
        Some(Resources { cpu: cpu?, memory: memory?, storage: storage? })
    }
}
