//! What the chart renders, without a cluster.

use std::process::{Command, Output};

use crate::{chart, helm, root};

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The list of rules of the only ClusterRole.
fn rules(manifest: &str) -> &str {
    let role = manifest.split("\n---\n").find(|document| document.contains("kind: ClusterRole\n")).unwrap();
    role.split_once("\nrules:\n").unwrap().1.trim_end()
}

#[test]
fn it_is_without_a_blemish_and_the_plain_manifest_is_its_own() {
    let Some(helm) = helm() else { return };
    let linted = Command::new(&helm).args(["lint", "--strict"]).arg(chart()).output().unwrap();
    assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
    let rendered = Command::new(root().join("deploy/render")).arg(&helm).output().unwrap();
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let rendered = String::from_utf8(rendered.stdout).unwrap();
    assert!(rendered == read("deploy/kubernetes/apocryph.yaml"), "it is stale: make manifest");
}

#[test]
fn the_daemon_gets_the_rights_that_the_tests_of_its_engine_run_with() {
    let tried = read("deploy/kubernetes/rights.yaml");
    for given in ["deploy/kubernetes/apocryph.yaml", "deploy/helm/apocryph/templates/rights.yaml"] {
        assert_eq!(rules(&read(given)), rules(&tried), "{given}");
    }
}

fn template(values: &str) -> Option<Output> {
    let mut command = Command::new(helm()?);
    command.args(["template", "x", "--kube-version", "1.34.0", "--set-json", values]).arg(chart());
    Some(command.output().unwrap())
}

#[test]
fn what_makes_no_sense_is_refused() {
    let wrong = [
        r#"gateway={"replicas":0}"#,
        r#"gateway={"replica":2}"#,
        r#"gateway={"tcpPorts":{"first":70000,"last":70001}}"#,
        r#"gateway={"publicAddress":"gateway.example"}"#,
        r#"gateway={"hostNames":"anyone"}"#,
        r#"gateway={"resolver":"dns.example"}"#,
        r#"chain={"token":"0x12"}"#,
        r#"chain={"rpc":[]}"#,
        r#"prices={"memory":"-1"}"#,
        r#"prices={"memory":1}"#,
        r#"engine={"name":"My Engine"}"#,
        r#"link={"lease":"10 seconds"}"#,
        r#"name="a\"\nb = \"c""#,
        r#"daemon={"persistence":{"size":"100GB"}}"#,
        r#"serviceMonitors={"enabled":true}"#,
    ];
    for values in wrong {
        let Some(output) = template(values) else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("schema"), "{values}: {said}");
    }
}

#[test]
fn what_is_asked_for_is_there() {
    let values = r#"gateway={"replicas":3,"tlsSecret":"tls","tcpPorts":{"first":31000,"last":31002}},serviceMonitor={"enabled":true}"#;
    let Some(output) = template(values) else { return };
    let rendered = String::from_utf8(output.stdout).unwrap();
    for text in
        ["replicas: 3", "gateway-tls = \"0.0.0.0:8443\"", "tcp-31002", "31000-31002", "kind: ServiceMonitor"]
    {
        assert!(rendered.contains(text), "{text} is not in {rendered}");
    }
    assert!(!rendered.contains("tcp-31003"));
}
