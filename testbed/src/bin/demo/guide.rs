//! What to try where the demo was left running.

use crate::failure::Result;
use crate::print;
use crate::stage::Stage;

/// Leaves everything as it is, and tells what to do with it.
pub(crate) async fn leave(stage: Stage) -> Result<()> {
    let (gateway, host) = stage.http_endpoint("web").await?;
    let store = stage.tcp_endpoint("store").await?;
    let cli = stage.publisher().clone();
    print::chapter("Everything runs on. Try:");
    print::note(&format!("curl --header 'Host: {host}' http://{gateway}/"));
    print::note(&format!("redis-cli -h {} -p {} GET kept", store.ip(), store.port()));
    print::chapter("As the publisher, in a shell with its settings:");
    for (name, value) in cli.environment.iter().filter(|(name, _)| name.starts_with("APOCRYPH")) {
        print::note(&format!("export {name}={value}"));
    }
    let program = cli.program.display();
    for command in ["ls", "status web", "logs web", "usage web", "remove web"] {
        print::note(&format!("{program} {command}"));
    }
    stage.market.keep();
    print::chapter("To end it: make sweep");
    Ok(())
}
