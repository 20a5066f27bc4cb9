//! redis, keeping its keys in a volume. Debian's `redis-tools` holds the whole of redis in one program,
//! which looks at its own name to know what it is.

use super::program::{ProgramError, base, with_program};
use crate::layout::Image;

/// redis at port 6379. Its data stand in `/data`, where a volume belongs: without one they are
/// gone with the container.
pub fn redis() -> Result<Image, ProgramError> {
    let layer = with_program(base(), "redis-tools", "/usr/bin/redis-check-rdb", "usr/bin/redis-server")?
        .directory("data", 0o755);
    let options = ["--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data", "--appendonly", "yes"];
    Ok(Image::new(vec![layer])
        .entrypoint(&["/usr/bin/redis-server"])
        .command(&options)
        .working_directory("/data"))
}
