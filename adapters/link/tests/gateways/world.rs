//! A hub with gateways, an engine that remembers what it was asked, and an app.

use apocryph_gateway::{
    Backend, Config, End, Gateway, HttpRoute, PodRoutes, Pods, StopError, TcpRoute, WakeError,
};
use apocryph_link::{Hub, Link, LinkConfig, Role, Token};
use apocryph_model::{ChannelId, Scale};
use async_trait::async_trait;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// Long enough for anything that is to come at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const LEASE: Duration = Duration::from_millis(1500);
pub(crate) const POD: ChannelId = ChannelId([1; 32]);
pub(crate) const HOST: &str = "a.example";

/// How long things last where a gateway decides.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) lease: Duration,
    pub(crate) drain: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { lease: LEASE, drain: Config::default().drain }
    }
}

/// Every replica of every pod is the app on this machine.
#[derive(Default)]
pub(crate) struct Engine {
    script: Mutex<Script>,
    may_wake: watch::Sender<bool>,
    /// Runs that others are ending.
    leaving: watch::Sender<Vec<u64>>,
}

#[derive(Default)]
struct Script {
    asked: Vec<&'static str>,
    running: Vec<Backend>,
    runs: u64,
}

impl Engine {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub(crate) fn times(&self, what: &str) -> usize {
        self.script().asked.iter().filter(|asked| **asked == what).count()
    }

    pub(crate) fn running(&self) -> usize {
        self.script().running.len()
    }

    /// Others end all that runs.
    pub(crate) fn evacuate(&self) {
        let leaving = self.script().running.drain(..).map(|backend| backend.run).collect();
        self.leaving.send_replace(leaving);
    }

    /// Whether starts end, or go on until they may.
    pub(crate) fn let_wakes(&self, pass: bool) {
        self.may_wake.send_replace(pass);
    }
}

#[async_trait]
impl Pods for Engine {
    async fn wake(&self, _: ChannelId, replicas: u32) -> Result<Vec<Backend>, WakeError> {
        self.script().asked.push("wake");
        self.may_wake.subscribe().wait_for(|pass| *pass).await.unwrap();
        let mut script = self.script();
        while script.running.len() < replicas as usize {
            script.runs += 1;
            let backend = Backend { run: script.runs, address: Ipv4Addr::LOCALHOST.into() };
            script.running.push(backend);
        }
        Ok(script.running.clone())
    }

    async fn retire(&self, _: ChannelId, backend: Backend) -> Result<(), StopError> {
        let mut script = self.script();
        script.asked.push("retire");
        script.running.retain(|running| *running != backend);
        Ok(())
    }

    async fn idle(&self, _: ChannelId) -> Result<(), StopError> {
        let mut script = self.script();
        script.asked.push("idle");
        script.running.clear();
        Ok(())
    }

    fn unheard(&self, _: ChannelId, _: u16) {
        self.script().asked.push("unheard");
    }

    async fn died(&self, _: ChannelId, backend: Backend) -> End {
        let mut leaving = self.leaving.subscribe();
        leaving.wait_for(|leaving| leaving.contains(&backend.run)).await.unwrap();
        End::Leaving
    }
}

/// One gateway beside the one that decides. Dropping it cuts all of it off, without a goodbye.
pub(crate) struct Other {
    pub(crate) gateway: Gateway,
    pub(crate) link: Link,
    pub(crate) http: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Other {
    /// One that finds its daemon at `daemon`.
    pub(crate) async fn start(daemon: SocketAddr, config: Config) -> Self {
        let link = Link::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        let tcp_address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let gateway = Gateway::new(Config { tcp_address, ..config }, Arc::new(link.clone()));
        gateway.listen(listener, None);
        let config = LinkConfig {
            daemon: daemon.to_string(),
            token: token(),
            name: "other".into(),
            drain: Duration::from_secs(1),
        };
        let mut tasks = JoinSet::new();
        let (linked, gate) = (link.clone(), gateway.clone());
        tasks.spawn(async move { linked.run(&config, &gate).await });
        Self { gateway, link, http, _tasks: tasks }
    }

    /// The status and body of an answer to `path`.
    pub(crate) async fn ask(&self, path: &str) -> (u16, String) {
        let mut stream = self.send(path).await;
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.into())
    }

    /// A request whose answer is to be read.
    pub(crate) async fn send(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// A request whose answer goes on until the app is told to end it; its head is read.
    pub(crate) async fn stream(&self) -> TcpStream {
        let mut stream = self.send("/stream").await;
        read_until(&mut stream, "more\n").await;
        stream
    }

    /// Waits until all pods are known to it.
    pub(crate) async fn synced(&self) {
        let mut state = self.link.state();
        let synced = state.wait_for(|state| *state == apocryph_link::State::Synced);
        timeout(PATIENCE, synced).await.unwrap().unwrap();
    }
}

/// Reads until the stream is cut before its end.
pub(crate) async fn read_until_cut(mut stream: TcpStream) {
    let mut read = Vec::new();
    // How it is cut off is not the question.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("it is cut");
    assert!(!String::from_utf8_lossy(&read).contains("end\n"), "it came to its end");
}

pub(crate) async fn read_until(stream: &mut TcpStream, text: &str) {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(text.as_bytes()) {
        let count = timeout(PATIENCE, stream.read(&mut byte)).await.unwrap().unwrap();
        assert_eq!(count, 1, "it ended after {:?}", String::from_utf8_lossy(&read));
        read.push(byte[0]);
    }
}

/// What decides, and what it decides over.
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) gateway: Gateway,
    pub(crate) engine: Arc<Engine>,
    pub(crate) app: App,
    pub(crate) address: SocketAddr,
    tasks: JoinSet<()>,
}

pub(crate) fn token() -> Token {
    Token::from_text(&"t".repeat(40), Role::Gateway).unwrap()
}

impl World {
    /// With [`POD`] at [`HOST`], of which nothing runs.
    pub(crate) async fn new(scale: Scale) -> Self {
        Self::timed(scale, Times::default()).await
    }

    pub(crate) async fn timed(scale: Scale, times: Times) -> Self {
        let engine = Arc::new(Engine::default());
        engine.let_wakes(true);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut world = Self::over(engine, App::start().await, listener, times).await;
        world.put(scale, &[]).await;
        world.hub.ready();
        world
    }

    async fn over(engine: Arc<Engine>, app: App, listener: TcpListener, times: Times) -> Self {
        let config = Config { serves: false, drain: times.drain, ..Config::default() };
        let (gateway, hub) = Hub::new(config, engine.clone(), token(), times.lease);
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let serving = hub.clone();
        tasks.spawn(async move { serving.serve(listener).await });
        Self { hub, gateway, engine, app, address, tasks }
    }

    pub(crate) async fn put(&mut self, scale: Scale, tcp: &[(u16, u16)]) {
        let http = vec![HttpRoute { host: HOST.parse().unwrap(), container_port: self.app.port }];
        let tcp =
            tcp.iter().map(|(published, port)| TcpRoute { published: *published, container_port: *port });
        let routes = PodRoutes { pod: POD, scale, http, tcp: tcp.collect() };
        let running = self.engine.script().running.clone();
        self.gateway.put(routes.clone(), &running).await.unwrap();
        self.hub.put(&routes).await.unwrap();
    }

    /// Two gateways that know every pod.
    pub(crate) async fn others(&self) -> [Other; 2] {
        let one = async || {
            let other = Other::start(self.address, Config::default()).await;
            other.synced().await;
            other
        };
        [one().await, one().await]
    }

    /// Ends what decides, as a kill does: nobody listens any more.
    pub(crate) async fn kill(mut self) -> (Arc<Engine>, App, SocketAddr) {
        self.tasks.shutdown().await;
        (self.engine, self.app, self.address)
    }

    /// Begins anew where another one was killed, and knows of no pod.
    pub(crate) async fn empty(engine: Arc<Engine>, app: App, address: SocketAddr) -> Self {
        let world =
            Self::over(engine, app, TcpListener::bind(address).await.unwrap(), Times::default()).await;
        world.hub.ready();
        world
    }

    /// Begins anew where another one was killed.
    pub(crate) async fn again(parts: (Arc<Engine>, App, SocketAddr), scale: Scale, times: Times) -> Self {
        let (engine, app, address) = parts;
        let mut world = Self::over(engine, app, TcpListener::bind(address).await.unwrap(), times).await;
        world.put(scale, &[]).await;
        world.hub.ready();
        world
    }
}

/// Answers `/` with a word, and `/stream` for as long as it may.
pub(crate) struct App {
    pub(crate) port: u16,
    may_stream: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl App {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let may_stream = watch::Sender::new(true);
        let mut tasks = JoinSet::new();
        let streams = may_stream.clone();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, streams.subscribe()));
            }
        });
        Self { port, may_stream, _tasks: tasks }
    }

    /// Ends every stream.
    pub(crate) fn end_streams(&self) {
        self.may_stream.send_replace(false);
    }
}

async fn answer(mut stream: TcpStream, mut may_stream: watch::Receiver<bool>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    if !head.starts_with(b"GET /stream") {
        let word = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nword";
        return stream.write_all(word.as_bytes()).await.ok();
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut written = Ok(());
    while written.is_ok() && *may_stream.borrow() {
        written = stream.write_all(b"more\n").await;
        let _ = timeout(Duration::from_millis(20), may_stream.changed()).await;
    }
    stream.write_all(b"end\n").await.ok()
}

/// Waits until `holds`; what does not come in time fails the test as `what`.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
