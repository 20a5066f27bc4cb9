//! The form of `apocryph.yaml`: what serde reads and the JSON Schema describes. Texts that mean
//! something more (names, sizes, durations) stay texts here, so that [`crate::convert`] can tell of
//! every one that is wrong and not just of the first.

use crate::node::Node;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;

/// A pod: what runs together, reached under one name and paid by one channel.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "apocryph.yaml")]
pub(crate) struct Pod {
    /// Names the pod among your pods; deploying the same name again updates it in place.
    /// 1 to 63 of a-z, 0-9 and '-'.
    pub(crate) name: String,
    /// What runs: 1 to 16 containers that reach one another on localhost.
    pub(crate) containers: Vec<Container>,
    /// What the containers mount.
    #[serde(default)]
    pub(crate) volumes: Vec<Volume>,
    /// Values that are shipped sealed, by a name to refer to them.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// How many replicas run, and when.
    #[serde(default)]
    pub(crate) scale: Scale,
    /// Which providers will do; any if absent.
    #[serde(default)]
    pub(crate) provider: Provider,
}

/// One container.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Container {
    /// Unique within the pod. 1 to 63 of a-z, 0-9 and '-'.
    pub(crate) name: String,
    /// An image reference such as `docker.io/library/nginx:1.27`, `docker-daemon:name:tag`,
    /// `oci:folder:tag`, `oci-archive:file` or `docker-archive:file`. Relative paths start at this
    /// file's folder.
    pub(crate) image: String,
    /// Replaces the image's entrypoint.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub(crate) command: Option<Vec<String>>,
    /// Replaces the image's working directory; absolute.
    pub(crate) working_dir: Option<String>,
    /// `user` or `user:group`, by name or number; replaces the image's.
    pub(crate) user: Option<String>,
    /// Environment variables, over the image's: a text, or the name of a secret.
    #[serde(default)]
    #[schemars(schema_with = "env")]
    pub(crate) env: BTreeMap<String, Spanned<Node>>,
    /// What it listens on and how that is reached from outside.
    #[serde(default)]
    pub(crate) ports: Vec<Port>,
    /// Where it sees the pod's volumes.
    #[serde(default)]
    pub(crate) mounts: Vec<Mount>,
    /// What it may use, and what is reserved and paid for while it runs.
    pub(crate) resources: Resources,
}

/// A port: either `http` or `tcp`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["http"]}, {"required": ["tcp"]}]))]
pub(crate) struct Port {
    /// Where the container speaks HTTP; reached by host name through the provider's gateway.
    #[schemars(range(min = 1, max = 65535))]
    pub(crate) http: Option<i64>,
    /// With `http`: the host name; if absent, one under the provider's own domain.
    pub(crate) host: Option<String>,
    /// Where the container accepts TCP connections; reached at a TCP port of the provider.
    #[schemars(range(min = 1, max = 65535))]
    pub(crate) tcp: Option<i64>,
    /// With `tcp`: the provider's port; if absent, any that is free.
    #[schemars(range(min = 1, max = 65535))]
    pub(crate) published: Option<i64>,
}

/// Where a container sees a volume.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Mount {
    /// A volume of the pod.
    pub(crate) volume: String,
    /// Where it is seen in the container; absolute.
    pub(crate) path: String,
    /// Whether writing is refused.
    #[serde(default)]
    pub(crate) read_only: bool,
}

/// What a container may use, and reserves while it runs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Resources {
    /// Cores such as `2` or `0.5`, or thousandths such as `250m`; 10m to 256.
    #[schemars(extend("type" = ["string", "number"]))]
    pub(crate) cpu: String,
    /// Memory such as `64Mi` or `1Gi`; 4Mi to 16Ti.
    pub(crate) memory: String,
    /// The container's writable layer, such as `1Gi`; up to 16Ti.
    pub(crate) storage: String,
}

/// A volume: one of `ephemeral`, `persistent` and `secret`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["ephemeral"]}, {"required": ["persistent"]}, {"required": ["secret"]}
]))]
pub(crate) struct Volume {
    /// Unique within the pod. 1 to 63 of a-z, 0-9 and '-'.
    pub(crate) name: String,
    /// The size of a volume that lives as long as its replica, such as `1Gi`.
    pub(crate) ephemeral: Option<String>,
    /// The size of a volume that lives as long as the pod, also at zero replicas, such as `1Gi`.
    pub(crate) persistent: Option<String>,
    /// Read-only files in memory: file name to the name of a secret.
    pub(crate) secret: Option<BTreeMap<String, String>>,
}

/// Where a secret's value comes from: one of `file`, `env` and `literal`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["file"]}, {"required": ["env"]}, {"required": ["literal"]}]))]
pub(crate) struct Secret {
    /// A file, whole; relative paths start at this file's folder.
    pub(crate) file: Option<String>,
    /// An environment variable of the command that deploys.
    pub(crate) env: Option<String>,
    /// The value itself: whoever reads this file reads it.
    pub(crate) literal: Option<String>,
}

/// Never shows a literal.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("file", &self.file).field("env", &self.env).finish_non_exhaustive()
    }
}

/// How many replicas run, and when.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Scale {
    /// Kept running without requests; 0 if absent.
    #[schemars(range(min = 0, max = 100))]
    pub(crate) min: Option<i64>,
    /// Never more than these; 1 if absent.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) max: Option<i64>,
    /// How long without requests until the pod goes to `min`, such as `60s`, `5m` or `1h`; 60s if
    /// absent.
    pub(crate) idle: Option<String>,
    /// Requests under way at once that a replica is given before another is started; 100 if absent.
    #[schemars(range(min = 1))]
    pub(crate) requests_per_replica: Option<i64>,
}

/// Which providers will do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Provider {
    /// Only the provider with this account, such as `0x70997970C51812dc3A010C7d01b50e0d17dc79C8`.
    pub(crate) address: Option<String>,
    /// In one of these regions, such as `eu-west`; anywhere if empty.
    #[serde(default)]
    pub(crate) regions: Vec<String>,
    /// Which kinds of attestation will do: `sev-snp`, `tdx`, `vtpm`, `none`; any but none if empty.
    #[serde(default)]
    pub(crate) attestation: Vec<String>,
    /// The highest prices, in whole tokens; a resource that is absent is not bounded.
    #[serde(default)]
    pub(crate) highest_prices: Prices,
}

/// Prices in whole tokens, such as `0.04`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = amounts_may_be_numbers)]
pub(crate) struct Prices {
    /// Per core-hour used.
    pub(crate) cpu_used: Option<String>,
    /// Per core-hour reserved.
    pub(crate) cpu_reserved: Option<String>,
    /// Per GiB-hour of memory.
    pub(crate) memory: Option<String>,
    /// Per GiB-hour of storage.
    pub(crate) storage: Option<String>,
    /// Per GiB of traffic in.
    pub(crate) ingress: Option<String>,
    /// Per GiB of traffic out.
    pub(crate) egress: Option<String>,
    /// Per device-hour of an accelerator.
    pub(crate) gpu: Option<String>,
    /// Per hour of a public address.
    pub(crate) address: Option<String>,
}

/// YAML reads `0.04` as a number; it is kept as it was written all the same.
fn amounts_may_be_numbers(schema: &mut schemars::Schema) {
    let Some(properties) = schema.get_mut("properties").and_then(|p| p.as_object_mut()) else { return };
    for property in properties.values_mut() {
        property["type"] = serde_json::json!(["string", "number", "null"]);
    }
}

fn env(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": {
            "anyOf": [
                { "type": ["string", "number", "boolean"] },
                {
                    "type": "object",
                    "properties": { "secret": { "type": "string" } },
                    "required": ["secret"],
                    "additionalProperties": false
                }
            ]
        }
    })
}
