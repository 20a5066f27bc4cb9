//! The account that the engine has in the cluster: with the rights of `deploy/kubernetes/rights.yaml`,
//! and no more.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

const RIGHTS: &str = include_str!("../../../../deploy/kubernetes/rights.yaml");

/// Ends with this value.
pub(super) struct Account {
    admin: PathBuf,
    rights: String,
}

impl Account {
    /// Makes one of this name, and writes how to be it into a file.
    pub(super) fn make(admin: &Path, name: &str, kubeconfig: &Path) -> Self {
        let account = Self { admin: admin.into(), rights: RIGHTS.replace("apocryphd", name) };
        account.kubectl(&["apply", "-f", "-"]);
        let token = account.kubectl(&["create", "token", name, "--namespace", name]);
        let mut config = account.config();
        for user in config["users"].as_array_mut().unwrap() {
            user["user"] = json!({ "token": token.trim() });
        }
        std::fs::write(kubeconfig, config.to_string()).unwrap();
        account
    }

    /// How to be who may do everything.
    pub(super) fn config(&self) -> Value {
        let view = self.kubectl(&["config", "view", "--raw", "--flatten", "-o", "json"]);
        serde_json::from_str(&view).unwrap()
    }

    /// The rights stand on its standard input.
    fn kubectl(&self, arguments: &[&str]) -> String {
        let program = std::env::var_os("KUBECTL").unwrap_or_else(|| OsString::from("kubectl"));
        let mut command = Command::new(program);
        command.arg("--kubeconfig").arg(&self.admin).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // What does not read them has ended, or will.
        let _ = child.stdin.take().unwrap().write_all(self.rights.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "kubectl {arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.kubectl(&["delete", "--wait=false", "-f", "-"]);
    }
}
