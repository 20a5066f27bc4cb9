//! The contract of engines, on this one. Needs a cluster.

mod support;

use apocryph_testbed::engine_conformance as contract;
use support::with_engine;

macro_rules! conforms {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                with_engine(|bench| Box::pin(contract::$name(bench)));
            }
        )*
    };
}

conforms!(
    scales_up_and_down,
    runs_what_the_spec_says,
    output_is_logged,
    a_container_that_ends_is_a_failure,
    pods_are_apart,
    volumes_live_as_long_as_they_should,
    what_cannot_run_is_refused,
    memory_is_limited,
    containers_are_confined,
    replicas_outlive_a_restart,
    updates_replace_or_change_nothing,
);
