//! A real Kubo node, the IPFS network's most used one. It is built once by `go build` from
//! `testbed/kubo/go.mod` into the user's cache.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

const VERSION: &str = "v0.43.0";

/// A Kubo node of its own, without any peers but those it is connected to. It ends with this.
#[derive(Debug)]
pub struct Kubo {
    program: &'static Path,
    home: TempDir,
    daemon: Option<Child>,
}

impl Drop for Kubo {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // One that has ended already is what is wanted.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Kubo {
    /// A node that talks to nobody.
    ///
    /// # Errors
    /// Tells why there is none: mostly, that Go is missing.
    pub fn offline() -> Result<Self, String> {
        let home = tempfile::tempdir().map_err(|error| error.to_string())?;
        let kubo = Self { program: program()?, home, daemon: None };
        kubo.run(&["init", "--profile=test"])?;
        kubo.run(&["config", "Routing.Type", "none"])?;
        let listen = r#"["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]"#;
        kubo.run(&["config", "--json", "Addresses.Swarm", listen])?;
        Ok(kubo)
    }

    /// A node that listens on loopback, by TCP and QUIC.
    ///
    /// # Errors
    /// Likewise.
    pub fn online() -> Result<Self, String> {
        let mut kubo = Self::offline()?;
        let mut command = kubo.command(&["daemon"]);
        let daemon = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut daemon = daemon.map_err(|error| error.to_string())?;
        let said = daemon.stdout.take().map(BufReader::new);
        kubo.daemon = Some(daemon);
        let mut lines = said.into_iter().flat_map(|said| said.lines().map_while(Result::ok));
        match lines.any(|line| line.contains("Daemon is ready")) {
            true => Ok(kubo),
            false => Err("Kubo's daemon ended before it was ready".into()),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(arguments).env("IPFS_PATH", self.home.path()).env("IPFS_TELEMETRY", "off");
        command
    }

    /// Runs `ipfs` to its end, whatever that is.
    ///
    /// # Errors
    /// If it does not start.
    pub fn output(&self, arguments: &[&str]) -> Result<Output, String> {
        self.command(arguments).output().map_err(|error| error.to_string())
    }

    /// What `ipfs` prints.
    ///
    /// # Errors
    /// If it fails: tells why.
    pub fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let output = self.output(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(output.stdout) } else { Err(format!("ipfs {arguments:?}: {said}")) }
    }

    /// What `ipfs` prints, as a text.
    ///
    /// # Errors
    /// Likewise.
    pub fn text(&self, arguments: &[&str]) -> Result<String, String> {
        Ok(String::from_utf8_lossy(&self.run(arguments)?).trim().to_owned())
    }

    /// Where it listens by this transport, such as `/tcp/`, with its peer id.
    ///
    /// # Errors
    /// If it does not.
    pub fn address(&self, transport: &str) -> Result<String, String> {
        let addresses = self.text(&["swarm", "addrs", "local", "--id"])?;
        let found = addresses.lines().find(|address| address.contains(transport));
        found.map(str::to_owned).ok_or_else(|| format!("no {transport} in {addresses}"))
    }
}

/// The built program, or the reason why there is none.
fn program() -> Result<&'static Path, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(build).as_deref().map_err(Clone::clone)
}

fn build() -> Result<PathBuf, String> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let folder = cache.ok_or("no home directory")?.join(format!("apocryph/kubo-{VERSION}"));
    let program = folder.join("ipfs");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    // Several tests at once build it once.
    let turn = File::create(folder.join("lock")).map_err(|error| error.to_string())?;
    turn.lock().map_err(|error| error.to_string())?;
    if program.exists() {
        return Ok(program);
    }
    go_build(&folder)?;
    fs::rename(folder.join("ipfs.new"), &program).map_err(|error| error.to_string())?;
    Ok(program)
}

fn go_build(to: &Path) -> Result<(), String> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubo");
    let built = Command::new("nice")
        .args(["go", "build", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(to.join("ipfs.new"))
        .arg("github.com/ipfs/kubo/cmd/ipfs")
        .current_dir(module)
        .output()
        .map_err(|_| "needs Go")?;
    if built.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&built.stderr);
    let last = said.lines().last().unwrap_or_default();
    Err(format!("needs Go, and the modules of testbed/kubo/go.mod: {last}"))
}
