//! What a publisher is told of a manifest that is wrong, word for word.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use apocryph_manifest::{MAX_BYTES, parse};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

const GOOD: &str = "\
name: shop
containers:
  - name: web
    image: docker.io/library/nginx:1.27
    env:
      MODE: fast
    ports:
      - {http: 80, host: shop.example.com}
    mounts:
      - {volume: data, path: /data}
    resources: {cpu: 250m, memory: 64Mi, storage: 1Gi}
volumes:
  - {name: data, persistent: 1Gi}
";

/// What is shown of a file.
fn shown(bytes: &[u8]) -> String {
    let error = parse(bytes, "apocryph.yaml").unwrap_err();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut text = String::new();
    handler.render_report(&mut text, &error as &dyn Diagnostic).unwrap();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// What is shown when one text of the good manifest is another.
fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from} is not in the manifest");
    shown(GOOD.replacen(from, to, 1).as_bytes())
}

#[test]
fn the_manifest_that_is_changed_is_good() {
    assert!(parse(GOOD.as_bytes(), "apocryph.yaml").is_ok());
}

#[test]
fn unknown_field() {
    insta::assert_snapshot!(changed("image:", "imgae:"));
}

#[test]
fn unknown_field_like_no_other() {
    insta::assert_snapshot!(changed("name: shop", "name: shop\nprivileged: true"));
}

/// What would let a pod out of its place is nothing that a manifest has words for.
#[test]
fn power_over_the_host_has_no_words() {
    let of_pod = [
        "hostNetwork: true",
        "hostPID: true",
        "hostIPC: true",
        "hostUsers: true",
        "privileged: true",
        "serviceAccount: admin",
        "serviceAccountName: admin",
        "automountServiceAccountToken: true",
        "namespace: kube-system",
        "nodeName: node",
        "nodeSelector: {a: b}",
        "runtimeClassName: runc",
        "tolerations: []",
        "priorityClassName: high",
        "annotations: {a: b}",
        "labels: {a: b}",
        "imagePullSecrets: []",
        "initContainers: []",
        "hostAliases: []",
        "dnsPolicy: Default",
        "sysctls: [{name: kernel.shm_rmid_forced, value: '0'}]",
        "securityContext: {runAsUser: 0}",
    ];
    let of_container = [
        "privileged: true",
        "capabilities: {add: [SYS_ADMIN]}",
        "cap_add: [SYS_ADMIN]",
        "devices: [/dev/sda]",
        "hostNetwork: true",
        "network_mode: host",
        "pid: host",
        "sysctls: {net.core.somaxconn: 1}",
        "securityContext: {privileged: true}",
        "seccomp: unconfined",
        "apparmor: unconfined",
        "readonlyRootfs: false",
        "lifecycle: {}",
        "volumeDevices: []",
        "ulimits: {nproc: -1}",
    ];
    let of_volume = [
        "hostPath: {path: /}",
        "path: /",
        "nfs: {server: a}",
        "csi: {driver: a}",
        "claimName: other",
        "source: /",
    ];
    let of_mount = ["subPath: ../..", "hostPath: /", "mountPropagation: Bidirectional", "source: /"];
    let refused = |word: &str, text: String| {
        let key = word.split(':').next().unwrap();
        assert!(text.contains("unknown field") && text.contains(key), "{word}: {text}");
    };
    for word in of_pod {
        refused(word, changed("name: shop", &format!("name: shop\n{word}")));
    }
    for word in of_container {
        refused(word, changed("name: web", &format!("name: web\n    {word}")));
    }
    for word in of_volume {
        refused(word, changed("{name: data, ", &format!("{{{word}, name: data, ")));
    }
    for word in of_mount {
        refused(word, changed("{volume: data, ", &format!("{{{word}, volume: data, ")));
    }
}

#[test]
fn missing_field() {
    insta::assert_snapshot!(changed("    resources: {cpu: 250m, memory: 64Mi, storage: 1Gi}\n", ""));
}

#[test]
fn field_given_twice() {
    insta::assert_snapshot!(changed("name: shop", "name: shop\nname: other"));
}

#[test]
fn wrong_units_are_all_told() {
    let text =
        GOOD.replace("250m", "250mc").replace("64Mi", "64MB").replace("persistent: 1Gi", "persistent: 1gb");
    insta::assert_snapshot!(shown(text.as_bytes()));
}

#[test]
fn negative_size() {
    insta::assert_snapshot!(changed("64Mi", "-64Mi"));
}

#[test]
fn absurd_sizes_are_all_told() {
    let text = GOOD.replace("250m", "9999").replace("persistent: 1Gi", "persistent: 900Pi");
    insta::assert_snapshot!(shown(text.as_bytes()));
}

#[test]
fn size_beyond_any_number() {
    insta::assert_snapshot!(changed("64Mi", "99999999999999999999Pi"));
}

#[test]
fn not_a_number() {
    insta::assert_snapshot!(changed("http: 80", "http: eighty"));
}

#[test]
fn port_out_of_range() {
    insta::assert_snapshot!(changed("http: 80", "http: 80000"));
}

#[test]
fn port_of_two_kinds() {
    insta::assert_snapshot!(changed("http: 80", "http: 80, tcp: 80"));
}

#[test]
fn host_name_given_twice() {
    let ports = "- {http: 80, host: shop.example.com}\n      - {http: 81, host: Shop.example.com}";
    insta::assert_snapshot!(changed("- {http: 80, host: shop.example.com}", ports));
}

#[test]
fn port_given_twice() {
    let ports = "- {http: 80}\n      - {tcp: 80}";
    insta::assert_snapshot!(changed("- {http: 80, host: shop.example.com}", ports));
}

#[test]
fn not_a_host_name() {
    insta::assert_snapshot!(changed("shop.example.com", "\"*.example.com\""));
}

#[test]
fn volume_that_is_not_there() {
    insta::assert_snapshot!(changed("volume: data", "volume: date"));
}

#[test]
fn volume_of_no_kind() {
    insta::assert_snapshot!(changed(", persistent: 1Gi", ""));
}

#[test]
fn mount_over_the_system() {
    insta::assert_snapshot!(changed("path: /data", "path: /proc/self"));
}

#[test]
fn mount_that_climbs() {
    insta::assert_snapshot!(changed("path: /data", "path: /data/../etc"));
}

#[test]
fn secret_that_is_not_there() {
    insta::assert_snapshot!(changed("MODE: fast", "MODE: {secret: mode}"));
}

#[test]
fn secret_of_no_source() {
    insta::assert_snapshot!(shown(format!("{GOOD}secrets:\n  mode: {{}}\n").as_bytes()));
}

#[test]
fn variable_without_a_value() {
    insta::assert_snapshot!(changed("MODE: fast", "MODE:"));
}

#[test]
fn no_containers() {
    insta::assert_snapshot!(shown(b"name: shop\ncontainers: []\n"));
}

#[test]
fn wrong_scale_and_provider() {
    let more = "scale: {min: 3, max: 200, idle: 60}\nprovider:\n  address: 0x12\n  attestation: [sgx]\n  \
                highestPrices: {memory: -1}\n";
    insta::assert_snapshot!(shown(format!("{GOOD}{more}").as_bytes()));
}

#[test]
fn not_yaml() {
    insta::assert_snapshot!(changed("containers:", "containers: [}"));
}

#[test]
fn not_a_mapping() {
    insta::assert_snapshot!(shown(b"- name: shop\n"));
}

#[test]
fn empty_file() {
    insta::assert_snapshot!(shown(b""));
}

#[test]
fn two_documents() {
    insta::assert_snapshot!(shown(format!("{GOOD}---\n{GOOD}").as_bytes()));
}

#[test]
fn not_a_text() {
    insta::assert_snapshot!(shown(b"name: \xff\xfe\n"));
}

#[test]
fn too_large() {
    insta::assert_snapshot!(shown(&vec![b'#'; MAX_BYTES + 1]));
}

#[test]
fn fifty_megabytes_are_refused_unread() {
    assert_eq!(shown(&vec![b'a'; 50 << 20]), shown(&vec![b'#'; MAX_BYTES + 1]));
}

#[test]
fn alias_bomb() {
    let mut text = String::from("x-0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..10 {
        let before = format!("*a{},", level - 1).repeat(9);
        text += &format!("        x-{level}: &a{level} [{}]\n", before.trim_end_matches(','));
    }
    insta::assert_snapshot!(changed("MODE: fast\n", &format!("MODE:\n        {text}")));
}

#[test]
fn alias_cycle() {
    insta::assert_snapshot!(changed("MODE: fast", "MODE: &loop [*loop]"));
}

#[test]
fn nested_too_deeply() {
    let deep = format!("MODE: {}{}", "[".repeat(5000), "]".repeat(5000));
    let text = changed("MODE: fast", &deep);
    assert!(text.contains("recursion limit exceeded"), "{text:.2000}");
}
