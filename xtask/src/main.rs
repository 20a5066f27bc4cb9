//! `cargo run -p xtask -- tidy`: checks of the sources that the compiler does not do.
//! `cargo run -p xtask -- bench [FIGURE...]`: runs the benchmarks and writes `report/bench.json`.

mod bench;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((task, [])) if task == "tidy" => tidy::run(root),
        Some((task, names)) if task == "bench" => bench::run(root, names),
        _ => Err("usage: xtask tidy | bench [FIGURE...]".into()),
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
