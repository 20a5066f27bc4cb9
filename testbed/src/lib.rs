//! What tests, benchmarks and the demo stand on.

pub mod audit;
pub mod chain;
pub mod cli;
pub mod clients;
pub mod containers;
pub mod images;
pub mod layout;
pub mod marker;
pub mod service;
pub mod sweep;
pub mod traces;
pub mod until;
