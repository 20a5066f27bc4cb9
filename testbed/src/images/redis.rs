//! redis, keeping its keys in a volume.

use super::program::{ProgramError, base, with_program};
use crate::layout::Image;

/// redis at port 6379. Its data stand in `/data`, where a volume belongs: without one they are
/// gone with the container.
pub fn redis() -> Result<Image, ProgramError> {
    let layer = with_program(base(), "redis-server", &["/usr/bin/redis-server", "/usr/bin/redis-check-rdb"])?
        .directory("data", 0o755);
    let options = ["--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data", "--appendonly", "yes"];
    Ok(Image::new(vec![layer])
        .entrypoint(&["/usr/bin/redis-server"])
        .command(&options)
        .working_directory("/data"))
}
