//! The contract of engines, on this one. Needs a cluster.

mod support;

apocryph_testbed::engine_conformance!(crate::support::with_engine);
