//! `cargo run -p xtask -- tidy`: checks of the sources that the compiler does not do.
//! `cargo run -p xtask -- bench`: runs the benchmarks and writes `report/bench.json`.

mod bench;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let task = std::env::args().nth(1);
    let result = match task.as_deref() {
        Some("tidy") => tidy::run(root),
        Some("bench") => bench::run(root),
        _ => Err("usage: xtask tidy | bench".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "this is its output")]
            {
                eprintln!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}
