//! Images that no pod can be made of: each is told by the one who sees it first, and nothing of it
//! stays at the provider. What was paid in pays for the next try, or comes back.

use std::fs;
use std::path::Path;

use apocryph_testbed::cli::Cli;
use apocryph_testbed::images;
use apocryph_testbed::layout::{Image, Layer};
use apocryph_testbed::market::Market;
use tar::{EntryType, Header};

use crate::pods::{ask, close, deploy, end, run, take_back};
use crate::refusal::{kept, refused};

const IMAGE_LIMIT: usize = 64 << 20;

/// Names the image `oci:images:NAME`, whatever it is.
fn write_manifest(publisher: &Cli, image: &str) {
    let text = format!(
        "name: pod\ncontainers:\n  - name: main\n    image: {image}\n    ports: [{{http: 8080}}]\n    \
         resources: {{cpu: 100m, memory: 32Mi, storage: 32Mi}}\nscale: {{min: 0, max: 1, idle: 2s}}\n"
    );
    fs::write(publisher.folder.join("pod.yaml"), text).unwrap();
}

/// A market whose provider unpacks small images only.
async fn market() -> Option<Market> {
    let mut market = crate::market().await?;
    let daemon = &mut market.daemons[0];
    daemon.stop().await.unwrap();
    daemon
        .configure("[engine]\n", &format!("[engine]\nimage-limit = \"{}Mi\"\n", IMAGE_LIMIT >> 20))
        .unwrap();
    daemon.start().await.unwrap();
    Some(market)
}

#[tokio::test]
async fn an_image_that_cannot_be_had_costs_nothing() {
    let Some(market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    let layout = publisher.folder.join("images");
    let layer = Layer::new().file("f", "x", 0o644);
    Image::new(vec![layer.clone()]).architecture("s390x").write_to(&layout, "foreign").unwrap();
    Image::new(vec![layer; 10_000]).write_to(&layout, "tall").unwrap();
    for (image, told) in [
        ("oci:images:absent", "there is no image oci:images:absent"),
        ("oci:nowhere", "there is no image oci:nowhere"),
        ("oci:images:foreign", "is for linux/s390x"),
        ("oci:images:tall", "10000 layers; 128 are the most"),
    ] {
        write_manifest(&publisher, image);
        let refusal = refused(&publisher, "pod.yaml").await;
        assert_eq!(refusal.verdict(), ("publisher", "image", false), "{refusal:?}");
        assert_eq!(refusal.ending, "exit code 3");
        assert!(refusal.text.contains("containers[0].image") && refusal.text.contains(told), "{refusal:?}");
    }
    write_manifest(&publisher, "docker://127.0.0.1:1/pod/web:v1");
    let refusal = refused(&publisher, "pod.yaml").await;
    assert_eq!(refusal.verdict(), ("network", "image-unavailable", true), "{refusal:?}");
    crate::pods::close_unused(market, &publisher).await;
}

#[tokio::test]
async fn images_that_are_damaged_or_hostile_leave_nothing_at_the_provider() {
    let Some(market) = market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    let before = kept(&market.daemons[0]);
    // A short path, which the header of an archive has room for.
    let outside = tempfile::tempdir_in("/tmp").unwrap();

    for (damage, told) in [(cut as fn(&Path), "cut short"), (alter, "instead of sha256:")] {
        let layout = publisher.folder.join("images");
        drop(fs::remove_dir_all(&layout));
        let image = Image::new(vec![Layer::new().file("f", vec![7; 300_000], 0o644)]);
        let written = image.write_to(&layout, "front").unwrap();
        damage(&layout.join("blobs/sha256").join(written.layers[0].hex()));
        write_manifest(&publisher, "oci:images:front");
        let refusal = refused(&publisher, "pod.yaml").await;
        assert_eq!(refusal.verdict(), ("publisher", "image", false), "{refusal:?}");
        assert!(refusal.text.contains(told), "{refusal:?}");
        assert_eq!(kept(&market.daemons[0]), before);
    }

    for (name, layer, code, told) in hostile(outside.path()) {
        let layout = publisher.folder.join("images");
        fs::remove_dir_all(&layout).unwrap();
        Image::new(vec![layer]).entrypoint(&["/f"]).write_to(&layout, "front").unwrap();
        let refusal = refused(&publisher, "pod.yaml").await;
        assert_eq!(refusal.verdict(), ("publisher", code, false), "{name}: {refusal:?}");
        assert!(refusal.text.contains(told), "{name}: {refusal:?}");
        assert_eq!(kept(&market.daemons[0]), before, "{name}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);

    // What was paid in for all these tries pays for the one that is good.
    images::front().unwrap().write_to(&publisher.folder.join("images"), "front").unwrap();
    deploy(&publisher, "pod").await.unwrap();
    let flows = market.flows().await.unwrap();
    let deposited: Vec<u128> = flows.values().map(|flow| flow.deposited).collect();
    assert_eq!(deposited, [20_000_000_000_000_000_000]);
    // There is no back to ask, which the front says by itself.
    assert_eq!(ask(&publisher, "pod", "/cgi-bin/work").await.unwrap().status, 200);
    end(&publisher, "pod").await;
    close(market).await;
}

#[tokio::test]
async fn what_was_paid_in_for_an_image_that_was_refused_comes_back() {
    let Some(market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    let layer = Layer::raw(archive(EntryType::Char, "null", "", b""));
    Image::new(vec![layer]).write_to(&publisher.folder.join("images"), "front").unwrap();
    write_manifest(&publisher, "oci:images:front");
    let refusal = refused(&publisher, "pod.yaml").await;
    assert_eq!(refusal.code, "image-refused");
    let status = run(&publisher, &["status", "pod"]).await.unwrap();
    assert_eq!(status["money"]["left"]["amount"], "20", "{status}");
    take_back(&publisher, "pod").await;
    close(market).await;
}

fn cut(layer: &Path) {
    let bytes = fs::read(layer).unwrap();
    fs::write(layer, &bytes[..bytes.len() / 2]).unwrap();
}

fn alter(layer: &Path) {
    let mut bytes = fs::read(layer).unwrap();
    bytes[100_000] ^= 1;
    fs::write(layer, bytes).unwrap();
}

/// What it is, the layer, the word for it, a part of what is said.
fn hostile(outside: &Path) -> Vec<(&'static str, Layer, &'static str, &'static str)> {
    use EntryType::{Block, Char, Link, Regular, Symlink};
    let away = outside.to_str().unwrap();
    let up = "../".repeat(20) + &away[1..];
    let refused = |name, tar, told| (name, Layer::raw(tar), "image-refused", told);
    let led_out = [archive(Symlink, "out", &up, b""), archive(Regular, "out/evil", "", b"x")];
    vec![
        refused("climbing path", archive(Regular, "../evil", "", b"x"), "'..'"),
        refused("climbing path within", archive(Regular, "a/../../evil", "", b"x"), "'..'"),
        refused("absolute path", archive(Regular, "/evil", "", b"x"), "absolute"),
        refused("absolute hard link", archive(Link, "f", "/etc/passwd", b""), "absolute"),
        refused("climbing hard link", archive(Link, "f", "../../etc/passwd", b""), "'..'"),
        refused("character device", archive(Char, "null", "", b""), "device"),
        refused("block device", archive(Block, "sda", "", b""), "device"),
        refused("no archive", vec![7; 4096], ""),
        // What the link leads to is looked up below the container's root, where it is not.
        refused("path through a link that leads out", led_out.concat(), "directories"),
        (
            "compression bomb",
            Layer::new().file("f", vec![0; IMAGE_LIMIT + 1], 0o644).gzip(),
            "image-too-large",
            "64Mi",
        ),
    ]
}

/// One entry as a stranger would write it: the crate's own setters refuse such paths.
fn archive(kind: EntryType, path: &str, link: &str, contents: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(contents.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(contents);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}
