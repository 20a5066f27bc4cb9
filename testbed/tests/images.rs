//! The sample images serve what they say, run by chroot alone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use apocryph_testbed::{images, layout::Image};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The image's one layer, unpacked.
fn unpacked(image: &Image, folder: &Path) {
    let layout = folder.join("layout");
    let written = image.write_to(&layout, "latest").unwrap();
    let layer = std::fs::File::open(layout.join("blobs/sha256").join(written.layers[0].hex())).unwrap();
    tar::Archive::new(layer).unpack(folder.join("root")).unwrap();
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn chroot(folder: &Path, program: &[&str]) -> Running {
    let mut command = Command::new("chroot");
    command.arg(folder.join("root")).args(program).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().unwrap())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What is answered to `request` once the port listens.
fn answer(port: u16, request: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.write_all(request.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            return text;
        }
        assert!(Instant::now() < deadline, "nothing listens at port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn is_root() -> bool {
    let root = std::fs::read_to_string("/proc/self/status").unwrap().contains("Uid:\t0\t");
    if !root {
        eprintln!("skipped: chroot needs root");
    }
    root
}

#[test]
fn redis_answers() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    unpacked(&images::redis().unwrap(), folder.path());
    let port = free_port();
    let options = ["/usr/bin/redis-server", "--port", &port.to_string(), "--dir", "/data"];
    let _redis = chroot(folder.path(), &options);
    assert_eq!(answer(port, "PING\r\n"), "+PONG\r\n");
}

#[test]
fn nginx_serves_the_page() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    unpacked(&images::nginx("the page").unwrap(), folder.path());
    let port = free_port();
    let configuration = folder.path().join("root/etc/nginx/nginx.conf");
    let text = std::fs::read_to_string(&configuration).unwrap();
    let text = text.replace("listen 80;", &format!("listen 127.0.0.1:{port};"));
    // Without a container there are no /dev/stdout and no /proc.
    std::fs::write(&configuration, text.replace("/dev/stdout", "off")).unwrap();
    std::fs::create_dir(folder.path().join("root/dev")).unwrap();
    std::fs::write(folder.path().join("root/dev/null"), "").unwrap();
    let nginx = chroot(
        folder.path(),
        &["/usr/sbin/nginx", "-c", "/etc/nginx/nginx.conf", "-g", "master_process off;"],
    );
    assert!(answer(port, "GET / HTTP/1.0\r\n\r\n").ends_with("the page"));
    drop(nginx);
}

#[test]
fn the_back_says_its_text() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    unpacked(&images::back("from behind").unwrap(), folder.path());
    let port = free_port();
    let _back =
        chroot(folder.path(), &["/bin/httpd", "-f", "-p", &format!("127.0.0.1:{port}"), "-h", "/srv"]);
    assert!(answer(port, "GET / HTTP/1.0\r\n\r\n").ends_with("from behind"));
}
