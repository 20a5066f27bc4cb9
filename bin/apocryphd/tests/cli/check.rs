//! What `check` finds missing on this host, each tried for real: where root is needed, in
//! namespaces that end with the try.

use crate::provider::{Provider, text};
use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_apocryphd");

/// A host on which all is well but for what a test takes away.
fn provider() -> Provider {
    let provider = Provider::new();
    provider.init();
    for setting in ["gateway = \"0.0.0.0:8080", "p2p = \"0.0.0.0:4001", "health = \"127.0.0.1:9090"] {
        let key = setting.split(' ').next().unwrap();
        provider.set(setting, &format!("{key} = \"127.0.0.1:0"));
    }
    // What this machine's resolver answers is none of a test's business.
    provider.set("host-names = \"dns\"", "host-names = \"first-come\"");
    provider
}

/// What is lacking, with its remedy, where the shell's `script` runs the check as `"$@"`.
fn lacks_within(provider: &Provider, program: &str, path: &str, script: &str) -> Vec<(String, String)> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh", program]).args(provider.settings()).args(["check", "--json"]);
    let output = command.env_clear().env("PATH", path).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let first = text(&output.stdout).lines().next().unwrap_or_default().to_owned();
    let report: serde_json::Value = serde_json::from_str(&first).unwrap();
    let fatal = report["lacks"].as_array().unwrap().iter().filter(|lack| lack["fatal"] == true);
    let field = |lack: &serde_json::Value, name: &str| lack[name].as_str().unwrap().to_owned();
    fatal.map(|lack| (field(lack, "what"), field(lack, "remedy"))).collect()
}

fn lacks(provider: &Provider) -> Vec<(String, String)> {
    lacks_within(provider, PROGRAM, "/usr/sbin:/usr/bin:/sbin:/bin", "exec \"$@\"")
}

/// Exactly one of the lacks is of this, and names the remedy.
#[track_caller]
fn assert_told(lacks: &[(String, String)], what: &str, remedy: &str) {
    let found: Vec<_> = lacks.iter().filter(|(told, _)| told.contains(what)).collect();
    assert!(found.len() == 1 && found[0].1.contains(remedy), "{what}: {lacks:?}");
}

#[track_caller]
fn assert_not_told(lacks: &[(String, String)], what: &str) {
    assert!(lacks.iter().all(|(told, _)| !told.contains(what)), "{what}: {lacks:?}");
}

fn is_root() -> bool {
    let root = fs::read_to_string("/proc/self/status").unwrap().contains("Uid:\t0\t");
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

#[test]
fn a_user_who_is_not_root_is_told_so() {
    let provider = provider();
    if !is_root() {
        return assert_told(&lacks(&provider), "root", "start the daemon as root");
    }
    assert_not_told(&lacks(&provider), "root");
    // Nobody may enter the folder that the program was built in.
    let program = provider.folder.path().join("apocryphd");
    fs::copy(PROGRAM, &program).unwrap();
    for open in [provider.folder.path().to_owned(), program.clone()] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let nobody = "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
    let lacks = lacks_within(&provider, program.to_str().unwrap(), "/usr/bin:/bin", nobody);
    assert_told(&lacks, "root", "start the daemon as root");
}

#[test]
fn a_missing_runtime_and_a_missing_nft_are_named() {
    if !is_root() {
        return;
    }
    let provider = provider();
    let complete = lacks(&provider);
    assert_not_told(&complete, "OCI runtime");
    assert_not_told(&complete, "nft");
    let programs = provider.folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let path = programs.to_str().unwrap();
    let bare = lacks_within(&provider, PROGRAM, path, "exec \"$@\"");
    assert_told(&bare, "the OCI runtime: crun", "apt-get install crun");
    assert_told(&bare, "nft", "apt-get install nftables");
    symlink("/usr/bin/crun", programs.join("crun")).unwrap();
    assert_not_told(&lacks_within(&provider, PROGRAM, path, "exec \"$@\""), "OCI runtime");
}

#[test]
fn a_disk_that_takes_no_overlay_is_named() {
    if !is_root() {
        return;
    }
    let provider = provider();
    assert_not_told(&lacks(&provider), "overlay");
    // An overlay is no place for the upper side of another.
    let data = provider.data();
    let beside = |name: &str| {
        let folder = provider.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder.display().to_string()
    };
    let options = format!("lowerdir={0},upperdir={1},workdir={2}", data.display(), beside("u"), beside("w"));
    let script = format!(
        "exec unshare -m sh -c 'mount -t overlay o -o {options} {} && exec \"$@\"' sh \"$@\"",
        data.display()
    );
    let found = lacks_within(&provider, PROGRAM, "/usr/sbin:/usr/bin:/sbin:/bin", &script);
    assert_told(&found, "overlay mounts on", "ext4");
}

#[test]
fn a_subnet_that_the_host_uses_is_named() {
    if !is_root() {
        return;
    }
    let provider = provider();
    provider.set("subnet = \"10.88.0.0/16\"", "subnet = \"10.213.0.0/16\"");
    let within = |address: &str| {
        let link = "ip link add other type bridge && ip addr add";
        let script = format!("exec unshare -n sh -c '{link} {address} dev other && exec \"$@\"' sh \"$@\"");
        lacks_within(&provider, PROGRAM, "/usr/sbin:/usr/bin:/sbin:/bin", &script)
    };
    assert_told(&within("10.213.7.7/32"), "10.213.7.7 of the link other", "engine.subnet");
    assert_not_told(&within("10.214.7.7/32"), "subnet");
}

#[test]
fn ports_that_another_program_has_are_named() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    for key in ["gateway", "registry", "health", "p2p"] {
        let provider = provider();
        assert_not_told(&lacks(&provider), "listen.");
        provider.set(&format!("{key} = \"127.0.0.1:0\""), &format!("{key} = \"{taken}\""));
        let what = format!("listen.{key}: {taken} cannot be listened on");
        assert_told(&lacks(&provider), &what, &format!("set listen.{key}"));
    }
    let provider = provider();
    let taken = datagrams.local_addr().unwrap();
    provider.set("p2p = \"127.0.0.1:0\"", &format!("p2p = \"{taken}\""));
    assert_told(&lacks(&provider), &format!("listen.p2p: {taken}"), "set listen.p2p");
}

#[test]
fn a_chain_that_does_not_answer_is_named() {
    assert_told(&lacks(&provider()), "the chain: no chain endpoint answers", "[chain]");
}
