//! What the check says of a cluster that does.

mod support;

use support::with_engine;

#[test]
fn a_cluster_that_does_lacks_nothing_fatal() {
    with_engine(|bench| {
        Box::pin(async {
            let lacks = apocryph_kubernetes::check(&bench.config, None).await;
            let fatal: Vec<_> = lacks.iter().filter(|lack| lack.fatal).collect();
            assert!(fatal.is_empty(), "{fatal:?}");
        })
    });
}

#[test]
fn a_registry_that_nodes_do_not_reach_is_told() {
    with_engine(|bench| {
        Box::pin(async {
            let mut config = bench.config.clone();
            config.registry = "127.0.0.1:1".into();
            let lacks = apocryph_kubernetes::check(&config, None).await;
            assert!(lacks.iter().any(|lack| lack.fatal && lack.what.contains("127.0.0.1:1")), "{lacks:?}");
        })
    });
}
