//! A publisher among doubles.

use crate::{
    chain::MemoryChain,
    peers::{MemoryNetwork, NoSigner, Provider, offering},
    state::MemoryDeployments,
};
use apocryph_model::{
    Bytes, Constraints, Container, Digest, DnsError, EnvValue, HostProof, Hostname, Manifest, Millicores,
    Name, Offering, Port, Resources, Scale, SecretSource, Volume, VolumeSource,
};
use apocryph_publisher::{
    EncryptedImage, Event, Evidence, HostProofs, ImageError, Images, LocalBlob, Order, Preferences,
    Publisher, Reporter, ResolvedImage, Secrets, Step, Timer,
};
use apocryph_seal::sha256;
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Images that are named by their reference; `absent` is not there.
#[derive(Default)]
pub(crate) struct MemoryImages {
    pub(crate) keys: Mutex<Vec<Vec<u8>>>,
}

#[async_trait]
impl Images for MemoryImages {
    async fn resolve(&self, reference: &str, _: &Path) -> Result<ResolvedImage, ImageError> {
        match reference {
            "absent" => Err(ImageError::Absent(reference.into())),
            _ => Ok(ResolvedImage {
                reference: reference.into(),
                digest: sha256(reference.as_bytes()),
                size: 100,
            }),
        }
    }
    async fn encrypt(
        &self,
        image: &ResolvedImage,
        _: &Path,
        key: &[u8],
        out: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<EncryptedImage, ImageError> {
        tokio::task::yield_now().await;
        self.keys.lock().unwrap().push(key.to_vec());
        progress(image.size);
        let manifest = sha256(&[&image.digest.0[..], key].concat());
        let blob = |digest: Digest| LocalBlob { digest, size: 50, path: out.join(digest.hex()) };
        // Every image shares a layer with the others.
        Ok(EncryptedImage { manifest, blobs: vec![blob(manifest), blob(sha256(b"shared layer"))] })
    }
}

pub(crate) struct MemorySecrets;

impl Secrets for MemorySecrets {
    fn file(&self, path: &Path, _: u64) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("/pod/token.txt") => Ok(b"from a file".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
    fn variable(&self, name: &str) -> Option<Vec<u8>> {
        match name {
            "TOKEN" => Some(b"from a variable".to_vec()),
            "BINARY" => Some(vec![0xff]),
            "HUGE" => Some(vec![b'x'; (1 << 20) + 1]),
            _ => None,
        }
    }
}

#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<Event>>);

impl Reporter for Recorder {
    fn report(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// Time passes once everyone else has had many turns.
#[derive(Default)]
pub(crate) struct PatientTimer {
    pub(crate) slept: Mutex<Vec<Duration>>,
}

#[async_trait]
impl Timer for PatientTimer {
    async fn sleep(&self, pause: Duration) {
        self.slept.lock().unwrap().push(pause);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

/// What the DNS says of every host name; nothing sure at first.
#[derive(Default)]
pub(crate) struct MemoryProofs(pub(crate) Mutex<Option<Vec<HostProof>>>);

#[async_trait]
impl HostProofs for MemoryProofs {
    async fn of(&self, _: &Hostname) -> Result<Vec<HostProof>, DnsError> {
        self.0.lock().unwrap().clone().ok_or(DnsError::Silent)
    }
}

pub(crate) struct World {
    pub(crate) host_proofs: Arc<MemoryProofs>,
    pub(crate) timer: Arc<PatientTimer>,
    pub(crate) chain: Arc<MemoryChain>,
    pub(crate) network: Arc<MemoryNetwork>,
    pub(crate) deployments: Arc<MemoryDeployments>,
    pub(crate) images: Arc<MemoryImages>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) publisher: Publisher,
}

impl World {
    /// With these providers registered and answering.
    pub(crate) fn with(offerings: &[Offering]) -> Self {
        let chain = Arc::new(MemoryChain::new());
        let network = Arc::new(MemoryNetwork::default());
        let deployments = Arc::new(MemoryDeployments::default());
        let images = Arc::new(MemoryImages::default());
        let recorder = Arc::new(Recorder::default());
        let host_proofs = Arc::new(MemoryProofs::default());
        let timer = Arc::new(PatientTimer::default());
        chain.0.lock().unwrap().offerings = offerings.to_vec();
        for offering in offerings {
            let provider = Arc::new(Provider::of(offering));
            network.alive.lock().unwrap().insert(provider.peer.clone(), provider);
        }
        let publisher = Publisher {
            chain: chain.clone(),
            images: images.clone(),
            network: network.clone(),
            deployments: deployments.clone(),
            secrets: Arc::new(MemorySecrets),
            signer: Arc::new(NoSigner),
            host_proofs: host_proofs.clone(),
            timer: timer.clone(),
            reporter: recorder.clone(),
        };
        Self { host_proofs, timer, chain, network, deployments, images, recorder, publisher }
    }

    pub(crate) fn one() -> Self {
        Self::with(&[offering(1, 10)])
    }

    pub(crate) fn provider(&self, number: u8) -> Arc<Provider> {
        let peer = crate::peers::address(number).peer();
        self.network.alive.lock().unwrap()[&peer].clone()
    }

    pub(crate) fn kill(&self, number: u8) {
        self.network.alive.lock().unwrap().remove(&crate::peers::address(number).peer());
    }

    /// Leaves calls of a provider without any answer.
    pub(crate) fn silence(&self, number: u8) {
        self.network.silent.lock().unwrap().insert(crate::peers::address(number).peer());
    }

    /// What the steps said that they were doing.
    pub(crate) fn stages(&self) -> Vec<&'static str> {
        let events = self.recorder.0.lock().unwrap();
        let stage = |event: &Event| match event {
            Event::Stage { stage, .. } => Some(*stage),
            _ => None,
        };
        events.iter().filter_map(stage).collect()
    }

    /// The steps that ended well, in order, since this was asked last.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let events = std::mem::take(&mut *self.recorder.0.lock().unwrap());
        let done = |event| match event {
            Event::Done { step, .. } => Some(step),
            _ => None,
        };
        events.into_iter().filter_map(done).collect()
    }

    pub(crate) fn passed_over(&self) -> Vec<String> {
        let events = self.recorder.0.lock().unwrap();
        let name = |event: &Event| match event {
            Event::PassedOver { name, reason, .. } => Some(format!("{name}: {reason}")),
            _ => None,
        };
        events.iter().filter_map(name).collect()
    }

    /// The advice on host names that are not proved.
    pub(crate) fn host_advice(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.recorder.0.lock().unwrap());
        let advice = |event: &Event| match event {
            Event::HostNotSeen { host } => host.advice(),
            _ => None,
        };
        events.iter().filter_map(advice).collect()
    }

    /// The channels that were said to be open after a failure.
    pub(crate) fn still_open(&self) -> Vec<apocryph_model::ChannelId> {
        let events = self.recorder.0.lock().unwrap();
        let channel = |event: &Event| match event {
            Event::StillOpen { channel, .. } => Some(*channel),
            _ => None,
        };
        events.iter().filter_map(channel).collect()
    }

    pub(crate) fn evidence(&self, wanted: Step) -> Vec<Evidence> {
        let events = self.recorder.0.lock().unwrap();
        let of = |event: &Event| match event {
            Event::Done { step, evidence } if *step == wanted => Some(evidence.clone()),
            _ => None,
        };
        events.iter().rev().find_map(of).expect("the step was done")
    }
}

pub(crate) fn name() -> Name {
    "web".parse().unwrap()
}

pub(crate) fn manifest() -> Manifest {
    let secret = |source| EnvValue::Secret(source);
    Manifest {
        name: name(),
        containers: vec![Container {
            name: "web".parse().unwrap(),
            image: "nginx".into(),
            entrypoint: None,
            command: None,
            working_dir: None,
            user: None,
            env: BTreeMap::from([
                ("PLAIN".into(), EnvValue::Literal("as it stands".into())),
                ("FILE".into(), secret(SecretSource::File("token.txt".into()))),
                ("VARIABLE".into(), secret(SecretSource::Env("TOKEN".into()))),
            ]),
            ports: vec![Port::Tcp { container_port: 6379, published: None }],
            mounts: vec![],
            resources: Resources { cpu: Millicores(1000), memory: Bytes(64 << 20), storage: Bytes(0) },
        }],
        volumes: vec![Volume {
            name: "keys".parse().unwrap(),
            source: VolumeSource::Secret(BTreeMap::from([(
                "key".into(),
                SecretSource::Literal("literal".into()),
            )])),
        }],
        scale: Scale::default(),
        constraints: Constraints::default(),
    }
}

pub(crate) fn order() -> Order {
    Order {
        manifest: manifest(),
        folder: PathBuf::from("/pod"),
        preferences: Preferences { accept_unattested: true, ..Preferences::default() },
        fund: None,
        sources: vec![],
        public: false,
    }
}
