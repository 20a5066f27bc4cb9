//! What the check says of a cluster that does.

mod support;

use support::with_engine;

#[test]
fn a_cluster_that_does_lacks_nothing_fatal() {
    with_engine(|bench| {
        Box::pin(async {
            let looked = apocryph_kubernetes::check(&bench.config, None).await;
            let (found, lacks): (Vec<_>, Vec<_>) = looked.into_iter().partition(Result::is_ok);
            let fatal: Vec<_> = lacks.into_iter().flat_map(Result::err).filter(|lack| lack.fatal).collect();
            assert!(fatal.is_empty(), "{fatal:?}");
            let found: Vec<String> = found.into_iter().flatten().collect();
            let starts = ["Kubernetes v1.", "rights: all", "nodes: ", "registry: a node", "network: pods"];
            for start in starts {
                assert!(found.iter().any(|found| found.starts_with(start)), "{start}: {found:?}");
            }
        })
    });
}

#[test]
fn a_registry_that_nodes_do_not_reach_is_told() {
    with_engine(|bench| {
        Box::pin(async {
            let mut config = bench.config.clone();
            config.registry = "127.0.0.1:1".into();
            let looked = apocryph_kubernetes::check(&config, None).await;
            let lacks: Vec<_> = looked.into_iter().filter_map(Result::err).collect();
            assert!(lacks.iter().any(|lack| lack.fatal && lack.what.contains("127.0.0.1:1")), "{lacks:?}");
        })
    });
}
