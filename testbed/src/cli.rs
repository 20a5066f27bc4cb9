//! The real `apocryph`, run as a person would, with `--json` so that it can be listened to.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::chain::DevChain;
use crate::service::ending;

/// Whose `apocryph` it is.
#[derive(Debug, Clone)]
pub struct Cli {
    /// The program.
    pub program: PathBuf,
    /// Where it is run.
    pub folder: PathBuf,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
}

/// What a command that succeeded said.
#[derive(Debug, Clone)]
pub struct Said {
    /// The command as it could be typed.
    pub command: String,
    /// Every line in order: events, then the result.
    pub lines: Vec<Value>,
}

/// Why a command is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// It cannot be run, or says something that is not JSON.
    #[error("{command}: {source}")]
    Io {
        /// The command as it could be typed.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It failed.
    #[error("`{command}` failed with {ending}: {fault}\n{errors}")]
    Failed {
        /// The command as it could be typed.
        command: String,
        /// How it ended.
        ending: String,
        /// Its own account: whose fault, the code, the text; null where it gave none.
        fault: Value,
        /// What it printed to its standard error.
        errors: String,
    },
    /// Its result lacks something.
    #[error("`{command}` does not tell {pointer}: {result}")]
    Untold {
        /// The command as it could be typed.
        command: String,
        /// Where it was looked for.
        pointer: String,
        /// The result.
        result: String,
    },
}

impl Cli {
    /// For an account of the dev chain. Everything it needs is in its environment; everything it
    /// keeps is in `folder`.
    pub fn of(chain: &DevChain, account: usize, folder: &Path) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        let contracts = chain.contracts();
        let environment = [
            ("HOME", path("home")),
            ("APOCRYPH_CONFIG", path("config.toml")),
            ("APOCRYPH_STATE_DIR", path("state")),
            ("APOCRYPH_RPC", chain.url().to_string()),
            ("APOCRYPH_CHAIN_ID", chain.id().to_string()),
            ("APOCRYPH_PAYMENT", contracts.payment.to_string()),
            ("APOCRYPH_REGISTRY", contracts.registry.to_string()),
            ("APOCRYPH_KEY", DevChain::key_hex(account).to_owned()),
        ];
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { program: crate::program("apocryph"), folder: folder.into(), environment }
    }

    /// Runs a command to its end; `listener` hears every line as it comes.
    ///
    /// # Errors
    /// If it fails, or prints something that is not JSON.
    pub async fn run(
        &self,
        arguments: &[&str],
        listener: &mut (dyn FnMut(&Value) + Send),
    ) -> Result<Said, CliError> {
        let command = format!("apocryph {}", arguments.join(" "));
        let io = |source| CliError::Io { command: command.clone(), source };
        let mut child = self.spawn(arguments).map_err(io)?;
        let lines = hear(child.stdout.take(), listener);
        let (lines, errors) = tokio::try_join!(lines, read(child.stderr.take())).map_err(io)?;
        let status = child.wait().await.map_err(io)?;
        if !status.success() {
            let fault = lines.last().map(|line| line["error"].clone()).unwrap_or_default();
            return Err(CliError::Failed { command, ending: ending(status), fault, errors });
        }
        Ok(Said { command, lines })
    }

    fn spawn(&self, arguments: &[&str]) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--json").current_dir(&self.folder).env_clear().envs(&self.environment);
        command.kill_on_drop(true).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }
}

impl Said {
    /// The command's result; null where it has none.
    pub fn result(&self) -> &Value {
        self.lines.last().and_then(|line| line.get("result")).unwrap_or(&Value::Null)
    }

    /// A part of the result, by its JSON pointer (RFC 6901).
    ///
    /// # Errors
    /// If it is not there.
    pub fn part(&self, pointer: &str) -> Result<&Value, CliError> {
        self.result().pointer(pointer).ok_or_else(|| self.untold(pointer))
    }

    /// A text of the result, by its JSON pointer.
    ///
    /// # Errors
    /// If it is not there, or not a text.
    pub fn text(&self, pointer: &str) -> Result<&str, CliError> {
        self.part(pointer)?.as_str().ok_or_else(|| self.untold(pointer))
    }

    /// Events of one kind.
    pub fn events(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter(move |line| line["event"] == kind)
    }

    fn untold(&self, pointer: &str) -> CliError {
        let result = self.result().to_string();
        CliError::Untold { command: self.command.clone(), pointer: pointer.into(), result }
    }
}

async fn hear(
    output: Option<impl AsyncRead + Unpin>,
    listener: &mut (dyn FnMut(&Value) + Send),
) -> io::Result<Vec<Value>> {
    let mut heard = Vec::new();
    let Some(output) = output else { return Ok(heard) };
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        let value = serde_json::from_str(&line)?;
        listener(&value);
        heard.push(value);
    }
    Ok(heard)
}

async fn read(output: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let mut text = String::new();
    if let Some(mut output) = output {
        output.read_to_string(&mut text).await?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell in place of the program; its first argument is a script in `folder`.
    fn shell(folder: &Path, script: &str) -> Cli {
        std::fs::write(folder.join("script"), script).unwrap();
        Cli { program: "/bin/sh".into(), folder: folder.into(), environment: BTreeMap::new() }
    }

    #[tokio::test]
    async fn lines_are_heard_and_the_last_is_the_result() {
        let folder = tempfile::tempdir().unwrap();
        let cli =
            shell(folder.path(), r#"echo '{"event":"begun"}'; echo "{\"result\":{\"last\":\"$1 $2\"}}""#);
        let mut heard = 0;
        let said = cli.run(&["script", "ls"], &mut |_| heard += 1).await.unwrap();
        assert_eq!((heard, said.text("/last").unwrap()), (2, "ls --json"));
        assert_eq!(said.events("begun").count(), 1);
        assert!(said.part("/other").unwrap_err().to_string().contains("does not tell /other"));
    }

    #[tokio::test]
    async fn a_failure_shows_what_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let cli = shell(folder.path(), r#"echo '{"error":{"code":"poor"}}'; echo no money >&2; exit 4"#);
        let error = cli.run(&["script", "deploy"], &mut |_| {}).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`apocryph script deploy` failed with exit code 4: {\"code\":\"poor\"}\nno money\n"
        );
    }
}
