use crate::home::Home;
use std::{fs, os::unix::fs::PermissionsExt as _};

const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const CHAIN: &str = "--rpc http://127.0.0.1:8545 --chain-id 31337 \
                     --payment 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed \
                     --registry 0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";

#[test]
fn everything_is_written_once() {
    let home = Home::new();
    let init = || home.shown(&home.command("init").env("APOCRYPH_PASSWORD", "secret").output().unwrap());
    let first = init();
    assert!(first.starts_with("exit 0"), "{first}");
    let key = ".config/apocryph/key.json";
    let mode = fs::metadata(home.path().join(key)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = (home.read("apocryph.yaml"), home.read(key));
    let second = init();
    assert_eq!(second.matches("was there, left as it is").count(), 3, "{second}");
    assert_eq!(written, (home.read("apocryph.yaml"), home.read(key)));
    let account = |shown: &str| shown.lines().find(|l| l.starts_with("account")).unwrap().to_owned();
    assert_eq!(account(&first), account(&second));
}

#[test]
fn a_key_of_the_environment_is_not_written() {
    let home = Home::new();
    let line = format!("init --name shop --image oci:image {CHAIN}");
    let output = home.command(&line).env("APOCRYPH_KEY", KEY).output().unwrap();
    insta::assert_snapshot!(home.shown(&output));
    assert!(!home.path().join(".config/apocryph/key.json").exists());
    let config = home.read(".config/apocryph/config.toml");
    insta::assert_snapshot!(config.replace(&home.path().display().to_string(), "HOME"));
    let manifest = home.read("apocryph.yaml");
    assert!(manifest.contains("name: shop") && manifest.contains("image: oci:image"), "{manifest}");
}

#[test]
fn what_init_wrote_is_what_the_others_read() {
    let home = Home::new();
    let init = home.command(&format!("init {CHAIN}")).env("APOCRYPH_PASSWORD", "secret").output().unwrap();
    assert!(init.status.success());
    let listed = home.command("ls --json").env("APOCRYPH_PASSWORD", "secret").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(r#""command":"ls""#) && listed.contains(r#""result":[]"#), "{listed}");
    let wrong = home.command("ls").env("APOCRYPH_PASSWORD", "wrong").output().unwrap();
    insta::assert_snapshot!(home.shown(&wrong));
}
