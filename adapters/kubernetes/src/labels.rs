//! How this engine's objects are named and found again.

use apocryph_model::ChannelId;
use apocryph_seal::sha256;

use crate::config::InstanceName;

/// The one that applies all objects.
pub(crate) const FIELD_MANAGER: &str = "apocryph";
/// Which engine an object is of.
pub(crate) const INSTANCE: &str = "apocryph.network/instance";
/// What an object is for: see the values below.
pub(crate) const ROLE: &str = "apocryph.network/role";
/// A replica of a pod.
pub(crate) const REPLICA: &str = "replica";
/// What has nodes pull a pod's images.
pub(crate) const PULL: &str = "pull";
/// The channel that pays for the pod.
pub(crate) const CHANNEL: &str = "apocryph.network/channel";
/// The digest of the spec that a replica is of, or a namespace has been prepared for.
pub(crate) const SPEC: &str = "apocryph.network/spec";
/// What a replica reserves, as JSON.
pub(crate) const RESERVED: &str = "apocryph.network/reserved";

/// The namespace of a pod.
pub(crate) fn namespace(instance: &InstanceName, pod: ChannelId) -> String {
    let digest = sha256(&[instance.as_str().as_bytes(), b"/", &pod.0].concat());
    format!("apocryph-{}", &digest.hex()[..32])
}

/// Selects all objects of an engine.
pub(crate) fn selector(instance: &InstanceName) -> String {
    format!("{INSTANCE}={}", instance.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_and_engines_have_namespaces_of_their_own() {
        let [one, two] = ["one", "two"].map(|name| name.parse::<InstanceName>().unwrap());
        let name = namespace(&one, ChannelId([1; 32]));
        assert_eq!(name, namespace(&one, ChannelId([1; 32])));
        assert_ne!(name, namespace(&two, ChannelId([1; 32])));
        assert_ne!(name, namespace(&one, ChannelId([2; 32])));
        assert!(name.len() <= 63, "{name}");
    }
}
