//! A pod's keys at rest, and the specification that they open.

use crate::{EnginePod, Provider, admission::MAX_SPEC, faults};
use apocryph_ledger::Pod;
use apocryph_model::{ChannelId, Digest, Fault, PodSpec, ProvisionRequest};
use apocryph_seal::{EnvelopeError, EnvelopeKey};
use zeroize::Zeroizing;

/// What opens a pod's specification and images.
pub(crate) struct PodKeys {
    spec: EnvelopeKey,
    image: Zeroizing<Vec<u8>>,
}

impl PodKeys {
    pub(crate) fn of(request: &ProvisionRequest) -> Self {
        let image = Zeroizing::new(request.image_key.clone());
        Self { spec: EnvelopeKey::from_bytes(request.spec_key), image }
    }

    /// The form that the ledger keeps: the specification's key, then the images' key, sealed.
    pub(crate) fn seal(&self, key: &EnvelopeKey, channel: ChannelId) -> Result<Vec<u8>, EnvelopeError> {
        let plain = Zeroizing::new([&self.spec.expose()[..], &self.image].concat());
        key.seal(&plain, &at_rest(channel))
    }

    /// What [`PodKeys::seal`] sealed.
    fn open(sealed: &[u8], key: &EnvelopeKey, channel: ChannelId) -> Result<Self, EnvelopeError> {
        let plain = key.open(sealed, &at_rest(channel))?;
        let (spec, image) = plain.split_first_chunk().ok_or(EnvelopeError::Truncated)?;
        Ok(Self { spec: EnvelopeKey::from_bytes(*spec), image: Zeroizing::new(image.to_vec()) })
    }
}

/// What the seal of a pod's keys is bound to.
fn at_rest(channel: ChannelId) -> Vec<u8> {
    [b"apocryph-pod-keys", &channel.0[..]].concat()
}

impl Provider {
    /// Opens a specification out of the block store.
    pub(crate) async fn open_spec(
        &self,
        channel: ChannelId,
        digest: Digest,
        keys: &PodKeys,
    ) -> Result<PodSpec, Fault> {
        let sealed =
            self.world.blobs.read(digest, MAX_SPEC).await.map_err(|cause| faults::of_blob(&cause))?;
        let json = keys.spec.open(&sealed, &channel.0).map_err(|_| faults::sealed())?;
        PodSpec::from_json(&json).map_err(|cause| faults::of_spec(&cause))
    }

    /// A pod of the ledger as the engine is told of it, its images opened at the registry.
    pub(crate) async fn unseal(&self, pod: &Pod) -> Result<EnginePod, Fault> {
        let (spec, keys) = self.spec_of(pod).await?;
        let token = self.world.registry.admit(pod.channel, &pod.blobs);
        Ok(engine_pod(pod.channel, pod.publisher, spec, token, &keys))
    }

    /// The specification of a pod of the ledger, with the keys that came with it.
    pub(crate) async fn spec_of(&self, pod: &Pod) -> Result<(PodSpec, PodKeys), Fault> {
        let keys = PodKeys::open(&pod.sealed, &self.state_key, pod.channel).map_err(|cause| {
            faults::internal(&format!("the keys of pod {} at rest: {cause}", pod.channel))
        })?;
        let spec = self.open_spec(pod.channel, pod.spec, &keys).await?;
        Ok((spec, keys))
    }
}

/// A pod as the engine is told of it.
pub(crate) fn engine_pod(
    id: ChannelId,
    publisher: apocryph_model::Address,
    spec: PodSpec,
    registry_token: String,
    keys: &PodKeys,
) -> EnginePod {
    EnginePod { id, publisher, spec, registry_token, image_key: keys.image.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_at_rest_open_for_their_own_pod_only() {
        let state_key = EnvelopeKey::from_bytes([1; 32]);
        let image = Zeroizing::new(b"image key".to_vec());
        let keys = PodKeys { spec: EnvelopeKey::from_bytes([2; 32]), image };
        let [own, other] = [ChannelId([3; 32]), ChannelId([4; 32])];
        let sealed = keys.seal(&state_key, own).unwrap();
        let opened = PodKeys::open(&sealed, &state_key, own).unwrap();
        assert_eq!((opened.spec.expose(), &opened.image[..]), (&[2; 32], &b"image key"[..]));
        assert!(PodKeys::open(&sealed, &state_key, other).is_err());
        assert!(PodKeys::open(&sealed, &EnvelopeKey::from_bytes([5; 32]), own).is_err());
        assert!(!sealed.windows(9).any(|part| part == b"image key"));
    }
}
