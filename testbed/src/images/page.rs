//! A web server that starts at once.

use super::program::{ProgramError, base, with_program};
use crate::layout::{Image, Layer};

/// busybox serving `page` at port 8080, statically linked; `ballast` stands in a compressed layer
/// of its own, where there is any.
pub fn page(page: &str, ballast: Vec<u8>) -> Result<Image, ProgramError> {
    let server = with_program(base(), "busybox-static", "/bin/busybox", "bin/httpd")?
        .directory("srv", 0o755)
        .file("srv/index.html", page, 0o644);
    let mut layers = vec![server];
    if !ballast.is_empty() {
        layers.push(Layer::new().file("ballast", ballast, 0o644).gzip());
    }
    let image = Image::new(layers).entrypoint(&["/bin/httpd", "-f", "-p", "8080", "-h", "/srv"]);
    // As the first process of its namespace it is deaf to every other signal.
    Ok(image.stop_signal("SIGKILL"))
}
