//! A publisher with its key, channel and pod.

use crate::world::{ACCOUNT, CHAIN, Place, TOKEN, peer, terms};
use apocryph_model::{
    Address, Amount, Blob, Bytes, Channel, ChannelId, ContainerSpec, Digest, Endpoint, Fault, Hash32, Method,
    Millicores, PodId, PodSpec, PodStatus, Port, ProvisionRequest, Rate, Resources, Scale, Statement,
    VolumeKind, VolumeSpec,
};
use apocryph_provider::{Authorisation, Deployments};
use apocryph_seal::{EnvelopeKey, sha256};
use apocryph_statement::{Signature, digest, recover};
use k256::ecdsa::SigningKey;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

static NONCE: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Publisher {
    key: SigningKey,
    pub(crate) account: Address,
    pub(crate) name: &'static str,
}

impl Publisher {
    pub(crate) fn new(key: u8, name: &'static str) -> Self {
        let key = SigningKey::from_slice(&[key; 32]).unwrap();
        let account = recover(Hash32([1; 32]), &sign(&key, Hash32([1; 32]))).unwrap();
        Self { key, account, name }
    }

    pub(crate) fn pod(&self) -> PodId {
        PodId::of(&self.name.parse().unwrap())
    }

    pub(crate) fn channel(&self) -> ChannelId {
        ChannelId::of(self.account, ACCOUNT, self.pod())
    }

    /// What a good channel is: some 2,000 s at its full rate.
    pub(crate) fn open(&self, place: &Place) -> Channel {
        let channel = Channel {
            publisher: self.account,
            provider: ACCOUNT,
            pod: self.pod(),
            token: TOKEN,
            deposited: Amount(2_000_000_000),
            claimed: Amount::ZERO,
            max_rate: Rate(1_000_000_000_000_000),
            opened_at: place.double.state().now,
            unlock_at: None,
            unlock_delay: 60,
            epoch: 1,
            terms: terms().hash(ACCOUNT, TOKEN),
        };
        self.put(place, channel);
        channel
    }

    pub(crate) fn put(&self, place: &Place, channel: Channel) {
        place.double.state().channels.insert(self.channel(), channel);
    }

    pub(crate) fn spec(&self, command: &str) -> PodSpec {
        let container = ContainerSpec {
            name: "web".parse().unwrap(),
            image: image(),
            entrypoint: None,
            command: Some(vec![command.into()]),
            working_dir: None,
            user: None,
            env: BTreeMap::new(),
            ports: vec![Port::Tcp { container_port: 80, published: None }],
            mounts: vec![],
            resources: Resources { cpu: Millicores(500), memory: Bytes(64 << 20), storage: Bytes(0) },
        };
        let volume = VolumeSpec {
            name: "data".parse().unwrap(),
            kind: VolumeKind::Persistent { size: Bytes(1 << 20) },
            files: BTreeMap::new(),
        };
        PodSpec {
            name: self.name.parse().unwrap(),
            containers: vec![container],
            volumes: vec![volume],
            scale: Scale::default(),
        }
    }

    /// A request whose blobs are published.
    pub(crate) fn request(&self, place: &Place, spec: &PodSpec) -> ProvisionRequest {
        let spec_key = [9; 32];
        let sealed = EnvelopeKey::from_bytes(spec_key).seal(&spec.to_json(), &self.channel().0).unwrap();
        let spec = publish(place, sealed);
        let blobs = vec![publish(place, b"image manifest".to_vec()), publish(place, b"layer".to_vec())];
        ProvisionRequest {
            pod: self.pod(),
            terms: terms(),
            spec,
            spec_key,
            image_key: b"image key".to_vec(),
            blobs,
            sources: vec![],
            public: false,
        }
    }

    pub(crate) fn statement(&self, place: &Place, method: Method) -> Statement {
        Statement {
            method,
            channel: self.channel(),
            provider: peer(),
            payload: Hash32([5; 32]),
            nonce: NONCE.fetch_add(1, Ordering::Relaxed).into(),
            expires_at: place.double.state().now + 60,
        }
    }

    pub(crate) fn signed(&self, statement: Statement) -> Authorisation {
        let signature = sign(&self.key, digest(&statement, CHAIN));
        Authorisation { statement, signature, payload: Hash32([5; 32]), peer: peer() }
    }

    pub(crate) fn call(&self, place: &Place, method: Method) -> Authorisation {
        self.signed(self.statement(place, method))
    }

    pub(crate) async fn provision(
        &self,
        place: &Place,
        request: ProvisionRequest,
    ) -> Result<Vec<Endpoint>, Fault> {
        let call = self.call(place, Method::Provision);
        Deployments::provision(&place.provider, call, request, Box::new(|_| ())).await
    }

    /// Opens a channel and provisions a pod that is sure to be taken.
    pub(crate) async fn deploy(&self, place: &Place) {
        self.open(place);
        let request = self.request(place, &self.spec("serve"));
        self.provision(place, request).await.unwrap();
    }

    pub(crate) async fn status(&self, place: &Place) -> PodStatus {
        Deployments::status(&place.provider, self.call(place, Method::Status)).await.unwrap()
    }

    pub(crate) async fn remove(&self, place: &Place) -> Result<(), Fault> {
        Deployments::remove(&place.provider, self.call(place, Method::Remove)).await
    }
}

pub(crate) fn image() -> Digest {
    sha256(b"image manifest")
}

fn publish(place: &Place, bytes: Vec<u8>) -> Blob {
    let blob = Blob { digest: sha256(&bytes), size: bytes.len() as u64, cid: "bafy".into() };
    place.double.state().published.insert(blob.digest, bytes);
    blob
}

fn sign(key: &SigningKey, digest: Hash32) -> Signature {
    let (signature, recovery) = key.sign_prehash_recoverable(&digest.0).unwrap();
    let mut bytes = [0; 65];
    bytes[..64].copy_from_slice(&signature.to_bytes());
    bytes[64] = 27 + recovery.to_byte();
    Signature(bytes)
}
