//! Images for tests.

use std::process::Command;

use crate::images::with_own_program;
use crate::layout::{Image, Layer};

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

/// The image with a shell, and in it the program of `attack.c`, which also stands there as one that
/// runs as root whoever starts it.
pub fn attacker() -> Image {
    let program = attack();
    let attack = Layer::new()
        .file("bin/attack", program.clone(), 0o755)
        .file("bin/attack-as-root", program, 0o4755)
        .gzip();
    shell().with_layer(attack)
}

/// The image with a shell, and in it the program of `sample-app.rs`, as `app`.
pub fn answering() -> Image {
    shell().with_layer(with_own_program(Layer::new(), "sample-app", "bin/app").unwrap().gzip())
}

/// Compiled here: by the C compiler that Rust links with.
fn attack() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("attack.c"), folder.path().join("attack"));
    std::fs::write(&source, include_str!("attack.c")).unwrap();
    let compiled = Command::new("cc").args(["-static", "-Os", "-o"]).arg(&program).arg(&source).status();
    assert!(compiled.expect("gcc and libc6-dev are installed").success());
    std::fs::read(program).unwrap()
}
