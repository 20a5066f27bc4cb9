use crate::home::Home;

const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// Port 1 of this machine: nothing listens there.
const CONFIG: &str = r#"
[chain]
rpc = ["http://127.0.0.1:1"]
id = 31337
payment = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
registry = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
"#;

fn configured() -> Home {
    let home = Home::new();
    home.write(".config/apocryph/config.toml", CONFIG);
    home
}

fn with_key(home: &Home, line: &str) -> String {
    home.shown(&home.command(line).env("APOCRYPH_KEY", KEY).output().unwrap())
}

#[test]
fn settings_that_are_missing_are_named() {
    insta::assert_snapshot!(with_key(&Home::new(), "providers"));
}

#[test]
fn a_configuration_file_that_is_wrong_is_shown() {
    let home = Home::new();
    home.write(".config/apocryph/config.toml", "[chain]\nid = 1\nrpcs = []\n");
    insta::assert_snapshot!(with_key(&home, "ls"));
}

#[test]
fn an_argument_that_is_wrong_says_what_is_allowed() {
    let home = configured();
    insta::assert_snapshot!(with_key(&home, "status No_Name"));
    insta::assert_snapshot!(with_key(&home, "fund web -- -1"));
    insta::assert_snapshot!(with_key(&home, "deploy --provider 0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"));
    insta::assert_snapshot!(with_key(&home, "logs web --since yesterday"));
}

#[test]
fn a_key_that_is_missing_or_locked_says_how_to_give_it() {
    let home = configured();
    insta::assert_snapshot!(home.run("ls"));
    home.write("key", "not a key");
    insta::assert_snapshot!(home.run("ls --key-file key"));
    home.write("password", "secret\n");
    home.run("init --key-file key.json --password-file password");
    insta::assert_snapshot!(home.run("ls --key-file key.json"));
}

#[test]
fn a_manifest_that_is_missing_or_wrong_is_told_first() {
    let home = configured();
    insta::assert_snapshot!(with_key(&home, "deploy"));
    home.write("apocryph.yaml", "name: web\ncontainers:\n  - name: main\n    imag: nginx\n");
    insta::assert_snapshot!(with_key(&home, "deploy"));
}

#[test]
fn a_question_needs_a_terminal() {
    let home = configured();
    let init = home.command("init").env("APOCRYPH_KEY", KEY).output().unwrap();
    assert!(init.status.success());
    insta::assert_snapshot!(with_key(&home, "deploy --strategy ask"));
}

#[test]
fn a_chain_that_is_away_is_told_with_the_code_for_a_repeat() {
    insta::assert_snapshot!(with_key(&configured(), "providers"));
}

#[test]
fn programs_are_told_in_json() {
    let home = configured();
    let output = home.command("status web --json").env("APOCRYPH_KEY", KEY).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stderr.is_empty());
    let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["code"], "not-deployed");
    assert_eq!(error["error"]["retry"], false);
    assert_eq!(error["exitCode"], 3);
}

#[test]
fn programs_are_told_every_problem_of_a_manifest() {
    let home = configured();
    home.write("apocryph.yaml", "name: web\ncontainers:\n  - name: main\n    imag: nginx\n");
    let output = home.command("deploy --json").env("APOCRYPH_KEY", KEY).output().unwrap();
    let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = error["error"]["text"].as_str().unwrap();
    assert_eq!(text, "apocryph.yaml is not a valid manifest: unknown field `imag`");
}
