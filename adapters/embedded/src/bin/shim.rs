//! The shim alone, for this crate's tests and benchmark: `apocryph-shim shim <run directory>`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == "shim" => apocryph_embedded::shim_main(arguments),
        _ => ExitCode::FAILURE,
    }
}
