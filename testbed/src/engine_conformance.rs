//! What every engine must do, as tests over `dyn Engine`: the contract in prose stands at
//! [`apocryph_provider::Engine`]. An engine's own tests implement [`Subject`] and call each of the
//! functions here; a function panics where the engine does otherwise.

#![expect(clippy::unwrap_used, reason = "these are tests: what fails is to panic")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use apocryph_model::{
    Address, Bytes, ChannelId, ContainerSpec, Digest, Fault, LogLine, LogQuery, Millicores, Mount, PodSpec,
    Resources, Scale, VolumeKind, VolumeSpec, Who,
};
use apocryph_provider::{Engine, EngineError, EnginePod, Reading, Replica, ReplicaState};
use async_trait::async_trait;
use futures::StreamExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::layout::{Image, Layer};

/// How long anything may take here until it counts as not happening.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine under test, and a registry that it pulls from.
#[async_trait]
pub trait Subject: Send {
    /// The engine.
    fn engine(&self) -> &dyn Engine;

    /// Encrypts the image under [`Subject::image_key`] and lets the engine pull it; gives the
    /// digest of the encrypted image's manifest.
    async fn ship(&mut self, image: &Image) -> Digest;

    /// The private key of the images (PKCS #8, DER).
    fn image_key(&self) -> Vec<u8>;

    /// What opens the registry.
    fn registry_token(&self) -> String;

    /// An address of the host's own, which replicas have a route to.
    fn host_address(&self) -> IpAddr;

    /// Whether the engine can tell a container's two streams apart.
    fn tells_streams_apart(&self) -> bool {
        true
    }

    /// Ends the engine as a crash of the daemon would, and opens it again.
    async fn restart(&mut self);
}

/// An image with a shell: static busybox under `/bin`, users `root` and `guest`.
pub fn shell() -> Image {
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut base = Layer::new().directory("bin", 0o755).directory("etc", 0o755).directory("tmp", 0o1777);
    base = base.file("bin/busybox", busybox, 0o755);
    for applet in ["sh", "cat", "dd", "echo", "head", "hostname", "httpd", "id", "ls", "nc", "sleep", "wget"]
    {
        base = base.symlink(&format!("bin/{applet}"), "busybox");
    }
    let users = Layer::new()
        .file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000::/tmp:/bin/sh\n", 0o644)
        .file("etc/group", "root:x:0:\nguest:x:1000:\nfriends:x:1001:guest\n", 0o644)
        .gzip();
    Image::new(vec![base, users]).environment(&["GREETING=hello"]).working_directory("/tmp")
}

/// A pod under construction.
pub struct PodUnderTest {
    number: u8,
    image: Digest,
    spec: PodSpec,
}

impl PodUnderTest {
    /// A pod without containers; its number tells it from others.
    pub fn new(number: u8, image: Digest) -> Self {
        let spec = PodSpec {
            name: "under-test".parse().expect("a name"),
            containers: Vec::new(),
            volumes: Vec::new(),
            scale: Scale { max: 10, ..Scale::default() },
        };
        Self { number, image, spec }
    }

    /// With a container that runs a script in a shell.
    #[must_use]
    pub fn container(mut self, name: &str, script: &str) -> Self {
        self.spec.containers.push(ContainerSpec {
            name: name.parse().expect("a name"),
            image: self.image,
            entrypoint: Some(["/bin/sh", "-c", script].map(String::from).to_vec()),
            command: None,
            working_dir: None,
            user: None,
            env: BTreeMap::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            resources: Resources { cpu: Millicores(500), memory: Bytes(32 << 20), storage: Bytes(16 << 20) },
        });
        self
    }

    /// Changes the container that was added last.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut ContainerSpec)) -> Self {
        self.spec.containers.last_mut().map(change).expect("a container was added");
        self
    }

    /// With a volume, mounted into the container that was added last.
    #[must_use]
    pub fn volume(mut self, name: &str, path: &str, kind: VolumeKind, files: &[(&str, &str)]) -> Self {
        let volume: apocryph_model::Name = name.parse().expect("a name");
        let files = files.iter().map(|(name, text)| ((*name).into(), text.as_bytes().to_vec())).collect();
        self.spec.volumes.push(VolumeSpec { name: volume.clone(), kind, files });
        self.with(|container| container.mounts.push(Mount { volume, path: path.into(), read_only: false }))
    }

    /// As engines are told of it.
    pub fn build(self, subject: &dyn Subject) -> EnginePod {
        self.spec.validate().expect("a valid pod");
        EnginePod {
            id: ChannelId([self.number; 32]),
            publisher: Address([self.number; 20]),
            spec: self.spec,
            registry_token: subject.registry_token(),
            image_key: subject.image_key(),
        }
    }
}

/// Replicas come, are the same when asked for again, are stopped one by one, and go; their last
/// readings stay until they are forgotten.
pub async fn scales_up_and_down(subject: &mut dyn Subject) {
    let image = subject.ship(&shell()).await;
    let pod =
        PodUnderTest::new(1, image).container("main", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done");
    let pod = pod.build(subject);
    let engine = subject.engine();
    assert_eq!(engine.scale(pod.id, 1).await, Err(EngineError::Unknown));
    engine.prepare(&pod).await.unwrap();
    engine.prepare(&pod).await.unwrap();
    assert_eq!(engine.pods().await.unwrap(), [pod.id]);
    assert_eq!(engine.replicas(pod.id).await.unwrap(), []);

    let two = engine.scale(pod.id, 2).await.unwrap();
    assert_eq!(two.len(), 2);
    assert!(two.iter().all(|replica| replica.state == ReplicaState::Running));
    assert_ne!(two[0].address, two[1].address);
    assert_eq!(engine.scale(pod.id, 2).await.unwrap(), two);
    let readings = engine.sample().await.unwrap();
    assert!(readings.len() == 2 && readings.iter().all(|reading| !reading.last && reading.cpu_us > 0));
    assert!(readings.iter().all(|reading| reading.reserved == pod.spec.reserved()));

    engine.stop(pod.id, &two[0].id).await.unwrap();
    engine.stop(pod.id, &two[0].id).await.unwrap();
    assert_eq!(engine.ended(pod.id, &two[0].id).await.unwrap(), None);
    assert_eq!(engine.replicas(pod.id).await.unwrap(), [two[1].clone()]);
    assert_eq!(engine.scale(pod.id, 0).await.unwrap(), []);
    let last = last_readings(engine, 2).await;
    assert!(last.iter().all(|last| readings.iter().any(|earlier| is_later(last, earlier))));
    assert_eq!(engine.sample().await.unwrap(), last);
    for replica in &two {
        engine.forget(&replica.id).await.unwrap();
        engine.forget(&replica.id).await.unwrap();
    }
    assert_eq!(engine.sample().await.unwrap(), []);
    engine.remove(pod.id).await.unwrap();
    engine.remove(pod.id).await.unwrap();
    assert_eq!(engine.pods().await.unwrap(), []);
}

fn is_later(last: &Reading, earlier: &Reading) -> bool {
    last.replica == earlier.replica
        && last.cpu_us >= earlier.cpu_us
        && last.running_ms >= earlier.running_ms
        && last.ingress >= earlier.ingress
        && last.egress >= earlier.egress
}

/// A container sees its image, its environment, its user and its host name.
pub async fn runs_what_the_spec_says(subject: &mut dyn Subject) {
    let image = subject.ship(&shell()).await;
    let script =
        "echo $GREETING $NAME; id -u; id -g; pwd; hostname; echo $HOME; cat /etc/hostname; sleep 600";
    let pod = PodUnderTest::new(1, image).container("main", script).with(|container| {
        container.env.insert("NAME".into(), "world".into());
        container.user = Some("guest:friends".into());
        container.working_dir = Some("/made/here".into());
    });
    let lines = first_lines(subject, pod, 7).await;
    let host = "under-test";
    assert_eq!(lines, ["hello world", "1000", "1001", "/made/here", host, "/tmp", host]);
}

/// Both streams of all containers are logged, for pods at zero too, and can be followed.
pub async fn output_is_logged(subject: &mut dyn Subject) {
    let image = subject.ship(&shell()).await;
    let pod = PodUnderTest::new(1, image)
        .container("talk", "echo one; echo two >&2; sleep 600")
        .container("listen", "echo three; cat /tmp/none; sleep 600")
        .build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    let followed = engine.logs(pod.id, follow).await.unwrap();
    engine.scale(pod.id, 1).await.unwrap();
    let followed: Vec<LogLine> = timeout(PATIENCE, followed.take(4).collect()).await.unwrap();
    let mut found: Vec<_> =
        followed.iter().map(|l| (l.text.as_str(), l.container.as_str(), l.stderr)).collect();
    found.sort_unstable();
    let absent = "cat: can't open '/tmp/none': No such file or directory";
    let apart = subject.tells_streams_apart();
    assert_eq!(
        found,
        [
            (absent, "listen", apart),
            ("one", "talk", false),
            ("three", "listen", false),
            ("two", "talk", apart)
        ]
    );
    engine.scale(pod.id, 0).await.unwrap();
    let query = LogQuery { container: Some("talk".parse().unwrap()), ..LogQuery::default() };
    let lines: Vec<LogLine> = engine.logs(pod.id, query).await.unwrap().collect().await;
    let mut texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    // The kernel does not tell which of two streams was written to first.
    texts.sort_unstable();
    assert_eq!(texts, ["one", "two"]);
    finish(engine, pod.id).await;
    assert_eq!(engine.logs(pod.id, LogQuery::default()).await.err(), Some(EngineError::Unknown));
}

/// A container that ends by itself is told with its exit code, until it is scaled away.
pub async fn a_container_that_ends_is_a_failure(subject: &mut dyn Subject) {
    let image = subject.ship(&shell()).await;
    let pod = PodUnderTest::new(1, image)
        .container("short", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 3")
        .container("long", "sleep 600")
        .build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    let replica = scale_to_one(engine, &pod).await;
    let fault = ended(engine, pod.id, &replica.id).await.expect("a fault");
    assert_eq!((fault.who, fault.code.as_str()), (Who::Publisher, "container-ended"));
    assert!(fault.text.contains("short") && fault.text.contains("exit code 3"), "{fault}");
    let failed = engine.replicas(pod.id).await.unwrap();
    assert_eq!(failed, [Replica { state: ReplicaState::Failed(fault), ..replica.clone() }]);
    let last = sampled_until(engine, |reading| reading.last).await;
    assert!(last.cpu_us > 10_000, "{last:?}");
    let fresh = scale_to_one(engine, &pod).await;
    assert_ne!(fresh.id, replica.id);
    finish(engine, pod.id).await;
}

/// The containers of a replica reach each other at localhost, the host reaches them, and nobody
/// else does; what they move is counted.
pub async fn pods_are_apart(subject: &mut dyn Subject) {
    let image = subject.ship(&shell()).await;
    let serve = "echo yes >/tmp/index.html; exec httpd -f -p 8080 -h /tmp";
    let ask = "until wget -q -O - http://localhost:8080/ 2>/dev/null; do sleep 0.1; done; exec nc -l -p 9090 -e echo open";
    let pod = PodUnderTest::new(1, image).container("serve", serve).container("ask", ask).build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    let replica = scale_to_one(engine, &pod).await;
    assert_eq!(lines_of(engine, pod.id, 1).await, ["yes"]);
    let answer = reach(&replica, 9090).await;
    assert_eq!(answer, "open\n");
    sampled_until(engine, |reading| reading.ingress > 100 && reading.egress > 100).await;

    let (here, there) = (subject.host_address(), replica.address);
    let listener = tokio::net::TcpListener::bind((here, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "try() {{ nc -w 2 $1 $2 </dev/null >/dev/null 2>&1 && echo reached $1 || echo apart; }}; \
         try {there} 8080; try {here} {port}; sleep 600"
    );
    let stranger = PodUnderTest::new(2, image).container("main", &script).build(subject);
    let engine = subject.engine();
    engine.prepare(&stranger).await.unwrap();
    scale_to_one(engine, &stranger).await;
    assert_eq!(lines_of(engine, stranger.id, 2).await, ["apart", "apart"]);
    finish(engine, stranger.id).await;
    finish(engine, pod.id).await;
}

/// Persistent volumes live as long as the pod, ephemeral ones as long as the replica; secrets are
/// read-only; and a container's own files go with it.
pub async fn volumes_live_as_long_as_they_should(subject: &mut dyn Subject) {
    let image = subject.ship(&shell()).await;
    let script = "cat /keep/file /drop/file /tmp/file 2>/dev/null || echo none; \
                  echo kept >/keep/file; echo dropped >/drop/file; echo own >/tmp/file; \
                  cat /secret/password; echo x 2>/dev/null >/secret/password || echo read-only; sleep 600";
    let size = Bytes(8 << 20);
    let pod = PodUnderTest::new(1, image)
        .container("main", script)
        .with(|container| container.user = Some("guest".into()))
        .volume("keep", "/keep", VolumeKind::Persistent { size }, &[])
        .volume("drop", "/drop", VolumeKind::Ephemeral { size }, &[])
        .volume("secret", "/secret", VolumeKind::Secret, &[("password", "hunter2\n")])
        .build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    scale_to_one(engine, &pod).await;
    assert_eq!(lines_of(engine, pod.id, 3).await, ["none", "hunter2", "read-only"]);
    engine.scale(pod.id, 0).await.unwrap();
    scale_to_one(engine, &pod).await;
    assert_eq!(lines_of(engine, pod.id, 7).await[3..], ["kept", "none", "hunter2", "read-only"]);
    finish(engine, pod.id).await;
    engine.prepare(&pod).await.unwrap();
    scale_to_one(engine, &pod).await;
    assert_eq!(lines_of(engine, pod.id, 1).await, ["none"], "removed with the pod");
    finish(engine, pod.id).await;
}

/// What cannot run is the publisher's fault, in words that name it, and leaves no replica.
pub async fn what_cannot_run_is_refused(subject: &mut dyn Subject) {
    let image = subject.ship(&shell()).await;
    let refused = [
        ("user-unknown", "nobody-here", with_user as fn(&mut ContainerSpec)),
        ("command", "no-such-program", with_program),
        ("command-missing", "main", without_command),
    ];
    for (code, named, change) in refused {
        let pod = PodUnderTest::new(1, image).container("main", "sleep 600").with(change).build(subject);
        let engine = subject.engine();
        let prepared = engine.prepare(&pod).await;
        let run = match prepared {
            Ok(()) => engine.scale(pod.id, 1).await.map(|_| ()),
            refused => refused,
        };
        let Err(EngineError::Pod(Fault { who, code: found, text, .. })) = run else {
            panic!("{code}: {run:?}")
        };
        assert_eq!((who, found.as_str()), (Who::Publisher, code), "{text}");
        assert!(text.contains(named), "{text}");
        assert_eq!(engine.replicas(pod.id).await.unwrap(), []);
        finish(engine, pod.id).await;
    }
}

fn with_user(container: &mut ContainerSpec) {
    container.user = Some("nobody-here".into());
}

fn with_program(container: &mut ContainerSpec) {
    container.entrypoint = Some(vec!["/bin/no-such-program".into()]);
}

fn without_command(container: &mut ContainerSpec) {
    container.entrypoint = None;
}

/// Memory is limited, and who ran out of it is told so.
pub async fn memory_is_limited(subject: &mut dyn Subject) {
    let image = subject.ship(&shell()).await;
    // dd holds one block in memory.
    let pod = PodUnderTest::new(1, image)
        .container("main", "sleep 1; exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    let pod = pod.build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    let replica = scale_to_one(engine, &pod).await;
    let fault = ended(engine, pod.id, &replica.id).await.expect("a fault");
    assert_eq!(fault.code, "out-of-memory", "{fault}");
    assert!(fault.text.contains("32Mi"), "{fault}");
    finish(engine, pod.id).await;
}

/// A container has no power over the host.
pub async fn containers_are_confined(subject: &mut dyn Subject) {
    let image = subject.ship(&shell()).await;
    let script = "try() { \"$@\" >/dev/null 2>&1 && echo did $1 || echo refused; }; b=/bin/busybox; \
                  try $b mount -t tmpfs none /tmp; try $b unshare -n true; try $b unshare -U true; \
                  try $b mknod /tmp/sda b 8 0; try $b hostname other; try $b dmesg; \
                  try $b sh -c 'echo 1 >/proc/sys/kernel/panic'; try $b sh -c 'echo b >/proc/sysrq-trigger'; \
                  try $b head -c1 /proc/kcore; try $b chroot /tmp true; try $b ip link set lo down; \
                  $b grep NoNewPrivs /proc/self/status; $b ls /proc/1/root/bin/busybox; sleep 600";
    let lines = first_lines(subject, PodUnderTest::new(1, image).container("main", script), 13).await;
    assert_eq!(lines[..11], ["refused"; 11]);
    assert_eq!(lines[11..], ["NoNewPrivs:\t1", "/proc/1/root/bin/busybox"]);
}

/// Replicas outlive the daemon; the next one finds, reads, keeps and ends them.
pub async fn replicas_outlive_a_restart(subject: &mut dyn Subject) {
    let image = subject.ship(&shell()).await;
    let pod = PodUnderTest::new(1, image).container("main", "sleep 600").build(subject);
    let brief = PodUnderTest::new(2, image).container("main", "sleep 1; exit 7").build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    engine.prepare(&brief).await.unwrap();
    let replica = scale_to_one(engine, &pod).await;
    let short = scale_to_one(engine, &brief).await;
    let before = engine.sample().await.unwrap();
    subject.restart().await;
    let engine = subject.engine();
    assert_eq!(engine.replicas(pod.id).await.unwrap(), std::slice::from_ref(&replica));
    let fault = ended(engine, brief.id, &short.id).await.expect("a fault");
    assert!(fault.text.contains("exit code 7"), "{fault}");
    let mut pods = engine.pods().await.unwrap();
    pods.sort_unstable();
    assert_eq!(pods, [pod.id, brief.id]);
    let after = engine.sample().await.unwrap();
    assert_eq!(after.len(), 2);
    assert!(
        after.iter().all(|later| before.iter().any(|earlier| is_later(later, earlier))),
        "{before:?} {after:?}"
    );
    engine.prepare(&pod).await.unwrap();
    assert_eq!(
        engine.scale(pod.id, 1).await.unwrap(),
        std::slice::from_ref(&replica),
        "the same spec goes on"
    );
    subject.restart().await;
    let engine = subject.engine();
    assert_eq!(engine.scale(pod.id, 0).await.unwrap(), [], "also when it was not prepared again");
    finish(engine, pod.id).await;
    finish(engine, brief.id).await;
}

/// An update reaches the next replicas; one that fails changes nothing.
pub async fn updates_replace_or_change_nothing(subject: &mut dyn Subject) {
    let image = subject.ship(&shell()).await;
    let version = |text: &str| {
        let script = format!("echo {text}; sleep 600");
        PodUnderTest::new(1, image).container("main", &script)
    };
    let first = version("one").build(subject);
    let second = version("two").build(subject);
    let mut broken = version("three").build(subject);
    broken.spec.containers[0].image = Digest([9; 32]);
    let engine = subject.engine();
    engine.prepare(&first).await.unwrap();
    let old = scale_to_one(engine, &first).await;
    assert!(
        matches!(engine.prepare(&broken).await, Err(EngineError::Pod(fault)) if fault.code == "image-missing")
    );
    assert_eq!(engine.scale(first.id, 1).await.unwrap(), std::slice::from_ref(&old));
    engine.prepare(&second).await.unwrap();
    assert_eq!(engine.replicas(first.id).await.unwrap(), std::slice::from_ref(&old), "until it is scaled");
    let new = scale_to_one(engine, &first).await;
    assert_ne!(new.id, old.id);
    assert_eq!(lines_of(engine, first.id, 2).await, ["one", "two"]);
    finish(engine, first.id).await;
}

/// Prepares, starts one replica, takes its first lines, and removes all.
async fn first_lines(subject: &mut dyn Subject, pod: PodUnderTest, count: usize) -> Vec<String> {
    let pod = pod.build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    scale_to_one(engine, &pod).await;
    let lines = lines_of(engine, pod.id, count).await;
    finish(engine, pod.id).await;
    lines
}

async fn scale_to_one(engine: &dyn Engine, pod: &EnginePod) -> Replica {
    let mut replicas = engine.scale(pod.id, 1).await.unwrap();
    assert_eq!(replicas.len(), 1);
    replicas.remove(0)
}

async fn lines_of(engine: &dyn Engine, pod: ChannelId, count: usize) -> Vec<String> {
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let lines = engine.logs(pod, query).await.unwrap().take(count).map(|line| line.text).collect();
    timeout(PATIENCE, lines).await.expect("the lines come")
}

async fn ended(engine: &dyn Engine, pod: ChannelId, replica: &str) -> Option<Fault> {
    timeout(PATIENCE, engine.ended(pod, replica)).await.expect("it ends").unwrap()
}

/// The first reading, once it is as it should be: engines may read some counters only now and then.
async fn sampled_until(engine: &dyn Engine, right: impl Fn(&Reading) -> bool) -> Reading {
    let sampled = async {
        loop {
            let readings = engine.sample().await.unwrap();
            if let Some(reading) = readings.into_iter().next().filter(&right) {
                return reading;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, sampled).await.expect("it is counted")
}

/// The readings, once all are the last ones: an engine may take a while over what a replica used in
/// the end.
async fn last_readings(engine: &dyn Engine, count: usize) -> Vec<Reading> {
    let sampled = async {
        loop {
            let readings = engine.sample().await.unwrap();
            assert_eq!(readings.len(), count);
            if readings.iter().all(|reading| reading.last) {
                return readings;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, sampled).await.expect("they end")
}

async fn reach(replica: &Replica, port: u16) -> String {
    let talk = async {
        loop {
            if let Ok(mut stream) = TcpStream::connect((replica.address, port)).await {
                let mut text = String::new();
                stream.read_to_string(&mut text).await.unwrap();
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, talk).await.expect("the replica answers")
}

async fn finish(engine: &dyn Engine, pod: ChannelId) {
    engine.remove(pod).await.unwrap();
    assert!(!engine.pods().await.unwrap().contains(&pod));
    for reading in engine.sample().await.unwrap() {
        if reading.pod == pod {
            assert!(reading.last, "nothing runs after a removal");
            engine.forget(&reading.replica).await.unwrap();
        }
    }
    assert_eq!(engine.replicas(pod).await.unwrap(), []);
}
