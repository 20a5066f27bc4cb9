//! The registry endpoint, asked by hand.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use apocryph_model::Digest;
use apocryph_provider::Registry as _;
use apocryph_publisher::LocalBlob;
use apocryph_seal::sha256;
use serde_json::Value;

use crate::registry_server::{PODS, RegistryServer};

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
        Some(line[name.len() + 1..].trim())
    }

    fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

/// Sends one request and reads until the connection closes.
async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    tokio::task::spawn_blocking(move || ask_blocking(address, &request)).await.unwrap()
}

fn ask_blocking(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

fn blob(folder: &Path, contents: &[u8]) -> LocalBlob {
    let digest = sha256(contents);
    let path = folder.join(digest.hex());
    fs::write(&path, contents).unwrap();
    LocalBlob { digest, size: contents.len() as u64, path }
}

fn bearer(server: &RegistryServer, blobs: &[LocalBlob]) -> String {
    format!("authorization: Bearer {}\r\n", server.admit(PODS[0], blobs))
}

fn path_of(kind: &str, digest: Digest) -> String {
    format!("/v2/pod/web/{kind}/{digest}")
}

#[tokio::test]
async fn blobs_whole_in_part_and_by_head() {
    let folder = tempfile::tempdir().unwrap();
    let contents: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
    let blobs = [blob(folder.path(), &contents)];
    let server = RegistryServer::start(&blobs).await;
    let auth = bearer(&server, &blobs);
    let path = path_of("blobs", blobs[0].digest);
    let etag = format!("\"{}\"", blobs[0].digest);

    let whole = ask(server.address, "GET", &path, &auth).await;
    assert_eq!((whole.status, whole.body == contents), (200, true));
    assert_eq!(whole.header("docker-content-digest"), Some(&*blobs[0].digest.to_string()));
    assert_eq!(whole.header("etag"), Some(&*etag));

    let head = ask(server.address, "HEAD", &path, &auth).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("1000000")));
    assert!(head.body.is_empty());

    let range = |range: &str| format!("{auth}range: bytes={range}\r\n");
    let part = ask(server.address, "GET", &path, &range("10-19")).await;
    assert_eq!((part.status, part.body.as_slice()), (206, &contents[10..20]));
    assert_eq!(part.header("content-range"), Some("bytes 10-19/1000000"));

    let beyond = ask(server.address, "GET", &path, &range("1000000-")).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */1000000")));

    let same = ask(server.address, "GET", &path, &format!("{}if-range: {etag}\r\n", range("0-0"))).await;
    assert_eq!(same.status, 206);
    let other = ask(server.address, "GET", &path, &format!("{}if-range: \"x\"\r\n", range("0-0"))).await;
    assert_eq!(other.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_manifest_comes_under_its_own_media_type() {
    let folder = tempfile::tempdir().unwrap();
    let typed = blob(folder.path(), br#"{"mediaType":"application/vnd.oci.image.index.v1+json"}"#);
    let untyped = blob(folder.path(), b"{}");
    let blobs = [typed, untyped];
    let server = RegistryServer::start(&blobs).await;
    let auth = bearer(&server, &blobs);
    for (blob, expected) in blobs.iter().zip(["index", "manifest"]) {
        let answer = ask(server.address, "GET", &path_of("manifests", blob.digest), &auth).await;
        assert_eq!(answer.status, 200);
        let media_type = format!("application/vnd.oci.image.{expected}.v1+json");
        assert_eq!(answer.header("content-type"), Some(&*media_type));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_token_opens_its_tenants_digests_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = [blob(folder.path(), b"mine"), blob(folder.path(), b"theirs")];
    let server = RegistryServer::start(&blobs).await;
    let auth = bearer(&server, &blobs[..1]);
    server.admit(PODS[1], &blobs[1..]);
    let ask = async |kind: &str, blob: &LocalBlob, auth: &str| {
        ask(server.address, "GET", &path_of(kind, blob.digest), auth).await
    };
    assert_eq!(ask("blobs", &blobs[0], &auth).await.status, 200);
    let refused = ask("blobs", &blobs[1], &auth).await;
    assert_eq!((refused.status, refused.code().as_str()), (404, "BLOB_UNKNOWN"));
    let refused = ask("manifests", &blobs[1], &auth).await;
    assert_eq!((refused.status, refused.code().as_str()), (404, "MANIFEST_UNKNOWN"));
    let anonymous = ask("blobs", &blobs[0], "").await;
    assert_eq!((anonymous.status, anonymous.code().as_str()), (401, "UNAUTHORIZED"));
    assert_eq!(anonymous.header("www-authenticate"), Some("Basic realm=\"apocryph\""));
    server.grants.dismiss(PODS[0]);
    assert_eq!(ask("blobs", &blobs[0], &auth).await.status, 401);
    server.stop().await;
}

#[tokio::test]
async fn errors_are_in_the_specifications_words() {
    let server = RegistryServer::start(&[]).await;
    let auth = bearer(&server, &[]);
    for (method, path, status, code) in [
        ("GET", "/v2/pod/manifests/latest", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/pod/blobs/sha256:00", 400, "DIGEST_INVALID"),
        ("GET", "/v2/POD/blobs/sha256:00", 400, "NAME_INVALID"),
        ("GET", "/v2/pod/tags/list", 404, "UNSUPPORTED"),
        ("POST", "/v2/pod/blobs/uploads/", 405, "UNSUPPORTED"),
        ("DELETE", "/v2/", 405, "UNSUPPORTED"),
    ] {
        let answer = ask(server.address, method, path, &auth).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
    }
    let base = ask(server.address, "GET", "/v2/", &auth).await;
    assert_eq!(base.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn damaged_files_are_never_given_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let contents = vec![7; 1_000_000];
    let blobs = [blob(folder.path(), &contents), blob(folder.path(), b"{}")];
    let server = RegistryServer::start(&blobs).await;
    let auth = bearer(&server, &blobs);
    let mut damaged = contents.clone();
    damaged[500_000] = 8;
    fs::write(&blobs[0].path, damaged).unwrap();
    fs::write(&blobs[1].path, "[]").unwrap();
    let answer = ask(server.address, "GET", &path_of("blobs", blobs[0].digest), &auth).await;
    assert!(answer.status == 200 && answer.body.len() < contents.len());
    let answer = ask(server.address, "GET", &path_of("manifests", blobs[1].digest), &auth).await;
    assert_eq!((answer.status, answer.code().as_str()), (500, "UNKNOWN"));
    server.stop().await;
}

#[tokio::test]
async fn a_blob_that_went_is_unknown_and_garbage_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let known = [blob(folder.path(), b"here")];
    let server = RegistryServer::start(&[]).await;
    let auth = bearer(&server, &known);
    let gone = ask(server.address, "GET", &path_of("blobs", known[0].digest), &auth).await;
    assert_eq!((gone.status, gone.code().as_str()), (404, "BLOB_UNKNOWN"));
    let garbage = ask(server.address, "\0\0", "\u{7f}", "").await;
    assert_eq!(garbage.status, 400);
    server.stop().await;
}
