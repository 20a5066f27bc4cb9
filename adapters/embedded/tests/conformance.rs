//! The contract of engines, on this one. Needs root.

mod support;

apocryph_testbed::engine_conformance!(crate::support::with_engine);
