//! One release of the chart on a cluster, of which nothing stays.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use apocryph_testbed::chain::DevChain;
use apocryph_testbed::cluster::Cluster;
use apocryph_testbed::images;

use crate::chart;
use crate::site::Site;

const NAME: &str = "apocryph";
const IMAGE: &str = "testbed.local/apocryphd";

pub(crate) struct Release {
    helm: PathBuf,
    cluster: Cluster,
    pub(crate) namespace: String,
    values: PathBuf,
}

impl Release {
    /// A namespace with the Secrets, nodes with the image, and the values.
    pub(crate) fn prepare(helm: PathBuf, cluster: &Cluster, mark: &str, folder: &Path, values: &str) -> Self {
        let archive = folder.join("apocryphd.tar");
        images::apocryphd().unwrap().write_archive(&archive, &format!("{IMAGE}:{mark}")).unwrap();
        cluster.import(&archive).unwrap();
        let file = folder.join("values.yaml");
        let image = format!("image: {{repository: {IMAGE}, tag: {mark}, pullPolicy: Never}}\n");
        std::fs::write(&file, image + values).unwrap();
        let namespace = format!("release-{mark}");
        let release = Self { helm, cluster: cluster.clone(), namespace, values: file };
        release.cluster.ask(&["create", "namespace", &release.namespace]).unwrap();
        let key = format!("--from-literal=account.json={}", DevChain::key_hex(8));
        release.ask(&["create", "secret", "generic", "apocryph-account", &key]);
        let token = "--from-literal=token=0123456789abcdef0123456789abcdef";
        for secret in ["apocryph-gateway-link", "apocryph-node-readers"] {
            release.ask(&["create", "secret", "generic", secret, token]);
        }
        release
    }

    /// Installs, or changes what is installed, and waits until all of it is ready.
    pub(crate) fn install(&self, more: &[String]) {
        let sets = more.iter().flat_map(|value| ["--set-json", value]);
        let mut command = self.helm("upgrade");
        command.args(["--install", "--wait", "--timeout", "90s"]).arg(NAME).arg(chart());
        command.arg("--values").arg(&self.values).args(sets);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{}", self.events());
    }

    /// What gateways show to clients.
    pub(crate) fn secret_for_tls(&self, name: &str, site: &Site) {
        let (certificate, key) = (site.certificate.display(), site.key.display());
        let [certificate, key] = [format!("--cert={certificate}"), format!("--key={key}")];
        self.ask(&["create", "secret", "tls", name, &certificate, &key]);
    }

    pub(crate) fn uninstall(&self) {
        let output = self.helm("uninstall").args(["--wait", NAME]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Where a Service is.
    pub(crate) fn service(&self, name: &str, port: u16) -> SocketAddr {
        let name = format!("{NAME}-{name}");
        let address = self.ask(&["get", "service", &name, "-o", "jsonpath={.spec.clusterIP}"]);
        SocketAddr::new(address.parse::<IpAddr>().unwrap(), port)
    }

    /// Runs the daemon's program in the daemon's container.
    pub(crate) fn apocryphd(&self, arguments: &[&str]) -> String {
        let all = [&["exec", "deploy/apocryph", "-c", "apocryphd", "--", "/usr/bin/apocryphd"], arguments];
        self.ask(&all.concat())
    }

    /// What kubectl says of the namespace.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let all = [&["--namespace", &self.namespace], arguments].concat();
        self.cluster.ask(&all).unwrap()
    }

    fn events(&self) -> String {
        let logs =
            ["logs", "--all-containers", "--prefix", "--tail=20", "-l", "app.kubernetes.io/name=apocryph"];
        let all = [&["--namespace", &self.namespace][..], &logs].concat();
        let logs = self.cluster.ask(&all).unwrap_or_else(|error| error.to_string());
        let events = self.cluster.ask(&["--namespace", &self.namespace, "get", "events"]).unwrap_or_default();
        format!("{}\n{events}\n{logs}", self.cluster.ask(&["get", "pods", "-A"]).unwrap_or_default())
    }

    fn helm(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.helm);
        command.arg(verb).arg("--kubeconfig").arg(&self.cluster.kubeconfig);
        command.args(["--namespace", &self.namespace]);
        command
    }
}

impl Drop for Release {
    /// Whatever there is of it goes, also after a failure.
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.helm("uninstall").args(["--ignore-not-found", NAME]).output();
        let _ = self.cluster.delete_namespace(&self.namespace);
    }
}
