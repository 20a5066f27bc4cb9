use crate::home::Home;

#[test]
fn help_is_worth_reading() {
    insta::assert_snapshot!(Home::new().run("--help"));
}

#[test]
fn deploy_explains_itself() {
    insta::assert_snapshot!(Home::new().run("deploy --help"));
}

#[test]
fn a_mistyped_command_is_corrected() {
    insta::assert_snapshot!(Home::new().run("deplyo"));
}

#[test]
fn the_schema_is_json() {
    let schema = Home::new().command("manifest schema").output().unwrap();
    assert!(schema.status.success());
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(schema["properties"]["containers"].is_object());
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Home::new().command(&format!("completions {shell}")).output().unwrap();
        assert!(script.status.success() && script.stdout.len() > 1000, "{shell}");
    }
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let home = Home::new();
    let mut child = home.command("completions bash").stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
