//! What to try where the demo was left running.

use crate::failure::Result;
use crate::stage::Stage;

/// Leaves everything as it is; gives what to do with it.
pub(crate) async fn leave(stage: Stage) -> Result<Vec<String>> {
    let (gateway, host) = stage.http_endpoint("web").await?;
    let store = stage.tcp_endpoint("store").await?;
    let cli = stage.publisher().clone();
    let mut lines = vec![
        "\nEverything runs on. Try:".to_owned(),
        format!("  curl --header 'Host: {host}' http://{gateway}/"),
        format!("  redis-cli -h {} -p {} GET kept", store.ip(), store.port()),
        "As the publisher, in a shell with its settings:".to_owned(),
    ];
    let settings = cli.environment.iter().filter(|(name, _)| name.starts_with("APOCRYPH"));
    lines.extend(settings.map(|(name, value)| format!("  export {name}={value}")));
    let programs = cli.program.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    lines.push(format!("  export PATH=\"{programs}:$PATH\""));
    let commands = ["ls", "status web", "logs web", "usage web", "remove web"];
    lines.extend(commands.map(|command| format!("  apocryph {command}")));
    lines.push("A pod of your own, in an empty folder:".to_owned());
    let image = cli.folder.join("images").display().to_string();
    let first = [
        &format!("init --name mine --image oci:{image}:nginx"),
        "deploy --accept-unattested --fund 5",
        "status mine",
    ];
    lines.extend(first.map(|command| format!("  apocryph {command}")));
    let sweep = if stage.market.traces.cluster.is_some() {
        "make sweep ENGINE=kubernetes, and make cluster-down for the cluster"
    } else {
        "make sweep"
    };
    lines.push(format!("To end it: {sweep}"));
    stage.market.keep();
    Ok(lines)
}
