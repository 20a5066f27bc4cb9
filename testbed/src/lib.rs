//! What tests, benchmarks and the demo stand on.

pub mod images;
pub mod layout;
pub mod marker;
pub mod traces;
