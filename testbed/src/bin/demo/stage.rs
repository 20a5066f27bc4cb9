//! What the demo plays on: the chain, the providers, the publisher's command line, the pods.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use apocryph_model::ChannelId;
use apocryph_testbed::cli::{Cli, Said};
use apocryph_testbed::cluster::Cluster;
use apocryph_testbed::daemon::{Daemon, Offer};
use apocryph_testbed::images;
use apocryph_testbed::market::Market;
use apocryph_testbed::until::until;
use serde_json::Value;

use crate::failure::{During, Result};
use crate::print;
use crate::record::{Engine, Record};

/// Stands in the web server's page, and in no ciphertext.
pub(crate) const MARKER: &str = "This page was woken by a request.";
/// What the pair's back says.
pub(crate) const BEHIND: &str = "said from behind over localhost";
const SECRET: &str = "a-secret-that-only-the-engine-knows";
const GREETING: &str = "an-environment-that-only-the-engine-knows";
/// What the provider is entrusted with beside images.
pub(crate) const ENTRUSTED: [(&str, &str); 2] = [("the secret", SECRET), ("the environment", GREETING)];
/// In the order of their deployment.
pub(crate) const PODS: [&str; 4] = ["web", "store", "pair", "poor"];

const PUBLISHER: usize = 0;
const CHOSEN: usize = 1;
const DEAD: usize = 0;
const PATIENCE: Duration = Duration::from_secs(60);

/// The market and one publisher in it.
pub(crate) struct Stage {
    pub(crate) market: Market,
    cli: Cli,
}

impl Stage {
    /// Starts the chain, makes the images, and has three providers register: the cheapest is dead.
    pub(crate) async fn set(record: &mut Record) -> Result<Self> {
        let cluster = match record.engine() {
            Engine::Embedded => None,
            Engine::Kubernetes => Some(Cluster::of_environment().during("looking for the cluster")?),
        };
        let market = Market::open_on(cluster).await?;
        print::chapter(&format!("The stage, in {}", market.folder().display()));
        print::note(&format!("a chain at {} with Payment, Registry and a token", market.chain.url()));
        let cli = market.publisher(PUBLISHER).await?;
        let mut stage = Self { market, cli };
        stage.make_pods()?;
        print::note("images of nginx, redis and busybox, made from Debian packages");
        stage.start_providers().await?;
        let said = stage.run(record, &["providers"]).await?;
        let dead = said.result().as_array().into_iter().flatten().filter(|p| p["reachable"] == false);
        record.check("of three registered providers one is dead", 1, dead.count());
        Ok(stage)
    }

    async fn start_providers(&mut self) -> Result<()> {
        // Whole tokens for a core-hour.
        for (number, (name, price)) in [("thrifty", 2), ("honest", 3), ("dear", 6)].into_iter().enumerate() {
            let offer = Offer { name: name.into(), account: number + 1, price };
            let daemon = self.market.add_provider(&offer).await?;
            if number == DEAD {
                daemon.stop().await?;
                print::note(&format!("{name} is registered, and dead"));
            } else {
                print::note(&format!("{name} is registered, its gateway listens at {}", daemon.gateway));
            }
        }
        Ok(())
    }

    /// Writes images and manifests.
    fn make_pods(&self) -> Result<()> {
        let write = |name: &str, text: &str| {
            std::fs::write(self.cli.folder.join(name), text).during("writing a manifest")
        };
        let image = |image: apocryph_testbed::layout::Image, tag| {
            image.write_to(&self.images(), tag).during("writing an image")
        };
        image(images::nginx(&format!("<h1>{MARKER}</h1>\n"))?, "nginx")?;
        image(images::redis()?, "redis")?;
        image(images::front()?, "front")?;
        image(images::back(&format!("{BEHIND}\n"))?, "back")?;
        write("web.yaml", &include_str!("pods/web.yaml").replace("GREETING_TEXT", GREETING))?;
        write("store.yaml", include_str!("pods/store.yaml"))?;
        write("pair.yaml", include_str!("pods/pair.yaml"))?;
        write("poor.yaml", include_str!("pods/poor.yaml"))?;
        write("token.txt", SECRET)
    }

    /// The provider that is to be chosen: the cheapest that answers.
    pub(crate) fn chosen(&self) -> &Daemon {
        &self.market.daemons[CHOSEN]
    }

    /// The provider that is registered and does not answer.
    pub(crate) fn dead(&self) -> &Daemon {
        &self.market.daemons[DEAD]
    }

    /// The layout of the images as they were made.
    pub(crate) fn images(&self) -> PathBuf {
        self.cli.folder.join("images")
    }

    /// Where the publisher's files are.
    pub(crate) fn publisher(&self) -> &Cli {
        &self.cli
    }

    /// Runs `apocryph`; its steps are recorded.
    pub(crate) async fn run(&self, record: &mut Record, arguments: &[&str]) -> Result<Said> {
        let mut begun = BTreeMap::new();
        let mut listen = |line: &Value| {
            let step = line["step"].as_str().unwrap_or_default().to_owned();
            let stages: &mut (Instant, Vec<String>) =
                begun.entry(step.clone()).or_insert((Instant::now(), Vec::new()));
            match line["event"].as_str() {
                Some("stage") => stages.1.push(plain(&line["stage"])),
                Some("done") => {
                    let (start, stages) = std::mem::replace(stages, (Instant::now(), Vec::new()));
                    if let Some(who) = doer(&step) {
                        record.step(&step, who, start, evidence(&line["evidence"], stages));
                    }
                }
                _ => {}
            }
        };
        Ok(self.cli.run(arguments, &mut listen).await?)
    }

    /// Runs `apocryph` without recording: to look at something.
    pub(crate) async fn ask(&self, arguments: &[&str]) -> Result<Said> {
        Ok(self.cli.run(arguments, &mut |_| {}).await?)
    }

    pub(crate) async fn deploy(&self, record: &mut Record, pod: &str, more: &[&str]) -> Result<Said> {
        let manifest = format!("{pod}.yaml");
        let mut arguments = vec!["deploy", "--file", &manifest, "--accept-unattested"];
        arguments.extend(more);
        record.step("start", "publisher", Instant::now(), format!("apocryph {}", arguments.join(" ")));
        self.run(record, &arguments).await
    }

    /// Where a pod is reached by HTTP: the gateway, and the host name to ask for.
    pub(crate) async fn http_endpoint(&self, pod: &str) -> Result<(SocketAddr, String)> {
        let said = self.ask(&["status", pod]).await?;
        Ok((address(&said, "/endpoints/0/gateway")?, said.text("/endpoints/0/host")?.to_owned()))
    }

    /// Where a pod is reached by TCP.
    pub(crate) async fn tcp_endpoint(&self, pod: &str) -> Result<SocketAddr> {
        address(&self.ask(&["status", pod]).await?, "/endpoints/0/address")
    }

    /// The pod's processes, as the kernel shows them.
    pub(crate) fn containers(&self, pod: &str) -> Result<Vec<(u32, String)>> {
        self.chosen().processes(container_names(pod)).during("looking at processes")
    }

    pub(crate) async fn until_gone(&self, pod: &str) -> Result<()> {
        let gone = async || {
            let found = self.chosen().processes(container_names(pod))?;
            Ok(found.is_empty())
        };
        until("no process of the pod is left", PATIENCE, gone).await.during(pod)
    }

    /// Waits for a phase of the pod; gives the status that shows it.
    pub(crate) async fn until_phase(&self, pod: &str, phase: &str) -> Result<Said> {
        let mut last = None;
        let reached = async || {
            let said = self.ask(&["status", pod]).await.map_err(std::io::Error::other)?;
            let reached = said.result()["phase"] == phase;
            last = Some(said);
            Ok(reached)
        };
        until(&format!("{pod} is {phase}"), PATIENCE, reached).await.during("status")?;
        match last {
            Some(said) => Ok(said),
            None => self.ask(&["status", pod]).await,
        }
    }

    /// What the kernel counted of the pod's containers that run, in microseconds.
    pub(crate) fn counted_cpu(&self, pod: &str) -> Result<u64> {
        self.chosen().cpu_microseconds(container_names(pod)).during("reading a cgroup")
    }

    /// What the provider's ledger holds of it, in microseconds.
    pub(crate) async fn billed_cpu(&self, pod: &str) -> Result<u64> {
        let said = self.ask(&["usage", pod]).await?;
        let epochs = said.part("/epochs")?.as_object().into_iter().flatten();
        Ok(epochs.filter_map(|(_, used)| used["cpu-used"].as_u64()).sum())
    }

    /// The channel that pays for a pod.
    pub(crate) async fn channel(&self, pod: &str) -> Result<ChannelId> {
        let said = self.ask(&["status", pod]).await?;
        let id = said.text("/channel")?.parse::<ChannelId>();
        id.map_err(std::io::Error::other).during("reading a channel's id")
    }

    /// Whether a pod's money can be withdrawn.
    pub(crate) async fn is_unlocked(&self, pod: &str) -> Result<bool> {
        let said = self.ask(&["status", pod]).await?;
        let money = &said.result()["money"];
        Ok(money["state"] == "closed" || money["seconds"] == 0)
    }

    /// The key of a pod's images, as the publisher keeps it.
    pub(crate) fn image_key(&self, pod: &str) -> Result<String> {
        let found =
            find(&self.cli.folder.join("state"), &format!("{pod}.json")).during("looking for the key")?;
        let text = std::fs::read(found).during("reading the publisher's state")?;
        let state: Value = serde_json::from_slice(&text).map_err(Into::into).during("reading the state")?;
        Ok(state["imageKey"].as_str().unwrap_or_default().to_owned())
    }
}

/// Who does a step of the system that `apocryph` tells of; `None` for what is not one.
fn doer(step: &str) -> Option<&'static str> {
    match step {
        "provision" | "confirm" => Some("provider"),
        "remove" | "fund" => None,
        _ => Some("publisher"),
    }
}

/// What shows that a step was done: kinds with their values, or else the stages that it went through.
fn evidence(evidence: &Value, stages: Vec<String>) -> String {
    let items = evidence.as_array().into_iter().flatten();
    let shown: Vec<_> = items.map(shown).collect();
    if shown.is_empty() { stages.join(", ") } else { shown.join(", ") }
}

fn shown(item: &Value) -> String {
    let value = &item["value"];
    match plain(&item["kind"]).as_str() {
        "endpoint" if value["kind"] == "http" => {
            format!("http://{} at {}", plain(&value["host"]), plain(&value["gateway"]))
        }
        "endpoint" => format!("tcp {}", plain(&value["address"])),
        "digest" => plain(value),
        "count" => format!("{value} found"),
        "bytes" => format!("{value} bytes"),
        kind => format!("{kind} {}", plain(value)),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn container_names(pod: &str) -> &'static [&'static str] {
    match pod {
        "web" => &["nginx"],
        "store" => &["redis"],
        "pair" => &["front", "back"],
        _ => &["spender"],
    }
}

fn address(said: &Said, pointer: &str) -> Result<SocketAddr> {
    said.text(pointer)?.parse().map_err(std::io::Error::other).during("reading an address")
}

/// A file of this name at any depth.
fn find(folder: &Path, name: &str) -> std::io::Result<PathBuf> {
    for entry in std::fs::read_dir(folder)?.flatten() {
        if entry.file_name() == name {
            return Ok(entry.path());
        }
        if entry.path().is_dir()
            && let Ok(found) = find(&entry.path(), name)
        {
            return Ok(found);
        }
    }
    Err(std::io::ErrorKind::NotFound.into())
}
