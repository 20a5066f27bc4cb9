//! A provider's host that lacks something, from the beginning or suddenly: its operator is told
//! what, publishers that it is not their fault, and nothing is left half made.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use apocryph_testbed::daemon::Daemon;
use apocryph_testbed::layout::{Image, Layer};
use apocryph_testbed::market::Market;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::pods::{ask, close, close_unused, deploy, end, insist, offer, run, take_back, write};
use crate::refusal::{kept, refused};

#[tokio::test]
async fn a_disk_that_fills_while_fetching_is_the_providers_fault() {
    let Some(mut market) = crate::empty_market().await else { return };
    let disk = market.folder().join(offer().name).join("data");
    std::fs::create_dir_all(&disk).unwrap();
    mount(&["-t", "tmpfs", "-o", "size=24m", "tmpfs"], &disk);
    market.add_provider(&offer()).await.unwrap();
    let publisher = market.publisher(0).await.unwrap();
    write(&publisher, "small", "0");
    deploy(&publisher, "small").await.unwrap();
    let before = kept(&market.daemons[0]);

    write(&publisher, "large", "0");
    let ballast = Layer::new().file("ballast", noise(40 << 20), 0o644);
    Image::new(vec![ballast])
        .entrypoint(&["/none"])
        .write_to(&publisher.folder.join("images"), "large")
        .unwrap();
    let manifest = std::fs::read_to_string(publisher.folder.join("large.yaml")).unwrap();
    std::fs::write(publisher.folder.join("large.yaml"), manifest.replace(":back", ":large")).unwrap();
    let refusal = refused(&publisher, "large.yaml").await;
    assert_eq!(refusal.verdict(), ("provider", "store-full", true), "{refusal:?}");
    assert_eq!(refusal.ending, "exit code 5");
    assert!(!refusal.text.contains(disk.to_str().unwrap()), "the publisher is told no path: {refusal:?}");
    let left = kept(&market.daemons[0]);
    assert!(left == before, "{:?}", left.difference(&before));

    // Whoever is there already goes on, and so does the next try once there is room.
    assert_eq!(ask(&publisher, "small", "/cgi-bin/ask").await.unwrap().status, 200);
    end(&publisher, "small").await;
    take_back(&publisher, "large").await;
    market.daemons[0].stop().await.unwrap();
    unmount(&disk);
    close(market).await;
}

#[tokio::test]
async fn an_address_that_another_program_has_is_named() {
    let Some(mut market) = crate::market().await else { return };
    market.daemons[0].stop().await.unwrap();
    for setting in ["gateway", "p2p", "registry", "health"] {
        let address = configured(&market.daemons[0], setting);
        let held = hold(address).await;
        does_not_start(&mut market, &format!("listen.{setting}"), &address.port().to_string()).await;
        held.abort();
        assert!(held.await.unwrap_err().is_cancelled());
    }
    let address = configured(&market.daemons[0], "p2p");
    let held = UdpSocket::bind(address).unwrap();
    does_not_start(&mut market, "listen.p2p", &address.port().to_string()).await;
    drop(held);
    serves(market).await;
}

#[tokio::test]
async fn a_subnet_that_the_host_uses_already_is_named() {
    let Some(mut market) = crate::market().await else { return };
    market.daemons[0].stop().await.unwrap();
    let subnet = setting(&market.daemons[0], "subnet");
    let address = subnet.replace(".0/24", ".77/32");
    let link = format!("{}x", market.traces.bridges);
    ip(&["link", "add", &link, "type", "bridge"]);
    ip(&["addr", "add", &address, "dev", &link]);
    let told = does_not_start_beside(&mut market, &[&link]).await;
    ip(&["link", "del", &link]);
    for text in told {
        assert!(text.contains("engine.subnet") && text.contains(&subnet) && text.contains(&link), "{text}");
    }
    serves(market).await;
}

#[tokio::test]
async fn a_runtime_that_is_missing_is_named() {
    let Some(mut market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    let runtime = market.folder().join("runtime");
    market.daemons[0].stop().await.unwrap();
    let set = format!("[engine]\nruntime = \"{}\"\n", runtime.display());
    market.daemons[0].configure("[engine]\n", &set).unwrap();
    does_not_start(&mut market, "OCI runtime", runtime.to_str().unwrap()).await;

    // One that goes away later is told to whoever waits, to the publisher, and is no one's end.
    let crun = Command::new("sh").args(["-c", "command -v crun"]).output().unwrap();
    let crun = String::from_utf8(crun.stdout).unwrap();
    std::os::unix::fs::symlink(crun.trim(), &runtime).unwrap();
    market.daemons[0].start().await.unwrap();
    write(&publisher, "pod", "0");
    deploy(&publisher, "pod").await.unwrap();
    std::fs::remove_file(&runtime).unwrap();
    let answer = ask(&publisher, "pod", "/cgi-bin/ask").await.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains("provider"), "{answer:?}");
    assert!(!answer.body.contains(runtime.to_str().unwrap()), "strangers are told no path: {answer:?}");
    let status = run(&publisher, &["status", "pod"]).await.unwrap();
    assert_eq!(status["lastError"]["who"], "provider", "{status}");
    std::os::unix::fs::symlink(crun.trim(), &runtime).unwrap();
    insist("it answers", async || match ask(&publisher, "pod", "/cgi-bin/ask").await?.status {
        200 => Ok(()),
        status => Err(std::io::Error::other(format!("answered {status}"))),
    })
    .await;
    end(&publisher, "pod").await;
    close(market).await;
}

/// Another program, which takes whoever comes and says nothing.
async fn hold(address: SocketAddr) -> JoinHandle<()> {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    })
}

/// Neither `check` nor `run` find it well; both say what and where.
async fn does_not_start(market: &mut Market, what: &str, place: &str) {
    for text in does_not_start_beside(market, &[]).await {
        assert!(text.contains(what) && text.contains(place), "{what}: {text}");
    }
}

/// What `check` and `run` say. Nothing of the daemon is left but what it keeps for ever.
async fn does_not_start_beside(market: &mut Market, links: &[&str]) -> [String; 2] {
    let daemon = &mut market.daemons[0];
    let checked = daemon.command("check").await.unwrap_err().to_string();
    assert!(checked.contains("exit code 1"), "{checked}");
    let started = daemon.start().await.unwrap_err().to_string();
    assert!(started.contains("ended with exit code"), "{started}");
    let mut left = market.traces.left().unwrap();
    left.processes.retain(|(_, command)| command.contains("apocryphd"));
    left.interfaces.retain(|link| !links.contains(&link.as_str()));
    assert_eq!(left.to_string(), "nothing", "{started}");
    [checked, started]
}

/// All is well again.
async fn serves(mut market: Market) {
    let publisher = market.publisher(0).await.unwrap();
    market.daemons[0].start().await.unwrap();
    close_unused(market, &publisher).await;
}

/// What the configuration says.
fn setting(daemon: &Daemon, key: &str) -> String {
    let text = std::fs::read_to_string(daemon.folder.join("apocryphd.toml")).unwrap();
    let prefix = format!("{key} = \"");
    // The last one: a contract is called `registry` as well.
    let line = text.lines().rev().find_map(|line| line.strip_prefix(&prefix)).unwrap();
    line.trim_end_matches('"').to_owned()
}

fn configured(daemon: &Daemon, key: &str) -> SocketAddr {
    setting(daemon, key).parse().unwrap()
}

/// Bytes that no compression makes fewer of.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..count / 8).flat_map(next).collect()
}

fn mount(arguments: &[&str], place: &Path) {
    assert!(Command::new("mount").args(arguments).arg(place).status().unwrap().success());
}

fn unmount(place: &Path) {
    assert!(Command::new("umount").arg(place).status().unwrap().success());
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "{arguments:?}");
}
