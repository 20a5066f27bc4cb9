//! What containers write is kept.

use apocryph_model::{LogLine, LogQuery};
use apocryph_provider::EngineError;
use futures::StreamExt as _;
use tokio::time::timeout;

use super::driving::{PATIENCE, finish};
use super::{PodUnderTest, Subject, shell};

/// Both streams of all containers are logged, for pods at zero too, and can be followed.
pub async fn output_is_logged(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let pod = PodUnderTest::new(1, image)
        .container("talk", "echo one; echo two >&2; sleep 600")
        .container("listen", "echo three; cat /tmp/none; sleep 600")
        .build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    let followed = engine.logs(pod.id, follow).await.unwrap();
    engine.scale(pod.id, 1).await.unwrap();
    let followed: Vec<LogLine> = timeout(PATIENCE, followed.take(4).collect()).await.unwrap();
    let mut found: Vec<_> =
        followed.iter().map(|l| (l.text.as_str(), l.container.as_str(), l.stderr)).collect();
    found.sort_unstable();
    let absent = "cat: can't open '/tmp/none': No such file or directory";
    let apart = subject.tells_streams_apart();
    assert_eq!(
        found,
        [
            (absent, "listen", apart),
            ("one", "talk", false),
            ("three", "listen", false),
            ("two", "talk", apart)
        ]
    );
    engine.scale(pod.id, 0).await.unwrap();
    let query = LogQuery { container: Some("talk".parse().unwrap()), ..LogQuery::default() };
    let lines: Vec<LogLine> = engine.logs(pod.id, query).await.unwrap().collect().await;
    let mut texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    // The kernel does not tell which of two streams was written to first.
    texts.sort_unstable();
    assert_eq!(texts, ["one", "two"]);
    finish(engine, pod.id).await;
    assert_eq!(engine.logs(pod.id, LogQuery::default()).await.err(), Some(EngineError::Unknown));
}
