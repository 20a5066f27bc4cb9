//! Images that are wrong or hostile: each is refused in words that say why, leaves nothing behind,
//! and reaches nothing outside. Needs root.

#![expect(clippy::unwrap_used, reason = "these are tests: what fails is to panic")]

mod support;

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

use apocryph_model::{Digest, Who};
use apocryph_provider::{Engine as _, EngineError, EnginePod};
use apocryph_seal::{DeploymentKey, sha256};
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject as _, shell};
use apocryph_testbed::layout::{Image, Layer, host_architecture};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use support::{Bench, with_engine};
use tar::{EntryType, Header};

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn pod(bench: &Bench, image: Digest) -> EnginePod {
    PodUnderTest::new(1, image).container("main", "sleep 600").build(bench)
}

/// Prepares the image and expects the publisher's fault of this code; gives its text.
async fn refused(bench: &Bench, image: Digest, code: &str) -> String {
    let pod = pod(bench, image);
    let Err(EngineError::Pod(fault)) = bench.engine().prepare(&pod).await else { panic!("{code}: taken") };
    assert_eq!((fault.who, fault.code.as_str(), fault.retry), (Who::Publisher, code, false), "{fault}");
    assert_eq!(bench.engine().pods().await.unwrap(), []);
    assert!(bench.layers().is_empty(), "{:?}", bench.layers());
    fault.text
}

fn header(kind: EntryType, path: &str, link: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    // As a stranger would: the crate's own setters refuse such paths.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o755);
    header.set_cksum();
    header
}

fn archive(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, path, link, contents) in entries {
        bytes.extend_from_slice(header(*kind, path, link, contents.len() as u64).as_bytes());
        bytes.extend_from_slice(contents);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn image_of(bench: &Bench, tar: &[u8]) -> Digest {
    bench.put_image(&[(bench.put_layer(TAR, tar), tar)], host_architecture())
}

#[test]
fn hostile_archives_are_refused() {
    use EntryType::{Block, Char, Directory, Link, Regular, Symlink};
    with_engine(|bench| {
        Box::pin(async move {
            let outside = bench.dir.path().join("outside");
            std::fs::create_dir(&outside).unwrap();
            let away = outside.to_str().unwrap();
            let up = "../".repeat(20) + &away[1..];
            for (entries, problem) in [
                (vec![(Regular, "../evil", "", &b"x"[..])], "'..'"),
                (vec![(Regular, "a/../../evil", "", b"x")], "'..'"),
                (vec![(Regular, "/evil", "", b"x")], "absolute"),
                (vec![(Char, "null", "", b"")], "device"),
                (vec![(Block, "sda", "", b"")], "device"),
                (vec![(Link, "passwd", "/etc/passwd", b"")], "absolute"),
                (vec![(Link, "passwd", "../../etc/passwd", b"")], "'..'"),
                (vec![(Link, "mine", "not/there", b"")], "does not have"),
                (vec![(Link, "same", "same", b"")], "itself"),
                (vec![(Regular, "file", "", b""), (Regular, "file/below", "", b"x")], "directories"),
                (vec![(Symlink, "loop", "loop", b""), (Regular, "loop/x", "", b"x")], "directories"),
                (vec![(Regular, "dir/.wh...", "", b"")], "whiteout"),
                (vec![(EntryType::GNUSparse, "holes", "", b"")], "sparse"),
            ] {
                let text = refused(bench, image_of(bench, &archive(&entries)), "image-refused").await;
                assert!(text.contains(problem), "{text}");
            }
            // Links that lead out are good inside: they are resolved below the container's root.
            for target in [away, &up] {
                let same = (Directory, &away[1..], "", &b""[..]);
                let tar = archive(&[same, (Symlink, "out", target, b""), (Regular, "out/evil", "", b"x")]);
                let pod = pod(bench, image_of(bench, &tar));
                bench.engine().prepare(&pod).await.unwrap();
                let inside = bench.layers()[0].join(&away[1..]).join("evil");
                assert!(inside.exists(), "{}", inside.display());
                bench.engine().remove(pod.id).await.unwrap();
            }
            let dirs =
                archive(&[(Directory, "d", "", b""), (Symlink, "d", away, b""), (Directory, "d", "", b"")]);
            bench.engine().prepare(&pod(bench, image_of(bench, &dirs))).await.unwrap();
            assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        })
    });
}

#[test]
fn damaged_and_foreign_images_are_refused() {
    with_engine(|bench| {
        Box::pin(async move {
            bench.pull_unseen().await;
            let tar = Layer::new().file("file", vec![7; 300_000], 0o644).to_tar().unwrap();
            let good = bench.put_layer(TAR, &tar);
            let blob = bench.shipyard.blob(good["digest"].as_str().unwrap().parse().unwrap());
            let image = bench.put_image(&[(good.clone(), &tar)], host_architecture());
            let ciphertext = std::fs::read(&blob).unwrap();
            let mut flipped = ciphertext.clone();
            flipped[200_000] ^= 1;
            let longer = [&ciphertext[..], b"more"].concat();
            for wrong in [ciphertext[..100_000].to_vec(), flipped.clone(), longer, Vec::new()] {
                std::fs::write(&blob, wrong).unwrap();
                refused(bench, image, "image-damaged").await;
            }
            std::fs::remove_file(&blob).unwrap();
            refused(bench, image, "image-missing").await;

            let mut altered = good.clone();
            altered["digest"] = json!(bench.put(&flipped));
            let altered = bench.put_image(&[(altered, &tar)], host_architecture());
            assert!(refused(bench, altered, "image-key").await.contains("altered"));
            let mut plain = good.clone();
            plain["mediaType"] = json!(TAR);
            refused(bench, bench.put_image(&[(plain, &tar)], host_architecture()), "image-not-encrypted")
                .await;
            let text =
                refused(bench, bench.put_image(&[(good.clone(), &tar)], "m68k"), "image-platform").await;
            assert!(text.contains("linux/m68k"), "{text}");
            std::fs::write(&blob, ciphertext).unwrap();
            let other = refused(
                bench,
                bench.put_image(&[(good.clone(), b"other")], host_architecture()),
                "image-refused",
            );
            assert!(other.await.contains(&sha256(b"other").to_string()));

            let key = std::mem::replace(&mut bench.shipyard.key, DeploymentKey::generate().unwrap());
            refused(bench, image, "image-key").await;
            bench.shipyard.key = key;
            bench.engine().prepare(&pod(bench, image)).await.unwrap();
        })
    });
}

#[test]
fn malformed_manifests_are_refused() {
    with_engine(|bench| {
        Box::pin(async move {
            bench.pull_unseen().await;
            refused(bench, bench.put(b"{"), "image-malformed").await;
            refused(bench, bench.put_manifest(b"no json", &json!([])), "image-malformed").await;
            refused(bench, bench.put(&vec![b' '; 5 << 20]), "image-damaged").await;
            refused(bench, Digest([1; 32]), "image-missing").await;
            refused(bench, bench.put_image(&[], host_architecture()), "image-malformed").await;
            let tar = Layer::new().to_tar().unwrap();
            let many: Vec<(Value, &[u8])> = vec![(bench.put_layer(TAR, &tar), &tar); 129];
            let text = refused(bench, bench.put_image(&many, host_architecture()), "image-malformed").await;
            assert!(text.contains("129"), "{text}");
        })
    });
}

#[test]
fn bombs_are_defused() {
    with_engine(|bench| {
        Box::pin(async move {
            let bomb = Layer::new().file("zeros", vec![0; 80 << 20], 0o644).to_tar().unwrap();
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            gzip.write_all(&bomb).unwrap();
            let packed = gzip.finish().unwrap();
            assert!(packed.len() < 1 << 20);
            let layer = bench.put_layer(GZIP, &packed);
            let image = bench.put_image(&[(layer, &bomb)], host_architecture());
            assert!(refused(bench, image, "image-too-large").await.contains("64Mi"));
            // As many files as there is room for, and one more.
            let entries: Vec<Vec<u8>> =
                (0..20_000).map(|n| archive(&[(EntryType::Regular, &format!("f{n}"), "", b"")])).collect();
            let many: Vec<u8> = entries.iter().flat_map(|entry| entry[..512].to_vec()).collect();
            refused(bench, image_of(bench, &many), "image-too-large").await;
            // An archive that ends early, with more behind it than padding.
            let mut trailer = archive(&[(EntryType::Regular, "f", "", b"x")]);
            trailer.resize(20 << 20, 0);
            assert!(refused(bench, image_of(bench, &trailer), "image-refused").await.contains("follows"));
        })
    });
}

#[test]
fn layers_hide_and_keep_what_they_should() {
    with_engine(|bench| {
        Box::pin(async move {
            let script =
                "ls /data /opaque; cat /data/replaced; ls -n /data/owned | head -c 22; echo; sleep 600";
            let busybox = std::fs::read("/bin/busybox").unwrap();
            let base = Layer::new().file("bin/sh", busybox, 0o755);
            let mut base = base.file("data/gone", "", 0o644).file("data/replaced", "old", 0o644);
            base = base.file("opaque/below", "", 0o644).symlink("bin/ls", "sh").symlink("bin/cat", "sh");
            let base = base.symlink("bin/sleep", "sh").symlink("bin/head", "sh").gzip();
            let upper = Layer::new().file("data/.wh.gone", "", 0o644).file("data/replaced", "new\n", 0o644);
            let upper = upper.file("opaque/.wh..wh..opq", "", 0o644).file("opaque/above", "", 0o644);
            let mut owned = Header::new_gnu();
            owned.set_size(0);
            owned.set_mode(0o4711);
            owned.set_uid(123);
            owned.set_gid(456);
            let mut tar = tar::Builder::new(Vec::new());
            tar.append_data(&mut owned, "data/owned", &b""[..]).unwrap();
            let (base, upper, owned) =
                (base.to_tar().unwrap(), upper.to_tar().unwrap(), tar.into_inner().unwrap());
            let zstd = zstd::encode_all(&upper[..], 3).unwrap();
            let image = bench.put_image(
                &[
                    (bench.put_layer(TAR, &base), &base),
                    (bench.put_layer("application/vnd.oci.image.layer.v1.tar+zstd", &zstd), &upper),
                    (bench.put_layer(TAR, &owned), &owned),
                    (bench.put_layer(TAR, &owned), &owned),
                ],
                host_architecture(),
            );
            let lines = bench.first_lines(PodUnderTest::new(1, image).container("main", script), 7).await;
            assert_eq!(lines[..5], ["/data:", "owned", "replaced", "", "/opaque:"]);
            assert_eq!(lines[5..7], ["above", "new"]);
            let file =
                bench.layers().iter().find_map(|layer| layer.join("data/owned").metadata().ok()).unwrap();
            assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (123, 456, 0o4711));
        })
    });
}

#[test]
fn layers_are_shared_within_a_publisher_only() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let mine = pod(bench, image);
            let theirs = PodUnderTest::new(2, image).container("main", "sleep 600").build(bench);
            let mut other = PodUnderTest::new(3, image).container("main", "sleep 601").build(bench);
            other.publisher = mine.publisher;
            for pod in [&mine, &theirs, &other] {
                bench.engine().prepare(pod).await.unwrap();
            }
            assert_eq!(bench.layers().len(), 4, "two layers for each publisher");
            bench.engine().remove(mine.id).await.unwrap();
            assert_eq!(bench.layers().len(), 4, "the publisher's other pod needs them");
            bench.engine().remove(theirs.id).await.unwrap();
            bench.engine().remove(other.id).await.unwrap();
            assert!(bench.layers().is_empty());
        })
    });
}

#[test]
fn a_full_disk_is_the_hosts_fault() {
    with_engine(|bench| {
        Box::pin(async move {
            bench.restart_on_small_disk(4 << 20).await;
            let image =
                Image::new(vec![Layer::new().file("big", vec![1; 8 << 20], 0o644)]).command(&["/big"]);
            let image = bench.ship(&image);
            let Err(EngineError::Host(fault)) = bench.engine().prepare(&pod(bench, image)).await else {
                panic!("it fits");
            };
            assert_eq!((fault.who, fault.code.as_str(), fault.retry), (Who::Provider, "disk-full", true));
            assert_eq!(bench.engine().pods().await.unwrap(), []);
            assert!(bench.layers().is_empty());
        })
    });
}
